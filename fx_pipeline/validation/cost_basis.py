"""What the costs of a validation rest on: quoted or modelled, by which figure, and whether they are below the market's.

Costs that are too low make every rule look good, and they are the one input that nobody sees in a chart. So a model is
judged at the market's where those are worse than the configured ones, a report says where they come from, and an
instrument without a known cost is not validated at costs that rest on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import CostConfig, JudgedCosts, build_fills, recorded_costs
from fx_pipeline.market.financing import DAYS_A_YEAR
from fx_pipeline.market.instrument import known_instruments
from fx_pipeline.market.spread_fit import MAX_FACTOR
from fx_pipeline.market.spreads import SpreadModel, require_known_spread, spread_model

Quotes = Literal["quoted", "modelled", "partly modelled", "bid equals ask"]
#: Share of bars whose bid and ask are one price, beyond which quotes are no quotes. Real ones lock for moments.
MAX_LOCKED = 0.01


@dataclass(frozen=True)
class CostBasis:
    """Where the costs come from; spreads are medians over the bars of the span, in pips.

    Attributes
    ----------
    quotes : str
        Whether bid and ask of the bars were quoted; "bid equals ask" where they are one price in more than `MAX_LOCKED`
        of the bars, which is no quote.
    charged_pips : float
        What entering and leaving at once costs under the cost model, without slippage.
    slippage_pips : float
        Charged besides, a fill.
    financing_pips : float
        Charged for a long position that is held over 17:00 New York, a day, at the median price; shorts pay the same
        where the model is judged.
    configured_pips, trained_pips : float or None
        The same as `charged_pips` under the cost model of the settings, and under that of the training; None when not
        known.
    quoted_pips : float or None
        None where a bar's quotes are modelled, or no quotes: then its spread says nothing of the market.
    modelled_pips : float or None
        None for an instrument that no broker has, such as a proof's.
    locked : float
        Share of the bars whose bid is not below their ask.
    certainty, source, quoted : str or None
        What the modelled spread rests on, as of `SpreadModel`.
    says : tuple of str
        Sentences for the page.
    warnings : tuple of str
        Those that a reader must not miss.
    """

    quotes: Quotes
    charged_pips: float
    slippage_pips: float
    financing_pips: float
    configured_pips: float | None
    trained_pips: float | None
    quoted_pips: float | None
    modelled_pips: float | None
    locked: float
    certainty: str | None
    source: str | None
    quoted: str | None
    says: tuple[str, ...]
    warnings: tuple[str, ...]


def cost_basis(
    market: MarketArrays,
    costs: CostConfig,
    quotes_modelled: float,
    *,
    configured: Mapping[str, Any] | None = None,
    trained: Mapping[str, Any] | None = None,
) -> CostBasis:
    """Say what the costs of a validation rest on.

    Parameters
    ----------
    market : MarketArrays
        The bars of the span.
    costs : CostConfig
    quotes_modelled : float
        Share of the bars whose bid and ask come from the cost model.
    configured, trained : Mapping, optional
        Fields of the cost model of the settings, and of the training's.

    Raises
    ------
    ConfigurationError
        If the costs rest on the modelled spread of an instrument of which none is known.
    """
    name = market.instrument
    known = name in known_instruments()
    if known and (costs.kind == "profile" or (costs.kind == "quoted" and quotes_modelled > 0)):
        require_known_spread(name)
    # A market that no broker has has no book, and bid and ask are one price there by design.
    locked = float((market.ask_open <= market.bid_open).mean())
    equal = known and locked > MAX_LOCKED
    quotes: Quotes = (
        "modelled" if quotes_modelled >= 1 else "bid equals ask" if equal
        else "partly modelled" if quotes_modelled > 0 else "quoted"
    )  # fmt: skip
    model = spread_model(name) if known else None
    modelled = None if model is None else float(np.median(model.pips(market.time, market.open)))
    spread = float(np.median(market.ask_open - market.bid_open)) / market.pip
    rate = costs.financing_rate if isinstance(costs, JudgedCosts) else 0.0
    night = max(costs.financing_long_pips, rate / DAYS_A_YEAR * float(np.median(market.close)) / market.pip)
    asked, learned = recorded_costs(configured), recorded_costs(trained)
    basis = CostBasis(
        quotes=quotes,
        charged_pips=_spread_charged(market, costs),
        slippage_pips=costs.slippage_pips,
        financing_pips=night,
        configured_pips=None if asked is None else _spread_charged(market, asked),
        trained_pips=None if learned is None else _spread_charged(market, learned),
        quoted_pips=spread if quotes == "quoted" else None,
        modelled_pips=modelled,
        locked=locked,
        certainty=None if model is None else model.certainty,
        source=None if model is None else model.source,
        quoted=None if model is None else model.quoted,
        says=(),
        warnings=(),
    )
    told = trained is not None or configured is not None
    return replace(
        basis,
        says=tuple(_says(basis, costs, quotes_modelled, model)),
        warnings=tuple(_warnings(basis, name, costs, model, told)),
    )


def _spread_charged(market: MarketArrays, costs: CostConfig) -> float:
    fills = build_fills(market, costs)
    return float(np.median((fills.buy - fills.sell) / market.pip + fills.entry_cost_pips)) - 2 * costs.slippage_pips


def _says(basis: CostBasis, costs: CostConfig, share: float, model: SpreadModel | None) -> list[str]:
    charged = basis.charged_pips
    kinds = {
        "fixed": f"A position pays {charged:.3g} pips on entry, the same at every hour, and fills at mid prices.",
        "profile": f"A position pays the modelled spread of the hour on entry, {charged:.3g} pips as a median.",
        "quoted": f"Orders fill at bid and ask of the candles, {charged:.3g} pips apart as a median.",
    }
    said = [kinds[costs.kind]]
    if isinstance(costs, JudgedCosts):
        said = [
            "Orders fill at the worst, bar by bar, of the stored bid and ask, the modelled spread and the configured "
            f"one: {charged:.3g} pips apart as a median. Each fill slips by {basis.slippage_pips:.3g} pips besides, "
            f"and holding over 17:00 New York costs {basis.financing_pips:.3g} pips a day on either side."
        ]
        if basis.configured_pips is not None:
            said.append(f"The settings ask for a spread of {basis.configured_pips:.3g} pips.")
        if basis.trained_pips is not None:
            said.append(f"The model was trained at a spread of {basis.trained_pips:.3g} pips.")
    if basis.quotes == "quoted" and basis.quoted_pips is not None:
        said.append(f"Bid and ask of all bars were quoted: {basis.quoted_pips:.3g} pips apart as a median.")
    elif basis.quotes == "bid equals ask":
        said.append(f"Bid and ask are one price in {basis.locked:.0%} of the bars: they do not count as quoted.")
    else:
        said.append(f"Bid and ask of {share:.0%} of the bars are modelled, not quoted.")
    if model is not None and basis.modelled_pips is not None:
        said.append(f"The model's spread is {basis.modelled_pips:.3g} pips over these bars: {model.describe()}.")
    return said


def _warnings(basis: CostBasis, name: str, costs: CostConfig, model: SpreadModel | None, told: bool) -> list[str]:
    found: list[str] = []
    charged, quoted, modelled = basis.charged_pips, basis.quoted_pips, basis.modelled_pips
    market, word = (modelled, "modelled") if quoted is None else (quoted, "quoted")
    judged = isinstance(costs, JudgedCosts)
    if basis.quotes == "bid equals ask":
        found.append(
            f"Bid and ask of {name} are one price in {basis.locked:.0%} of the bars: these are no quotes of a broker. "
            "They do not count as quoted, and say nothing of what trading costs: import candles with bid and ask."
        )
    if judged and basis.configured_pips is not None and _less(basis.configured_pips, charged):
        found.append(
            f"The settings ask for a spread of {basis.configured_pips:.3g} pips, less than that of {name}, "
            f"{charged:.3g} pips: the model is judged at the latter."
        )
    if judged and basis.trained_pips is not None and _less(basis.trained_pips, charged):
        found.append(
            f"The model was trained at a spread of {basis.trained_pips:.3g} pips, less than the {charged:.3g} pips "
            "that it is judged at: it has learned to trade where that does not pay. Train again at the market's costs."
        )
    if judged and told and basis.trained_pips is None:
        found.append("At which costs the model was trained is not recorded: train again, and the report compares them.")
    if not judged and costs.kind == "fixed" and market is not None and charged < market:
        found.append(
            f"Entering costs {charged:g} pips, less than the {word} spread of {name}, {market:.3g} pips: set "
            "FX_COST_FIXED_PIPS higher, or FX_COST_KIND to profile or quoted."
        )
    if costs.kind == "profile" and quoted is not None and modelled is not None and modelled * MAX_FACTOR < quoted:
        found.append(
            f"The modelled spread of {name}, {modelled:.3g} pips, is less than the quoted one, {quoted:.3g} pips: set "
            "FX_COST_KIND=quoted."
        )
    if model is not None and model.certainty != "quoted" and (costs.kind != "quoted" or basis.quotes != "quoted"):
        rest = "approximate" if model.certainty == "approximate" else "not known, and assumed"
        found.append(f"What {name} costs is {rest}: {model.describe()}.")
    return found


def _less(pips: float, charged: float) -> bool:
    # Prices are binary: a spread taken from them is off in its last digits.
    return pips < charged * (1 - 1e-6)
