"""Gaps against the FX calendar: every minute is accounted for, within a month and at the seams between months."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.ingest.gaps import GAP_SCHEMA, count_gaps, gap_table, read_gaps
from fx_pipeline.ingest.layout import lake_path
from fx_pipeline.ingest.overview import month_gaps, newest_bar, total
from fx_pipeline.market.calendar import MINUTE_NS, FxCalendar
from fx_pipeline.market.candles import CANDLE_SCHEMA
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.files import write_table

CALENDAR = FxCalendar()


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def minutes(start: str, end: str) -> np.ndarray:
    return CALENDAR.expected_minutes(ns(start), ns(end))


def store(lake: Path, month: str, times: np.ndarray) -> None:
    """A month of the lake of which only the times are looked at."""
    columns = {
        field.name: pa.array(times).cast(field.type) if field.name == "time" else pa.nulls(len(times), field.type)
        for field in CANDLE_SCHEMA
    }
    schema = pa.schema([field.with_nullable(True) for field in CANDLE_SCHEMA])
    write_table(lake_path(lake, "EUR_USD", month), pa.table(columns, schema=schema))


def test_gaps_do_not_reach_over_weekends_breaks_and_holidays() -> None:
    times = np.array([ns(f"2024-01-12T21:{m}") for m in (54, 57)] + [ns(f"2024-01-14T22:0{m}") for m in (5, 6)])
    gaps = gap_table(times, CALENDAR)
    assert gaps.schema.equals(GAP_SCHEMA)
    assert [(str(gap["start"])[:16], gap["minutes"], gap["kind"]) for gap in gaps.to_pylist()] == [
        ("2024-01-12 21:55", 2, "missing"),
        ("2024-01-14 22:03", 2, "missing"),
    ]
    # Christmas: what lies between the eve and the evening is not missing.
    assert not len(gap_table(np.array([ns("2024-12-24T21:57"), ns("2024-12-25T22:03")]), CALENDAR))
    assert len(gap_table(np.empty(0, np.int64), CALENDAR)) == 0


def test_candles_when_none_is_expected_are_told_apart() -> None:
    times = np.array([ns("2024-01-13T10:00"), ns("2024-01-13T10:01"), ns("2024-01-15T21:57"), ns("2024-01-15T21:58")])
    kinds = [(str(gap["start"])[:16], gap["minutes"]) for gap in gap_table(times, CALENDAR).to_pylist()[:1]]
    assert kinds == [("2024-01-13 10:00", 2)]
    found = gap_table(times, CALENDAR).to_pandas()
    assert found[found["kind"] == "unexpected"]["minutes"].tolist() == [2, 1]


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, 4 * 1_440), min_size=1, max_size=60))
def test_every_minute_is_expected_and_present_or_missing_or_unexpected(offsets: set[int]) -> None:
    start = ns("2024-01-11T12:00")
    times = start + np.array(sorted(offsets), dtype=np.int64) * MINUTE_NS
    end = int(times[-1]) + MINUTE_NS
    counted = count_gaps(times, int(times[0]), end, CALENDAR)
    assert counted.present + counted.missing == counted.expected
    assert counted.present + counted.unexpected == len(times)
    table = gap_table(times, CALENDAR).to_pandas()
    for kind in ("missing", "unexpected"):
        assert table[table["kind"] == kind]["minutes"].sum() == getattr(counted, kind)
    longest = table[table["kind"] == "missing"]["minutes"].max() if counted.missing else 0
    assert counted.longest_gap_minutes == longest
    assert (counted.longest_gap_start_ns is None) == (counted.missing == 0)


def test_nothing_is_lost_between_months(tmp_path: Path) -> None:
    """January ends early, February is not there, March begins late: all of it is missing, and said where."""
    january, march = minutes("2024-01-10", "2024-01-20"), minutes("2024-03-11", "2024-03-13T12:00")
    store(tmp_path, "2024-01", np.delete(january, [5, 6]))
    store(tmp_path, "2024-03", march)
    months = month_gaps(tmp_path, "EUR_USD", CALENDAR)
    assert [month.month for month in months] == ["2024-01", "2024-02", "2024-03"]
    counts = [month.gaps for month in months]
    assert counts[0].expected == len(minutes("2024-01-10", "2024-02-01"))
    assert counts[0].missing == 2 + len(minutes("2024-01-20", "2024-02-01"))
    assert (counts[1].present, counts[1].missing) == (0, len(minutes("2024-02-01", "2024-03-01")))
    assert counts[2].expected == len(minutes("2024-03-01", "2024-03-13T12:00"))
    assert counts[2].missing == len(minutes("2024-03-01", "2024-03-11"))
    whole = total(months)
    assert whole.month == "2024-01..2024-03" and whole.bars == len(january) - 2 + len(march)
    assert whole.gaps.expected == len(minutes("2024-01-10", "2024-03-13T12:00"))
    record = months[0].record()
    assert record["longest_gap_minutes"] == 1_435 and record["longest_gap_start"] == "2024-01-21T22:03Z"
    assert record["missing_percent"] == pytest.approx(100 * counts[0].missing / counts[0].expected, abs=1e-3)
    assert newest_bar(tmp_path, "EUR_USD") == march[-1]


def test_empty_and_broken_lakes(tmp_path: Path) -> None:
    assert month_gaps(tmp_path, "EUR_USD", CALENDAR) == [] and newest_bar(tmp_path, "EUR_USD") is None
    assert read_gaps(tmp_path, "EUR_USD", "2024-01").num_rows == 0
    path = lake_path(tmp_path, "EUR_USD", "2024-01")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no parquet")
    with pytest.raises(
        DataError, match=r"2024-01\.parquet is damaged .* materialise m1_candles of EUR_USD 2024-01 again"
    ):
        month_gaps(tmp_path, "EUR_USD", CALENDAR)


@pytest.mark.parametrize("name", ["EUR_USD_M1_2024-01", "GBP_USD_M1_2024-01", "USD_JPY_M1_2024-01"])
def test_real_candles_keep_the_break(shared_data: Path, name: str) -> None:
    """Candles of January 2024: hardly one lies in the daily break, on New Year's Day or in a weekend."""
    times = pd.DatetimeIndex(pd.read_parquet(shared_data / f"{name}.parquet")["time"]).as_unit("ns").asi8
    counted = count_gaps(times, int(times[0]), int(times[-1]) + MINUTE_NS, CALENDAR)
    assert counted.unexpected <= 3
    assert counted.missing_percent < 5
