"""What the paper server serves of an instrument: imported candles where there are any, else the synthetic market.

Candles of a granularity that were imported are served as they are; others are made of minutes, or where there are none,
of longer candles that were imported. An instrument with longer candles alone has no minutes: made-up ones would be of
another market. It is history then, and cannot be traded.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.broker.paper.granularity import Alignment, Granularity
from fx_pipeline.broker.paper.synthetic import REVISION, SPAN_NS, synthetic_week
from fx_pipeline.market.calendar import trading_week
from fx_pipeline.market.months import month_of
from fx_pipeline.market.timeframe import M1, Timeframe


class PaperMarket:
    """Reads bars of any instrument by time, forward or backward.

    Parameters
    ----------
    store : Path
        Folder of the paper server's store.
    synthetic : bool
        Whether an instrument without imported candles gets the synthetic market.
    """

    def __init__(self, store: Path, synthetic: bool = True) -> None:
        self._store = store
        self._synthetic = synthetic

    def base(self, instrument: str, granularity: Granularity) -> Timeframe:
        """Return the timeframe of the bars of which candles of a granularity are made."""
        stored = candle_store.stored_timeframes(self._store, instrument)
        usual = granularity.alignment == Alignment()
        for timeframe in stored:
            if timeframe.name == granularity.name and (usual or not timeframe.aligned_to_day):
                return timeframe
        if M1 in stored:
            return M1
        # Days are whole hours, wherever they begin.
        fitting = [
            timeframe
            for timeframe in stored
            if not timeframe.aligned_to_day
            and timeframe.bar_ns < granularity.length_ns
            and granularity.length_ns % timeframe.bar_ns == 0
        ]
        return fitting[-1] if fitting else M1

    def source(self, instrument: str, timeframe: Timeframe = M1) -> str | None:
        """Return "imported", "synthetic", or None when there are no candles of that length."""
        if candle_store.months(self._store, instrument, timeframe):
            return "imported"
        if timeframe != M1 or candle_store.stored_timeframes(self._store, instrument):
            return None
        return "synthetic" if self._synthetic else None

    def revision(self, instrument: str, time_ns: int, timeframe: Timeframe = M1) -> str:
        """Return a name of the data of the month in which `time_ns` lies; other data have another name."""
        source = self.source(instrument, timeframe)
        if source == "synthetic":
            return REVISION
        path = candle_store.month_path(self._store, instrument, month_of(time_ns), timeframe)
        if source is None or not path.is_file():
            return "none"
        return _load(self._store, instrument, path.stem, timeframe, *_stamp(path))[1]

    def forward(self, instrument: str, start_ns: int, end_ns: int, limit: int) -> Bars:
        """Return the first `limit` bars that open in [start, end)."""
        return _take(self.pieces(instrument, start_ns, end_ns), limit).part(0, limit)

    def backward(self, instrument: str, start_ns: int, end_ns: int, limit: int) -> Bars:
        """Return the last `limit` bars that open in [start, end), in order of time."""
        parts: list[Bars] = []
        missing = limit
        for piece in self.pieces(instrument, start_ns, end_ns, backward=True):
            parts.append(piece.part(max(len(piece.time) - missing, 0), len(piece.time)))
            missing -= len(parts[-1].time)
            if missing <= 0:
                break
        return Bars.concatenate(parts[::-1])

    def pieces(
        self, instrument: str, start_ns: int, end_ns: int, backward: bool = False, timeframe: Timeframe = M1
    ) -> Iterator[Bars]:
        """Yield the bars that open in [start, end), at most a month at a time, the last part first if `backward`.

        A part may be empty. Parts are read as they are asked for.
        """
        if self.source(instrument, timeframe) == "synthetic":
            start_ns, end_ns = max(start_ns, SPAN_NS[0]), min(end_ns, SPAN_NS[1])
            if end_ns <= start_ns:
                return
            first, last = trading_week([start_ns, end_ns - 1]).tolist()
            weeks = np.arange(first, last + 1).tolist()
            for week in reversed(weeks) if backward else weeks:
                yield synthetic_week(instrument, week).between(start_ns, end_ns)
            return
        if end_ns <= start_ns:
            return
        first_month, last_month = month_of(start_ns), month_of(end_ns - 1)
        stored = candle_store.months(self._store, instrument, timeframe)
        known = [month for month in stored if first_month <= month <= last_month]
        for month in reversed(known) if backward else known:
            stamp = _stamp(candle_store.month_path(self._store, instrument, month, timeframe))
            yield _load(self._store, instrument, month, timeframe, *stamp)[0].between(start_ns, end_ns)


def _take(pieces: Iterator[Bars], limit: int) -> Bars:
    parts: list[Bars] = []
    count = 0
    for piece in pieces:
        parts.append(piece)
        count += len(piece.time)
        if count >= limit:
            break
    return Bars.concatenate(parts)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=24)
def _load(
    store: Path, instrument: str, month: str, timeframe: Timeframe, _mtime_ns: int, _size: int
) -> tuple[Bars, str]:
    # The stamp is part of the key, so that a month that is imported again is read again.
    table, sha256 = candle_store.read_values(store, instrument, month, timeframe)
    return Bars.from_table(table), sha256[:16]
