"""Files into the paper server's store: read, checked, completed to bid, mid and ask, bad rows quarantined.

Files are read in blocks, so that memory does not grow with them. All files of one import are read and checked before
anything is written; then each month's file is written atomically.
"""

import contextlib
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.ingest import dukascopy, histdata, metatrader, named
from fx_pipeline.ingest.buckets import IN_MEMORY_BYTES, Buckets
from fx_pipeline.ingest.claims import clock_claim, file_claims, stamp_claim, united
from fx_pipeline.ingest.clock import Clock, parse_clock
from fx_pipeline.ingest.companions import reports_among
from fx_pipeline.ingest.container import EmptyFileError
from fx_pipeline.ingest.hours import STAMPS, Stamped
from fx_pipeline.ingest.identity import common_instrument as common_instrument
from fx_pipeline.ingest.identity import common_side, instrument_source
from fx_pipeline.ingest.identity import guess_instrument as guess_instrument
from fx_pipeline.ingest.layout import DEFAULT_DATA_DIR, paper_store, quarantine_path
from fx_pipeline.ingest.naming import file_names
from fx_pipeline.ingest.parsed import Source
from fx_pipeline.ingest.reading import THREADS, CheckedFile, in_order, read_file
from fx_pipeline.ingest.sides import GivenSides, Side
from fx_pipeline.ingest.sniff import FORMATS, Format
from fx_pipeline.ingest.sniff import guess_format as guess_format
from fx_pipeline.ingest.weekends import check_has_weekends
from fx_pipeline.market.candles import CANDLE_SCHEMA, SIDES
from fx_pipeline.market.errors import ConfigurationError, DataError
from fx_pipeline.market.files import write_table
from fx_pipeline.market.instrument import instrument as find_instrument
from fx_pipeline.market.timeframe import Timeframe

_REPLACED = "replaced: {:,} candles stood in the store with other values, of bids, asks or volume"
#: Share of an import's time that goes into reading, the rest into writing: for progress only.
_READING_SHARE = 0.6


@dataclass(frozen=True)
class _Reader:
    open_file: Callable[[Path], Source]
    expected: str
    side: Side
    clock_needed: bool = False
    #: What says which clock a file without zones is on, when the user does not.
    clock_why: str = "assumed: the times carry no zone"
    #: Another publisher writes the same form on another clock: which one, and the name that files of this one have.
    shared_with: str = ""
    own_name: str = ""


_READERS: dict[str, _Reader] = {
    "parquet": _Reader(named.open_parquet, named.EXPECTED, "mid"),
    "csv": _Reader(named.open_csv, named.EXPECTED, "mid"),
    "histdata": _Reader(
        histdata.open_file,
        histdata.EXPECTED,
        "bid",
        clock_why="assumed: this form is HistData's, whose times are New York's",
        shared_with="NinjaTrader's exports, which are in UTC and stamped at the end of a bar",
        own_name="DAT_ASCII_",
    ),
    # A MetaTrader chart is drawn from bids.
    "metatrader": _Reader(metatrader.open_file, metatrader.EXPECTED, "bid", clock_needed=True),
    "dukascopy": _Reader(
        dukascopy.open_file, dukascopy.EXPECTED, "bid", clock_why="assumed: Dukascopy's exports are in GMT"
    ),
}


