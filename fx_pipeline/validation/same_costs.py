"""Costs compared by meaning: which of two cost models charges more, and where."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from fx_pipeline.market.costs import CostConfig, JudgedCosts, judged_costs
from fx_pipeline.market.errors import ConfigurationError

#: What no broker can quote, and a setting that went through a file may be off by.
TOLERANCE_PIPS = 1e-6
_PIPS = {
    "fixed_pips": "pips a trade",
    "slippage_pips": "pips of slippage a fill",
    "financing_long_pips": "pips a day long",
    "financing_short_pips": "pips a day short",
    "financing_rate": "a year of financing",
}


def as_judged(record: Mapping[str, Any], instrument: str) -> CostConfig:
    """Return the costs that a record was judged at, as a model can be judged at again.

    Parameters
    ----------
    record : Mapping
        Fields of a cost model, as a report or the record of a champion keeps them.
    instrument : str
        OANDA name.

    Raises
    ------
    ConfigurationError
        If they are none that this version knows.
    """
    floored = {field.name for field in fields(JudgedCosts)} - {field.name for field in fields(CostConfig)}
    kind: type[CostConfig] = JudgedCosts if floored & record.keys() else CostConfig
    unknown = sorted(record.keys() - {field.name for field in fields(kind)})
    if unknown:
        raise ConfigurationError(f"its costs have {', '.join(unknown)}, which this version does not know: update it.")
    try:
        costs = kind(**record)
    except TypeError as error:
        raise ConfigurationError(f"its costs are damaged ({error}): promote the window again.") from error
    # A record of an earlier version was judged at what was configured: now no model is judged below the market's.
    return judged_costs(costs, instrument)


def harsher_anywhere(one: Mapping[str, Any], other: Mapping[str, Any], instrument: str) -> list[str]:
    """Return in what one cost model charges more than another, in words; empty where it is nowhere harsher.

    Parameters
    ----------
    one, other : Mapping
        Fields of cost models.
    instrument : str
        OANDA name of what is traded at both.
    """
    try:
        left, right = as_judged(one, instrument), as_judged(other, instrument)
    except ConfigurationError as error:
        return [str(error)]
    found = []
    for name in ("kind", "fill"):
        if getattr(left, name) != getattr(right, name):
            found.append(f"{name} {getattr(left, name)} and not {getattr(right, name)}")
    for name, unit in _PIPS.items():
        # Fixed pips are charged by that kind alone.
        if name == "fixed_pips" and left.kind != "fixed":
            continue
        mine, its = (float(getattr(costs, name, 0.0)) for costs in (left, right))
        if mine > its + TOLERANCE_PIPS:
            found.append(f"{mine:g} and not {its:g} {unit}")
    return found
