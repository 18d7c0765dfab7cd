"""The session index, brought up to date in any order, against a full rebuild: equal to the bit."""

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fx_pipeline.features.table import Month, load_market, update_features
from fx_pipeline.market.arrays import SESSION_BARS
from fx_pipeline.market.calendar import MINUTE_NS, is_open
from fx_pipeline.market.candles import CANDLE_SCHEMA, PRICE_COLUMNS
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.months import month_bounds
from fx_pipeline.sessions import names
from fx_pipeline.sessions.index import valid_starts
from fx_pipeline.sessions.table import read_starts, thin
from fx_pipeline.sessions.update import SessionUpdate, update_sessions

NAME = "GBP_JPY"
#: Bars at the beginning and at the end of each: most months end within a week, so sessions reach into the next one.
KEYS = ("2024-01", "2024-02", "2024-03", "2024-04", "2024-05")
Made = tuple[int, int, int]


def write_month(folder: Path, key: str, made: Made) -> Month:
    """A month of `made`: a seed, minutes from its start on, and minutes up to its end."""
    seed, head, tail = made
    start, end = month_bounds(key)
    minutes = np.unique(np.r_[start + MINUTE_NS * np.arange(head), end - MINUTE_NS * np.arange(tail, 0, -1)])
    rng = np.random.default_rng([KEYS.index(key), seed])
    time = minutes[is_open(minutes) & (rng.random(len(minutes)) < 0.97)]
    time = time if len(time) else minutes[-1:]
    close = np.round(187.0 + np.cumsum(rng.choice([0.0, 0.0, 0.004], len(time)) * rng.choice([-1, 1], len(time))), 3)
    columns: dict[str, pa.Array] = {"time": pa.array(time, pa.timestamp("ns", tz="UTC"))}
    for name in PRICE_COLUMNS:
        columns[name] = pa.array(close + {"bid": -0.01, "mid": 0.0, "ask": 0.01}[name[:3]])
    columns["volume"] = pa.array(np.ones(len(time), np.int64))
    columns["quotes_modelled"] = pa.array([True] * len(time))
    columns["source"] = pa.array(["imported"] * len(time))
    path = folder / f"{key}-{seed}-{head}-{tail}.parquet"
    if not path.exists():
        pq.write_table(pa.table(columns, schema=CANDLE_SCHEMA), path)
    return Month(key, path, hashlib.sha256(path.read_bytes()).hexdigest(), "imported")


def prepared(connection: duckdb.DuckDBPyConnection, folder: Path, lake: dict[str, Made]) -> SessionUpdate:
    update_features(connection, NAME, [write_month(folder, key, made) for key, made in lake.items()])
    return update_sessions(connection, NAME)


def tables(connection: duckdb.DuckDBPyConnection) -> list[list[tuple]]:
    return [
        connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall()
        for name in ("valid_sessions", "session_months")
    ]


WHOLE: dict[str, Made] = {
    "2024-01": (0, 0, 2_600),
    "2024-02": (0, 300, 900),
    "2024-03": (0, 500, 0),
    "2024-04": (0, 700, 500),
    "2024-05": (0, 500, 30),
}
months = st.builds(
    lambda seed, head, tail: (seed, head, tail),
    st.integers(0, 2),
    st.sampled_from([0, 10, 300, 700]),
    st.sampled_from([1, 20, 500, 900]),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("months")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.dictionaries(st.sampled_from(KEYS), st.none() | months, min_size=1, max_size=3), max_size=5))
def test_any_history_of_the_lake_gives_what_a_full_rebuild_gives(
    folder: Path, steps: list[dict[str, Made | None]]
) -> None:
    """Months are appended in any split, changed and removed, old ones too."""
    grown, lake = duckdb.connect(), {"2024-01": WHOLE["2024-01"]}
    prepared(grown, folder, lake)
    for step in [*steps, dict(WHOLE)]:
        for key, made in step.items():
            if made is not None:
                lake[key] = made
            elif len(lake) > 1:
                lake.pop(key, None)
        update, fresh = prepared(grown, folder, lake), duckdb.connect()
        rebuilt = prepared(fresh, folder, lake)
        assert tables(grown) == tables(fresh)
        assert (update.sessions, update.apart) == (rebuilt.sessions, rebuilt.apart)
        assert update_sessions(grown, NAME).written == 0
    market = load_market(grown, NAME)
    starts = valid_starts(market)
    assert len(starts) > 1_500 and read_starts(grown, market).tolist() == starts.tolist()
    assert update.apart == len(thin(starts))
    rows = grown.execute("SELECT epoch_ns(last_time), range_pips FROM valid_sessions ORDER BY start_time").fetchall()
    for start, (last, range_pips) in zip(starts.tolist()[::97], rows[::97], strict=True):
        session = slice(start, start + SESSION_BARS)
        assert last == market.time[start + SESSION_BARS - 1]
        assert range_pips == (market.high[session].max() - market.low[session].min()) / market.pip