@dataclass(frozen=True)
class FileCandles:
    """Candles of one file, checked.

    Attributes
    ----------
    candles : Table
        `CANDLE_SCHEMA`, sorted and unique, at the instrument's display precision; `source` is "imported".
    quarantine : Table
        `judge.IMPORT_QUARANTINE_SCHEMA`.
    rows : int
        Rows of the file.
    duplicates : int
        Rows that say again what another row says.
    without_tick : int
        Rows that the publisher filled in, left out.
    clock_checked : bool
        Whether the file reaches over a weekend or a daily break, so that its clock could be checked.
    side : str
        The price side that it holds: "bid", "mid", "ask", or "bid and ask".
    clock : str
        As `Clock.name` has it.
    assumptions : tuple of str
        What the file was taken for, a sentence each, with the evidence.
    """

    candles: pa.Table
    quarantine: pa.Table
    rows: int
    duplicates: int
    without_tick: int
    clock_checked: bool
    side: str
    clock: str
    assumptions: tuple[str, ...]


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Attributes
    ----------
    rows : int
        Rows read.
    imported : int
        Candles that the store now has of these files (new, unchanged and changed ones).
    added, unchanged, changed : int
        Of these: new in the store, there already, and there with other values (which were replaced).
    changed_times : tuple of int
        Open times of the changed candles, UTC nanoseconds, in order.
    superseded : int
        Candles of one file that a later file gave with other values.
    duplicates, without_tick, quarantined : int
        Rows left out: said twice, filled in by the publisher, refused.
    reasons : dict of str to int
        Quarantined rows by reason.
    mended : int
        Rows with an ask below the bid whose middle was kept and whose quotes are modelled; see `crossed`.
    months : tuple of str
        Months that the candles touch.
    first, last : int or None
        Open times of the first and the last candle, UTC nanoseconds.
    clock_checked : bool
        Whether the clock of every file could be checked.
    quarantine_files : tuple of Path
        Where the refused rows are.
    side, clock : str
        As those of `FileCandles`; where files differ, joined by "and".
    timeframe : str
        Of the candles, as OANDA names it.
    stamped : str
        Whether the files' times are the "open" or the "end" of bars. In the store they are opens.
    costs : str
        "quoted" where bid and ask of every candle are the file's, else "modelled".
    assumptions : tuple of str
        What the files were taken for, a sentence each, with the evidence.
    """

    instrument: str
    rows: int
    imported: int
    added: int
    unchanged: int
    changed: int
    changed_times: tuple[int, ...]
    superseded: int
    duplicates: int
    without_tick: int
    quarantined: int
    reasons: dict[str, int]
    mended: int
    months: tuple[str, ...]
    first: int | None
    last: int | None
    clock_checked: bool
    quarantine_files: tuple[Path, ...]
    side: str
    clock: str
    timeframe: str
    stamped: Stamped
    costs: str
    assumptions: tuple[str, ...]

    def contract(self) -> dict[str, Any]:
        """Return what `fx-pipeline import --json` prints."""
        return {
            "instrument": self.instrument,
            "side": self.side,
            "clock": self.clock,
            "timeframe": self.timeframe,
            "stamped": self.stamped,
            "candles": self.imported,
            "quarantined": self.quarantined,
            "filled_in": self.without_tick,
            "costs": self.costs,
            "mended": self.mended,
            "assumptions": list(self.assumptions),
        }


def held_instrument(path: Path, format: Format | None = None) -> str | None:
    """Return the instrument that a file itself says it holds, in a column or a header; None if it says none.

    Raises
    ------
    DataError
        If the file cannot be read.
    ConfigurationError
        If the format is unknown.
    """
    try:
        return _reader(format or guess_format(path)).open_file(path).instrument
    except EmptyFileError:
        return None


def read_candles(
    path: Path,
    format: Format,
    instrument: str,
    utc_offset: str | None = None,
    side: Side | None = None,
    now_ns: int | None = None,
    stamped: Stamped | None = None,
    leave_out_weekends: bool = False,
    timeframe: Timeframe | None = None,
) -> FileCandles:
    """Read and check one file.

    Parameters
    ----------
    utc_offset : str, optional
        The file's clock, as `parse_clock` reads it, in place of the one that the format has.
    side : str, optional
        Which price a file with a single one holds. By default "mid" for named columns, else "bid". The other sides
        then come from the modelled spread of the hour, and `quotes_modelled` says so.
    now_ns : int, optional
        Bars that open at or after it are quarantined, as are those before 1990 in any case.
    stamped : str, optional
        Whether the file's times are the "open" of bars, as is assumed, or their "end".
    leave_out_weekends : bool
        Whether bars at FX weekends, which are a sign of a wrong clock, are left out instead.
    timeframe : Timeframe, optional
        Of the bars; found out from their times when absent.

    Raises
    ------
    DataError
        If the file cannot be read, is cut short, holds other than bars of that instrument and timeframe on that clock,
        contradicts itself, its name or what is said of it, or more than half of it is bad.
    ConfigurationError
        If the format, the side or the stamp is unknown, an offset that the file needs is not given, or one is given
        for times that carry a zone.
    """
    said = _Said(instrument, utc_offset, side, stamped, now_ns, leave_out_weekends, timeframe)
    with Buckets() as buckets:
        read = _checked(path, format, said, buckets, None)
        tables = [_candles([read], month)[0] for month in buckets.months]
    found = read.found
    candles = pa.concat_tables([CANDLE_SCHEMA.empty_table(), *tables]).combine_chunks()
    return FileCandles(
        candles, found.quarantine, found.rows, found.duplicates, found.without_tick, found.clock_checked, read.side,
        read.clock.name, read.assumptions,
    )  # fmt: skip


def import_files(
    files: Sequence[Path],
    instrument: str,
    format: Format | None,
    data_dir: Path = DEFAULT_DATA_DIR,
    utc_offset: str | None = None,
    side: Side | None = None,
    progress: Callable[[float], None] | None = None,
    now_ns: int | None = None,
    in_memory_bytes: int = IN_MEMORY_BYTES,
    stamped: Stamped | None = None,
    leave_out_weekends: bool = False,
    timeframe: Timeframe | None = None,
) -> ImportReport:
    """Import files into the paper server's store below `data_dir`.

    Of bars that several files hold, the later file's count. Arguments and errors are those of `read_candles`;
    nothing is written when one of the files is refused.

    Parameters
    ----------
    format : str, optional
        Of all files; when absent, each file's content says it.
    progress : callable, optional
        Is told the share of the work that is done.
    in_memory_bytes : int
        About how much of the files is held in memory at once.
    """
    if not files:
        raise ConfigurationError("no file to import: name at least one.")
    said = _Said(instrument, utc_offset, side, stamped, now_ns, leave_out_weekends, timeframe)
    report = _Progress(progress, [path.stat().st_size if path.is_file() else 0 for path in files])
    with contextlib.ExitStack() as open_buckets:
        reads: list[_Read] = []
        empty: EmptyFileError | None = None
        reports = reports_among(files)
        left_out = [f"left out: {path.name}, a report about the candles beside it" for path in reports]
        for path in files:
            if path not in reports:
                buckets = open_buckets.enter_context(Buckets(in_memory_bytes // len(files), paper_store(data_dir)))
                try:
                    reads.append(_checked(path, format, said, buckets, report.read))
                except EmptyFileError as error:
                    empty = empty or error
                    left_out.append(f"left out: {path.name}, which holds no rows")
            report.next_file()
        if empty is not None and not reads:
            raise empty
        _check_timeframes(reads)
        _check_sides(reads)
        return _store(reads, instrument, data_dir, report, stamped or "open", tuple(left_out))


def _check_timeframes(reads: Sequence["_Read"]) -> None:
    # A month of the store has bars of one length.
    first = reads[0]
    for read in reads[1:]:
        if read.found.timeframe != first.found.timeframe:
            raise DataError(
                f"{first.path} holds {first.found.timeframe} bars and {read.path} {read.found.timeframe} bars: import "
                "those of each timeframe by themselves."
            )


def _check_sides(reads: Sequence["_Read"]) -> None:
    # Of the same minutes the later file's asks would stand for the earlier one's bids.
    for one, other in itertools.combinations(reads, 2):
        if {one.side, other.side} != {"bid", "ask"}:
            continue
        for month in sorted({*one.buckets.months} & {*other.buckets.months}):
            both = np.intersect1d(one.buckets.times(month), other.buckets.times(month))
            if len(both):
                raise DataError(
                    f"{one.path} holds {one.side} prices and {other.path} {other.side} prices of the same minutes, "
                    f"first of {pd.Timestamp(int(both[0])):%Y-%m-%d %H:%M} UTC, and one would stand for the other: "
                    "import one of them, or put both into one file as bid_open .. ask_close."
                )


@dataclass(frozen=True)
class _Said:
    # What the user says of the files.
    instrument: str
    utc_offset: str | None
    side: Side | None
    stamped: Stamped | None
    now_ns: int | None
    leave_out_weekends: bool
    timeframe: Timeframe | None


@dataclass(frozen=True)
class _Read:
    path: Path
    buckets: Buckets
    found: CheckedFile
    side: str
    clock: Clock
    assumptions: tuple[str, ...]


class _Progress:
    # The share of the whole import that is done.
    def __init__(self, tell: Callable[[float], None] | None, sizes: list[int]) -> None:
        self._tell = tell
        self._sizes = sizes
        self._file = 0

    def read(self, share: float) -> None:
        size = sum(self._sizes[: self._file]) + share * self._sizes[self._file]
        self._say(_READING_SHARE * size / max(sum(self._sizes), 1))

    def next_file(self) -> None:
        self._file += 1

    def written(self, share: float) -> None:
        self._say(_READING_SHARE + (1 - _READING_SHARE) * share)

    def _say(self, share: float) -> None:
        if self._tell is not None:
            self._tell(share)


def _reader(format: Format) -> _Reader:
    reader = _READERS.get(format)
    if reader is None:
        raise ConfigurationError(f"--format {format!r} is unknown: use one of {', '.join(FORMATS)}.")
    return reader


def _checked(
    path: Path, format: Format | None, said: _Said, buckets: Buckets, progress: Callable[[float], None] | None
) -> _Read:
    known = format or guess_format(path)
    reader, instrument = _reader(known), said.instrument
    if reader.clock_needed and said.utc_offset is None:
        raise ConfigurationError(
            f"{path}: {known} files are on the broker's clock and do not name it. Give --utc-offset: hours ahead of "
            "UTC (+3), a zone (Europe/Athens), or a zone and hours (America/New_York+7, that of many brokers)."
        )
    if said.side is not None and said.side not in SIDES:
        raise ConfigurationError(f"--side {said.side!r} is unknown: use one of {', '.join(SIDES)}.")
    if said.stamped is not None and said.stamped not in STAMPS:
        raise ConfigurationError(f"--bar-time {said.stamped!r} is unknown: use open or end.")
    find_instrument(instrument)
    if said.leave_out_weekends:
        check_has_weekends(path, instrument)
    given_clock = parse_clock(said.utc_offset) if said.utc_offset is not None else None
    source = reader.open_file(path)
    if source.clock_needed and given_clock is None:
        raise ConfigurationError(f"{path}: {source.clock_needed}. Give --utc-offset, like +2 or Europe/Athens.")
    if given_clock is not None and source.zoned:
        raise ConfigurationError(
            f"{path}: its times carry a zone themselves, so that --utc-offset {said.utc_offset} cannot be meant: leave "
            "it out. If the zone is wrong, write the times without one."
        )
    clock = given_clock or source.clock
    side, side_why = common_side(path, said.side, source.side, reader.side)
    found = read_file(
        path,
        source,
        reader.expected,
        instrument,
        clock,
        side,
        buckets,
        said.now_ns,
        progress,
        said.stamped or "open",
        said.leave_out_weekends,
        said.timeframe,
    )
    doubtful = (
        reader.shared_with
        and format is None
        and given_clock is None
        and not any(reader.own_name in name for name in file_names(path))
    )
    if doubtful and not found.clock_checked:
        raise ConfigurationError(
            f"{path}: its form is that of {known} files and of {reader.shared_with}, and it holds no weekend to tell "
            f"by. Give --utc-offset (America/New_York for {known}, +0 for UTC), and --bar-time end where times are "
            "ends of bars."
        )
    _check_stamps(path, said.stamped, found)
    held = found.sides.held
    side_said, side_why = (held[0], side_why) if len(held) == 1 else ("bid and ask", "each in columns of its own")
    own_why = source.clock_why or reader.clock_why
    why = "which its times carry" if source.zoned else own_why
    if given_clock:
        differs = source.clock_why and source.clock != given_clock
        why = f"as given, and not {source.clock}, {own_why}" if differs else "as given"
    return _Read(
        path,
        buckets,
        found,
        side_said,
        clock,
        file_claims(
            instrument,
            instrument_source(path, source.instrument),
            side_said,
            side_why,
            clock_claim(clock, instrument, why, found),
            stamp_claim(said.stamped or "open", said.stamped is not None, found),
            found,
            source.assumptions,
        ),
    )


def _check_stamps(path: Path, stamped: Stamped | None, found: CheckedFile) -> None:
    stamps = found.evidence.stamps
    if stamped is None and stamps.late:
        raise ConfigurationError(
            f"{path}: its times look like ends of bars ({stamps.late}), and a bar's time here is its open. Give "
            "--bar-time end, or --bar-time open if they are opens all the same."
        )
    if stamped == "end" and stamps.early:
        raise ConfigurationError(
            f"{path}: its times are opens of bars, not ends: taken for ends, {stamps.early}. Leave --bar-time out."
        )


def _store(
    reads: list[_Read],
    instrument: str,
    data_dir: Path,
    report: _Progress,
    stamped: Stamped,
    left_out: tuple[str, ...],
) -> ImportReport:
    store, timeframe = paper_store(data_dir), reads[0].found.timeframe
    months = sorted({month for read in reads for month in read.buckets.months})
    spans: list[tuple[str, int, int]] = []
    superseded = 0

    def change(month: str) -> tuple[str, pa.Table, int, candle_store.MonthChange]:
        candles, overruled = _candles(reads, month)
        return (
            month,
            candles["time"],
            overruled,
            candle_store.month_change(store, instrument, month, candles, timeframe),
        )

    def changes(pool: ThreadPoolExecutor) -> Iterator[candle_store.MonthChange]:
        nonlocal superseded
        for number, (month, times, overruled, changed) in enumerate(in_order(pool, THREADS, change, months), start=1):
            spans.append((month, times[0].value, times[-1].value))
            superseded += overruled
            yield changed
            report.written(number / len(months))

    # The refused rows come first: where the candles stand, what was left out of them stands too.
    quarantined = [_write_quarantine(read, instrument, data_dir) for read in reads if len(read.found.quarantine)]
    with ThreadPoolExecutor(THREADS) as pool:
        upsert = candle_store.write_changes(changes(pool))
    found = [read.found for read in reads]
    reasons = pa.concat_tables([item.quarantine for item in found])["reason"].value_counts().to_pylist()
    return ImportReport(
        instrument=instrument,
        rows=sum(item.rows for item in found),
        imported=upsert.added + upsert.unchanged + upsert.changed,
        added=upsert.added,
        unchanged=upsert.unchanged,
        changed=upsert.changed,
        changed_times=upsert.changed_times,
        superseded=superseded,
        duplicates=sum(item.duplicates for item in found),
        without_tick=sum(item.without_tick for item in found),
        quarantined=sum(item["counts"] for item in reasons),
        reasons={item["values"]: item["counts"] for item in sorted(reasons, key=lambda item: item["values"])},
        mended=sum(item.mended for item in found),
        months=tuple(month for month, _, _ in spans),
        first=spans[0][1] if spans else None,
        last=spans[-1][2] if spans else None,
        clock_checked=all(item.clock_checked for item in found),
        quarantine_files=tuple(quarantined),
        side=" and ".join(dict.fromkeys(read.side for read in reads)),
        clock=" and ".join(dict.fromkeys(read.clock.name for read in reads)),
        timeframe=timeframe.name,
        stamped=stamped,
        costs="modelled" if any(item.modelled for item in found) else "quoted",
        assumptions=(
            *united([(read.path, read.assumptions) for read in reads]),
            *left_out,
            *([_REPLACED.format(upsert.changed)] if upsert.changed else []),
        ),
    )


def _write_quarantine(read: _Read, instrument: str, data_dir: Path) -> Path:
    with read.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    path = quarantine_path(data_dir, instrument, f"{read.path.stem}-{digest}", read.found.timeframe)
    write_table(path, read.found.quarantine)
    return path


def _candles(reads: list[_Read], month: str) -> tuple[pa.Table, int]:
    # A month's candles of all files, the later file's where several have one; how many others had other values.
    united: pa.Table | None = None
    superseded = 0
    for read in reads:
        if month not in read.buckets.months:
            continue
        candles = _completed(read, month)
        if united is None:
            united = candles
        else:
            united, differing = candle_store.merge(united, candles)
            superseded += len(differing)
    assert united is not None
    return united, superseded


def _completed(read: _Read, month: str) -> pa.Table:
    rows = read.buckets.take(month)
    sides: GivenSides = read.found.sides
    columns = [
        pa.array(rows.time).cast(CANDLE_SCHEMA.field("time").type),
        *(pa.array(price) for price in sides.complete(rows.prices, rows.time, read.found.timeframe).values()),
        pa.array(rows.volume),
        pa.array(np.ascontiguousarray(rows.modelled)),
        pa.repeat("imported", len(rows)),
    ]
    return pa.Table.from_arrays(columns, schema=CANDLE_SCHEMA)
