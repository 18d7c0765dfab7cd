import hashlib
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fx_pipeline.features.table as table_module
from fx_pipeline.features.table import (
    Month,
    count_bars,
    known_sources,
    load_market,
    load_newest,
    load_times,
    update_features,
)
from fx_pipeline.features.temporal9 import entry
from fx_pipeline.features.temporal9.closes import features_of_closes
from fx_pipeline.features.temporal9.kernel import FEATURE_NAMES, WARMUP_BARS
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.candles import CANDLE_SCHEMA, PRICE_COLUMNS
from fx_pipeline.market.errors import DataError

KEYS = ("2024-01", "2024-02", "2024-03", "2024-04")
BARS = 1_100  # a month: the warm-up of one month's first bar spans two months before it


def candles(key: str, seed: int = 0, count: int = BARS) -> pa.Table:
    rng = np.random.default_rng([KEYS.index(key), seed])
    start = int(np.datetime64(f"{key}-05T00:00", "ns").astype(np.int64))
    time = start + MINUTE_NS * np.cumsum(rng.choice([1, 1, 1, 4], count))
    close = np.round(187.0 + np.cumsum(rng.normal(0.0, 0.02, count)), 3)
    columns: dict[str, pa.Array] = {"time": pa.array(time, pa.timestamp("ns", tz="UTC"))}
    for name in PRICE_COLUMNS:
        shift = {"bid": -0.01, "mid": 0.0, "ask": 0.01}[name[:3]] + {"h": 0.02, "l": -0.02}.get(name[-1], 0.0)
        columns[name] = pa.array(close + shift)
    columns["volume"] = pa.array(rng.integers(1, 99, count))
    columns["quotes_modelled"] = pa.array([True] * count)
    columns["source"] = pa.array(["synthetic"] * count)
    return pa.table(columns, schema=CANDLE_SCHEMA)


def write_month(folder: Path, key: str, seed: int = 0, count: int = BARS) -> Month:
    path = folder / f"{key}.parquet"
    pq.write_table(candles(key, seed, count), path)
    return Month(key, path, hashlib.sha256(path.read_bytes()).hexdigest(), "synthetic")


@pytest.fixture
def months(tmp_path: Path) -> list[Month]:
    return [write_month(tmp_path, key) for key in KEYS]


def rows(connection: duckdb.DuckDBPyConnection, instrument: str = "GBP_JPY") -> list[tuple]:
    return connection.execute("SELECT * FROM features WHERE instrument = ? ORDER BY time", [instrument]).fetchall()