def test_a_new_month_writes_itself_and_what_reaches_into_it(folder: Path) -> None:
    connection, lake = duckdb.connect(), {key: WHOLE[key] for key in KEYS[:4]}
    prepared(connection, folder, lake)
    first = tables(connection)[0]
    update = prepared(connection, folder, lake | {"2024-05": WHOLE["2024-05"]})
    assert update.months == ("2024-04", "2024-05") and 0 < update.written < update.sessions
    after = tables(connection)[0]
    assert after[: len(first)] == first and len(after) > len(first)
    assert prepared(connection, folder, lake).months == ("2024-04",)


def test_damage_and_other_rules_are_written_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = duckdb.connect()
    prepared(connection, folder, WHOLE)
    before = tables(connection)
    for damage in (
        "DELETE FROM valid_sessions WHERE start_time > '2024-04-02'",
        "UPDATE valid_sessions SET range_pips = 9 WHERE start_time = (SELECT min(start_time) FROM valid_sessions)",
        "INSERT INTO valid_sessions VALUES ('GBP_JPY', '2025-01-01', '2025-01-02', 1.0)",
        "INSERT INTO valid_sessions VALUES ('GBP_JPY', '2001-01-01', '2001-01-02', 1.0)",
        "DROP TABLE session_months",
    ):
        connection.execute(damage)
        assert update_sessions(connection, NAME).written
        assert tables(connection) == before
    monkeypatch.setattr(names, "SESSIONS_VERSION", 2)
    assert update_sessions(connection, NAME).written == len(before[0])


def test_instruments_do_not_mix(folder: Path) -> None:
    connection = duckdb.connect()
    prepared(connection, folder, WHOLE)
    before = tables(connection)
    update_features(connection, "EUR_JPY", [write_month(folder, "2024-01", WHOLE["2024-01"])])
    assert update_sessions(connection, "EUR_JPY").sessions
    connection.execute("DELETE FROM valid_sessions WHERE instrument = 'EUR_JPY'")
    connection.execute("DELETE FROM session_months WHERE instrument = 'EUR_JPY'")
    assert tables(connection) == before and update_sessions(connection, NAME).written == 0


def test_what_is_missing_is_named(folder: Path) -> None:
    connection = duckdb.connect()
    with pytest.raises(DataError, match="materialise feature_table"):
        update_sessions(connection, NAME)
    prepared(connection, folder, WHOLE)
    with pytest.raises(DataError, match="EUR_JPY has no bars"):
        update_sessions(connection, "EUR_JPY")
    connection.execute("DELETE FROM features WHERE time > '2024-05-01'")
    connection.execute("DELETE FROM session_months")
    with pytest.raises(DataError, match="has not the bars"):
        update_sessions(connection, NAME)


KILLED = """
import os, signal, sys
import duckdb
from fx_pipeline.sessions.update import update_sessions

class Fragile:
    def __init__(self, connection):
        self._connection = connection
    def execute(self, query, *parameters):
        if sys.argv[2] in query:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._connection.execute(query, *parameters)
    def __getattr__(self, name):
        return getattr(self._connection, name)

update_sessions(Fragile(duckdb.connect(sys.argv[1])), "GBP_JPY")
"""


@pytest.mark.parametrize("at", ["DELETE FROM session_months", "INSERT INTO session_months", "COMMIT"])
def test_a_killed_update_leaves_the_old_index(folder: Path, tmp_path: Path, at: str) -> None:
    database, lake = tmp_path / "w.duckdb", {key: WHOLE[key] for key in KEYS[:4]}
    with duckdb.connect(str(database)) as connection:
        prepared(connection, folder, lake)
        before = tables(connection)
        update_features(connection, NAME, [write_month(folder, key, made) for key, made in WHOLE.items()])
    killed = subprocess.run([sys.executable, "-c", KILLED, str(database), at], check=False)
    assert killed.returncode == -signal.SIGKILL
    with duckdb.connect(str(database)) as connection, duckdb.connect() as fresh:
        assert tables(connection) == before
        update_sessions(connection, NAME)
        prepared(fresh, folder, WHOLE)
        assert tables(connection) == tables(fresh)
