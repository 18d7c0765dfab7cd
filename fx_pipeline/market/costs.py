"""Trading costs: the price at which each order fills, and what entering and holding cost.

One table of fills is built per market and cost model; the environment, validation and the live trader's accounting
all read it, so that a cost cannot be charged in one of them and forgotten in another.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.alignment import bar_ends
from fx_pipeline.market.calendar import MINUTE_NS, trading_day
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.financing import DAYS_A_YEAR, financing_rate
from fx_pipeline.market.instrument import known_instruments
from fx_pipeline.market.spreads import FIXED_PIPS, cost_scale, least_spread_pips, modelled_spread_pips
from fx_pipeline.market.timeframe import M1, Timeframe

Float64 = npt.NDArray[np.float64]
#: The last digit of a currency pair's quote, in pips: the least that a fill can slip.
TICK_PIPS = 0.1


class Quotes(Protocol):
    """What a cost model reads of a market (`MarketArrays` provides it). All arrays are (T,)."""

    @property
    def instrument(self) -> str: ...
    @property
    def pip(self) -> float: ...
    @property
    def timeframe(self) -> Timeframe: ...
    @property
    def time(self) -> npt.NDArray[np.int64]: ...
    @property
    def open(self) -> Float64: ...
    @property
    def close(self) -> Float64: ...
    @property
    def bid_open(self) -> Float64: ...
    @property
    def ask_open(self) -> Float64: ...
    @property
    def bid_close(self) -> Float64: ...
    @property
    def ask_close(self) -> Float64: ...


@dataclass(frozen=True)
class CostConfig:
    """A cost model.

    Attributes
    ----------
    kind : str
        "fixed": `fixed_pips` charged on entry, fills at mid. "quoted": fills at the candles' bid and ask.
        "profile": the modelled spread of the hour charged on entry, fills at mid.
    fixed_pips : float
        Cost of entering a position, for "fixed".
    slippage_pips : float
        Added against the trader to every fill.
    financing_long_pips, financing_short_pips : float
        Charged to a position held over 17:00 New York, a day; three days on Wednesday. Negative pays the trader.
    fill : str
        "next_open": an order decided at the close of bar t fills at the open of t + 1. "close": at the close of t.
    """

    kind: Literal["fixed", "quoted", "profile"] = "fixed"
    fixed_pips: float = FIXED_PIPS
    slippage_pips: float = 0.0
    financing_long_pips: float = 0.0
    financing_short_pips: float = 0.0
    fill: Literal["next_open", "close"] = "next_open"

    def __post_init__(self) -> None:
        if self.kind not in ("fixed", "quoted", "profile"):
            raise ConfigurationError(f"cost kind {self.kind!r} is unknown: use fixed, quoted or profile.")
        if self.fill not in ("next_open", "close"):
            raise ConfigurationError(f"cost fill {self.fill!r} is unknown: use next_open or close.")
        pips = (self.fixed_pips, self.slippage_pips, self.financing_long_pips, self.financing_short_pips)
        if not all(math.isfinite(value) for value in pips) or self.fixed_pips < 0 or self.slippage_pips < 0:
            raise ConfigurationError(
                f"fixed_pips={self.fixed_pips} and slippage_pips={self.slippage_pips} must be 0 or more, and financing "
                f"({self.financing_long_pips} long, {self.financing_short_pips} short) a finite number of pips."
            )


def recorded_costs(record: Mapping[str, object] | None) -> CostConfig | None:
    """Return the cost model of which a record holds the fields; None without one, or when it is none."""
    if record is None:
        return None
    known = {field.name for field in fields(CostConfig)}
    try:
        return CostConfig(**{name: value for name, value in record.items() if name in known})  # type: ignore[arg-type]
    except (ConfigurationError, TypeError):
        # What cannot be read says nothing, and is reported as not known.
        return None


@dataclass(frozen=True)
class JudgedCosts(CostConfig):
    """The costs at which a model is judged; `judged_costs` makes them.

    At each fill a side is the worst of three: the middle and half the fixed spread, the middle and half the modelled
    spread of that time and price, and the stored bid or ask. What a user configures can only make them higher: the kind
    is "fixed", and models of every kind that is nowhere above the other two are judged at one and the same cost.

    Attributes
    ----------
    financing_rate : float
        A year, as a share of the position at the price of the bar, charged on both sides unless the pips are more.
    spread_floor : bool
        False only to ask what the same trades would have made without it.
    """

    financing_rate: float = 0.0
    spread_floor: bool = True

    def released(self) -> "JudgedCosts":
        """Return the same slippage and financing with the configured spread alone."""
        return replace(self, spread_floor=False)


def judged_costs(configured: CostConfig, instrument: str) -> CostConfig:
    """Return the costs at which a model of an instrument is judged, however low the configured ones are.

    Parameters
    ----------
    configured : CostConfig
        Its fixed pips, slippage and financing are kept where they are the worse ones.
    instrument : str
        OANDA name. Of a market that no broker has (a proof's) nothing is modelled and nothing can be promoted by a job:
        the configured costs come back as they are.

    Returns
    -------
    CostConfig
        The same for two configurations that charge the same everywhere.
    """
    if isinstance(configured, JudgedCosts) or instrument not in known_instruments():
        return configured
    fixed = configured.fixed_pips if configured.kind == "fixed" else 0.0
    return JudgedCosts(
        kind="fixed",
        fixed_pips=fixed if fixed > least_spread_pips(instrument) else 0.0,
        slippage_pips=max(configured.slippage_pips, TICK_PIPS * cost_scale(instrument)),
        # What would pay the trader is no cost, and the rate charges more than nothing.
        financing_long_pips=max(configured.financing_long_pips, 0.0),
        financing_short_pips=max(configured.financing_short_pips, 0.0),
        fill=configured.fill,
        financing_rate=financing_rate(instrument),
    )


def frictionless(costs: CostConfig) -> CostConfig:
    """Return a cost model with the same moment of filling, at the middle and for nothing."""
    return CostConfig(kind="fixed", fixed_pips=0.0, fill=costs.fill)


class Fills(NamedTuple):
    """What orders and positions are worth at each bar. All arrays are (T,) float64.

    Attributes
    ----------
    buy, sell : prices at which a buy or a sell decided at bar t fills.
    last_buy, last_sell : the same for a session's last bar, whose orders fill at its close.
    long_mark, short_mark : liquidation price of a long or a short at the close of bar t.
    entry_cost_pips : charged when a position opens on an order decided at bar t.
    carry_long_pips, carry_short_pips : financing charged for holding from bar t to bar t + 1.
    at_close : whether orders fill at the close of bar t instead of at the next open.
    """

    buy: Float64
    sell: Float64
    last_buy: Float64
    last_sell: Float64
    long_mark: Float64
    short_mark: Float64
    entry_cost_pips: Float64
    carry_long_pips: Float64
    carry_short_pips: Float64
    at_close: bool


def build_fills(market: Quotes, config: CostConfig) -> Fills:
    """Precompute the fills of a market under a cost model.

    Parameters
    ----------
    market : Quotes
        Bars in order. The last bar has no next open: an order decided there fills at its close.
    config : CostConfig

    Returns
    -------
    Fills
    """
    floored = isinstance(config, JudgedCosts) and config.spread_floor
    if floored:
        half, half_at_close = (
            np.maximum(config.fixed_pips, spread) * market.pip / 2 for spread in _spreads_at_both_ends(market)
        )
        ask_open, ask_close = (
            np.maximum(market.ask_open, market.open + half),
            np.maximum(market.ask_close, market.close + half_at_close),
        )
        bid_open, bid_close = (
            np.minimum(market.bid_open, market.open - half),
            np.minimum(market.bid_close, market.close - half_at_close),
        )
    elif config.kind == "quoted":
        ask_open, bid_open, ask_close, bid_close = market.ask_open, market.bid_open, market.ask_close, market.bid_close
    else:
        ask_open = bid_open = market.open
        ask_close = bid_close = market.close
    slippage = config.slippage_pips * market.pip
    last_buy, last_sell = ask_close + slippage, bid_close - slippage
    if config.fill == "next_open":
        buy = np.append(ask_open[1:], ask_close[-1:]) + slippage
        sell = np.append(bid_open[1:], bid_close[-1:]) - slippage
    else:
        buy, sell = last_buy, last_sell
    if floored:
        entry_cost = np.zeros(len(market.time))
    elif config.kind == "fixed":
        entry_cost = np.full(len(market.time), config.fixed_pips)
    elif config.kind == "profile":
        if market.timeframe == M1:
            at_open = config.fill == "next_open"
            spread = modelled_spread_pips(market.instrument, market.time, market.open if at_open else market.close)
            entry_cost = np.append(spread[1:], spread[-1:]) if at_open else spread
        else:
            spread, at_close = _spreads_at_both_ends(market)
            entry_cost = np.append(spread[1:], at_close[-1:]) if config.fill == "next_open" else at_close
    else:
        entry_cost = np.zeros(len(market.time))
    nights = financing_days(market.time)
    rate = config.financing_rate / DAYS_A_YEAR if isinstance(config, JudgedCosts) else None
    carry_long, carry_short = (
        nights * (pips if rate is None else np.maximum(pips, rate * market.close / market.pip))
        for pips in (config.financing_long_pips, config.financing_short_pips)
    )
    return Fills(
        buy=np.ascontiguousarray(buy, dtype=np.float64),
        sell=np.ascontiguousarray(sell, dtype=np.float64),
        last_buy=np.ascontiguousarray(last_buy, dtype=np.float64),
        last_sell=np.ascontiguousarray(last_sell, dtype=np.float64),
        long_mark=np.ascontiguousarray(bid_close, dtype=np.float64),
        short_mark=np.ascontiguousarray(ask_close, dtype=np.float64),
        entry_cost_pips=entry_cost,
        carry_long_pips=carry_long,
        carry_short_pips=carry_short,
        at_close=config.fill == "close",
    )


def _spreads_at_both_ends(market: Quotes) -> tuple[Float64, Float64]:
    # The modelled spread in pips when each bar opens and when it closes. A minute has one; a longer bar may open in the
    # rollover hour and close in another.
    at_open = modelled_spread_pips(market.instrument, market.time, market.open)
    if market.timeframe == M1:
        return at_open, at_open
    last_minute = bar_ends(market.time, market.timeframe) - MINUTE_NS
    return at_open, modelled_spread_pips(market.instrument, last_minute, market.close)


def financing_days(time_ns: npt.NDArray[np.int64]) -> Float64:
    """Days of financing charged for holding a position from bar t to bar t + 1.

    One for each 17:00 New York crossed that ends a Monday, Tuesday, Thursday or Friday, three on Wednesday (spot
    settles two business days later, so Wednesday's roll carries the weekend).

    No bar of any timeframe has a 17:00 New York inside it: daily bars and those of four hours begin there, and shorter
    ones divide the hour. So a roll lies between two bars, at the end of one, or in a gap; over several of them, as a
    daily bar that is missing leaves, each is charged.

    Parameters
    ----------
    time_ns : (T,) int64

    Returns
    -------
    (T,) float64
        The last bar has 0.
    """
    days = trading_day(time_ns)
    charged = np.zeros(len(days))
    for bar in np.flatnonzero(np.diff(days) > 0):
        crossed = np.arange(days[bar], days[bar + 1])
        weekday = (crossed + 3) % 7
        charged[bar] = float(np.select([weekday == 2, weekday < 5], [3.0, 1.0], 0.0).sum())
    return charged
