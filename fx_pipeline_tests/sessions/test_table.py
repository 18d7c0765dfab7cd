import json
from pathlib import Path

import duckdb
import numpy as np
import pytest

from fx_pipeline.market.arrays import SESSION_BARS, MarketArrays
from fx_pipeline.market.calendar import MINUTE_NS, open_minutes
from fx_pipeline.market.errors import DataError, NewerVersionError
from fx_pipeline.sessions.index import valid_starts
from fx_pipeline.sessions.names import SessionTable
from fx_pipeline.sessions.table import Plan, read_plan, read_starts, session_schema, standing_plan, thin, write_plan
from fx_pipeline.sessions.windows import WalkForwardConfig, fit_spans, full_days, plan_windows

MONDAY = int(np.datetime64("2024-01-08T12:00", "ns").astype(np.int64))


def market_of(count: int = 1_000, name: str = "GBP_JPY") -> MarketArrays:
    close = 187.0 + 0.01 * np.cumsum(np.random.default_rng(0).normal(0.0, 2.0, count))
    time = MONDAY + MINUTE_NS * np.arange(count)
    return MarketArrays(name, 0.01, time, *[close] * 8, np.zeros((count, 9), np.float32), close, "test")


def write_sessions(connection: duckdb.DuckDBPyConnection, market: MarketArrays, starts: np.ndarray) -> None:
    connection.execute(session_schema(SessionTable()))
    connection.execute("DELETE FROM valid_sessions WHERE instrument = ?", [market.instrument])
    for start in starts.tolist():
        times = [int(market.time[start]) // 1_000, int(market.time[start + SESSION_BARS - 1]) // 1_000]
        connection.execute(
            "INSERT INTO valid_sessions VALUES (?, make_timestamp(?), make_timestamp(?), 1.0)",
            [market.instrument, *times],
        )


def test_starts_come_back_as_they_were_written() -> None:
    connection, market = duckdb.connect(), market_of()
    starts = valid_starts(market)
    write_sessions(connection, market, starts)
    assert len(starts) > 500
    assert read_starts(connection, market).tolist() == starts.tolist()
    write_sessions(connection, market, starts[::3])
    assert read_starts(connection, market).tolist() == starts[::3].tolist()


def test_a_slice_of_the_market_gets_the_sessions_inside_it() -> None:
    connection, market = duckdb.connect(), market_of()
    starts = valid_starts(market)
    write_sessions(connection, market, starts)
    found = read_starts(connection, market.slice(100, 700)) + 100
    assert found.tolist() == [start for start in starts if start >= 100 and start + SESSION_BARS <= 700]


def test_instruments_do_not_mix_and_no_session_is_no_row() -> None:
    connection = duckdb.connect()
    write_sessions(connection, market_of(), valid_starts(market_of()))
    other = market_of(100, "USD_JPY")
    write_sessions(connection, other, valid_starts(other))
    assert read_starts(connection, other).tolist() == []
    assert len(read_starts(connection, market_of()))


def test_an_index_made_from_other_candles_is_refused() -> None:
    connection, market = duckdb.connect(), market_of()
    with pytest.raises(DataError, match="materialise valid_sessions"):
        read_starts(connection, market)
    write_sessions(connection, market, valid_starts(market))
    kept = np.delete(np.arange(len(market)), 400)
    arrays = (getattr(market, name)[kept] for name in ("close", "high", "low"))
    close, high, low = arrays
    fewer = MarketArrays(
        "GBP_JPY", 0.01, market.time[kept], close, high, low, *[close] * 5, market.features[kept], close, "t"
    )
    with pytest.raises(DataError, match="does not fit"):
        read_starts(connection, fewer)


def test_thin_keeps_sessions_that_do_not_overlap() -> None:
    assert thin(np.array([5, 6, 364, 365, 724, 725, 2_000])).tolist() == [5, 365, 725, 2_000]
    assert thin(np.array([], dtype=np.int64)).tolist() == []


def test_a_plan_comes_back_as_it_was_written(tmp_path: Path) -> None:
    sunday = int(np.datetime64("2024-02-04T22:00", "ns").astype(np.int64))
    time = open_minutes(sunday, sunday + 6 * 10_080 * MINUTE_NS)
    config = WalkForwardConfig()
    days = len(full_days(time))
    plan = Plan("GBP_JPY", days, *fit_spans(days, config), tuple(plan_windows(time, config)), config)
    path = tmp_path / "plans" / "GBP_JPY.json"
    write_plan(path, plan)
    first = path.read_bytes()
    assert read_plan(path) == plan and len(plan.windows) == 2
    write_plan(path, read_plan(path))
    assert path.read_bytes() == first
    assert plan.window(plan.windows[1].key) == plan.windows[1] and plan.window("2001-01-01") is None


def test_a_plan_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="materialise valid_sessions of GBP_JPY"):
        read_plan(tmp_path / "GBP_JPY.json")


def test_a_plan_of_before_can_be_read_and_one_that_cannot_says_why(tmp_path: Path) -> None:
    path = tmp_path / "GBP_JPY.json"
    assert standing_plan(path) == (None, "")
    write_plan(path, Plan("GBP_JPY", 30, 15, 6, (), WalkForwardConfig(train_days=15)))
    record = json.loads(path.read_text())
    assert record.pop("asked") == {"train_days": 15, "validation_days": None, "embargo_bars": 1_860}
    path.write_text(json.dumps(record))
    assert standing_plan(path) == (Plan("GBP_JPY", 30, 15, 6, ()), "")
    path.write_text("{")
    plan, said = standing_plan(path)
    assert plan is None and "GBP_JPY.json is damaged" in said
    path.write_text(json.dumps({**record, "schema": 99}))
    with pytest.raises(NewerVersionError, match="newer version"):
        standing_plan(path)
