"""What the costs of a validation rest on: quoted or modelled, by which figure, and whether they are below the market's.

Costs that are too low make every rule look good, and they are the one input that nobody sees in a chart. So a report
says where they come from, and an instrument without a known cost is not validated at costs that rest on it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import CostConfig, build_fills
from fx_pipeline.market.instrument import known_instruments
from fx_pipeline.market.spread_fit import MAX_FACTOR
from fx_pipeline.market.spreads import SpreadModel, require_known_spread, spread_model

Quotes = Literal["quoted", "modelled", "partly modelled"]


@dataclass(frozen=True)
class CostBasis:
    """Where the costs come from; spreads are medians over the bars of the span, in pips.

    Attributes
    ----------
    quotes : str
        Whether bid and ask of the bars were quoted.
    charged_pips : float
        What entering and leaving at once costs under the cost model, without slippage.
    quoted_pips : float or None
        None where a bar's quotes are modelled: then its spread says nothing of the market.
    modelled_pips : float or None
        None for an instrument that no broker has, such as a proof's.
    certainty, source, quoted : str or None
        What the modelled spread rests on, as of `SpreadModel`.
    says : tuple of str
        Sentences for the page.
    warnings : tuple of str
        Those that a reader must not miss.
    """

    quotes: Quotes
    charged_pips: float
    quoted_pips: float | None
    modelled_pips: float | None
    certainty: str | None
    source: str | None
    quoted: str | None
    says: tuple[str, ...]
    warnings: tuple[str, ...]


def cost_basis(market: MarketArrays, costs: CostConfig, quotes_modelled: float) -> CostBasis:
    """Say what the costs of a validation rest on.

    Parameters
    ----------
    market : MarketArrays
        The bars of the span.
    costs : CostConfig
    quotes_modelled : float
        Share of the bars whose bid and ask come from the cost model.

    Raises
    ------
    ConfigurationError
        If the costs rest on the modelled spread of an instrument of which none is known.
    """
    name = market.instrument
    known = name in known_instruments()
    if known and (costs.kind == "profile" or (costs.kind == "quoted" and quotes_modelled > 0)):
        require_known_spread(name)
    quotes: Quotes = "modelled" if quotes_modelled >= 1 else "partly modelled" if quotes_modelled > 0 else "quoted"
    model = spread_model(name) if known else None
    modelled = None if model is None else float(np.median(model.pips(market.time, market.open)))
    spread = float(np.median(market.ask_open - market.bid_open)) / market.pip
    quoted = spread if quotes == "quoted" else None
    charged = spread if costs.kind == "quoted" else float(np.median(build_fills(market, costs).entry_cost_pips))
    return CostBasis(
        quotes=quotes,
        charged_pips=charged,
        quoted_pips=quoted,
        modelled_pips=modelled,
        certainty=None if model is None else model.certainty,
        source=None if model is None else model.source,
        quoted=None if model is None else model.quoted,
        says=_says(costs, quotes, quotes_modelled, charged, quoted, modelled, model),
        warnings=_warnings(name, costs, quotes, charged, quoted, modelled, model),
    )


def _says(
    costs: CostConfig,
    quotes: Quotes,
    share: float,
    charged: float,
    quoted: float | None,
    modelled: float | None,
    model: SpreadModel | None,
) -> tuple[str, ...]:
    kinds = {
        "fixed": f"A position pays {charged:.3g} pips on entry, the same at every hour, and fills at mid prices.",
        "profile": f"A position pays the modelled spread of the hour on entry, {charged:.3g} pips as a median.",
        "quoted": f"Orders fill at bid and ask of the candles, {charged:.3g} pips apart as a median.",
    }
    said = [kinds[costs.kind]]
    if quotes == "quoted" and quoted is not None:
        said.append(f"Bid and ask of all bars were quoted: {quoted:.3g} pips apart as a median.")
    else:
        said.append(f"Bid and ask of {share:.0%} of the bars are modelled, not quoted.")
    if model is not None and modelled is not None:
        said.append(f"The model's spread is {modelled:.3g} pips over these bars: {model.describe()}.")
    return tuple(said)


def _warnings(
    name: str,
    costs: CostConfig,
    quotes: Quotes,
    charged: float,
    quoted: float | None,
    modelled: float | None,
    model: SpreadModel | None,
) -> tuple[str, ...]:
    found: list[str] = []
    market, word = (modelled, "modelled") if quoted is None else (quoted, "quoted")
    if costs.kind == "fixed" and market is not None and charged < market:
        found.append(
            f"Entering costs {charged:g} pips, less than the {word} spread of {name}, {market:.3g} pips: set "
            "FX_COST_FIXED_PIPS higher, or FX_COST_KIND to profile or quoted."
        )
    if costs.kind == "profile" and quoted is not None and modelled is not None and modelled * MAX_FACTOR < quoted:
        found.append(
            f"The modelled spread of {name}, {modelled:.3g} pips, is less than the quoted one, {quoted:.3g} pips: set "
            "FX_COST_KIND=quoted."
        )
    if model is not None and model.certainty != "quoted" and (costs.kind != "quoted" or quotes != "quoted"):
        basis = "approximate" if model.certainty == "approximate" else "not known, and assumed"
        found.append(f"What {name} costs is {basis}: {model.describe()}.")
    return tuple(found)
