"""The asset check of the cost model: the modelled spread of each instrument beside the quotes that are stored of it."""

from typing import Any

import dagster as dg

from fx_pipeline.defs.features import feature_table
from fx_pipeline.defs.metadata import plain
from fx_pipeline.defs.partitions import keys_of
from fx_pipeline.defs.resources import Warehouse


@dg.asset_check(asset=feature_table)
def spread_model_fits(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> dg.AssetCheckResult:
    """Whether the modelled spread is near the quoted one, and by how much it is off. A warning.

    Where an instrument has no bar whose bid and ask were quoted there is nothing to compare: that is no pass.
    """
    from fx_pipeline.market.spread_fit import MAX_FACTOR, fit_by_year, fit_spread
    from fx_pipeline.market.spreads import spread_model

    metadata: dict[str, Any] = {"wanted": f"a factor of at most {MAX_FACTOR:g}"}
    rows: list[dg.TableRecord] = []
    passed = True
    for instrument in keys_of(context, feature_table):
        with warehouse.get_connection(read_only=True) as connection:
            quotes = connection.execute(
                "SELECT epoch_ns(time) AS time, bid_open, ask_open FROM features "
                "WHERE instrument = ? AND NOT quotes_modelled ORDER BY time",
                [instrument],
            ).fetchnumpy()
        arguments = (instrument, quotes["time"], quotes["bid_open"], quotes["ask_open"])
        fit, model = fit_spread(*arguments), spread_model(instrument)
        if fit is None:
            passed = False
            metadata[instrument] = (
                f"nothing to compare: no bid and ask of {instrument} were quoted, so all its costs are modelled, "
                f"{model.describe()}. Import or download candles with bid and ask to check them."
            )
            continue
        passed = passed and fit.fits
        metadata[instrument] = f"{fit.describe()}; {model.describe()}"
        rows += [
            dg.TableRecord(
                {
                    "instrument": instrument,
                    "year": year,
                    "bars": of.bars,
                    "quoted, pips": round(of.quoted_pips, 3),
                    "modelled, pips": round(of.modelled_pips, 3),
                    "factor": f"{of.factor:.2f}",
                }
            )
            for year, of in fit_by_year(*arguments).items()
        ]
    if rows:
        metadata["by year"] = dg.MetadataValue.table(rows)
    return dg.AssetCheckResult(passed=passed, severity=dg.AssetCheckSeverity.WARN, metadata=plain(metadata))
