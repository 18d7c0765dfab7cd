"""The lake: parquet, one file a timeframe, instrument and month, built from raw pages, and the gap table beside it.

Bars that are longer than a minute come from pages of their own where there are any, imported or downloaded, and else
from the lake's M1 bars (`resample`). The same pages give the same bytes. Where other pages give a bar other values, or
none, the old values are kept as a revision before they are replaced.
"""

import hashlib
import json
import logging
import time as clock
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fx_pipeline.broker.decode import Candles
from fx_pipeline.broker.quotes_word import base_word, modelled_of
from fx_pipeline.ingest.crossed import mend_crossed
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
from fx_pipeline.ingest.resample import known_span, resample
from fx_pipeline.ingest.revisions import CHANGED, find_revisions, note_revisions
from fx_pipeline.ingest.spikes import BESIDE_BARS, Scan, find_spikes, near_ends, price_sides, reason_of
from fx_pipeline.ingest.tables import frame_table
from fx_pipeline.market.alignment import first_open, on_grid
from fx_pipeline.market.calendar import FxCalendar
from fx_pipeline.market.candles import (
    BAR_SCHEMA,
    CANDLE_SCHEMA,
    PRICE_COLUMNS,
    QUARANTINE_SCHEMA,
    SIDES,
    bad_bar_reasons,
)
from fx_pipeline.market.errors import DataError, FxPipelineError, NewerVersionError
from fx_pipeline.market.files import remove_file, table_bytes, write_bytes, write_table
from fx_pipeline.market.hours import instrument_calendar
from fx_pipeline.market.lake_month import read_lake_month
from fx_pipeline.market.months import month_bounds, month_of
from fx_pipeline.market.timeframe import M1, Timeframe

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

logger = logging.getLogger(__name__)

#: By which rules a month is built from its pages: a month that was built by others is built again.
RULES = 2
#: The same of a month that is built from the lake's minutes.
RESAMPLE_RULES = 1
PAGES = "pages"


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
        Bars between the first and the last one that the FX calendar expects, those of them that are there and that are
        not, and bars at other times.
    longest_gap_minutes : int
        Longest run of missing bars, in minutes.
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
    mended : int
        Bars with modelled quotes around their middle, among quoted ones, as their ask lay below the bid; see `crossed`.
    levels : tuple of str
        Steps after which prices stay elsewhere in a calm market: no spikes, but worth a look.
    timeframe : Timeframe
    made_of : str
        "pages" of that timeframe, or "M1": the lake's minutes.
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
    mended: int = 0
    levels: tuple[str, ...] = ()
    timeframe: Timeframe = M1
    made_of: str = PAGES


