"""The DuckDB file: its time zone, what it makes of the lake's times, and what it says when a write fails."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from fx_pipeline.market.errors import DataError, StorageError
from fx_pipeline.market.files import write_table
from fx_pipeline.market.lake_month import read_lake_month
from fx_pipeline.market.warehouse import WarehouseLockedError, open_warehouse, transaction
from fx_pipeline_tests.stores import BARS, candles

ZONE = "SELECT current_setting('TimeZone')"


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock is nine hours ahead of UTC."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def lake_file(tmp_path: Path) -> Path:
    path = tmp_path / "EUR_USD" / "2024-01.parquet"
    write_table(path, candles())
    return path


@pytest.mark.parametrize("read_only", [False, True])
def test_every_connection_and_its_cursors_work_in_utc(in_tokyo: None, tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "warehouse.duckdb"
    with open_warehouse(path):
        pass
    with open_warehouse(path, read_only) as connection:
        assert connection.execute(ZONE).fetchone() == ("UTC",)
        assert connection.cursor().execute(ZONE).fetchone() == ("UTC",), "a cursor has settings of its own"
        bound = "SELECT TIMESTAMP '2024-01-08 00:00:00' >= TIMESTAMPTZ '2024-01-08 00:00:00+00'"
        assert connection.execute(bound).fetchone() == (True,)
    with duckdb.connect() as bare:
        assert bare.execute(ZONE).fetchone() == ("Asia/Tokyo",), "what this guards against"
        assert bare.execute(bound).fetchone() == (False,)


def test_resource_opens_in_utc_too(in_tokyo: None, tmp_path: Path) -> None:
    from fx_pipeline.defs.resources import Warehouse

    with Warehouse(database=str(tmp_path / "warehouse.duckdb")).get_connection() as connection:
        assert connection.execute(ZONE).fetchone() == ("UTC",)


def test_no_other_place_opens_duckdb() -> None:
    package = Path(__file__).parents[2] / "fx_pipeline"
    opening = [path.name for path in package.rglob("*.py") if "duckdb.connect(" in path.read_text()]
    assert opening == ["warehouse.py"]


def test_month_of_the_lake_is_bucketed_compared_and_cast(in_tokyo: None, lake_file: Path, tmp_path: Path) -> None:
    """DuckDB 2.0.0 did none of the three with times with a zone in nanoseconds."""
    times = read_lake_month(lake_file, ["time"])["time"].cast(pa.int64()).to_numpy()
    hours = np.unique(times // 3_600_000_000_000) * 3_600_000_000
    with open_warehouse(tmp_path / "warehouse.duckdb") as connection:
        source = f"read_parquet('{lake_file}')"
        bucketed = connection.execute(
            f"SELECT epoch_us(time_bucket(INTERVAL 1 HOUR, time)), count(*) FROM {source} GROUP BY 1 ORDER BY 1"
        ).fetchall()
        assert [bucket for bucket, _ in bucketed] == hours.tolist()
        assert sum(count for _, count in bucketed) == BARS
        after = "TIMESTAMPTZ '2024-01-08 01:00:00+00'"
        (count,) = connection.execute(f"SELECT count(*) FROM {source} WHERE time >= {after}").fetchone() or ()
        assert count == BARS - 60
        (cast,) = connection.execute(f"SELECT min(CAST(time AS TIMESTAMP)) FROM {source}").fetchone() or ()
        assert f"{cast:%Y-%m-%d %H:%M}" == "2024-01-08 00:00"
        (first,) = connection.execute(f"SELECT min(epoch_ns(time)) FROM {source}").fetchone() or ()
        assert first == times[0]


def test_failed_write_is_not_hidden_by_the_failing_rollback() -> None:
    class Full:
        def __init__(self) -> None:
            self.said: list[str] = []

        def execute(self, query: str) -> None:
            self.said.append(query)
            if query == "ROLLBACK":
                raise duckdb.TransactionException("cannot rollback - no transaction is active")
            if query == "COMMIT":
                raise duckdb.IOException('Could not write file "warehouse.duckdb": No space left on device')

    connection = Full()
    with pytest.raises(duckdb.IOException, match="No space left"), transaction(connection):  # type: ignore[arg-type]
        pass
    assert connection.said == ["BEGIN TRANSACTION", "COMMIT", "ROLLBACK"]


SAID = {
    "full": (duckdb.IOException('Could not write file "x": No space left on device'), StorageError, "Free some space"),
    "quota": (duckdb.IOException("Disk quota exceeded"), StorageError, "Free some space"),
    "read-only": (duckdb.IOException('Cannot open file "x": Read-only file system'), StorageError, "writable"),
    "forbidden": (duckdb.IOException('Cannot open file "x": Permission denied'), StorageError, "writable"),
    "memory": (duckdb.OutOfMemoryException("failed to allocate data of size 8 KiB"), StorageError, "close other"),
    "damaged": (duckdb.InternalException("Attempted to access index 0\n\nStack Trace:"), DataError, "materialise"),
    "fatal": (duckdb.FatalException("database has been invalidated"), DataError, "materialise"),
}


@pytest.mark.parametrize("kind", SAID)
@pytest.mark.parametrize("opening", [False, True])
def test_what_duckdb_says_becomes_an_error_with_file_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, opening: bool
) -> None:
    error, expected, remedy = SAID[kind]
    path = tmp_path / "warehouse.duckdb"

    def refuse(*_: object, **__: object) -> None:
        raise error

    if opening:
        monkeypatch.setattr(duckdb, "connect", refuse)
    with pytest.raises(expected, match=remedy) as caught, open_warehouse(path):
        raise error
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_writer_beside_a_reader_of_the_same_process_is_told(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    with open_warehouse(path):
        pass
    with (
        open_warehouse(path, read_only=True),
        pytest.raises(WarehouseLockedError, match="close it"),
        open_warehouse(path, lock_wait_s=0),
    ):
        pass
    assert os.path.exists(path)
