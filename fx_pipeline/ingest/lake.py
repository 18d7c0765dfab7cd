"""The lake: M1 parquet, one file an instrument and month, built from raw pages alone, and the gap table beside it.

The same pages give the same bytes. Where other pages give a bar other values, or none, the old values are kept as a
revision before they are replaced.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fx_pipeline.broker.decode import Candles
from fx_pipeline.ingest.gaps import find_gaps
from fx_pipeline.ingest.layout import (
    built_path,
    gaps_path,
    lake_folder,
    lake_months,
    lake_path,
    quarantine_path,
    raw_folder,
    revisions_path,
)
from fx_pipeline.ingest.raw import MANIFEST, read_manifest, read_page
from fx_pipeline.ingest.reading import THREADS, in_order
from fx_pipeline.ingest.revisions import CHANGED, find_revisions, note_revisions
from fx_pipeline.ingest.tables import frame_table
from fx_pipeline.market.calendar import MINUTE_NS, FxCalendar
from fx_pipeline.market.candles import CANDLE_SCHEMA, QUARANTINE_SCHEMA, bad_bar_reasons
from fx_pipeline.market.errors import DataError, FxPipelineError, NewerVersionError
from fx_pipeline.market.files import remove_file, table_bytes, write_bytes, write_table
from fx_pipeline.market.hours import instrument_calendar
from fx_pipeline.market.lake_month import read_lake_month
from fx_pipeline.market.months import month_bounds

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MonthReport:
    """What building a month gave.

    Attributes
    ----------
    rows : int
        Bars in the lake; 0 means that there is no file.
    quarantined : dict of str to int
        Refused bars by reason.
    duplicates, incomplete : int
        Candles left out because another says the same, or because they are not final yet.
    gaps : int
        Rows of the gap table.
    expected, present, missing, unexpected : int
        Minutes between the first and the last bar in which the FX calendar expects a candle, those of them with and
        without a bar, and bars in other minutes.
    longest_gap_minutes : int
        Longest run of missing minutes.
    sha256 : str
        Of the parquet file; empty without one.
    source : str or None
        "imported", "synthetic", "practice" or "live".
    quotes_modelled : bool
        Whether any bar's bid and ask come from the cost model.
    written : bool
        Whether the file was written; it is left untouched when its bytes would be the same.
    added, changed, removed : int
        Bars that the old file did not have, that it had with other values, and that it had and the broker has no more.
    revisions : int
        Changed and removed bars of this and all earlier builds, with their values in `ingest.revisions`.
    first, last : int or None
        Open times of the first and the last bar, UTC nanoseconds.
    """

    instrument: str
    month: str
    path: Path
    rows: int
    quarantined: dict[str, int]
    duplicates: int
    incomplete: int
    gaps: int
    expected: int
    present: int
    missing: int
    unexpected: int
    longest_gap_minutes: int
    sha256: str
    source: str | None
    quotes_modelled: bool
    written: bool
    added: int
    changed: int
    removed: int
    revisions: int
    first: int | None
    last: int | None


def build_month(
    data_dir: Path, instrument: str, month: str, now_ns: int | None = None, calendar: FxCalendar | None = None
) -> MonthReport:
    """Build a month of the lake, its gap table and its quarantine from its raw pages.

    Parameters
    ----------
    data_dir : Path
        The data folder; `layout` says what lies where.
    now_ns : int, optional
        Bars that open at or after it are quarantined as "time in the future".
    calendar : FxCalendar, optional
        When candles are expected; the instrument's own when absent.

    Raises
    ------
    DataError
        If the month was not downloaded, or one of its pages cannot be read.
    """
    folder = raw_folder(data_dir, instrument, month)
    # Before the pages are read: if other ones come meanwhile, the month does not count as built from them.
    stamp = _stamp(folder) if (folder / MANIFEST).is_file() else b""
    candles, quarantine, duplicates, incomplete = _read_raw(data_dir, instrument, month, now_ns)
    lake = lake_folder(data_dir)
    path = lake_path(lake, instrument, month)
    refused = quarantine_path(data_dir, instrument, month)
    times = _times(candles)
    gaps, counted = find_gaps(times, calendar or instrument_calendar(instrument))
    old = _standing_bars(path)
    revised = find_revisions(old, candles, now_ns)
    changed = int(np.sum(np.array(revised["kind"].to_pylist(), dtype=str) == CHANGED))
    revisions = note_revisions(revisions_path(lake, instrument, month), revised)
    data = table_bytes(candles) if len(candles) else b""
    if len(candles):
        # The bars come last: where they stand, their gaps and quarantine stand too.
        write_table(gaps_path(lake, instrument, month), gaps)
    else:
        remove_file(gaps_path(lake, instrument, month))
    if len(quarantine):
        write_table(refused, quarantine)
    else:
        remove_file(refused)
    written = write_bytes(path, data) if len(candles) else remove_file(path)
    # Last of all, and never before the rest is safe: a build that was cut short shows by what this lacks.
    write_bytes(built_path(lake, instrument, month), stamp, sync=False)
    first, last = (int(times[0]), int(times[-1])) if len(times) else (None, None)
    reasons, counts = np.unique(np.array(quarantine["reason"].to_pylist(), dtype=str), return_counts=True)
    return MonthReport(
        instrument=instrument,
        month=month,
        path=path,
        rows=len(candles),
        quarantined=dict(zip(reasons.tolist(), counts.tolist(), strict=True)),
        duplicates=duplicates,
        incomplete=incomplete,
        gaps=len(gaps),
        expected=counted.expected,
        present=counted.present,
        missing=counted.missing,
        unexpected=counted.unexpected,
        longest_gap_minutes=counted.longest_gap_minutes,
        sha256=hashlib.sha256(data).hexdigest() if data else "",
        source=candles["source"][0].as_py() if len(candles) else None,
        quotes_modelled=bool(np.any(candles["quotes_modelled"].to_numpy())),
        written=written,
        added=len(candles) - len(old) + len(revised) - changed,
        changed=changed,
        removed=len(revised) - changed,
        revisions=revisions,
        first=first,
        last=last,
    )


def is_built(data_dir: Path, instrument: str, month: str) -> bool:
    """Return whether the lake's month was built, to the end, from the raw pages that are here now."""
    path = built_path(lake_folder(data_dir), instrument, month)
    try:
        return path.read_bytes() == _stamp(raw_folder(data_dir, instrument, month))
    except (FileNotFoundError, IsADirectoryError):
        return False