def same_markets(left: duckdb.DuckDBPyConnection, right: duckdb.DuckDBPyConnection) -> None:
    a, b = load_market(left, "GBP_JPY"), load_market(right, "GBP_JPY")
    for name in ("time", "open", "high", "low", "close", "bid_open", "ask_close", "features", "outcome_sigma"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name
    assert a.fingerprint == b.fingerprint


def test_the_table_holds_what_the_kernel_computes(months: list[Month]) -> None:
    connection = duckdb.connect()
    update = update_features(connection, "GBP_JPY", months[::-1])
    market = load_market(connection, "GBP_JPY")
    whole = pa.concat_tables([pq.read_table(month.path) for month in months])
    close, time = whole["mid_c"].to_numpy(), whole["time"].to_numpy().astype(np.int64)
    features, sigma = features_of_closes(close, time, 0.01)
    assert market.features.tobytes() == features.tobytes()
    assert market.outcome_sigma.tobytes() == sigma.tobytes()
    assert market.time.tobytes() == time.tobytes() and market.close.tobytes() == close.tobytes()
    for name, column in table_module.PRICES.items():
        np.testing.assert_array_equal(getattr(market, name), whole[column].to_numpy())
    assert market.pip == 0.01 and market.features.flags.c_contiguous
    assert update.computed_months == KEYS and update.kept_months == ()
    assert update.rows == update.rows_written == 4 * BARS
    assert update.warm_rows == 4 * BARS - (WARMUP_BARS - 1)
    assert update.first_time.startswith("2024-01-05") and update.last_time.startswith("2024-04")


def test_month_by_month_equals_all_at_once_to_the_bit(months: list[Month]) -> None:
    full, grown = duckdb.connect(), duckdb.connect()
    update_features(full, "GBP_JPY", months)
    for number in range(1, len(months) + 1):
        update = update_features(grown, "GBP_JPY", months[:number])
        assert update.computed_months == (KEYS[number - 1],)
        assert update.rows_written == BARS
    same_markets(full, grown)


def test_a_second_run_writes_nothing(months: list[Month], monkeypatch: pytest.MonkeyPatch) -> None:
    connection = duckdb.connect()
    first = update_features(connection, "GBP_JPY", months)
    monkeypatch.setattr(table_module, "compute_features", None)
    second = update_features(connection, "GBP_JPY", months)
    assert second.rows_written == 0 and second.computed_months == () and second.kept_months == KEYS
    assert (second.rows, second.warm_rows) == (first.rows, first.warm_rows)


def test_a_changed_month_is_computed_again_with_all_after_it(tmp_path: Path, months: list[Month]) -> None:
    connection, fresh = duckdb.connect(), duckdb.connect()
    update_features(connection, "GBP_JPY", months)
    before = rows(connection)
    months[1] = write_month(tmp_path, KEYS[1], seed=1)
    update = update_features(connection, "GBP_JPY", months)
    assert update.computed_months == KEYS[1:] and update.kept_months == KEYS[:1]
    assert rows(connection)[:BARS] == before[:BARS] and rows(connection) != before
    update_features(fresh, "GBP_JPY", months)
    same_markets(connection, fresh)


@pytest.mark.parametrize("gone", [0, 1, 3])
def test_a_month_that_is_gone_leaves_no_rows(months: list[Month], gone: int) -> None:
    connection, fresh = duckdb.connect(), duckdb.connect()
    update_features(connection, "GBP_JPY", months)
    left = [month for number, month in enumerate(months) if number != gone]
    update = update_features(connection, "GBP_JPY", left)
    assert update.rows == 3 * BARS and update.rows_written == (3 - gone) * BARS
    update_features(fresh, "GBP_JPY", left)
    same_markets(connection, fresh)
    assert update_features(connection, "GBP_JPY", left).rows_written == 0


def test_force_and_a_new_version_compute_everything(months: list[Month], monkeypatch: pytest.MonkeyPatch) -> None:
    connection = duckdb.connect()
    update_features(connection, "GBP_JPY", months)
    assert update_features(connection, "GBP_JPY", months, force=True).computed_months == KEYS
    monkeypatch.setattr(entry, "FEATURE_SET", replace(entry.FEATURE_SET, version=2))
    assert update_features(connection, "GBP_JPY", months).computed_months == KEYS


def test_instruments_do_not_mix(tmp_path: Path, months: list[Month]) -> None:
    connection = duckdb.connect()
    update_features(connection, "GBP_JPY", months)
    before = rows(connection)
    (tmp_path / "other").mkdir()
    update_features(connection, "EUR_USD", [write_month(tmp_path / "other", KEYS[0], seed=3)])
    assert rows(connection) == before and len(rows(connection, "EUR_USD")) == BARS
    assert load_market(connection, "EUR_USD").pip == 0.0001


def test_a_span_is_half_open(months: list[Month]) -> None:
    connection = duckdb.connect()
    update_features(connection, "GBP_JPY", months)
    market = load_market(connection, "GBP_JPY")
    first, last = int(market.time[100]), int(market.time[2_000])
    part = load_market(connection, "GBP_JPY", first, last)
    assert len(part) == 1_900 and part.time[0] == first and part.time[-1] == market.time[1_999]
    assert part.features.tobytes() == market.features[100:2_000].tobytes()
    assert part.fingerprint != market.fingerprint
    assert load_market(connection, "GBP_JPY", first, last).fingerprint == part.fingerprint


def test_the_newest_bars(months: list[Month]) -> None:
    connection = duckdb.connect()
    update_features(connection, "GBP_JPY", months)
    market = load_market(connection, "GBP_JPY")
    newest = load_newest(connection, "GBP_JPY", 40)
    assert newest.time.tolist() == market.time[-40:].tolist()
    assert newest.features.tobytes() == market.features[-40:].tobytes()
    assert len(load_newest(connection, "GBP_JPY", 10**6)) == len(market)
    with pytest.raises(DataError, match="EUR_USD has no bars"):
        load_newest(connection, "EUR_USD", 40)


def test_a_month_describes_its_file(months: list[Month]) -> None:
    described = Month.of(months[0].path)
    assert (described.key, described.sha256, described.source) == (KEYS[0], months[0].sha256, "synthetic")


def test_a_month_that_was_read_before_is_not_decoded_again(
    months: list[Month], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = duckdb.connect()
    assert known_sources(connection, "GBP_JPY") == {}
    update_features(connection, "GBP_JPY", months)
    sources = known_sources(connection, "GBP_JPY")
    assert sources == {month.sha256: month.source for month in months}
    monkeypatch.setattr(table_module, "decode_lake_month", None)
    assert [Month.of(month.path, sources) for month in months] == months
    # A file with other bytes is another file.
    months[0].path.write_bytes(b"x")
    with pytest.raises(TypeError):
        Month.of(months[0].path, sources)


def test_a_table_of_before_learns_the_sources_without_writing_its_rows_again(months: list[Month]) -> None:
    connection = duckdb.connect()
    update_features(connection, "GBP_JPY", months)
    connection.execute("DROP TABLE month_sources")
    assert update_features(connection, "GBP_JPY", months).rows_written == 0
    assert len(known_sources(connection, "GBP_JPY")) == len(months)


def test_a_month_that_cannot_be_read_is_named_and_nothing_is_written(months: list[Month]) -> None:
    connection = duckdb.connect()
    update_features(connection, "GBP_JPY", months)
    before = rows(connection)
    months[2].path.write_bytes(months[2].path.read_bytes()[:1_000])
    with pytest.raises(DataError, match=r"2024-03\.parquet is damaged"):
        update_features(connection, "GBP_JPY", months, force=True)
    assert rows(connection) == before


def test_times_and_counts_are_those_of_the_rows(months: list[Month]) -> None:
    connection = duckdb.connect()
    with pytest.raises(DataError, match="materialise feature_table"):
        load_times(connection, "GBP_JPY")
    update_features(connection, "GBP_JPY", months)
    market = load_market(connection, "GBP_JPY")
    assert load_times(connection, "GBP_JPY").tolist() == market.time.tolist()
    first, last = int(market.time[100]), int(market.time[2_000])
    assert count_bars(connection, "GBP_JPY", first, last) == 1_900
    assert load_times(connection, "EUR_USD").tolist() == []


def test_what_is_missing_is_named(months: list[Month]) -> None:
    connection = duckdb.connect()
    with pytest.raises(DataError, match="materialise feature_table"):
        load_market(connection, "GBP_JPY")
    with pytest.raises(DataError, match="materialise feature_table"):
        load_newest(connection, "GBP_JPY", 10)
    with pytest.raises(DataError, match="materialise m1_candles"):
        update_features(connection, "GBP_JPY", [])
    update_features(connection, "GBP_JPY", months)
    with pytest.raises(DataError, match="EUR_USD has no bars in the asked span"):
        load_market(connection, "EUR_USD")
    with pytest.raises(DataError, match="unknown instrument"):
        update_features(connection, "GBP_JPX", months)


def test_a_failure_half_way_rolls_back(tmp_path: Path, months: list[Month]) -> None:
    connection = duckdb.connect()
    update_features(connection, "GBP_JPY", months)
    before = rows(connection)
    twice = Month(KEYS[3], months[3].path, "another")
    with pytest.raises(duckdb.ConstraintException):
        update_features(connection, "GBP_JPY", [*months, twice])
    assert rows(connection) == before
    months[3] = write_month(tmp_path, KEYS[3], seed=2)
    assert update_features(connection, "GBP_JPY", months).computed_months == KEYS[3:]


KILLED = """
import os, signal, sys
from pathlib import Path
import duckdb
from fx_pipeline.features.table import Month, update_features

class Fragile:
    def __init__(self, connection):
        self._connection = connection
    def execute(self, query, *parameters):
        if query == sys.argv[3]:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._connection.execute(query, *parameters)
    def __getattr__(self, name):
        return getattr(self._connection, name)

folder = Path(sys.argv[2])
months = [Month(path.stem, path, "changed") for path in sorted(folder.glob("*.parquet"))]
update_features(Fragile(duckdb.connect(sys.argv[1])), "GBP_JPY", months)
"""


def test_a_killed_transaction_leaves_the_old_table(tmp_path: Path, months: list[Month]) -> None:
    database = tmp_path / "w.duckdb"
    with duckdb.connect(str(database)) as connection:
        update_features(connection, "GBP_JPY", months)
        before = rows(connection)
    write_month(tmp_path, KEYS[1], seed=1)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(database), str(tmp_path), "COMMIT"], check=False)
    assert killed.returncode == -signal.SIGKILL
    with duckdb.connect(str(database)) as connection:
        assert rows(connection) == before
        months[1] = write_month(tmp_path, KEYS[1], seed=1)
        assert update_features(connection, "GBP_JPY", months).computed_months == KEYS[1:]
        fresh = duckdb.connect()
        update_features(fresh, "GBP_JPY", months)
        same_markets(connection, fresh)


HOLDER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("read_only", [False, True])
def test_a_second_process_is_told_that_the_file_is_locked(tmp_path: Path, read_only: bool) -> None:
    """What the warehouse resource waits on and explains: an IOException that says lock and names the holder."""
    database = str(tmp_path / "w.duckdb")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ)
    )
    assert holder.stdin is not None and holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(duckdb.IOException, match=rf"Could not set lock(.|\n)*{holder.pid}"):
            duckdb.connect(database, read_only=read_only)
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()
    duckdb.connect(database).close()


def test_every_feature_has_a_column(months: list[Month]) -> None:
    connection = duckdb.connect()
    update_features(connection, "GBP_JPY", months)
    columns = [row[0] for row in connection.execute("DESCRIBE features").fetchall()]
    assert columns[:2] == ["instrument", "time"] and columns[-11:] == [*FEATURE_NAMES, "outcome_sigma", "warm"]
    count = connection.execute("SELECT count(*) FROM features WHERE warm != (hour_sin_final IS NOT NULL)").fetchone()
    assert count == (0,)
