"""Files into the paper server's store: read, checked, completed to bid, mid and ask, bad rows quarantined.

All files of one import are read and checked before anything is written; then each month's file is written atomically.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.ingest import dukascopy, histdata, metatrader, named
from fx_pipeline.ingest.clock import NO_TIME, parse_clock
from fx_pipeline.ingest.layout import DEFAULT_DATA_DIR, paper_store, quarantine_path
from fx_pipeline.ingest.parsed import Parsed
from fx_pipeline.ingest.plausible import check_clock, check_granularity, check_level
from fx_pipeline.ingest.sniff import FORMATS, Format
from fx_pipeline.ingest.sniff import guess_format as guess_format
from fx_pipeline.ingest.tables import frame_table
from fx_pipeline.market.candles import CANDLE_SCHEMA, PRICE_COLUMNS, SIDES, bad_bar_reasons
from fx_pipeline.market.costs import modelled_spread_pips
from fx_pipeline.market.errors import ConfigurationError, DataError
from fx_pipeline.market.files import write_table
from fx_pipeline.market.instrument import instrument as find_instrument
from fx_pipeline.market.instrument import known_instruments

Side = Literal["bid", "mid", "ask"]

#: Nobody has one-minute retail quotes of before: such a time is mistyped, and would make decades of empty months.
EARLIEST_NS = int(np.datetime64("1990-01-01", "ns").astype(np.int64))

#: Rows of a file that were refused, as they came; prices that cannot be read are NaN, times null.
IMPORT_QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("time", pa.timestamp("ns", tz="UTC")),
        *(pa.field(name, pa.float64()) for name in PRICE_COLUMNS),
        pa.field("volume", pa.float64()),
        pa.field("text", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class _Reader:
    read: Callable[[Path], Parsed]
    expected: str
    side: Side
    clock_needed: bool = False


_READERS: dict[str, _Reader] = {
    "parquet": _Reader(named.read_parquet, named.EXPECTED, "mid"),
    "csv": _Reader(named.read_csv, named.EXPECTED, "mid"),
    "histdata": _Reader(histdata.read, histdata.EXPECTED, "bid"),
    # A MetaTrader chart is drawn from bids.
    "metatrader": _Reader(metatrader.read, metatrader.EXPECTED, "bid", clock_needed=True),
    "dukascopy": _Reader(dukascopy.read, dukascopy.EXPECTED, "bid"),
}


@dataclass(frozen=True)
class FileCandles:
    """Candles of one file, checked.

    Attributes
    ----------
    candles : Table
        `CANDLE_SCHEMA`, sorted and unique, at the instrument's display precision; `source` is "imported".
    quarantine : Table
        `IMPORT_QUARANTINE_SCHEMA`.
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
    name = path.name.upper()
    found = [
        known for known in known_instruments() if re.search(rf"(?<![A-Z]){known[:3]}[_-]?{known[4:]}(?![A-Z])", name)
    ]
    if len(found) != 1:
        says = "names no known instrument" if not found else f"names {' and '.join(found)}"
        raise DataError(f"the file name {path.name!r} {says}: give --instrument, like GBP_JPY.")
    return found[0]


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
        If the format is unknown, or needs an offset that is not given.
    """
    reader = _READERS.get(format)
    if reader is None:
        raise ConfigurationError(f"--format {format!r} is unknown: use one of {', '.join(FORMATS)}.")
    if reader.clock_needed and utc_offset is None:
        raise ConfigurationError(
            f"{path}: {format} files are on the broker's clock and do not name it. Give --utc-offset: hours ahead of "
            "UTC (+3), a zone (Europe/Athens), or a zone and hours (America/New_York+7, that of many brokers)."
        )
    find_instrument(instrument)
    parsed = reader.read(path)
    clock = parse_clock(utc_offset) if utc_offset is not None else parsed.clock
    rows = len(parsed.row) + len(parsed.broken)
    _check_readable(path, reader, parsed, rows)
    without_tick = np.zeros(len(parsed.row), bool) if parsed.without_tick is None else parsed.without_tick
    utc_ns = clock.to_utc(parsed.local_ns)
    # Mistyped years add weekends without bars, which would hide a wrong clock.
    possible = (utc_ns >= EARLIEST_NS) & (utc_ns < (np.iinfo(np.int64).max if now_ns is None else now_ns))
    # Filled-in minutes run through weekends, and say nothing of the clock.
    known = parsed.local_ns[possible & ~without_tick]
    _check_granularity(path, parsed, known)
    close = next(array for name, array in parsed.prices.items() if name.endswith("_c"))
    check_level(str(path), instrument, close)
    checked = check_clock(str(path), instrument, known, clock)
    frame, reasons = _judge(parsed, utc_ns, instrument, side or reader.side, path, now_ns)
    quarantine = _quarantine_table(frame[reasons != ""], reasons[reasons != ""], parsed)
    if 2 * len(quarantine) > rows:
        raise _mostly_bad(path, reader, quarantine, rows)
    left_out = without_tick & (reasons == "")
    good = frame[(reasons == "") & ~left_out].sort_values("time", kind="stable")
    unique = good.drop_duplicates("time")
    volume = np.rint(unique["volume"]).astype(np.int64)
    table = frame_table(unique.assign(volume=volume, source="imported"), CANDLE_SCHEMA)
    return FileCandles(table, quarantine, rows, len(good) - len(unique), int(left_out.sum()), checked)


def import_files(
    files: Sequence[Path],
    instrument: str,
    format: Format,
    data_dir: Path = DEFAULT_DATA_DIR,
    utc_offset: str | None = None,
    side: Side | None = None,
    progress: Callable[[str], None] | None = None,
    now_ns: int | None = None,
) -> ImportReport:
    """Import files into the paper server's store below `data_dir`.

    Of bars that several files hold, the later file's count. Arguments and errors are those of `read_candles`;
    nothing is written when one of the files is refused.
    """
    if not files:
        raise ConfigurationError("no file to import: name at least one.")
    read: list[tuple[Path, FileCandles]] = []
    for path in files:
        if progress:
            progress(f"reading {path}")
        read.append((path, read_candles(path, format, instrument, utc_offset, side, now_ns)))
    added = unchanged = changed = 0
    months: set[str] = set()
    quarantined: list[Path] = []
    reasons: dict[str, int] = {}
    for path, found in read:
        if progress:
            progress(f"storing {len(found.candles):,} candles of {path.name}")
        if len(found.quarantine):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
            quarantined.append(quarantine_path(data_dir, instrument, f"{path.stem}-{digest}"))
            write_table(quarantined[-1], found.quarantine)
        for reason in found.quarantine["reason"].to_pylist():
            reasons[reason] = reasons.get(reason, 0) + 1
        upsert = candle_store.upsert(paper_store(data_dir), instrument, found.candles)
        added, unchanged, changed = added + upsert.added, unchanged + upsert.unchanged, changed + upsert.changed
        months |= set(pc.unique(pc.strftime(found.candles["time"], "%Y-%m")).to_pylist())
    spans = [
        (found.candles["time"][0].value, found.candles["time"][-1].value) for _, found in read if len(found.candles)
    ]
    return ImportReport(
        instrument=instrument,
        rows=sum(found.rows for _, found in read),
        imported=sum(len(found.candles) for _, found in read),
        added=added,
        unchanged=unchanged,
        changed=changed,
        duplicates=sum(found.duplicates for _, found in read),
        without_tick=sum(found.without_tick for _, found in read),
        quarantined=sum(reasons.values()),
        reasons=dict(sorted(reasons.items())),
        months=tuple(sorted(months)),
        first=min((first for first, _ in spans), default=None),
        last=max((last for _, last in spans), default=None),
        clock_checked=all(found.clock_checked for _, found in read),
        quarantine_files=tuple(quarantined),
    )


def _check_granularity(path: Path, parsed: Parsed, known_ns: np.ndarray) -> None:
    try:
        check_granularity(str(path), known_ns)
    except DataError as error:
        lost = np.flatnonzero(parsed.local_ns == NO_TIME).tolist()
        if not lost:
            raise
        # Rows without a time leave holes that look like longer bars: they are what to mend first.
        text = parsed.texts.get(lost[0])
        raise DataError(
            f"{path}: the times of {len(lost):,} of {len(parsed.row):,} rows cannot be read, the first in row "
            f"{parsed.row[lost[0]]}{'' if text is None else f' ({text[:80]!r})'}: write all times alike. Without those "
            f"rows, {error}"
        ) from error


def _check_readable(path: Path, reader: _Reader, parsed: Parsed, rows: int) -> None:
    broken = dict(parsed.broken)
    for index in parsed.unreadable:
        broken[int(parsed.row[index])] = parsed.texts.get(index, parsed.unreadable[index])
    for name, array in parsed.prices.items():
        if not name.endswith("_o"):
            continue
        for index in np.flatnonzero(np.isnan(array)).tolist():
            broken.setdefault(int(parsed.row[index]), parsed.texts.get(index, "a price is not a number"))
    if parsed.cut and broken and max(broken) >= max(parsed.row, default=0):
        raise DataError(
            f"{path}, row {max(broken)}: the last row is cut short ({broken[max(broken)][:80]!r}). The file is "
            "truncated: export or download it again."
        )
    if not rows:
        raise DataError(f"{path} holds a header and no rows: export or download it again.")
    if 2 * len(broken) > rows or not len(parsed.row):
        first = min(broken, default=1)
        raise DataError(
            f"{path}: {len(broken):,} of {rows:,} rows cannot be read, the first in row {first} "
            f"({broken.get(first, '')[:80]!r}). Rows should look like {reader.expected}; check --format."
        )


def _mostly_bad(path: Path, reader: _Reader, quarantine: pa.Table, rows: int) -> DataError:
    return DataError(
        f"{path}: {len(quarantine):,} of {rows:,} rows are bad, the first in row {quarantine['row'][0]} "
        f"({quarantine['reason'][0]}). A file more than half bad is refused; rows should look like {reader.expected}."
    )


def _judge(
    parsed: Parsed, utc_ns: np.ndarray, instrument: str, side: Side, path: Path, now_ns: int | None
) -> tuple[pd.DataFrame, np.ndarray]:
    # All rows of the file with the twelve prices, and the reason to refuse each ("" for none).
    reasons = np.full(len(utc_ns), "", dtype=object)
    reasons[utc_ns < EARLIEST_NS] = "before 1990"
    reasons[utc_ns == NO_TIME] = "local time falls into a clock change"
    for index, reason in parsed.unreadable.items():
        reasons[index] = reason
    frame = pd.DataFrame({"row": parsed.row, "time": pd.DatetimeIndex(utc_ns.astype("datetime64[ns]"), tz="UTC")})
    for name, prices in _complete_sides(parsed, utc_ns, instrument, side, path).items():
        frame[name] = prices
    frame["volume"] = parsed.volume
    frame["quotes_modelled"] = (
        parsed.quotes_modelled if parsed.quotes_modelled is not None else not {"bid_o", "ask_o"} <= set(parsed.prices)
    )
    judged = np.flatnonzero(reasons == "")
    reasons[judged] = bad_bar_reasons(frame.iloc[judged].reset_index(drop=True), now_ns)
    reasons[(reasons == "") & (parsed.volume < 0)] = "negative volume"
    return frame, reasons


def _complete_sides(
    parsed: Parsed, utc_ns: np.ndarray, instrument: str, side: Side, path: Path
) -> dict[str, np.ndarray]:
    pair = find_instrument(instrument)
    given = {name.split("_")[0] for name in parsed.prices}
    prices = dict(parsed.prices)
    if {"bid", "ask"} <= given:
        for field in "ohlc":
            prices.setdefault(f"mid_{field}", (prices[f"bid_{field}"] + prices[f"ask_{field}"]) / 2)
    elif len(given) == 1:
        known = given.pop()
        held: str = side if known == "one" else known
        spread = modelled_spread_pips(instrument, np.where(utc_ns < EARLIEST_NS, 0, utc_ns)) * pair.pip
        for field in "ohlc":
            price = prices.pop(f"{known}_{field}")
            for target in SIDES:
                prices[f"{target}_{field}"] = price + (SIDES.index(target) - SIDES.index(held)) * spread / 2
    else:
        names = " and ".join(sorted("unnamed" if name == "one" else name for name in given))
        raise DataError(f"{path} has {names} prices, but not both bid and ask: leave one side only.")
    return {name: np.round(prices[name], pair.display_precision) for name in PRICE_COLUMNS}


def _quarantine_table(frame: pd.DataFrame, reasons: np.ndarray, parsed: Parsed) -> pa.Table:
    texts = [parsed.texts.get(int(index)) for index in frame.index]
    refused = frame.assign(text=pd.Series(texts, frame.index, object), reason=reasons)
    table = frame_table(refused, IMPORT_QUARANTINE_SCHEMA)
    if parsed.broken:
        lines = sorted(parsed.broken)
        columns: dict[str, list[object]] = {
            "row": list(lines),
            "text": [parsed.broken[line] for line in lines],
            "reason": ["wrong number of cells"] * len(lines),
        }
        empty: list[object] = [None] * len(lines)
        broken = pa.table(
            [pa.array(columns.get(field.name, empty), field.type) for field in IMPORT_QUARANTINE_SCHEMA],
            schema=IMPORT_QUARANTINE_SCHEMA,
        )
        table = pa.concat_tables([table, broken]).sort_by("row")
    return table.combine_chunks()