def build_month(
    data_dir: Path,
    instrument: str,
    month: str,
    now_ns: int | None = None,
    calendar: FxCalendar | None = None,
    timeframe: Timeframe = M1,
) -> MonthReport:
    """Build a month of the lake, its gap table and its quarantine, from its raw pages or from the lake's minutes.

    Parameters
    ----------
    data_dir : Path
        The data folder; `layout` says what lies where.
    now_ns : int, optional
        Bars that open at or after it are quarantined as "time in the future".
    calendar : FxCalendar, optional
        When candles are expected; the instrument's own when absent.
    timeframe : Timeframe
        Of the bars. One longer than a minute is built from M1 bars where there are no pages of it.

    Raises
    ------
    DataError
        If the month was not downloaded, or one of its pages cannot be read.
    """
    calendar = calendar or instrument_calendar(instrument)
    made_of = month_is_made_of(data_dir, instrument, month, timeframe)
    # Before anything is read: if other pages come meanwhile, the month does not count as built from them.
    stamps = [_stamp(data_dir, instrument, month, timeframe, made_of, beside) for beside in (False, True)]
    raw = (
        _read_raw(data_dir, instrument, month, now_ns, timeframe)
        if made_of == PAGES
        else _Raw(*_resampled(data_dir, instrument, month, now_ns, calendar, timeframe))
    )
    candles, quarantine = raw.candles, raw.quarantine
    levels: tuple[str, ...] = ()
    beside = False
    if made_of == PAGES:
        candles, spiked, levels, beside = _without_spikes(data_dir, instrument, month, now_ns, candles, timeframe)
        if len(spiked):
            quarantine = pa.concat_tables([quarantine, spiked]).sort_by("time")
    lake = lake_folder(data_dir)
    path = lake_path(lake, instrument, month, timeframe)
    refused = quarantine_path(data_dir, instrument, month, timeframe)
    times = _times(candles)
    gaps, counted = find_gaps(times, calendar, timeframe)
    old = _standing_bars(path)
    plain = candles.select(CANDLE_SCHEMA.names)
    revised = find_revisions(old, plain, now_ns)
    changed = int(np.sum(np.array(revised["kind"].to_pylist(), dtype=str) == CHANGED))
    revisions = note_revisions(revisions_path(lake, instrument, month, timeframe), revised)
    data = table_bytes(candles if timeframe == M1 else _with_minutes(candles)) if len(candles) else b""
    if len(candles):
        # The bars come last: where they stand, their gaps and quarantine stand too.
        write_table(gaps_path(lake, instrument, month, timeframe), gaps)
    else:
        remove_file(gaps_path(lake, instrument, month, timeframe))
    if len(quarantine):
        write_table(refused, quarantine)
    else:
        remove_file(refused)
    written = write_bytes(path, data) if len(candles) else remove_file(path)
    # Last of all, and never before the rest is safe: a build that was cut short shows by what this lacks.
    write_bytes(built_path(lake, instrument, month, timeframe), stamps[beside], sync=False)
    first, last = (int(times[0]), int(times[-1])) if len(times) else (None, None)
    reasons, counts = np.unique(np.array(quarantine["reason"].to_pylist(), dtype=str), return_counts=True)
    return MonthReport(
        instrument=instrument,
        month=month,
        path=path,
        rows=len(candles),
        quarantined=dict(zip(reasons.tolist(), counts.tolist(), strict=True)),
        duplicates=raw.duplicates,
        incomplete=raw.incomplete,
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
        mended=int(np.isin(times, raw.mended_ns).sum()),
        levels=levels,
        timeframe=timeframe,
        made_of=made_of,
    )


def month_is_made_of(data_dir: Path, instrument: str, month: str, timeframe: Timeframe = M1) -> str:
    """Return what a month of the lake is built from now: "pages" of its own timeframe, or the lake's "M1" bars."""
    if timeframe == M1:
        return PAGES
    has_minutes = lake_path(lake_folder(data_dir), instrument, month).is_file()
    folder = raw_folder(data_dir, instrument, month, timeframe)
    if not has_minutes or not (folder / MANIFEST).is_file():
        return M1.name if has_minutes else PAGES
    # Where nothing was there to download, minutes may be; a manifest that cannot be read says so where it is read.
    manifest = read_manifest(folder)
    return PAGES if manifest and manifest["pages"] else M1.name


def stale_months(data_dir: Path, instrument: str, months: Iterable[str], timeframe: Timeframe) -> list[str]:
    """Return the months before given ones whose last bar the given ones' minutes may have completed since.

    Those are months of the lake that were built from M1 bars, and whose minutes, or those of the month after, have
    changed since. The given months are not among them.
    """
    lake, given = lake_folder(data_dir), set(months)
    before = sorted({month_of(month_bounds(month)[0] - 1) for month in given} - given)
    return [
        month
        for month in before
        if built_path(lake, instrument, month, timeframe).is_file()
        and month_is_made_of(data_dir, instrument, month, timeframe) != PAGES
        and not is_built(data_dir, instrument, month, timeframe)
    ]


def is_built(data_dir: Path, instrument: str, month: str, timeframe: Timeframe = M1) -> bool:
    """Return whether the lake's month was built, to the end, from what is here now, by today's rules."""
    path = built_path(lake_folder(data_dir), instrument, month, timeframe)
    try:
        made_of = month_is_made_of(data_dir, instrument, month, timeframe)
        stamps = [_stamp(data_dir, instrument, month, timeframe, made_of, beside) for beside in (False, True)]
        return path.read_bytes() in stamps
    except (FileNotFoundError, IsADirectoryError):
        return False