def build_months(
    data_dir: Path,
    cells: Iterable[tuple[str, str]],
    now_ns: int | None = None,
    calendar_of: Callable[[str], FxCalendar] = instrument_calendar,
) -> Iterator[MonthReport | FxPipelineError]:
    """Build months, two at a time, and yield what each gave in order: its report, or the error with which it failed.

    Parameters
    ----------
    cells : iterable of (str, str)
        Instruments and months, each pair once.
    now_ns : int, optional
        As in `build_month`.
    calendar_of : callable
        When candles of an instrument are expected.
    """

    def build(cell: tuple[str, str]) -> MonthReport | FxPipelineError:
        try:
            return build_month(data_dir, *cell, now_ns, calendar_of(cell[0]))
        except FxPipelineError as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        yield from in_order(pool, THREADS, build, cells)


def lake_instruments(lake: Path) -> list[str]:
    """Return the instruments that the lake has, sorted."""
    folders = sorted((lake / "m1").glob("*"))
    return [folder.name for folder in folders if folder.is_dir() and lake_months(lake, folder.name)]


def read_candles(lake: Path, instrument: str, start_ns: int | None = None, end_ns: int | None = None) -> pa.Table:
    """Return the bars of an instrument that open in [start, end), sorted.

    Returns
    -------
    Table
        `CANDLE_SCHEMA`; empty when the lake has none.

    Raises
    ------
    DataError
        If a file cannot be read.
    """
    months: Sequence[str] = lake_months(lake, instrument)
    if start_ns is not None:
        months = [month for month in months if month_bounds(month)[1] > start_ns]
    if end_ns is not None:
        months = [month for month in months if month_bounds(month)[0] < end_ns]
    tables = [read_lake_month(lake_path(lake, instrument, month)) for month in months]
    table = pa.concat_tables(tables) if tables else CANDLE_SCHEMA.empty_table()
    times = _times(table)
    first = 0 if start_ns is None else int(np.searchsorted(times, start_ns))
    last = len(times) if end_ns is None else int(np.searchsorted(times, end_ns))
    return table.slice(first, max(last - first, 0)).combine_chunks()


