"""Which rows of a file can be candles, and the reasons of those that cannot."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from fx_pipeline.ingest.buckets import Rows
from fx_pipeline.ingest.clock import NO_TIME, Clock
from fx_pipeline.ingest.crossed import Mended, mend_crossed
from fx_pipeline.ingest.filled import Quiet, count_quiet
from fx_pipeline.ingest.hours import Stamped
from fx_pipeline.ingest.parsed import Parsed
from fx_pipeline.ingest.plausible import clock_evidence
from fx_pipeline.ingest.sides import GivenSides
from fx_pipeline.market.alignment import bar_ends, bar_starts, on_grid
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.candles import PRICE_COLUMNS, bad_bar_reasons
from fx_pipeline.market.timeframe import M1, Timeframe

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

#: Nobody has one-minute retail quotes of before: such a time is mistyped, and would make decades of empty months.
EARLIEST_NS = int(np.datetime64("1990-01-01", "ns").astype(np.int64))
LATEST_NS = int(np.iinfo(np.int64).max)
SECOND_NS = 1_000_000_000

#: Rows of a file that were refused, as they came; prices that cannot be read are NaN, those of sides that the file
#: does not give null.
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
TWICE = "duplicate time with other prices"
_BROKEN = "wrong number of cells"
UNFINISHED = "bar not over yet"


@dataclass(frozen=True)
class Judged:
    """Rows of one block, judged. Row numbers are those of the block.

    Attributes
    ----------
    good : Rows
        Those that may become candles.
    refused : Table
        `IMPORT_QUARANTINE_SCHEMA`.
    left_out : int
        Possible rows that the publisher filled in.
    refused_ns : (N,) int64
        Times of the refused rows, where they have one that can be.
    contradicting_ns : (N,) int64
        Of these, the times of rows with impossible prices: they contradict any other row of their minute.
    clock_evidence : (N,) int64
        Of the wall-clock times that can be, of all rows but those that were filled in or may have been.
    doubtful_evidence : (N,) int64
        Of the rows that may have been filled in.
    quiet : Quiet
        Counts of these and of all good rows.
    level : float
        Median of the closes; NaN when there is none.
    modelled : bool
        Whether bid and ask of a good row, other than of a mended one, come from the cost model.
    mended : int
        Good rows that were crossed, and have a modelled spread around their middle now.
    mended_row : int
        The first of them; 0 when there is none.
    deepest_pips : float
        The most by which one of them crossed.
    spread : (float, float)
        Median and largest spread at the close of good rows with both bid and ask, as shares of the price; NaN when
        there are none.
    """

    good: Rows
    refused: pa.Table
    left_out: int
    refused_ns: Int64
    contradicting_ns: Int64
    clock_evidence: Int64
    doubtful_evidence: Int64
    quiet: Quiet
    level: float
    modelled: bool
    mended: int
    mended_row: int
    deepest_pips: float
    spread: tuple[float, float]


def judge(
    parsed: Parsed,
    sides: GivenSides,
    clock: Clock,
    now_ns: int | None = None,
    stamped: Stamped = "open",
    timeframe: Timeframe = M1,
) -> Judged:
    """Tell the rows that may become candles from those that cannot.

    Parameters
    ----------
    clock : Clock
        The clock of the file.
    now_ns : int, optional
        Bars that open at or after it are refused, and those longer than a minute that end after it.
    stamped : str
        Whether the times are the bars' opens or ends.
    timeframe : Timeframe
        Of the bars.
    """
    utc_ns = clock.to_utc(parsed.local_ns)
    if stamped == "end":
        utc_ns = _opens(utc_ns, timeframe)
    count = len(utc_ns)
    filled = np.zeros(count, bool) if parsed.without_tick is None else parsed.without_tick
    possible = (utc_ns >= EARLIEST_NS) & (utc_ns < (LATEST_NS if now_ns is None else now_ns))
    given = sides.rounded(parsed.prices)
    mended = Mended(np.zeros(count, bool), 0.0)
    if not sides.modelled:
        mended = mend_crossed(
            sides.instrument, utc_ns, {side: given[4 * k : 4 * k + 4] for k, side in enumerate(sides.held)}
        )
    fine = possible & (parsed.volume >= 0) & _possible_prices(given, sides)
    fine[list(parsed.unreadable)] = False
    if timeframe == M1:
        fine &= utc_ns % MINUTE_NS == 0
    else:
        fine[fine] = on_grid(utc_ns[fine], timeframe)
        if now_ns is not None:
            fine[fine] = bar_ends(utc_ns[fine], timeframe) <= now_ns
    suspects = np.flatnonzero(~fine)
    reasons = _reasons(parsed, sides, utc_ns, given, suspects, now_ns, timeframe)
    # Only the reasons decide; what looked suspect and has none is good.
    fine[suspects[reasons == ""]] = True
    suspects, reasons = suspects[reasons != ""], reasons[reasons != ""]
    kept = fine & ~filled
    volume = parsed.volume if kept.all() else np.where(kept, parsed.volume, 0)
    # A fraction of a lot is a volume: a quiet minute with a tick must not round to none.
    if ((volume > 0) & (volume < 1)).any():
        volume = np.where(volume > 0, np.maximum(volume, 1), volume)
    modelled = np.full(count, sides.modelled) if parsed.quotes_modelled is None else parsed.quotes_modelled
    said_modelled = bool((modelled & kept & ~mended.bars).any())
    modelled = modelled | mended.bars if mended.bars.any() else modelled
    rows = Rows(utc_ns, parsed.row, np.rint(volume).astype(np.int64), modelled, given)
    rows = rows if kept.all() else rows.part(kept)
    quiet, doubtful = count_quiet(rows, backwards=len(rows) > 1 and bool(rows.time[0] > rows.time[-1]))
    evident, doubted = possible & ~filled, np.zeros(count, bool)
    if doubtful.any():
        doubted[kept] = doubtful
        evident &= ~doubted
    timed = suspects[evident[suspects]]
    impossible = ~_possible_prices(given[:, timed], sides)
    close = given[sides.columns.index(f"{sides.columns[0].split('_')[0]}_c")]
    finite = close[np.isfinite(close)]
    return Judged(
        good=rows,
        refused=_refused_table(parsed, sides, utc_ns, suspects, reasons),
        left_out=int((fine & filled).sum()),
        refused_ns=utc_ns[timed],
        contradicting_ns=utc_ns[timed[impossible]],
        clock_evidence=clock_evidence(parsed.local_ns if evident.all() else parsed.local_ns[evident]),
        doubtful_evidence=clock_evidence(parsed.local_ns[doubted]),
        quiet=quiet,
        level=float(np.median(finite)) if len(finite) else float("nan"),
        modelled=said_modelled,
        mended=int((mended.bars & kept).sum()),
        mended_row=int(parsed.row[mended.bars & kept][0]) if (mended.bars & kept).any() else 0,
        deepest_pips=mended.deepest_pips,
        spread=_spread(rows, sides),
    )


def _spread(rows: Rows, sides: GivenSides) -> tuple[float, float]:
    if not {"bid_c", "ask_c"} <= {*sides.columns} or not len(rows):
        return float("nan"), float("nan")
    bid, ask = (rows.prices[sides.columns.index(name)] for name in ("bid_c", "ask_c"))
    shares = (ask - bid) / bid
    return float(np.median(shares)), float(shares.max())


def settle(rows: Rows, contradicting_ns: Int64) -> tuple[Rows, Rows, int]:
    """Put a month's rows in order of time, one for each bar.

    Parameters
    ----------
    rows : Rows
        In any order.
    contradicting_ns : (N,) int64
        Times at which no row is trusted.

    Returns
    -------
    rows : Rows
        Sorted, unique on time.
    contradictions : Rows
        Rows of one time with different prices: none of them is trusted.
    duplicates : int
        Rows left out because they say again what another row says.
    """
    if np.any(np.diff(rows.time) < 0):
        rows = rows.part(np.argsort(rows.time, kind="stable"))
    starts = np.append(True, np.diff(rows.time) > 0)[: len(rows)]
    group = np.cumsum(starts) - 1
    first = np.flatnonzero(starts)[group]
    differs = np.any(rows.prices != rows.prices[:, first], axis=0)
    torn = np.zeros(int(starts.sum()), bool)
    torn[group[differs]] = True
    torn[np.isin(rows.time[starts], contradicting_ns)] = True
    kept = starts & ~torn[group]
    contradictions = rows.part(torn[group])
    return rows.part(kept), contradictions, len(rows) - len(contradictions) - int(kept.sum())


def refused_rows(rows: Rows, sides: GivenSides, reason: str) -> pa.Table:
    """Return rows that are refused for what stands beside them as `IMPORT_QUARANTINE_SCHEMA`."""
    columns: dict[str, pa.Array] = {
        "row": pa.array(rows.row),
        "time": pa.array(rows.time),
        "volume": pa.array(rows.volume.astype(np.float64)),
        "reason": pa.repeat(reason, len(rows)),
        **{name: pa.array(price) for name, price in zip(sides.columns, rows.prices, strict=True)},
    }
    return _quarantine(columns, len(rows))


def _opens(end_ns: Int64, timeframe: Timeframe) -> Int64:
    # Opens of bars of their ends, which some write as the last second of the bar, or the last millisecond.
    short = -end_ns % MINUTE_NS
    known = end_ns != NO_TIME
    opens = end_ns + np.where(short <= SECOND_NS, short, 0) - timeframe.bar_ns
    if timeframe.aligned_to_day:
        # The hours of a day are not always 24.
        starts = bar_starts(end_ns[known] - 1, timeframe)
        opens[known] = np.where(on_grid(end_ns[known] + short[known], timeframe), starts, end_ns[known])
    return np.where(known, opens, NO_TIME)


def _possible_prices(given: Float64, sides: GivenSides) -> Bool:
    # NaN fails every comparison; what is left between 0 and infinity is finite.
    good = np.ones(given.shape[1], bool)
    by_name = dict(zip(sides.columns, given, strict=True))
    for side in dict.fromkeys(name.split("_")[0] for name in sides.columns):
        open_, high, low, close = (by_name[f"{side}_{field}"] for field in "ohlc")
        good &= (low > sides.widest_step_down) & (low <= open_) & (low <= close)
        good &= (high >= open_) & (high >= close) & (high < np.inf)
    if not sides.modelled:
        good &= (by_name["ask_o"] >= by_name["bid_o"]) & (by_name["ask_c"] >= by_name["bid_c"])
    return good


def _reasons(
    parsed: Parsed,
    sides: GivenSides,
    utc_ns: Int64,
    given: Float64,
    suspects: npt.NDArray[np.intp],
    now_ns: int | None,
    timeframe: Timeframe,
) -> npt.NDArray[np.object_]:
    reasons = np.full(len(suspects), "", dtype=object)
    if not len(suspects):
        return reasons
    times = utc_ns[suspects]
    reasons[times < EARLIEST_NS] = "before 1990"
    reasons[times == NO_TIME] = "local time falls into a clock change"
    if parsed.unreadable:
        place = np.searchsorted(suspects, list(parsed.unreadable))
        reasons[place] = list(parsed.unreadable.values())
    judged = np.flatnonzero(reasons == "")
    prices = given[:, suspects[judged]]
    frame = pd.DataFrame({"time": pd.DatetimeIndex(times[judged].astype("datetime64[ns]"), tz="UTC")})
    for name, price in zip(sides.columns, prices, strict=True):
        frame[name] = price
    found = bad_bar_reasons(frame, now_ns, timeframe)
    if timeframe != M1 and now_ns is not None:
        found[(found == "") & (bar_ends(times[judged], timeframe) > now_ns)] = UNFINISHED
    # Rows that contradict one another are told apart later, in the whole file.
    found[found == TWICE] = ""
    lowest = prices[[number for number, name in enumerate(sides.columns) if name.endswith("_l")]].min(axis=0)
    found[(found == "") & (lowest <= sides.widest_step_down)] = "not positive"
    found[(found == "") & (parsed.volume[suspects[judged]] < 0)] = "negative volume"
    reasons[judged] = found
    return reasons


def _refused_table(
    parsed: Parsed,
    sides: GivenSides,
    utc_ns: Int64,
    refused: npt.NDArray[np.intp],
    reasons: npt.NDArray[np.object_],
) -> pa.Table:
    times = utc_ns[refused]
    columns: dict[str, pa.Array] = {
        "row": pa.array(parsed.row[refused]),
        "time": pa.array(times, mask=times == NO_TIME),
        "volume": pa.array(parsed.volume[refused]),
        "text": pa.array([parsed.texts.get(int(index)) for index in refused], pa.string()),
        "reason": pa.array(reasons.tolist(), pa.string()),
    }
    for name in sides.columns:
        prices = parsed.prices[name if name in parsed.prices else f"one_{name[-1]}"]
        columns[name] = pa.array(prices[refused], from_pandas=False)
    lines = list(parsed.broken)
    broken = {
        "row": pa.array(lines, pa.int64()),
        "text": pa.array(list(parsed.broken.values()), pa.string()),
        "reason": pa.repeat(_BROKEN, len(lines)),
    }
    return pa.concat_tables([_quarantine(columns, len(refused)), _quarantine(broken, len(lines))])


def _quarantine(columns: dict[str, pa.Array], count: int) -> pa.Table:
    arrays = [
        columns[field.name].cast(field.type) if field.name in columns else pa.nulls(count, field.type)
        for field in IMPORT_QUARANTINE_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=IMPORT_QUARANTINE_SCHEMA)
