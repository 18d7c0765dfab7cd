"""Ticks inside stored bars: four a minute, in an order that depends on nothing but the bar."""

from decimal import Decimal
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.broker.paper.hours import TradingHours
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline.broker.paper.quotes import Quote
from fx_pipeline.broker.paper.start import data_span
from fx_pipeline.market.calendar import DAY_MINUTES, MINUTE_NS
from fx_pipeline.market.candles import PRICE_COLUMNS
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.instrument import instrument as find_instrument

Int64 = npt.NDArray[np.int64]

DAY_NS = DAY_MINUTES * MINUTE_NS
TICKS_IN_BAR = 4
#: Open, the two extremes, close. The first stands at the bar's open, so that an order sent when bar t is complete
#: fills at the open of bar t + 1, as it does in training.
TICK_STEP_NS = MINUTE_NS // TICKS_IN_BAR
#: After how many minutes without a bar an instrument stops trading: the longest pause that a training session has too.
STALE_MINUTES = 10
# Ask prices from here on are beyond what an order can name.
_PRICE_LIMIT = Decimal(10) ** 9
# A long weekend, so that looking back over it and ahead builds no block twice.
_BLOCKS_KEPT = 6


class Ticks(NamedTuple):
    """Ticks of one instrument in order of time, as the data have them.

    Attributes
    ----------
    time : (T,) int64
        UTC nanoseconds.
    bid, ask : (T,) int64
        In units of the last displayed decimal.
    open : (T,) bool
        Whether it is a tick of a bar, in trading hours and before the end of the data.
    """

    time: Int64
    bid: Int64
    ask: Int64
    open: npt.NDArray[np.bool_]


def bar_ticks(bars: Bars, precision: int) -> tuple[Int64, Int64, Int64]:
    """Return times, bids and asks of the ticks inside bars, as of `Ticks`.

    Both sides take the same path: open, the extreme of the mid price that is nearer to the open, the other, close.

    Parameters
    ----------
    bars : Bars
    precision : int
        Displayed decimals.

    Returns
    -------
    three (4 T,) int64
    """
    points = np.rint(bars.prices * 10.0**precision).astype(np.int64)
    open_, high, low = (points[:, PRICE_COLUMNS.index(f"mid_{field}")] for field in "ohl")
    high_first = (high - open_ <= open_ - low)[:, None]
    time = (bars.time[:, None] + TICK_STEP_NS * np.arange(TICKS_IN_BAR)).ravel()
    bid, ask = (
        np.where(high_first, points[:, columns], points[:, [columns[0], columns[2], columns[1], columns[3]]]).ravel()
        for columns in ([PRICE_COLUMNS.index(f"{side}_{field}") for field in "ohlc"] for side in ("bid", "ask"))
    )
    return time, bid, np.maximum(ask, bid)


