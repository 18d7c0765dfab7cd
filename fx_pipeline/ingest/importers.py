"""Files into the paper server's store: read, checked, completed to bid, mid and ask, bad rows quarantined.

Files are read in blocks, so that memory does not grow with them. All files of one import are read and checked before
anything is written; then each month's file is written atomically.
"""

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.ingest import dukascopy, histdata, metatrader, named
from fx_pipeline.ingest.buckets import IN_MEMORY_BYTES, Buckets
from fx_pipeline.ingest.clock import parse_clock
from fx_pipeline.ingest.layout import DEFAULT_DATA_DIR, paper_store, quarantine_path
from fx_pipeline.ingest.parsed import Source
from fx_pipeline.ingest.reading import THREADS, CheckedFile, in_order, read_file
from fx_pipeline.ingest.sides import GivenSides, Side
from fx_pipeline.ingest.sniff import FORMATS, Format
from fx_pipeline.ingest.sniff import guess_format as guess_format
from fx_pipeline.market.candles import CANDLE_SCHEMA, SIDES
from fx_pipeline.market.errors import ConfigurationError, DataError
from fx_pipeline.market.files import write_table
from fx_pipeline.market.instrument import instrument as find_instrument
from fx_pipeline.market.instrument import known_instruments

#: Share of an import's time that goes into reading, the rest into writing: for progress only.
_READING_SHARE = 0.6


@dataclass(frozen=True)
class _Reader:
    open_file: Callable[[Path], Source]
    expected: str
    side: Side
    clock_needed: bool = False