def _stamp(folder: Path) -> bytes:
    # The manifest has the hash of each page.
    sha256 = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    return (json.dumps({"manifest_sha256": sha256}) + "\n").encode()


def _standing_bars(path: Path) -> pa.Table:
    # A file that cannot be read has no bars to compare with, and is replaced from the raw pages.
    if path.is_file():
        try:
            return read_lake_month(path)
        except NewerVersionError:
            raise
        except DataError as error:
            logger.warning("%s It is built again now; revisions of its bars cannot be told.", error)
    return CANDLE_SCHEMA.empty_table()


def _read_raw(data_dir: Path, instrument: str, month: str, now_ns: int | None) -> tuple[pa.Table, pa.Table, int, int]:
    # Candles, quarantine, and how many were said twice or are not final.
    folder = raw_folder(data_dir, instrument, month)
    manifest = read_manifest(folder)
    if manifest is None:
        raise DataError(f"{folder} has no {instrument} candles of {month}: download them first (asset raw_candles).")
    entries = manifest["pages"]
    if not entries:
        return CANDLE_SCHEMA.empty_table(), QUARANTINE_SCHEMA.empty_table(), 0, 0
    bounds = month_bounds(month)
    pages, incomplete = [], 0
    for entry in entries:
        page, waiting = _final(read_page(folder / entry["file"], entry), bounds)
        pages.append(page)
        incomplete += waiting
    number = np.repeat(np.arange(len(entries)), [len(page.time) for page in pages])
    time = np.concatenate([page.time for page in pages])
    volume = np.concatenate([page.volume for page in pages])
    # Price by price: each is a column of the table, which takes it as it is.
    prices = np.concatenate([page.prices.T for page in pages], axis=1)
    sources = sorted({entry["source"] for entry in entries})
    source = pa.array(sources).take(pa.array([sources.index(entry["source"]) for entry in entries]))
    modelled = np.array([entry["quotes"] != "quoted" for entry in entries])
    table = pa.Table.from_arrays(
        [
            pa.array(time).cast(CANDLE_SCHEMA.field("time").type),
            *map(pa.array, prices),
            pa.array(volume),
            pa.array(modelled[number]),
            source.take(pa.array(number)),
        ],
        schema=CANDLE_SCHEMA,
    )
    if _are_plain(time, prices, now_ns):
        return table, QUARANTINE_SCHEMA.empty_table(), 0, incomplete
    frame = table.to_pandas()
    reasons = bad_bar_reasons(frame, now_ns)
    good = frame[reasons == ""].sort_values("time", kind="stable")
    unique = good.drop_duplicates("time")
    refused = frame[reasons != ""].assign(reason=reasons[reasons != ""])
    return (
        frame_table(unique, CANDLE_SCHEMA),
        frame_table(refused, QUARANTINE_SCHEMA),
        len(good) - len(unique),
        incomplete,
    )


def _final(page: Candles, bounds: tuple[int, int]) -> tuple[Candles, int]:
    # The candles inside the bounds that are complete, and how many there are not.
    inside = (page.time >= bounds[0]) & (page.time < bounds[1])
    kept = inside & page.complete
    if kept.all():
        return page, 0
    final = Candles(page.time[kept], page.complete[kept], page.volume[kept], page.prices[kept])
    return final, int((inside & ~page.complete).sum())


def _are_plain(time: Int64, prices: Float64, now_ns: int | None) -> bool:
    # Whether no bar has anything of which `bad_bar_reasons` speaks: nearly always, and many times as fast.
    with np.errstate(invalid="ignore"):
        bid, _, ask = sides = prices.reshape(3, 4, -1)
        opens, highs, lows, closes = sides.transpose(1, 0, 2)
        return bool(
            np.all(np.diff(time) > 0)
            and np.all(time % MINUTE_NS == 0)
            and (now_ns is None or not len(time) or time[-1] < now_ns)
            and np.all(lows > 0.0)
            and np.all(highs < np.inf)
            and np.all(lows <= np.minimum(opens, closes))
            and np.all(highs >= np.maximum(opens, closes))
            and np.all(ask[0] >= bid[0])
            and np.all(ask[3] >= bid[3])
        )


def _times(table: pa.Table) -> Int64:
    return np.asarray(table["time"].to_numpy().astype("datetime64[ns]").astype(np.int64))
