"""Bars out of minutes: what a naive loop makes, what pandas makes, complete bars alone, months that join."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.broker.paper.synthetic import synthetic_bars
from fx_pipeline.ingest import layout
from fx_pipeline.ingest.lake import build_month, is_built, month_is_made_of, read_candles, stale_months
from fx_pipeline.ingest.resample import known_span, resample
from fx_pipeline.market.alignment import bar_end, bar_starts
from fx_pipeline.market.calendar import MINUTE_NS, FxCalendar
from fx_pipeline.market.candles import BAR_SCHEMA, PRICE_COLUMNS
from fx_pipeline.market.files import read_table, write_table
from fx_pipeline.market.months import month_bounds
from fx_pipeline.market.timeframe import H1, H4, M5, M15, TIMEFRAMES, D, Timeframe

LONGER = [timeframe for timeframe in TIMEFRAMES.values() if timeframe.minutes > 1]
CALENDAR = FxCalendar()
FAR = 2**62


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def minutes(start: str, end: str) -> Bars:
    return synthetic_bars("EUR_USD", ns(start), ns(end))


def naive(bars: Bars, timeframe: Timeframe, from_ns: int, until_ns: int) -> list[list[float]]:
    """Bar by bar: time, twelve prices, volume, modelled, minutes."""
    found: dict[int, list[int]] = {}
    for place, time in enumerate(bars.time.tolist()):
        found.setdefault(int(bar_starts([time], timeframe)[0]), []).append(place)
    rows = []
    for start, places in sorted(found.items()):
        if start < from_ns or bar_end(start, timeframe) > until_ns:
            continue
        prices = bars.prices[places]
        row = [float(start)]
        for side in range(3):
            row += [
                prices[0, 4 * side],
                max(prices[:, 4 * side + 1]),
                min(prices[:, 4 * side + 2]),
                prices[-1, 4 * side + 3],
            ]
        rows.append(
            [*row, float(bars.volume[places].sum()), float(bars.quotes_modelled[places].any()), float(len(places))]
        )
    return rows


def rows_of(table: pa.Table) -> list[list[float]]:
    time = table["time"].cast(pa.int64()).to_numpy().astype(float)
    names = [*PRICE_COLUMNS, "volume", "quotes_modelled", "minutes"]
    return np.column_stack([time, *(table[name].to_numpy().astype(float) for name in names)]).tolist()


@pytest.mark.parametrize("timeframe", LONGER, ids=str)
@given(
    seed=st.integers(0, 2**32 - 1),
    density=st.sampled_from([1.0, 0.7, 0.05, 0.002]),
    start=st.sampled_from(["2024-03-07T03:17", "2024-03-01T00:00", "2024-01-30T22:00"]),
    hours=st.integers(1, 150),
)
@settings(max_examples=12, deadline=None)
def test_bars_are_those_of_a_loop(timeframe: Timeframe, seed: int, density: float, start: str, hours: int) -> None:
    bars = synthetic_bars("EUR_USD", ns(start), ns(start) + hours * 60 * MINUTE_NS)
    draw = np.random.default_rng(seed)
    kept = draw.random(len(bars.time)) < density
    modelled = draw.random(int(kept.sum())) < 0.3
    bars = Bars(bars.time[kept], bars.prices[kept], bars.volume[kept], modelled)
    span = ns(start) + int(draw.integers(0, 300)) * MINUTE_NS, ns(start) + hours * 60 * MINUTE_NS
    table = resample(bars.table("practice"), timeframe, *span)
    assert table.schema.equals(BAR_SCHEMA)
    assert rows_of(table) == naive(bars, timeframe, *span)


@pytest.mark.parametrize(
    ("timeframe", "rule"), [(M5, "5min"), (M15, "15min"), (H1, "1h"), (H4, "4h"), (D, "24h")], ids=str
)
@pytest.mark.parametrize("week", ["2024-03-03T22:00", "2024-03-10T21:00"])
def test_bars_are_those_of_pandas_within_a_week(timeframe: Timeframe, rule: str, week: str) -> None:
    # A week before the clocks change, and one after: 17:00 New York is another hour of UTC.
    start = ns(week)
    end = start + 5 * 24 * 60 * MINUTE_NS
    table = minutes(week, str(np.datetime64(end, "ns"))).table("practice")
    found = resample(table, timeframe, start, end).to_pandas().set_index("time")
    frame = table.to_pandas().set_index("time")
    shape = {"o": "first", "h": "max", "l": "min", "c": "last"}
    rules = {name: shape[name[-1]] for name in PRICE_COLUMNS} | {"volume": "sum"}
    wanted = frame.resample(rule, origin=pd.Timestamp(start, tz="UTC")).agg(rules).dropna()
    pd.testing.assert_frame_equal(
        found[list(rules)], wanted, check_freq=False, check_index_type=False, check_dtype=False
    )
    assert found["minutes"].sum() == len(frame)


def test_a_bar_is_complete_when_the_data_reach_its_end() -> None:
    bars = minutes("2024-02-06T10:00", "2024-02-06T12:30")
    at = bars.time.tolist()
    span = known_span(bars.time, CALENDAR, FAR)
    assert span == (at[0], at[-1] + MINUTE_NS)
    hours = resample(bars.table("live"), H1, *span)["time"].cast(pa.int64()).to_pylist()
    assert hours == [ns("2024-02-06T10:00"), ns("2024-02-06T11:00")]
    # The last minute without a tick: nobody knows that the hour is over before the next candle is there.
    short = bars.part(0, int(np.searchsorted(bars.time, ns("2024-02-06T11:59"))))
    assert len(resample(short.table("live"), H1, *known_span(short.time, CALENDAR, FAR))) == 1
    # Nothing of what is beyond changes a bar that is complete.
    known = resample(bars.table("live"), H1, *span)
    later = minutes("2024-02-06T10:00", "2024-02-07T12:30")
    assert resample(later.table("live"), H1, *known_span(later.time, CALENDAR, FAR)).slice(0, 2).equals(known)


def test_a_week_that_is_over_completes_its_last_bars() -> None:
    bars = minutes("2024-02-08T22:00", "2024-02-10")
    closed = ns("2024-02-09T22:00")
    for now, days in ((closed - MINUTE_NS, 0), (closed, 1), (FAR, 1)):
        span = known_span(bars.time, CALENDAR, now)
        assert len(resample(bars.table("live"), D, *span)) == days
    # What begins before the first candle, in a week that was open, is not whole.
    late = bars.part(30, len(bars.time))
    assert not len(resample(late.table("live"), D, *known_span(late.time, CALENDAR, FAR)))


def put(data_dir: Path, month: str, bars: Bars) -> None:
    start, end = month_bounds(month)
    write_table(
        layout.lake_path(layout.lake_folder(data_dir), "EUR_USD", month), bars.between(start, end).table("practice")
    )


@pytest.mark.parametrize("timeframe", LONGER, ids=str)
def test_months_join_without_a_bar_lost_or_halved(timeframe: Timeframe, tmp_path: Path) -> None:
    # February ends on a Thursday, so that a day lies in two months.
    bars = minutes("2024-02-20", "2024-03-12")
    put(tmp_path, "2024-02", bars)
    alone = build_month(tmp_path, "EUR_USD", "2024-02", FAR, timeframe=timeframe)
    assert alone.made_of == "M1" and alone.timeframe == timeframe
    put(tmp_path, "2024-03", bars)
    assert stale_months(tmp_path, "EUR_USD", ["2024-03"], timeframe) == ["2024-02"]
    reports = [build_month(tmp_path, "EUR_USD", month, FAR, timeframe=timeframe) for month in ("2024-02", "2024-03")]
    assert reports[0].changed == reports[0].removed == 0
    assert reports[0].added == (1 if timeframe.aligned_to_day else 0)
    assert not stale_months(tmp_path, "EUR_USD", ["2024-03"], timeframe)
    lake = layout.lake_folder(tmp_path)
    wanted = resample(bars.table("practice"), timeframe, *known_span(bars.time, CALENDAR, FAR))
    found = read_candles(lake, "EUR_USD", timeframe=timeframe)
    assert found.equals(wanted.select(found.column_names))
    parts = [
        read_table(layout.lake_path(lake, "EUR_USD", month, timeframe), BAR_SCHEMA, "")
        for month in ("2024-02", "2024-03")
    ]
    assert pa.concat_tables(parts).equals(wanted)


def test_a_month_is_built_again_when_its_minutes_change(tmp_path: Path) -> None:
    bars = minutes("2024-02-01", "2024-02-10")
    put(tmp_path, "2024-02", bars)
    build_month(tmp_path, "EUR_USD", "2024-02", FAR, timeframe=H1)
    assert is_built(tmp_path, "EUR_USD", "2024-02", H1) and month_is_made_of(tmp_path, "EUR_USD", "2024-02", H1) == "M1"
    assert not build_month(tmp_path, "EUR_USD", "2024-02", FAR, timeframe=H1).written
    changed = bars.prices.copy()
    changed[100, :] += 0.01
    put(tmp_path, "2024-02", bars._replace(prices=changed))
    assert not is_built(tmp_path, "EUR_USD", "2024-02", H1)
    again = build_month(tmp_path, "EUR_USD", "2024-02", FAR, timeframe=H1)
    assert (again.changed, again.removed, again.revisions) == (1, 0, 1)
