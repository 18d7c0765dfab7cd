"""The candles endpoint without HTTP: a market, a query and the time in, a body and its headers out.

Beyond OANDA's own, replies carry headers: `FX-Source` (imported or synthetic), `FX-Quotes` (quoted, modelled, or
mixed), `FX-Revision` (a name of the data of the month of `from`; other data have another name) and `FX-Time` (the
market's time, which in a replay is not the machine's). For a client that sends `FX-Unmixed: true`, a page that is asked
for by `from` and `count` ends where its quotes change their origin, so it is never mixed; `FX-Quotes` then names the
few bars that differ (`broker.quotes_word`).

Nothing after the given time shows, whatever the skew of the server's clock: the candle that runs is built from its
ticks so far, and a candle of which the market has not seen the end is not complete.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from fx_pipeline.broker.paper.aggregate import aggregate, closes, smooth, ticks
from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.broker.paper.granularity import Granularity
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline.broker.paper.wire import CandleQuery, WireError, candles_body, format_times, parse_candle_query
from fx_pipeline.broker.quotes_word import quotes_word
from fx_pipeline.broker.quotes_word import unmixed as unmixed_bars
from fx_pipeline.market.alignment import bar_ends
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.instrument import instrument as find_instrument
from fx_pipeline.market.timeframe import M1

_MINUTE = Granularity("M1")


class CandleFaults(Protocol):
    """What the candles endpoint reads of the server's faults.

    Attributes
    ----------
    complete_delay_s : float
        How long after its end a candle is still not `complete`.
    missing_minutes : float
        Share of the minutes that are left out, always the same ones.
    partial_page : bool
        Whether a reply has half of its candles.
    clock_skew_s : float
        How far the server's clock is ahead.
    """

    complete_delay_s: float
    missing_minutes: float
    partial_page: bool
    clock_skew_s: float


def candles_reply(
    market: PaperMarket,
    name: str,
    parameters: Mapping[str, str],
    now_ns: int,
    unix: bool,
    faults: CandleFaults,
    unmixed: bool = False,
) -> tuple[bytes, dict[str, str]]:
    """Answer a candles request.

    Parameters
    ----------
    name : str
        The instrument, as it stands in the path.
    parameters : mapping of str to str
        The query.
    now_ns : int
        The market's time, UTC nanoseconds.
    unix : bool
        UNIX times in place of RFC 3339.
    faults : CandleFaults
        The switches.
    unmixed : bool
        Whether a page by `from` and `count` ends where quoted and modelled prices meet, and names the few that differ.

    Returns
    -------
    (bytes, dict of str to str)
        The body, and the headers FX-Revision, FX-Time, FX-Source and FX-Quotes as far as they apply.

    Raises
    ------
    WireError
        With OANDA's status and text when the request cannot be met.
    DataError
        If a stored file cannot be read.
    """
    try:
        decimals = find_instrument(name).display_precision
    except DataError as error:
        raise WireError(400, "Invalid value specified for 'instrument'") from error
    shown_ns = now_ns + round(faults.clock_skew_s * 1e9)
    known_ns = min(now_ns, shown_ns)
    query = parse_candle_query(parameters, shown_ns)
    reader = _Reader(market, name, query.granularity, known_ns, faults.missing_minutes, decimals)
    candles = _select(reader, query, unmixed)
    if faults.partial_page and len(candles.time):
        half = -(-len(candles.time) // 2)
        candles = candles.part(0, half) if query.start_ns is not None else candles.part(len(candles.time) - half, 2**62)
    if query.smooth and len(candles.time):
        candles = smooth(candles, closes(reader.backward(int(candles.time[0]), 1)))
    complete = query.granularity.ends(candles.time) <= known_ns - round(faults.complete_delay_s * 1e9)
    body = candles_body(name, query.granularity.name, candles, complete, query.sides, unix)
    headers = {
        "FX-Revision": market.revision(name, known_ns if query.start_ns is None else query.start_ns, reader.base),
        "FX-Time": format_times(np.array([shown_ns]))[0],
    }
    source = market.source(name, reader.base)
    if source is not None:
        headers["FX-Source"] = source
    if len(candles.time):
        modelled = candles.quotes_modelled
        mixed = modelled.any() and not modelled.all()
        in_a_word = unmixed and query.start_ns is not None and query.count is not None
        headers["FX-Quotes"] = "mixed" if mixed and not in_a_word else quotes_word(modelled)
    return body, headers


class _Reader:
    def __init__(
        self,
        market: PaperMarket,
        name: str,
        granularity: Granularity,
        now_ns: int,
        missing_minutes: float,
        decimals: int,
    ) -> None:
        self._market = market
        self._name = name
        self._granularity = granularity
        self._now_ns = now_ns
        self._missing_minutes = missing_minutes
        self._decimals = decimals
        #: Of the bars of which the candles are made.
        self.base = market.base(name, granularity)
        self._bars = max(granularity.length_ns // self.base.bar_ns, 1)

    def forward(self, start_ns: int, end_ns: int, count: int | None) -> Bars:
        """The first `count` candles that start in [start, end), both of which bound candles."""
        parts: list[Bars] = []
        found = 0
        for piece in self._pieces(start_ns, end_ns, backward=False):
            if count is not None:
                piece = piece.part(0, (count + 1) * self._bars)
            parts.append(self._candles(piece).between(start_ns, end_ns))
            found += len(parts[-1].time)
            # Parts may share a candle at their seam, and the last candle must not lack its end.
            if count is not None and found - len(parts) >= count:
                break
        candles = aggregate(Bars.concatenate(parts), self._granularity)
        return candles if count is None else candles.part(0, count)

    def backward(self, end_ns: int, count: int) -> Bars:
        """The last `count` candles that start before `end`, which bounds a candle."""
        parts: list[Bars] = []
        found = 0
        for piece in self._pieces(0, end_ns, backward=True):
            piece = piece.part(max(len(piece.time) - (count + 1) * self._bars, 0), len(piece.time))
            parts.append(self._candles(piece).between(0, end_ns))
            found += len(parts[-1].time)
            if found - len(parts) >= count:
                break
        candles = aggregate(Bars.concatenate(parts[::-1]), self._granularity)
        return candles.part(max(len(candles.time) - count, 0), len(candles.time))

    def _pieces(self, start_ns: int, end_ns: int, backward: bool) -> Iterator[Bars]:
        # Candles of seconds may start inside a bar. A bar's first tick lies at its open, so one that opens now has it.
        start_ns -= start_ns % MINUTE_NS
        for piece in self._market.pieces(self._name, start_ns, min(end_ns, self._now_ns + 1), backward, self.base):
            if self.base != M1:
                # What came of a bar so far is not known before it is over.
                yield piece.part(0, int((bar_ends(piece.time, self.base) <= self._now_ns).sum()))
            else:
                yield _without(piece, self._missing_minutes) if self._missing_minutes > 0.0 else piece

    def _candles(self, bars: Bars) -> Bars:
        if self._granularity.length_ns < MINUTE_NS:
            return aggregate(self._ticked(bars), self._granularity)
        if self.base == M1 and len(bars.time) and bars.time[-1] + MINUTE_NS > self._now_ns:
            last = len(bars.time) - 1
            running = aggregate(self._ticked(bars.part(last, last + 1)), _MINUTE)
            bars = Bars.concatenate([bars.part(0, last), running])
        return aggregate(bars, self._granularity)

    def _ticked(self, bars: Bars) -> Bars:
        return ticks(bars, self._decimals).between(0, self._now_ns + 1)


def _select(reader: _Reader, query: CandleQuery, unmixed: bool) -> Bars:
    granularity = query.granularity
    end = 2**62 if query.end_ns is None else granularity.end(query.end_ns - 1) if query.end_ns else 0
    if query.start_ns is None:
        return reader.backward(end, query.count or 0)
    candles = reader.forward(query.start_ns, end, query.count)
    if query.count is None or not unmixed:
        return candles
    return candles.part(0, unmixed_bars(candles.quotes_modelled))


def _without(bars: Bars, share: float) -> Bars:
    # SplitMix64 of the minute's number: the same minutes are missing whatever is asked, in whatever order.
    mixed = (bars.time // MINUTE_NS).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    kept = (mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11) >= np.uint64(int(share * 2.0**53))
    return Bars(bars.time[kept], bars.prices[kept], bars.volume[kept], bars.quotes_modelled[kept])
