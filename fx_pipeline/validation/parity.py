"""The decisions of a rollout, traded again at the paper broker, whose matching core must make the same trades.

A second program with books of its own: it fills at ticks in decimal prices, and counts money. Decisions become orders
as they do live, except where nothing at a broker corresponds:

- An exposure is a share of `units_of` the action set. A decision becomes one market order of the units that change: it
  opens, adds, closes a part or all, or turns a position to the other side, as the account nets it.
- An order that is decided at the close of a bar is sent at the first tick of the next. Where minutes are missing in
  between, a broker would fill an order that comes at once at the price that still stands: such trades are counted.
- The last bar of a session closes what is open, at that bar's last tick.
- A session has an account of its own, in the quote currency, with ample margin; financing is switched off.
- A spread that a cost model charges is not in the broker's prices: bid and ask both are the mid price then.
- Trading hours are those of the bars: where there is a bar, there is a price.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.desk import Desk
from fx_pipeline.broker.paper.desk.times import time_of
from fx_pipeline.broker.paper.quotes import Quote
from fx_pipeline.broker.paper.ticks import TICKS_IN_BAR, bar_ticks
from fx_pipeline.environment.action_sets import ActionSet
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import CostConfig, build_fills, frictionless
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.instrument import instrument, known_instruments
from fx_pipeline.validation.costs import reprice
from fx_pipeline.validation.legs import legs_of
from fx_pipeline.validation.rollout import Rollout

#: What an exposure of 1 is at the broker at least, in units of the base currency: a point of any price is money.
UNITS = 10_000
#: Differences of prices are decimal there and binary here.
TOLERANCE_PIPS = 1e-6
#: Beyond so many trades, two seconds of work, whole sessions are drawn that have about as many.
MAX_TRADES = 10_000
_BALANCE = Decimal(10) ** 12
_QUOTES = ("open", "close", "bid_open", "ask_open", "bid_close", "ask_close")


@dataclass(frozen=True)
class Parity:
    """How the broker's trades compare with those of a rollout.

    Attributes
    ----------
    replayed : int
        Trades that the broker opened and closed.
    trades : int
        Trades of the rollout, in the sessions that were replayed.
    left_out : int
        Trades of sessions that were not drawn for the replay; 0 up to `MAX_TRADES` trades.
    differing : int
        Those that only one of the two made, or at other bars, on another side, in another size or with another result.
    largest_difference_pips : float
        Between the results of a trade, once the modelled spread, slippage, financing and decimals finer than a quote's
        are taken out; 0 without trades.
    over_gaps : int
        Trades with an order that waited over missing bars: an account would have had another price there.
    """

    replayed: int
    trades: int
    left_out: int
    differing: int
    largest_difference_pips: float
    over_gaps: int


class RoundTrip(NamedTuple):
    """A position from its opening to its end, as the broker's fills have it.

    Attributes
    ----------
    side : int
        1 long, -1 short.
    units : int
        The most that was held.
    entry_ns, exit_ns : int
        UTC nanoseconds.
    gained : Decimal
        Money, in the quote currency.
    """

    side: int
    units: int
    entry_ns: int
    exit_ns: int
    gained: Decimal

    def pips(self, pip: float, units: int = UNITS) -> float:
        """Result in pips of `pip` price units, weighted by exposure: `units` are an exposure of 1."""
        return float(self.gained) / (units * pip)


class Trader:
    """Sends the orders of one net position to a desk, and reads what came of them.

    Parameters
    ----------
    desk : Desk
        Of an account in the instrument's quote currency.
    name : str
        The instrument.
    """

    def __init__(self, desk: Desk, name: str) -> None:
        self._desk, self._name = desk, name
        self._held = 0
        self._open: RoundTrip | None = None

    def bring(self, units: int, now_ns: int) -> RoundTrip | None:
        """Bring the position to so many units, negative ones short, by an order of those that change.

        Returns
        -------
        RoundTrip or None
            The position that the order has ended; None if it ended none, or the broker did not fill it.
        """
        change = units - self._held
        if not change:
            return None
        order = {"type": "MARKET", "instrument": self._name, "units": str(change)}
        fill = self._desk.create_order(order, now_ns, None).body.get("orderFillTransaction")
        return None if fill is None else self._filled(fill)

    def _filled(self, fill: dict[str, Any]) -> RoundTrip | None:
        before, at_ns = self._held, time_of(fill["time"])
        if at_ns is None:
            return None
        self._held = before + int(Decimal(fill["units"]))
        ended, trip = None, self._open
        if trip is not None:
            trip = trip._replace(gained=trip.gained + Decimal(fill["pl"]), exit_ns=at_ns)
            if before * self._held <= 0:
                ended, trip = trip, None
        if self._held:
            trip = trip or RoundTrip(1 if self._held > 0 else -1, 0, at_ns, at_ns, Decimal(0))
            trip = trip._replace(units=max(trip.units, abs(self._held)))
        self._open = trip
        return ended


def units_of(actions: ActionSet) -> int:
    """Return how many units are an exposure of 1: `UNITS` or a multiple, so that every target is a whole number."""
    shares = [Fraction(level).limit_denominator(1_000) for level in actions.levels]
    return UNITS * math.lcm(*(share.denominator for share in shares))


def account_terms(name: str) -> AccountConfig:
    """Return the terms of an account in the quote currency of an instrument: no conversion, no financing, ample margin.

    Raises
    ------
    DataError
        If the instrument is unknown.
    """
    none = {name: Decimal(0)}
    return AccountConfig(
        home_currency=instrument(name).quote, balance=_BALANCE, financing_long=none, financing_short=none
    )


def replay_at_broker(done: Rollout, market: MarketArrays, costs: CostConfig) -> Parity:
    """Send the decisions of a rollout to the paper broker's matching core, and compare the trades.

    Parameters
    ----------
    done : Rollout
        Its actions are what is sent, its trades what is compared.
    market : MarketArrays
        The broker sees its candles, at the instrument's displayed decimals.
    costs : CostConfig
        The cost model of the rollout.

    Returns
    -------
    Parity

    Raises
    ------
    DataError
        If the broker knows no instrument with such a pip.
    """
    name, everything = _traded_as(market), len(done.trades)
    done = _drawn(done)
    units = units_of(done.action_set)
    orders = _orders(done, market, costs)
    trips = _traded(done, market, orders, _quotes(market, orders, name, costs.kind == "quoted"), name)
    unlike = _without_counterpart(done, market, costs, instrument(name).display_precision)
    ours: dict[int, list[_Trade]] = defaultdict(list)
    columns = ("session", "side", "entry_bar", "exit_bar", "exposure", "pnl_pips")
    for session, side, first, last, exposure, pips in zip(*(done.trades[one].tolist() for one in columns), strict=True):
        ours[session].append(_Trade(side, first, last, round(exposure * units), pips))
    theirs: dict[int, list[_Trade | None]] = defaultdict(list)
    for session, trip, pips in zip(orders.session[orders.ends].tolist(), trips, unlike.tolist(), strict=True):
        theirs[session].append(_told(trip, market, units, pips))
    differing, differences = 0, [0.0]
    for session in sorted(theirs.keys() | ours.keys()):
        for own, other in zip_longest(ours[session], theirs[session]):
            if own is None or other is None:
                differing += 1
                continue
            differences.append(abs(own.pips - other.pips))
            # A result that is no number agrees with none.
            differing += own[:4] != other[:4] or not differences[-1] <= TOLERANCE_PIPS
    return Parity(
        replayed=sum(trip is not None for trip in trips),
        trades=len(done.trades),
        left_out=everything - len(done.trades),
        differing=differing,
        largest_difference_pips=float(np.max(differences)),
        over_gaps=_over_gaps(done, market, costs),
    )


def _drawn(done: Rollout) -> Rollout:
    """The sessions to replay: all, or as many as have `MAX_TRADES` trades, drawn alike in every run."""
    if len(done.trades) <= MAX_TRADES:
        return done
    order = np.random.default_rng(0).permutation(done.sessions)
    trades = np.cumsum(np.bincount(done.trades["session"], minlength=done.sessions)[order])
    rows = np.sort(order[: max(1, int(np.searchsorted(trades, MAX_TRADES, side="right")))])
    kept = done.trades[np.isin(done.trades["session"], rows)]
    kept["session"] = np.searchsorted(rows, kept["session"])
    drawn = {name: getattr(done, name)[rows] for name in ("starts", "actions", "lengths")}
    return replace(done, trades=kept, **drawn)


class _Trade(NamedTuple):
    side: int
    entry_bar: int
    exit_bar: int
    units: int
    pips: float


def _told(trip: RoundTrip | None, market: MarketArrays, units: int, unlike_pips: float) -> _Trade | None:
    if trip is None:
        return None
    entry_bar, exit_bar = np.searchsorted(market.time, [trip.entry_ns, trip.exit_ns], side="right").tolist()
    return _Trade(trip.side, entry_bar - 1, exit_bar - 1, trip.units, trip.pips(market.pip, units) + unlike_pips)


class _Orders(NamedTuple):
    # What was decided, by session and time, each (N,): the session, the exposure that is to be reached, whether that
    # ends a trade, the bar in which the order is sent, and whether it is sent at its last tick.
    session: npt.NDArray[np.int64]
    wanted: npt.NDArray[np.float64]
    ends: npt.NDArray[np.bool_]
    bar: npt.NDArray[np.int64]
    late: npt.NDArray[np.bool_]


def _orders(done: Rollout, market: MarketArrays, costs: CostConfig) -> _Orders:
    held, wanted = done.held, done.wanted
    session, step = np.nonzero(wanted != held)
    before, after = held[session, step], wanted[session, step]
    bar, late = _sent(done, costs, session, step)
    return _Orders(session, after, (before != 0.0) & (before * after <= 0.0), bar, late)


def _sent(
    done: Rollout, costs: CostConfig, session: npt.NDArray[np.int64], step: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    # The bar in which the order of a decision is sent, and whether at its last tick or its first.
    late = (step == done.lengths[session] - 1) | (costs.fill == "close")
    return done.starts[session] + step + ~late, late


def _over_gaps(done: Rollout, market: MarketArrays, costs: CostConfig) -> int:
    waited = []
    for legs in legs_of(done):
        bar, late = _sent(done, costs, legs.session, legs.step)
        waits = ~late & (market.time[bar] - market.time[bar - 1] > market.timeframe.bar_ns)
        waited.append(legs.trade[waits])
    return len(np.unique(np.concatenate(waited)))


def _quotes(market: MarketArrays, orders: _Orders, name: str, quoted: bool) -> list[Quote]:
    """What the broker quotes at each order."""
    bars, place = np.unique(orders.bar, return_inverse=True)
    sides = [_extremes(market, bars, f"{side}_") for side in ("bid", "ask")] if quoted else []
    mid = np.stack([column[bars] for column in (market.open, market.high, market.low, market.close)], axis=1)
    bid, ask = sides or (mid, mid)
    none = np.zeros(len(bars), dtype=np.int64)
    precision = instrument(name).display_precision
    ticks = bar_ticks(
        Bars(market.time[bars], np.concatenate([bid, mid, ask], axis=1), none, none.astype(np.bool_)), precision
    )
    rows = TICKS_IN_BAR * place + np.where(orders.late, TICKS_IN_BAR - 1, 0)
    return [
        Quote(name, time, Decimal(low).scaleb(-precision), Decimal(high).scaleb(-precision), True)
        for time, low, high in zip(*(column[rows].tolist() for column in ticks), strict=True)
    ]


def _extremes(market: MarketArrays, bars: npt.NDArray[np.int64], side: str) -> npt.NDArray[np.float64]:
    # The arrays keep open and close of a side: nothing here fills in between.
    opened, closed = (np.asarray(getattr(market, f"{side}{field}"))[bars] for field in ("open", "close"))
    return np.stack([opened, np.maximum(opened, closed), np.minimum(opened, closed), closed], axis=1)


def _traded(
    done: Rollout, market: MarketArrays, orders: _Orders, quotes: Sequence[Quote], name: str
) -> list[RoundTrip | None]:
    terms, current, trips = account_terms(name), -1, []
    units = np.rint(orders.wanted * units_of(done.action_set)).astype(np.int64).tolist()
    for session, wanted, ends, quote in zip(orders.session.tolist(), units, orders.ends.tolist(), quotes, strict=True):
        if session != current:
            # Sessions that overlap would meet in one account.
            current, desk = session, Desk(terms, [name])
            desk.open(int(market.time[done.starts[session]]))
            trader = Trader(desk, name)
        desk.on_quote(quote)
        ended = trader.bring(wanted, quote.time_ns)
        if ends:
            trips.append(ended)
    return trips


def _without_counterpart(
    done: Rollout, market: MarketArrays, costs: CostConfig, decimals: int
) -> npt.NDArray[np.float64]:
    """What a broker's quotes leave out of each trade, in pips: modelled costs, and decimals finer than theirs."""
    free = replace(frictionless(costs), kind="quoted" if costs.kind == "quoted" else "fixed")
    shown = replace(
        market, **{name: np.rint(getattr(market, name) * 10.0**decimals) / 10.0**decimals for name in _QUOTES}
    )
    return reprice(done, market, build_fills(market, costs)) - reprice(done, shown, build_fills(shown, free))


def _traded_as(market: MarketArrays) -> str:
    known = known_instruments()
    if market.instrument in known:
        return market.instrument
    # A generated market has no name at a broker: any pair of the same pip will do.
    for name in known:
        if math.isclose(instrument(name).pip, market.pip):
            return name
    raise DataError(
        f"the paper broker cannot replay {market.instrument}: no instrument that it knows has a pip of {market.pip}."
    )
