"""The lake: M1 parquet, one file an instrument and month, built from raw pages alone, and the gaps beside it.

Gaps are minutes of the FX week without a candle ("missing") and candles outside the FX week ("unexpected"). Missing
minutes are counted between the month's first and last bar only: before and after them a month may just be partial.
"""

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fx_pipeline.broker.paper.store import merge
from fx_pipeline.ingest.layout import gaps_path, lake_folder, lake_path, quarantine_path, raw_folder
from fx_pipeline.ingest.raw import candle_times, read_manifest, read_page
from fx_pipeline.ingest.tables import frame_table
from fx_pipeline.market.calendar import MINUTE_NS, expected_minutes, is_open
from fx_pipeline.market.candles import CANDLE_SCHEMA, PRICE_COLUMNS, QUARANTINE_SCHEMA, SIDES, bad_bar_reasons
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.files import read_table, remove_file, table_bytes, write_bytes, write_table
from fx_pipeline.market.months import month_bounds

Int64 = np.typing.NDArray[np.int64]

#: A run of consecutive minutes, [start, end), that is missing or unexpected.
GAP_SCHEMA = pa.schema(
    [
        pa.field("start", pa.timestamp("ns", tz="UTC"), nullable=False),
        pa.field("end", pa.timestamp("ns", tz="UTC"), nullable=False),
        pa.field("minutes", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
    ]
)
_REMEDY = "Remove it, and it is built again from the raw pages."


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
    expected, missing, unexpected : int
        Minutes of the FX week between the first and the last bar, those without a bar, and bars outside of it.
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
    added, changed : int
        Bars that the old file did not have, and bars that it had with other values.
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
    missing: int
    unexpected: int
    longest_gap_minutes: int
    sha256: str
    source: str | None
    quotes_modelled: bool
    written: bool
    added: int
    changed: int
    first: int | None
    last: int | None


def build_month(data_dir: Path, instrument: str, month: str, now_ns: int | None = None) -> MonthReport:
    """Build a month of the lake, its gap table and its quarantine from its raw pages.

    Parameters
    ----------
    data_dir : Path
        The data folder; `layout` says what lies where.
    now_ns : int, optional
        Bars that open at or after it are quarantined as "time in the future".

    Raises
    ------
    DataError
        If the month was not downloaded, or one of its pages cannot be read.
    """
    candles, quarantine, duplicates, incomplete = _read_raw(data_dir, instrument, month, now_ns)
    lake = lake_folder(data_dir)
    path = lake_path(lake, instrument, month)
    refused = quarantine_path(data_dir, instrument, month)
    gaps = gap_table(_times(candles))
    added, changed = len(candles), 0
    if path.is_file():
        # A file that cannot be read has no bars to compare with, and is replaced from the raw pages.
        with contextlib.suppress(DataError):
            old = read_table(path, CANDLE_SCHEMA, _REMEDY)
            changed = len(merge(old, candles)[1])
            added = len(np.setdiff1d(_times(candles), _times(old)))
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
    times = _times(candles)
    minutes = gaps["minutes"].to_numpy()
    is_missing = np.asarray(gaps["kind"].to_numpy(zero_copy_only=False) == "missing")
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
        expected=len(expected_minutes(int(times[0]), int(times[-1]) + MINUTE_NS)) if len(times) else 0,
        missing=int(minutes[is_missing].sum()),
        unexpected=int(minutes[~is_missing].sum()),
        longest_gap_minutes=int(minutes[is_missing].max(initial=0)),
        sha256=hashlib.sha256(data).hexdigest() if data else "",
        source=candles["source"][0].as_py() if len(candles) else None,
        quotes_modelled=bool(np.any(candles["quotes_modelled"].to_numpy())),
        written=written,
        added=added,
        changed=changed,
        first=int(times[0]) if len(times) else None,
        last=int(times[-1]) if len(times) else None,
    )


