"""The asset check of units: whether what networks see of an instrument's prices is neither cut off nor too small."""

from typing import Any

import dagster as dg

from fx_pipeline.defs.features import feature_table
from fx_pipeline.defs.metadata import plain
from fx_pipeline.defs.partitions import keys_of
from fx_pipeline.defs.resources import Warehouse
from fx_pipeline.settings import load_settings


@dg.asset_check(asset=feature_table)
def unit_fits(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> dg.AssetCheckResult:
    """Price changes do not saturate their feature, and six hours do not leave the value axis. A warning.

    Both count in the instrument's unit: a pip of currency pairs, many of metals and coins.
    """
    from fx_pipeline.agents.registry import agent
    from fx_pipeline.features.units_fit import WANTED, units_fit

    settings = load_settings()
    reach = agent(settings.recipe.agent).value_reach
    support = None if reach is None else reach(settings.preset)
    metadata: dict[str, Any] = {"wanted": WANTED}
    passed = True
    for instrument in keys_of(context, feature_table):
        with warehouse.get_connection(read_only=True) as connection:
            fit = units_fit(connection, instrument, support)
        passed = passed and fit is not None and fit.fits
        metadata[instrument] = "no whole session of warm bars" if fit is None else fit.describe()
    return dg.AssetCheckResult(passed=passed, severity=dg.AssetCheckSeverity.WARN, metadata=plain(metadata))