def build_months(
    data_dir: Path,
    cells: Iterable[tuple[str, str]],
    now_ns: int | None = None,
    calendar_of: Callable[[str], FxCalendar] = instrument_calendar,
    timeframe: Timeframe = M1,
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
    timeframe : Timeframe
    """

    def build(cell: tuple[str, str]) -> MonthReport | FxPipelineError:
        try:
            return build_month(data_dir, *cell, now_ns, calendar_of(cell[0]), timeframe)
        except FxPipelineError as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        yield from in_order(pool, THREADS, build, cells)


def lake_instruments(lake: Path, timeframe: Timeframe = M1) -> list[str]:
    """Return the instruments that the lake has, sorted."""
    folders = sorted(lake_path(lake, "x", "x", timeframe).parents[1].glob("*"))
    return [folder.name for folder in folders if folder.is_dir() and lake_months(lake, folder.name, timeframe)]


def read_candles(
    lake: Path,
    instrument: str,
    start_ns: int | None = None,
    end_ns: int | None = None,
    timeframe: Timeframe = M1,
) -> pa.Table:
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
    months: Sequence[str] = lake_months(lake, instrument, timeframe)
    if start_ns is not None:
        months = [month for month in months if month_bounds(month)[1] > start_ns]
    if end_ns is not None:
        months = [month for month in months if month_bounds(month)[0] < end_ns]
    tables = [read_lake_month(lake_path(lake, instrument, month, timeframe)) for month in months]
    table = pa.concat_tables(tables) if tables else CANDLE_SCHEMA.empty_table()
    times = _times(table)
    first = 0 if start_ns is None else int(np.searchsorted(times, start_ns))
    last = len(times) if end_ns is None else int(np.searchsorted(times, end_ns))
    return table.slice(first, max(last - first, 0)).combine_chunks()


def _stamp(data_dir: Path, instrument: str, month: str, timeframe: Timeframe, made_of: str, beside: bool) -> bytes:
    # The manifest has the hash of each page; with `beside`, of the months before and after, which were looked at, too.
    if made_of != PAGES:
        lake = lake_folder(data_dir)
        minutes = [lake_path(lake, instrument, other) for other in (_beside(month)[0], month, _beside(month)[1])]
        stamp: dict[str, Any] = {"m1_sha256": [_sha256(path, "none") for path in minutes], "rules": RESAMPLE_RULES}
        return (json.dumps(stamp) + "\n").encode()
    manifests = [raw_folder(data_dir, instrument, other, timeframe) / MANIFEST for other in (month, *_beside(month))]
    if not manifests[0].is_file():
        return b""
    stamp = {"manifest_sha256": _sha256(manifests[0]), "rules": RULES}
    if beside:
        stamp["beside"] = [_sha256(path, "none") for path in manifests[1:]]
    return (json.dumps(stamp) + "\n").encode()


def _sha256(path: Path, without: str | None = None) -> str:
    if without is not None and not path.is_file():
        return without
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _resampled(
    data_dir: Path, instrument: str, month: str, now_ns: int | None, calendar: FxCalendar, timeframe: Timeframe
) -> tuple[pa.Table, pa.Table]:
    # The bars that open in a month, of which the last may end in the next.
    lake = lake_folder(data_dir)
    start_ns, end_ns = month_bounds(month)
    before, after = (lake_path(lake, instrument, other) for other in _beside(month))
    parts = [read_lake_month(lake_path(lake, instrument, month))]
    from_ns, until_ns = known_span(_times(parts[0]), calendar, clock.time_ns() if now_ns is None else now_ns)
    if before.is_file():
        from_ns = min(from_ns, start_ns)
    if after.is_file():
        following = read_lake_month(after)
        border = first_open(end_ns, timeframe)
        parts.append(following.filter(pa.array(_times(following) < border)))
        until_ns = max(until_ns, border)
    bars = resample(pa.concat_tables(parts), timeframe, max(from_ns, start_ns), until_ns)
    return bars.filter(pa.array(_times(bars) < end_ns)).combine_chunks(), QUARANTINE_SCHEMA.empty_table()


def _with_minutes(candles: pa.Table) -> pa.Table:
    # Bars that a broker or a file gave say nothing of the minutes in them.
    if "minutes" in candles.column_names:
        return candles
    return candles.append_column(BAR_SCHEMA.field("minutes"), pa.nulls(len(candles), pa.int32()))


def _beside(month: str) -> tuple[str, str]:
    start_ns, end_ns = month_bounds(month)
    return month_of(start_ns - 1), month_of(end_ns)


def _without_spikes(
    data_dir: Path, instrument: str, month: str, now_ns: int | None, candles: pa.Table, timeframe: Timeframe
) -> tuple[pa.Table, pa.Table, tuple[str, ...], bool]:
    # The bars that are no spikes, those that are as `QUARANTINE_SCHEMA`, level changes in words, and whether the months
    # beside were looked at.
    time, prices = _times(candles), _sides(candles)
    scan = Scan(instrument)
    scan.add(time, prices)
    found = scan.times()
    if not len(found):
        return candles, QUARANTINE_SCHEMA.empty_table(), (), False
    near = near_ends(time, found)
    parts, known = [candles], [True, True]
    for number, other in enumerate(_beside(month)):
        if near[number]:
            others = _plain_bars(data_dir, instrument, other, now_ns, timeframe)
            known[number] = len(others) > 0
            part = others.slice(max(len(others) - BESIDE_BARS, 0)) if number == 0 else others.slice(0, BESIDE_BARS)
            parts.insert(0 if number == 0 else len(parts), part)
    lead = len(parts[0]) if near[0] else 0
    joined = pa.concat_tables(parts)
    columns = dict(zip(PRICE_COLUMNS, _sides(joined), strict=True))
    modelled = bool(np.all(joined["quotes_modelled"].to_numpy()))
    judged = find_spikes(instrument, _times(joined), price_sides(columns, modelled), known[0], known[1], timeframe)
    marks = judged.marks[lead : lead + len(candles)]
    reasons = pa.array([reason_of(mark) for mark in marks[marks > 0].tolist()], pa.string())
    spiked = candles.filter(pa.array(marks > 0)).append_column(QUARANTINE_SCHEMA.field("reason"), reasons)
    start_ns, end_ns = month_bounds(month)
    levels = tuple(level.says() for level in judged.levels if start_ns <= level.time_ns < end_ns)
    return candles.filter(pa.array(marks == 0)).combine_chunks(), spiked, levels, any(near)


def _plain_bars(data_dir: Path, instrument: str, month: str, now_ns: int | None, timeframe: Timeframe) -> pa.Table:
    # The bars of a month beside: none where it was not downloaded, or cannot be read, which its own build says.
    if not (raw_folder(data_dir, instrument, month, timeframe) / MANIFEST).is_file():
        return CANDLE_SCHEMA.empty_table()
    try:
        return _read_raw(data_dir, instrument, month, now_ns, timeframe).candles
    except DataError as error:
        logger.warning("%s Its bars are not looked at beside those of a month next to it.", error)
        return CANDLE_SCHEMA.empty_table()


def _sides(table: pa.Table) -> Float64:
    # (12, N), in the order of `PRICE_COLUMNS`.
    return np.stack([table[name].to_numpy() for name in PRICE_COLUMNS])


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


class _Raw(NamedTuple):
    # Candles, quarantine, how many were said twice or are not final, and the opens of the bars that were mended.
    candles: pa.Table
    quarantine: pa.Table
    duplicates: int = 0
    incomplete: int = 0
    mended_ns: Int64 = np.empty(0, np.int64)


def _read_raw(data_dir: Path, instrument: str, month: str, now_ns: int | None, timeframe: Timeframe) -> _Raw:
    folder = raw_folder(data_dir, instrument, month, timeframe)
    manifest = read_manifest(folder)
    if manifest is None:
        asset = "raw_candles" if timeframe == M1 else f"raw_candles_{timeframe.slug}, or m1_candles to build them from"
        raise DataError(f"{folder} has no {instrument} candles of {month}: download them first (asset {asset}).")
    entries = manifest["pages"]
    if not entries:
        return _Raw(CANDLE_SCHEMA.empty_table(), QUARANTINE_SCHEMA.empty_table())
    bounds = month_bounds(month)
    pages, modelled_parts, incomplete = [], [], 0
    for entry in entries:
        received = read_page(folder / entry["file"], entry)
        page, kept, waiting = _final(received, bounds)
        pages.append(page)
        modelled_parts.append(_modelled(folder / entry["file"], entry["quotes"], len(received.time))[kept])
        incomplete += waiting
    number = np.repeat(np.arange(len(entries)), [len(page.time) for page in pages])
    time = np.concatenate([page.time for page in pages])
    volume = np.concatenate([page.volume for page in pages])
    # Price by price: each is a column of the table, which takes it as it is.
    prices = np.concatenate([page.prices.T for page in pages], axis=1)
    sources = sorted({entry["source"] for entry in entries})
    source = pa.array(sources).take(pa.array([sources.index(entry["source"]) for entry in entries]))
    modelled = np.concatenate(modelled_parts)
    quoted = np.array([base_word(entry["quotes"]) == "quoted" for entry in entries])[number]
    modelled |= mend_crossed(instrument, time, {side: prices[4 * k : 4 * k + 4] for k, side in enumerate(SIDES)}).bars
    mended_ns = time[modelled & quoted]
    table = pa.Table.from_arrays(
        [
            pa.array(time).cast(CANDLE_SCHEMA.field("time").type),
            *map(pa.array, prices),
            pa.array(volume),
            pa.array(modelled),
            source.take(pa.array(number)),
        ],
        schema=CANDLE_SCHEMA,
    )
    if _are_plain(time, prices, now_ns, timeframe):
        return _Raw(table, QUARANTINE_SCHEMA.empty_table(), 0, incomplete, mended_ns)
    frame = table.to_pandas()
    reasons = bad_bar_reasons(frame, now_ns, timeframe)
    good = frame[reasons == ""].sort_values("time", kind="stable")
    unique = good.drop_duplicates("time")
    refused = frame[reasons != ""].assign(reason=reasons[reasons != ""])
    return _Raw(
        frame_table(unique, CANDLE_SCHEMA),
        frame_table(refused, QUARANTINE_SCHEMA),
        len(good) - len(unique),
        incomplete,
        mended_ns,
    )


def _modelled(path: Path, word: str, bars: int) -> npt.NDArray[np.bool_]:
    try:
        return modelled_of(word, bars)
    except ValueError as error:
        raise DataError(f"the manifest beside {path} is damaged ({error}): download the month again.") from error


def _final(page: Candles, bounds: tuple[int, int]) -> tuple[Candles, npt.NDArray[np.bool_], int]:
    # The candles inside the bounds that are complete, which of the page they are, and how many there are not.
    inside = (page.time >= bounds[0]) & (page.time < bounds[1])
    kept = inside & page.complete
    if kept.all():
        return page, kept, 0
    final = Candles(page.time[kept], page.complete[kept], page.volume[kept], page.prices[kept])
    return final, kept, int((inside & ~page.complete).sum())


def _are_plain(time: Int64, prices: Float64, now_ns: int | None, timeframe: Timeframe) -> bool:
    # Whether no bar has anything of which `bad_bar_reasons` speaks: nearly always, and many times as fast.
    with np.errstate(invalid="ignore"):
        bid, _, ask = sides = prices.reshape(3, 4, -1)
        opens, highs, lows, closes = sides.transpose(1, 0, 2)
        return bool(
            np.all(np.diff(time) > 0)
            and np.all(on_grid(time, timeframe))
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