class Feed:
    """Quotes of one instrument by time, from its stored bars, the trading hours and what the control surface asks.

    Orders fill from a bar's first tick on. The last price stands, and nothing fills at it any more, when the market
    closes, when the data end, and when there was no bar for `stale_minutes`; the next bar opens trading again.

    Parameters
    ----------
    market : PaperMarket
    hours : TradingHours
    name : str
        The instrument.
    stale_minutes : int
        From the open of one bar on, how long trading goes on without the next.

    Attributes
    ----------
    start_ns, end_ns : int
        Open of the first stored bar, and end of the last: from there on nothing trades.
    halted : bool
        Whether trading is halted.

    Raises
    ------
    DataError
        If the market has no bar of the instrument.
    """

    def __init__(self, market: PaperMarket, hours: TradingHours, name: str, stale_minutes: int = STALE_MINUTES) -> None:
        self._market, self._hours, self._name = market, hours, name
        self._stale_ns = stale_minutes * MINUTE_NS
        self._precision = find_instrument(name).display_precision
        self.start_ns, self.end_ns = data_span(market, name)
        first = market.forward(name, self.start_ns, self.end_ns, 1)
        self._first = Ticks(*bar_ticks(first, self._precision), np.zeros(TICKS_IN_BAR, bool))
        self.halted = False
        self._offset = 0
        self._changed_ns = 0
        self._blocks: dict[int, Ticks] = {}

    def newest(self, time_ns: int) -> Quote:
        """Return the newest quote at or before a time; before the data begin, their first price, not tradeable."""
        if time_ns < self.start_ns:
            return self._quotes(self._first._replace(time=np.full(TICKS_IN_BAR, time_ns)), 0, 1)[0]
        day = min(time_ns, self.end_ns) // DAY_NS
        while True:
            block = self._block(day)
            row = int(np.searchsorted(block.time, time_ns, side="right")) - 1
            if row >= 0:
                quote = self._quotes(block, row, row + 1)[0]
                return quote._replace(time_ns=max(quote.time_ns, self._changed_ns))
            day -= 1

    def between(self, after_ns: int, until_ns: int) -> list[Quote]:
        """Return the quotes in (after, until], in order."""
        found: list[Quote] = []
        first, last = max(after_ns, self.start_ns - 1), min(until_ns, self.end_ns)
        for day in range(first // DAY_NS, last // DAY_NS + 1):
            block = self._block(day)
            rows = np.searchsorted(block.time, [first, last], side="right").tolist()
            found += self._quotes(block, *rows)
        return found

    def next_after(self, time_ns: int) -> int | None:
        """Return the time of the first quote after a time, None after the last."""
        if time_ns >= self.end_ns:
            return None
        day = max(time_ns, self.start_ns) // DAY_NS
        while True:
            block = self._block(day)
            row = int(np.searchsorted(block.time, time_ns, side="right"))
            if row < len(block.time):
                return int(block.time[row])
            day += 1

    def check_jump(self, pips: Decimal, now_ns: int) -> None:
        """Check that prices can move by a number of pips.

        Raises
        ------
        ConfigurationError
            If the number is finer than the displayed decimals, or would leave no positive price below 10 ** 9.
        """
        decimals = find_instrument(self._name).display_precision
        # Before any arithmetic, which has bounds of its own for exponents.
        if not pips.is_finite() or (pips and abs(pips.adjusted()) > _PRICE_LIMIT.adjusted() + decimals):
            raise ConfigurationError(f"a jump of {pips} pips is no price of {self._name}: ask for a smaller one.")
        points = self._points(pips)
        if points != points.to_integral_value():
            raise ConfigurationError(f"a jump of {pips} pips is finer than the {decimals} decimals of {self._name}.")
        quote, move = self.newest(now_ns), points.scaleb(-decimals)
        if quote.bid + move <= 0 or quote.ask + move >= _PRICE_LIMIT:
            raise ConfigurationError(
                f"a jump of {pips} pips would bring {self._name} to {quote.bid + move}: ask for a smaller one."
            )

    def jump(self, pips: Decimal, now_ns: int) -> None:
        """Move all prices from now on by a number of pips that `check_jump` lets pass."""
        self._offset += int(self._points(pips))
        self._changed_ns = now_ns

    def halt(self, halted: bool, now_ns: int) -> None:
        """Halt trading from now on, or end a halt."""
        self.halted = halted
        self._changed_ns = now_ns

    def _points(self, pips: Decimal) -> Decimal:
        pair = find_instrument(self._name)
        return pips.scaleb(pair.pip_location + pair.display_precision)

    def _quotes(self, ticks: Ticks, first: int, last: int) -> list[Quote]:
        name, exponent, offset, running = self._name, -self._precision, self._offset, not self.halted
        rows = (column[first:last].tolist() for column in ticks)
        return [
            Quote(
                name,
                time,
                Decimal(max(bid + offset, 1)).scaleb(exponent),
                Decimal(max(ask + offset, 1)).scaleb(exponent),
                running and is_open,
            )
            for time, bid, ask, is_open in zip(*rows, strict=True)
        ]

    def _block(self, day: int) -> Ticks:
        if day not in self._blocks:
            while len(self._blocks) >= _BLOCKS_KEPT:
                del self._blocks[next(iter(self._blocks))]
            self._blocks[day] = self._build(day * DAY_NS, (day + 1) * DAY_NS)
        return self._blocks[day]

    def _build(self, start_ns: int, end_ns: int) -> Ticks:
        # With the bars before, of which one may turn stale here.
        around = self._market.forward(
            self._name, start_ns - self._stale_ns, end_ns, DAY_MINUTES + self._stale_ns // MINUTE_NS
        )
        time, bid, ask = bar_ticks(around.between(start_ns, end_ns), self._precision)
        ends = self._ends(around.time, start_ns, end_ns)
        ends = ends[~np.isin(ends, time)]
        every = np.concatenate([time, ends])
        order = np.argsort(every, kind="stable")
        every = every[order]
        # The end of trading has no price of its own: the one before it stands.
        source = np.maximum.accumulate(np.where(order < len(time), order, -1))
        if len(source) and source[0] < 0:
            before = self._market.backward(self._name, 0, start_ns, 1)
            _, before_bid, before_ask = bar_ticks(before, self._precision)
            bid, ask = np.append(bid, before_bid[-1]), np.append(ask, before_ask[-1])
        # Until a bar says so, an opening has no price at which anybody could trade.
        is_open = (order < len(time)) & self._hours.is_open(every) & (every < self.end_ns)
        return Ticks(every, bid[source], ask[source], is_open)

    def _ends(self, bar_ns: Int64, start_ns: int, end_ns: int) -> Int64:
        # Times in [start, end) at which trading ends: by the hours, for want of bars, with the data.
        first, last = max(start_ns, self.start_ns), min(end_ns, self.end_ns)
        changes = self._hours.changes(first, last)
        closes = changes[~self._hours.is_open(changes)]
        following = np.append(bar_ns[1:], end_ns + self._stale_ns) if len(bar_ns) else bar_ns
        stale = bar_ns[following - bar_ns > self._stale_ns] + self._stale_ns
        stale = stale[(stale >= first) & (stale < last)]
        stale = stale[self._hours.is_open(stale)]
        end = [self.end_ns] if start_ns <= self.end_ns < end_ns else []
        return np.unique(np.concatenate([closes, stale, np.array(end, dtype=np.int64)]))
