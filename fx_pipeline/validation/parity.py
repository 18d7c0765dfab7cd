"""The decisions of a rollout, traded again at the paper broker, whose matching core must make the same trades.

A second program with books of its own: it fills at ticks in decimal prices, and counts money. Decisions become orders
as they do live, except where nothing at a broker corresponds:

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
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.costs import CostConfig, build_fills, frictionless
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.instrument import instrument, known_instruments
from fx_pipeline.validation.costs import reprice
from fx_pipeline.validation.rollout import Rollout

#: What one unit of the environment is at the broker, in units of the base currency: a point of any price is money.
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
        Trades with an order that waited over missing minutes: an account would have had another price there.
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
    units : Decimal
        Closed, of what was opened.
    entry_ns, exit_ns : int
        UTC nanoseconds.
    gained : Decimal
        Money, in the quote currency.
    """

    side: int
    units: Decimal
    entry_ns: int
    exit_ns: int
    gained: Decimal

    def pips(self, pip: float) -> float:
        """Result in pips of `pip` price units."""
        return float(self.gained) / (UNITS * pip)


class Trader:
    """Sends the orders of one net position of `UNITS` to a desk, and reads what came of them.

    Parameters
    ----------
    desk : Desk
        Of an account in the instrument's quote currency.
    name : str
        The instrument.
    """

    def __init__(self, desk: Desk, name: str) -> None:
        self._desk, self._name = desk, name
        self._entry: dict[str, Any] | None = None

    def enter(self, side: int, now_ns: int) -> None:
        """Send a market order: 1 buys, -1 sells."""
        order = {"type": "MARKET", "instrument": self._name, "units": str(side * UNITS)}
        self._entry = self._desk.create_order(order, now_ns, None).body.get("orderFillTransaction")

    def leave(self, now_ns: int) -> RoundTrip | None:
        """Close the position; return what it brought, None if the broker did not fill one of the two orders."""
        entry, self._entry = self._entry, None
        if entry is None or "tradeOpened" not in entry:
            return None
        trade = entry["tradeOpened"]["tradeID"]
        left = self._desk.close_trade(trade, {"units": "ALL"}, now_ns, None).body.get("orderFillTransaction")
        entry_ns, exit_ns = time_of(entry["time"]), time_of(left["time"]) if left else None
        if left is None or entry_ns is None or exit_ns is None:
            return None
        opened = Decimal(entry["units"])
        side = 1 if opened > 0 else -1
        return RoundTrip(side, min(abs(opened), -side * Decimal(left["units"])), entry_ns, exit_ns, Decimal(left["pl"]))


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
    orders = _orders(done, market, costs)
    trips = _traded(done, market, orders, _quotes(market, orders, name, costs.kind == "quoted"), name)
    unlike = _without_counterpart(done, market, costs, instrument(name).display_precision)
    ours: dict[int, list[_Trade]] = defaultdict(list)
    columns = ("session", "side", "entry_bar", "exit_bar", "pnl_pips")
    for session, *facts in zip(*(done.trades[column].tolist() for column in columns), strict=True):
        ours[session].append(_Trade(*facts))
    theirs: dict[int, list[_Trade | None]] = defaultdict(list)
    for session, trip, pips in zip(orders.session[orders.closing].tolist(), trips, unlike.tolist(), strict=True):
        theirs[session].append(_told(trip, market, pips))
    differing, differences = 0, [0.0]
    for session in sorted(theirs.keys() | ours.keys()):
        for own, other in zip_longest(ours[session], theirs[session]):
            if own is None or other is None:
                differing += 1
                continue
            differences.append(abs(own.pips - other.pips))
            # A result that is no number agrees with none.
            differing += own[:3] != other[:3] or not differences[-1] <= TOLERANCE_PIPS
    return Parity(
        replayed=sum(trip is not None for trip in trips),
        trades=len(done.trades),
        left_out=everything - len(done.trades),
        differing=differing,
        largest_difference_pips=float(np.max(differences)),
        over_gaps=int((orders.waits[orders.closing] | orders.waits[~orders.closing]).sum()),
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
    pips: float


def _told(trip: RoundTrip | None, market: MarketArrays, unlike_pips: float) -> _Trade | None:
    if trip is None or trip.units != UNITS:
        return None
    entry_bar, exit_bar = np.searchsorted(market.time, [trip.entry_ns, trip.exit_ns], side="right").tolist()
    return _Trade(trip.side, entry_bar - 1, exit_bar - 1, trip.pips(market.pip) + unlike_pips)


class _Orders(NamedTuple):
    # What was decided, by session and time, each (N,): the session, the action, the bar in which the order is sent,
    # whether it is sent at its last tick, and whether minutes are missing before it.
    session: npt.NDArray[np.int64]
    code: npt.NDArray[np.int8]
    bar: npt.NDArray[np.int64]
    late: npt.NDArray[np.bool_]
    waits: npt.NDArray[np.bool_]

    @property
    def closing(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.code == CLOSE)


def _orders(done: Rollout, market: MarketArrays, costs: CostConfig) -> _Orders:
    session, step = np.nonzero(done.actions != HOLD)
    late = (step == done.lengths[session] - 1) | (costs.fill == "close")
    bar = done.starts[session] + step + ~late
    waits = ~late & (market.time[bar] - market.time[bar - 1] > MINUTE_NS)
    return _Orders(session, done.actions[session, step], bar, late, waits)


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
    for session, code, quote in zip(orders.session.tolist(), orders.code.tolist(), quotes, strict=True):
        if session != current:
            # Sessions that overlap would meet in one account.
            current, desk = session, Desk(terms, [name])
            desk.open(int(market.time[done.starts[session]]))
            trader = Trader(desk, name)
        desk.on_quote(quote)
        if code == CLOSE:
            trips.append(trader.leave(quote.time_ns))
        else:
            trader.enter(1 if code == BUY else -1, quote.time_ns)
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