def gap_table(time_ns: Int64) -> pa.Table:
    """Return the gaps of bars against the FX week.

    Parameters
    ----------
    time_ns : (T,) int64
        Bar opens, sorted.

    Returns
    -------
    Table
        `GAP_SCHEMA`, sorted by start.
    """
    rows: list[tuple[int, int, int, str]] = []
    if len(time_ns):
        expected = expected_minutes(int(time_ns[0]), int(time_ns[-1]) + MINUTE_NS)
        absent = np.setdiff1d(expected, time_ns, assume_unique=True)
        for kind, minutes in (("missing", absent), ("unexpected", time_ns[~is_open(time_ns)])):
            breaks = np.flatnonzero(np.diff(minutes) != MINUTE_NS) + 1
            for run in np.split(minutes, breaks):
                if len(run):
                    rows.append((int(run[0]), int(run[-1]) + MINUTE_NS, len(run), kind))
    rows.sort()
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    # Arrow takes no integers for times with a zone, but casts them.
    arrays = [pa.array(columns[0], pa.int64()), pa.array(columns[1], pa.int64()), *map(pa.array, columns[2:])]
    return pa.Table.from_arrays(
        [array.cast(field.type) for array, field in zip(arrays, GAP_SCHEMA, strict=True)], schema=GAP_SCHEMA
    )


def lake_months(lake: Path, instrument: str) -> list[str]:
    """Return the months of an instrument that the lake has, in order."""
    return sorted(path.stem for path in lake_path(lake, instrument, "x").parent.glob("[0-9]*.parquet"))


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
    tables = [read_table(lake_path(lake, instrument, month), CANDLE_SCHEMA, _REMEDY) for month in months]
    table = pa.concat_tables(tables) if tables else CANDLE_SCHEMA.empty_table()
    times = _times(table)
    first = 0 if start_ns is None else int(np.searchsorted(times, start_ns))
    last = len(times) if end_ns is None else int(np.searchsorted(times, end_ns))
    return table.slice(first, max(last - first, 0)).combine_chunks()


def read_gaps(lake: Path, instrument: str, month: str) -> pa.Table:
    """Return the gap table of a month (`GAP_SCHEMA`); empty when the lake has no such month."""
    path = gaps_path(lake, instrument, month)
    return read_table(path, GAP_SCHEMA, _REMEDY) if path.is_file() else GAP_SCHEMA.empty_table()


def _read_raw(data_dir: Path, instrument: str, month: str, now_ns: int | None) -> tuple[pa.Table, pa.Table, int, int]:
    # Candles, quarantine, and how many were said twice or are not final.
    folder = raw_folder(data_dir, instrument, month)
    manifest = read_manifest(folder)
    if manifest is None:
        raise DataError(f"{folder} has no {instrument} candles of {month}: download them first (asset raw_candles).")
    frames: list[pd.DataFrame] = []
    for entry in manifest["pages"]:
        path = folder / entry["file"]
        try:
            frames.append(_page_frame(read_page(path), entry))
        except (KeyError, TypeError, DataError) as error:
            raise DataError(f"{path} cannot be used ({error}): remove it, and it is downloaded again.") from error
    if not frames:
        return CANDLE_SCHEMA.empty_table(), QUARANTINE_SCHEMA.empty_table(), 0, 0
    start, end = (pd.Timestamp(bound, tz="UTC") for bound in month_bounds(month))
    frame = pd.concat(frames, ignore_index=True)
    frame = frame[(frame["time"] >= start) & (frame["time"] < end)]
    incomplete = int((~frame["complete"]).sum())
    frame = frame[frame["complete"]].drop(columns="complete").reset_index(drop=True)
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


def _page_frame(candles: list[dict[str, Any]], entry: dict[str, Any]) -> pd.DataFrame:
    columns: dict[str, Any] = {"time": pd.DatetimeIndex(candle_times(candles).astype("datetime64[ns]"), tz="UTC")}
    for side in SIDES:
        quotes = [candle.get(side, {}) for candle in candles]
        for field in "ohlc":
            columns[f"{side}_{field}"] = np.array([_price(quote.get(field)) for quote in quotes], dtype=np.float64)
    columns["volume"] = np.array([int(candle["volume"]) for candle in candles], dtype=np.int64)
    columns["quotes_modelled"] = np.full(len(candles), entry["quotes"] != "quoted")
    columns["source"] = [entry["source"]] * len(candles)
    columns["complete"] = np.array([candle.get("complete") is True for candle in candles], dtype=bool)
    return pd.DataFrame(columns)[["time", *PRICE_COLUMNS, "volume", "quotes_modelled", "source", "complete"]]


def _price(text: Any) -> float:
    # A price that is absent or no number is quarantined as "not finite".
    try:
        return float(text)
    except (TypeError, ValueError):
        return float("nan")


def _times(table: pa.Table) -> Int64:
    return np.asarray(table["time"].to_numpy().astype("datetime64[ns]").astype(np.int64))