_READERS: dict[str, _Reader] = {
    "parquet": _Reader(named.open_parquet, named.EXPECTED, "mid"),
    "csv": _Reader(named.open_csv, named.EXPECTED, "mid"),
    "histdata": _Reader(histdata.open_file, histdata.EXPECTED, "bid"),
    # A MetaTrader chart is drawn from bids.
    "metatrader": _Reader(metatrader.open_file, metatrader.EXPECTED, "bid", clock_needed=True),
    "dukascopy": _Reader(dukascopy.open_file, dukascopy.EXPECTED, "bid"),
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
        Whether the file reaches over a weekend, so that its clock could be checked.
    """

    candles: pa.Table
    quarantine: pa.Table
    rows: int
    duplicates: int
    without_tick: int
    clock_checked: bool


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
    months : tuple of str
        Months that the candles touch.
    first, last : int or None
        Open times of the first and the last candle, UTC nanoseconds.
    clock_checked : bool
        Whether the clock of every file could be checked against the FX weekend.
    quarantine_files : tuple of Path
        Where the refused rows are.
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
    months: tuple[str, ...]
    first: int | None
    last: int | None
    clock_checked: bool
    quarantine_files: tuple[Path, ...]


def guess_instrument(path: Path) -> str:
    """Return the instrument whose name stands in the file's name, as `GBP_JPY`, `GBPJPY` or `GBP-JPY`.

    Raises
    ------
    DataError
        If no known instrument's name stands there, or several do.
    """
    found = _named_in(path)
    if len(found) != 1:
        says = "names no known instrument" if not found else f"names {' and '.join(found)}"
        raise DataError(f"the file name {path.name!r} {says}: give --instrument, like GBP_JPY.")
    return found[0]


def _named_in(path: Path) -> list[str]:
    name = path.name.upper()
    return [
        known for known in known_instruments() if re.search(rf"(?<![A-Z]){known[:3]}[_-]?{known[4:]}(?![A-Z])", name)
    ]


def common_instrument(files: Sequence[Path], given: str | None) -> str:
    """Return the instrument of files that are imported together: the given one, or the one in all of their names.

    Raises
    ------
    DataError
        If the names of the files say different instruments, or one says another than the given, or none is given and
        one says none; or if the given one is unknown.
    """
    if given is None:
        named = {path: guess_instrument(path) for path in files}
        if len(set(named.values())) > 1:
            listed = ", ".join(f"{path.name} ({name})" for path, name in named.items())
            raise DataError(f"the files are of different instruments: {listed}. Import each instrument by itself.")
        return named[files[0]]
    find_instrument(given)
    for path in files:
        names = _named_in(path)
        if names and given not in names:
            raise DataError(
                f"the file name {path.name!r} names {' and '.join(names)}, not {given}: leave the file out, or rename "
                f"it if it does hold {given}."
            )
    return given


def read_candles(
    path: Path,
    format: Format,
    instrument: str,
    utc_offset: str | None = None,
    side: Side | None = None,
    now_ns: int | None = None,
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

    Raises
    ------
    DataError
        If the file cannot be read, is cut short, holds other than M1 bars of that instrument on that clock, or more
        than half of it is bad.
    ConfigurationError
        If the format or the side is unknown, an offset that the format needs is not given, or one is given for times
        that carry a zone.
    """
    with Buckets() as buckets:
        read = _Read(path, buckets, _checked(path, format, instrument, utc_offset, side, now_ns, buckets, None))
        tables = [_candles([read], month)[0] for month in buckets.months]
    found = read.found
    candles = pa.concat_tables([CANDLE_SCHEMA.empty_table(), *tables]).combine_chunks()
    return FileCandles(candles, found.quarantine, found.rows, found.duplicates, found.without_tick, found.clock_checked)


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
    report = _Progress(progress, [path.stat().st_size if path.is_file() else 0 for path in files])
    with contextlib.ExitStack() as open_buckets:
        reads: list[_Read] = []
        formats = [format or guess_format(path) for path in files]
        for path, known in zip(files, formats, strict=True):
            buckets = open_buckets.enter_context(Buckets(in_memory_bytes // len(files), paper_store(data_dir)))
            found = _checked(path, known, instrument, utc_offset, side, now_ns, buckets, report.read)
            report.next_file()
            reads.append(_Read(path, buckets, found))
        return _store(reads, instrument, data_dir, report)


@dataclass(frozen=True)
class _Read:
    path: Path
    buckets: Buckets
    found: CheckedFile


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


def _checked(
    path: Path,
    format: Format,
    instrument: str,
    utc_offset: str | None,
    side: Side | None,
    now_ns: int | None,
    buckets: Buckets,
    progress: Callable[[float], None] | None,
) -> CheckedFile:
    reader = _READERS.get(format)
    if reader is None:
        raise ConfigurationError(f"--format {format!r} is unknown: use one of {', '.join(FORMATS)}.")
    if reader.clock_needed and utc_offset is None:
        raise ConfigurationError(
            f"{path}: {format} files are on the broker's clock and do not name it. Give --utc-offset: hours ahead of "
            "UTC (+3), a zone (Europe/Athens), or a zone and hours (America/New_York+7, that of many brokers)."
        )
    if side is not None and side not in SIDES:
        raise ConfigurationError(f"--side {side!r} is unknown: use one of {', '.join(SIDES)}.")
    find_instrument(instrument)
    clock = parse_clock(utc_offset) if utc_offset is not None else None
    source = reader.open_file(path)
    if source.clock_needed and clock is None:
        raise ConfigurationError(f"{path}: {source.clock_needed}. Give --utc-offset, like +2 or Europe/Athens.")
    if clock is not None and source.zoned:
        raise ConfigurationError(
            f"{path}: its times carry a zone themselves, so that --utc-offset {utc_offset} cannot be meant: leave it "
            "out. If the zone is wrong, write the times without one."
        )
    return read_file(
        path, source, reader.expected, instrument, clock or source.clock, side or reader.side, buckets, now_ns, progress
    )


def _store(reads: list[_Read], instrument: str, data_dir: Path, report: _Progress) -> ImportReport:
    store = paper_store(data_dir)
    months = sorted({month for read in reads for month in read.buckets.months})
    spans: list[tuple[str, int, int]] = []
    superseded = 0

    def change(month: str) -> tuple[str, pa.Table, int, candle_store.MonthChange]:
        candles, overruled = _candles(reads, month)
        return month, candles["time"], overruled, candle_store.month_change(store, instrument, month, candles)

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
        months=tuple(month for month, _, _ in spans),
        first=spans[0][1] if spans else None,
        last=spans[-1][2] if spans else None,
        clock_checked=all(item.clock_checked for item in found),
        quarantine_files=tuple(quarantined),
    )


def _write_quarantine(read: _Read, instrument: str, data_dir: Path) -> Path:
    with read.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    path = quarantine_path(data_dir, instrument, f"{read.path.stem}-{digest}")
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
        *(pa.array(price) for price in sides.complete(rows.prices, rows.time).values()),
        pa.array(rows.volume),
        pa.array(np.ascontiguousarray(rows.modelled)),
        pa.repeat("imported", len(rows)),
    ]
    return pa.Table.from_arrays(columns, schema=CANDLE_SCHEMA)
