"""One file read in blocks, several at a time, judged, and checked for being what it is said to be."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fx_pipeline.ingest.buckets import Buckets, months_of
from fx_pipeline.ingest.clock import NO_TIME, Clock
from fx_pipeline.ingest.filled import Filling, Quiet
from fx_pipeline.ingest.hours import (
    BreakFound,
    Stamped,
    Stamps,
    opening_minute,
    opening_seen,
    other_shifts,
    stamp_evidence,
)
from fx_pipeline.ingest.judge import IMPORT_QUARANTINE_SCHEMA, TWICE, Judged, judge, refused_rows, settle
from fx_pipeline.ingest.neighbours import Neighbours
from fx_pipeline.ingest.parsed import Parsed, Source, unreadable_cells
from fx_pipeline.ingest.plausible import check_break, check_clock, check_level, check_spread
from fx_pipeline.ingest.said import Said
from fx_pipeline.ingest.sides import GivenSides, Side
from fx_pipeline.ingest.spiked import take_out
from fx_pipeline.ingest.spikes import Scan
from fx_pipeline.ingest.timeframe import Steps, found_timeframe
from fx_pipeline.ingest.weekends import at_weekends, check_week_ends, without_weekends
from fx_pipeline.market.candles import CROSSED, off_grid
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.months import month_bounds, month_of
from fx_pipeline.market.timeframe import M1, Timeframe

Int64 = npt.NDArray[np.int64]
Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = 2
#: Publishers' own quotes are crossed in a few percent of the bars, as a bid and an ask are not of one instant.
_MOST_CROSSED = 0.1


class Evidence(NamedTuple):
    """What a file's times say of its clock and its stamps.

    Attributes
    ----------
    weekends : int
        Weekends without bars that it reaches over.
    daily_break : BreakFound or None
        The daily break of an instrument that has one.
    other_shifts : list of int
        By how many minutes the bars could be later or earlier and lie in no weekend either.
    stamps : Stamps
    share_of_steps : float
        Share of the steps from bar to bar that are one bar.
    """

    weekends: int
    daily_break: BreakFound | None
    other_shifts: list[int]
    stamps: Stamps
    share_of_steps: float


@dataclass(frozen=True)
class CheckedFile:
    """A file that was read and not refused; its rows are in the buckets that were given.

    Attributes
    ----------
    sides : GivenSides
        What the rows' prices are.
    quarantine : Table
        `IMPORT_QUARANTINE_SCHEMA`, sorted by row.
    rows : int
        Rows of the file.
    duplicates : int
        Rows that say again what another row says.
    without_tick : int
        Rows that the publisher filled in, left out.
    modelled : bool
        Whether bid and ask of a bar come from the cost model.
    quiet : Quiet
        Counts of bars in which little or nothing happened, those that were left out among them.
    evidence : Evidence
        What the times say of the clock and of the stamps.
    at_weekends : int
        Rows at FX weekends that were left out, as asked.
    mended : int
        Rows with an ask below the bid that were mended; see `crossed`.
    deepest_pips : float
        The most by which one of them crossed.
    timeframe : Timeframe
        Of the bars: as said, or as found out.
    """

    sides: GivenSides
    quarantine: pa.Table
    rows: int
    duplicates: int
    without_tick: int
    modelled: bool
    quiet: Quiet
    evidence: Evidence
    at_weekends: int
    mended: int
    deepest_pips: float
    timeframe: Timeframe

    @property
    def clock_checked(self) -> bool:
        """Whether the file reaches over a weekend or a daily break, so that its clock could be checked."""
        return bool(self.evidence.weekends or (self.evidence.daily_break and self.evidence.daily_break.right))


def read_file(
    path: Path,
    source: Source,
    expected: str,
    instrument: str,
    clock: Clock,
    side: Side,
    buckets: Buckets,
    now_ns: int | None = None,
    progress: Callable[[float], None] | None = None,
    stamped: Stamped = "open",
    leave_out_weekends: bool = False,
    timeframe: Timeframe | None = None,
) -> CheckedFile:
    """Read a file into buckets: sorted rows, one for each bar.

    Parameters
    ----------
    source : Source
        The open file.
    expected : str
        What a row should look like, for messages.
    clock : Clock
        The clock of the file.
    side : str
        What a single side stands for.
    buckets : Buckets
        Takes the rows.
    progress : callable, optional
        Is told the share of the file that is read.
    stamped : str
        Whether its times are the bars' opens or ends.
    leave_out_weekends : bool
        Whether bars at FX weekends are left out, and not a sign of a wrong clock.
    timeframe : Timeframe, optional
        Of the bars; found out from the first block when absent.

    Raises
    ------
    DataError
        If the file is not bars of that timeframe and instrument on that clock, contradicts itself, or more than half of
        it is bad.
    """
    blocks = iter(source.blocks)
    begun: list[Parsed] = []
    first_block: Any = None
    if timeframe is None:
        for first_block in blocks:
            begun.append(source.parse(first_block))
            blocks = chain([first_block], blocks)
            break
        timeframe = _found_in(begun)
    bars = timeframe
    state = _Reading(
        path,
        expected,
        source.first_row,
        Said(path, instrument, source.tags),
        Neighbours(instrument, bars),
        Scan(instrument),
        bars,
    )

    def work(block: Any) -> tuple[_Block, GivenSides, Judged]:
        # The first block was parsed to see what it holds, and is the first that is worked on.
        parsed = begun.pop() if begun and block is first_block else source.parse(block)
        if leave_out_weekends:
            parsed = without_weekends(parsed, clock)
        sides = GivenSides.of(path, instrument, set(parsed.prices), side)
        return _Block.of(parsed), sides, judge(parsed, sides, clock, now_ns, stamped, bars)

    def told() -> Iterator[Any]:
        for block in blocks:
            state.cut = block.cut
            yield block
            if progress is not None:
                progress(block.done)

    with ThreadPoolExecutor(THREADS) as pool:
        for read, sides, judged in in_order(pool, THREADS, work, told()):
            state.sides = sides
            state.add(read, judged, buckets)
    state.check_readable()
    steps = state.settle(buckets)
    state.take_out_spikes(buckets, instrument)
    try:
        steps.check(str(path), lambda time_ns: _row_of(buckets, time_ns))
    except DataError as error:
        if not leave_out_weekends and at_weekends(clock.to_utc(joined(state.evidence))).any():
            raise DataError(
                f"{error} Bars at weekends are among them: --leave-out-weekends leaves those out."
            ) from error
        if not state.timeless:
            raise
        # Rows without a time leave holes that look like longer bars: they are what to mend first.
        raise DataError(f"{state.timeless_rows()} Without those rows, {error}") from error
    level = float(np.median(state.levels)) if state.levels else float("nan")
    check_level(str(path), instrument, level)
    check_spread(str(path), instrument, level, state.spreads)
    local_ns = np.unique(joined([*state.evidence, *([] if state.left_out else state.doubtful_evidence)]))
    opening = opening_minute(instrument)
    if steps.first is not None and steps.last is not None:
        opening = opening_seen(instrument, steps.first, steps.last, steps.holes)
    evidence = Evidence(
        check_clock(str(path), opening, local_ns, clock, source.zoned, bars),
        check_break(str(path), instrument, steps.holes, clock, source.zoned),
        other_shifts(instrument, steps.holes),
        stamp_evidence(instrument, steps.holes, state.neighbours.minutes(), bars),
        steps.share_of_steps,
    )
    if state.at_weekends:
        check_week_ends(path, instrument, clock.to_utc(local_ns), bars)
    state.check_neighbours(buckets, instrument)
    quarantine = pa.concat_tables(state.refused).sort_by("row").combine_chunks()
    _check_grid(path, quarantine, state.rows, bars, stamped)
    if 2 * len(quarantine) > state.rows:
        raise DataError(
            f"{path}: {len(quarantine):,} of {state.rows:,} rows are bad, the first in row {quarantine['row'][0]} "
            f"({quarantine['reason'][0]}). A file more than half bad is refused; rows should look like {expected}."
        )
    crossed = pc.filter(quarantine["row"], pc.equal(quarantine["reason"], CROSSED))
    if len(crossed) + state.mended > _MOST_CROSSED * state.rows:
        first = min([*crossed.to_pylist(), *([state.mended_row] if state.mended else [])])
        raise DataError(
            f"{path}: in {len(crossed) + state.mended:,} of {state.rows:,} rows the ask is below the bid, first in row "
            f"{first}: bids and asks are not those of the same minutes, or their columns are not what they seem. Leave "
            "one side only."
        )
    assert state.sides is not None
    return CheckedFile(
        state.sides,
        quarantine,
        state.rows,
        state.duplicates,
        state.left_out,
        state.modelled,
        state.quiet,
        evidence,
        state.at_weekends,
        state.mended,
        state.deepest_pips,
        bars,
    )


def _found_in(begun: Sequence[Parsed]) -> Timeframe:
    times = joined([parsed.local_ns for parsed in begun])
    return found_timeframe(times[times != NO_TIME])


def _check_grid(path: Path, quarantine: pa.Table, rows: int, timeframe: Timeframe, stamped: Stamped) -> None:
    # More than half the rows off the grid are no bad rows.
    reason = off_grid(timeframe)
    off = pc.filter(quarantine, pc.equal(quarantine["reason"], reason))
    if timeframe == M1 or 2 * len(off) <= rows:
        return
    begin = (
        "count from 17:00 New York, as OANDA aligns them"
        if timeframe.aligned_to_day
        else f"begin at whole {timeframe.minutes} minutes UTC"
    )
    other = " or its times are ends of bars (--bar-time end)" if stamped == "open" else ""
    raise DataError(
        f"{path}: {len(off):,} of {rows:,} rows begin where no {timeframe} bar does, the first in row "
        f"{off['row'][0]}, at {_at(off['time'][0].value)}: {timeframe} bars {begin}. Its clock is another "
        f"(--utc-offset){other}; bars that are aligned otherwise are built from shorter ones instead."
    )


def _row_of(buckets: Buckets, time_ns: int) -> int | None:
    for part in buckets.parts(month_of(time_ns)):
        found = np.flatnonzero(part.time == time_ns)
        if len(found):
            return int(part.row[found[0]])
    return None


def _at(time_ns: int) -> str:
    return f"{pd.Timestamp(time_ns):%Y-%m-%d %H:%M} UTC"


def in_order(
    pool: ThreadPoolExecutor, threads: int, work: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """Yield what `work` makes of each item, in order, while the pool is at the next few: no more lie in memory.

    Parameters
    ----------
    threads : int
        Size of the pool: one item more is ahead, so that none of its threads waits for the consumer.
    """
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # Whoever has heard enough does not wait for what has not begun.
        for future in waiting:
            future.cancel()


def joined(parts: Sequence[Int64]) -> Int64:
    """Return the parts as one array; none make an empty one."""
    return np.concatenate([np.empty(0, np.int64), *parts])


class _Block(NamedTuple):
    # What is kept of a block besides its judged rows: its prices would lie in memory twice.
    lines: int
    rows: int
    last_row: int
    unreadable: dict[int, tuple[str, str]]
    timeless: int
    first_timeless: tuple[int, str | None]
    at_weekends: int
    said: dict[str, dict[str, int]]

    @classmethod
    def of(cls, parsed: Parsed) -> "_Block":
        timeless = np.flatnonzero(parsed.local_ns == NO_TIME)
        first = (int(parsed.row[timeless[0]]), parsed.texts.get(int(timeless[0]))) if len(timeless) else (0, None)
        rows = len(parsed.row)
        last = int(parsed.row[-1]) if rows else 0
        return cls(
            lines=parsed.lines,
            rows=rows + len(parsed.broken) + parsed.at_weekends,
            last_row=last,
            unreadable=unreadable_cells(parsed),
            timeless=len(timeless),
            first_timeless=first,
            at_weekends=parsed.at_weekends,
            said=parsed.said,
        )


@dataclass
class _Unreadable:
    # Rows of which a cell cannot be read: how many, the first and the last of them.
    count: int = 0
    first: tuple[int, str, str] = (1, "", "")
    last: tuple[int, str] = (0, "")

    def add(self, rows: Mapping[int, tuple[str, str]]) -> None:
        if rows:
            first, last = min(rows), max(rows)
            if not self.count:
                self.first = (first, *rows[first])
            self.last = (last, rows[last][0])
            self.count += len(rows)


@dataclass
class _Reading:
    # What is known of a file while it is read.
    path: Path
    expected: str
    next_row: int
    said: Said
    neighbours: Neighbours
    scan: Scan
    timeframe: Timeframe
    sides: GivenSides | None = None
    cut: bool = False
    rows: int = 0
    last_row: int = 0
    duplicates: int = 0
    left_out: int = 0
    timeless: int = 0
    first_timeless: tuple[int, str | None] = (0, None)
    unreadable: _Unreadable = field(default_factory=_Unreadable)
    refused: list[pa.Table] = field(default_factory=list)
    refused_ns: list[Int64] = field(default_factory=list)
    contradicting_ns: list[Int64] = field(default_factory=list)
    evidence: list[Int64] = field(default_factory=list)
    doubtful_evidence: list[Int64] = field(default_factory=list)
    quiet: Quiet = field(default_factory=Quiet)
    modelled: bool = False
    mended: int = 0
    mended_row: int = 0
    deepest_pips: float = 0.0
    at_weekends: int = 0
    levels: list[float] = field(default_factory=list)
    spreads: list[tuple[float, float]] = field(default_factory=list)

    def add(self, read: _Block, judged: Judged, buckets: Buckets) -> None:
        above = self.next_row - 1
        self.next_row += read.lines
        self.said.add(read.said, above)
        self.at_weekends += read.at_weekends
        self.rows += read.rows
        if read.last_row:
            self.last_row = above + read.last_row
        self.unreadable.add({above + row: text for row, text in read.unreadable.items()})
        if read.timeless and not self.timeless:
            row, text = read.first_timeless
            self.first_timeless = (above + row, text)
        self.timeless += read.timeless
        self.left_out += judged.left_out
        if len(judged.refused):
            column = pc.add(judged.refused["row"], above)
            self.refused.append(judged.refused.set_column(0, IMPORT_QUARANTINE_SCHEMA.field("row"), column))
            self.refused_ns.append(judged.refused_ns)
            self.contradicting_ns.append(judged.contradicting_ns)
        self.evidence.append(judged.clock_evidence)
        self.doubtful_evidence.append(judged.doubtful_evidence)
        self.quiet = self.quiet.plus(judged.quiet)
        self.modelled |= judged.modelled
        if judged.mended and not self.mended:
            self.mended_row = above + judged.mended_row
        self.mended += judged.mended
        self.deepest_pips = max(self.deepest_pips, judged.deepest_pips)
        if np.isfinite(judged.level):
            self.levels.append(judged.level)
        if np.isfinite(judged.spread[0]):
            self.spreads.append(judged.spread)
        buckets.add(replace(judged.good, row=judged.good.row + above))

    def check_readable(self) -> None:
        last, text = self.unreadable.last
        if self.cut and self.unreadable.count and last >= self.last_row:
            raise DataError(
                f"{self.path}, row {last}: the last row is cut short ({text[:80]!r}). The file is truncated: export "
                "or download it again."
            )
        if not self.rows:
            raise DataError(f"{self.path} holds a header and no rows: export or download it again.")
        if 2 * self.unreadable.count > self.rows or not self.last_row:
            first, text, reason = self.unreadable.first
            shown = f"{reason}: {text[:80]!r}" if text else reason
            raise DataError(
                f"{self.path}: {self.unreadable.count:,} of {self.rows:,} rows cannot be read, the first in row "
                f"{first} ({shown}). Rows should look like {self.expected}; check --format."
            )

    def settle(self, buckets: Buckets) -> Steps:
        # Every month sorted, one row for each bar, without what was filled in; how far apart the bars are, those
        # that were refused among them.
        assert self.sides is not None
        self.refused.append(IMPORT_QUARANTINE_SCHEMA.empty_table())
        refused, contradicting = np.unique(joined(self.refused_ns)), joined(self.contradicting_ns)
        steps, filling = Steps(self.timeframe), Filling(self.quiet)
        for month in sorted({*buckets.months, *months_of(refused)}):
            times = buckets.times(month)
            if len(times) and (len(contradicting) or not np.all(np.diff(times) > 0)):
                rows, contradictions, duplicates = settle(buckets.take(month), contradicting)
                buckets.replace(month, rows)
                self.duplicates += duplicates
                self.refused.append(refused_rows(contradictions, self.sides, TWICE))
                times = np.unique(times)
            if filling.needed and month in buckets.months:
                rows = buckets.take(month)
                filled = filling.marks(rows)
                if filled.any():
                    buckets.replace(month, rows.part(~filled))
                    self.left_out += int(filled.sum())
                    times = np.setdiff1d(times, rows.time[filled], assume_unique=True)
            for part in buckets.parts(month):
                self.neighbours.add(part)
                self.scan.add(part.time, part.prices)
            start, end = month_bounds(month)
            within = refused[np.searchsorted(refused, start) : np.searchsorted(refused, end)]
            steps.add(np.union1d(times, within) if len(within) else times)
        return steps

    def take_out_spikes(self, buckets: Buckets, instrument: str) -> None:
        # Before anything is concluded from prices beside one another; so many that they are no bad bars are for
        # `check_neighbours`, which says what the file is.
        assert self.sides is not None
        spikes = take_out(buckets, self.sides, instrument, self.scan.times(), self.rows, self.timeframe)
        if not spikes:
            return
        self.refused += spikes
        self.neighbours = Neighbours(instrument, self.timeframe)
        for month in buckets.months:
            for part in buckets.parts(month):
                self.neighbours.add(part)

    def check_neighbours(self, buckets: Buckets, instrument: str) -> None:
        # Refuse what contradicts itself from bar to bar; bars that stand apart go to the quarantine.
        assert self.sides is not None
        verdict = self.neighbours.verdict(buckets.take)
        if (jump := verdict.jump) is not None:
            what = (
                f"from {jump.close:.6g} to {jump.open:.6g}, at {_at(jump.after_ns)}{self._row(buckets, jump.after_ns)}"
            )
            if verdict.to_and_fro:
                raise DataError(
                    f"{self.path}: prices jump to and fro {verdict.to_and_fro:,} times, first {what}: it holds several "
                    "instruments or price sides. Import each by itself."
                )
            raise DataError(
                f"{self.path}: prices jump {what}, by {100 * jump.size:.1f} percent, and stay there for longer than "
                f"bad bars do. {instrument} does not do so within a session or over a weekend: another instrument, or "
                "another scale, begins there. Cut the file there."
            )
        if (repeat := self.neighbours.repeat()) is not None:
            raise DataError(
                f"{self.path}: the same bars stand in it twice, those about {_at(repeat.first_ns)} again from about "
                f"{_at(repeat.again_ns)}{self._row(buckets, repeat.again_ns)} to {_at(repeat.until_ns)}: one of the "
                "two is not what was traded. Leave it out."
            )
        for month in buckets.months if verdict.odd else []:
            rows = buckets.take(month)
            for start, end, reason in verdict.odd:
                odd = (rows.time >= start) & (rows.time < end)
                if odd.any():
                    self.refused.append(refused_rows(rows.part(odd), self.sides, reason))
                    rows = rows.part(~odd)
                    buckets.replace(month, rows)

    @staticmethod
    def _row(buckets: Buckets, time_ns: int) -> str:
        row = _row_of(buckets, time_ns)
        return "" if row is None else f" (row {row})"

    def timeless_rows(self) -> str:
        row, text = self.first_timeless
        return (
            f"{self.path}: the times of {self.timeless:,} of {self.rows:,} rows cannot be read, the first in row "
            f"{row}{'' if text is None else f' ({text[:80]!r})'}: write all times alike."
        )
