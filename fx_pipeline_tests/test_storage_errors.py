"""A full, read-only or damaged disk under the stores: one line with the file and a remedy, and nothing lost."""

import errno
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DatabaseError

from fx_pipeline.broker.paper.synthetic import synthetic_bars
from fx_pipeline.cli import clear_errors
from fx_pipeline.ingest.raw import download_month
from fx_pipeline.market.disk import explain_os_error, require_writable
from fx_pipeline.market.errors import FxPipelineError, StorageError
from fx_pipeline.storage_errors import damaged_databases, explain_storage_error
from fx_pipeline_tests.ingest.conftest import FAR, FakeClient, nanoseconds
from fx_pipeline_tests.stores import INSTRUMENT, make_stores, stores

NOT_YET = "does not exist|holds no checkpoint|is missing|no feature table|no session index|no bars|no validation report"


def fill(data_dir: Path) -> None:
    bars = synthetic_bars(INSTRUMENT, nanoseconds("2024-02-26"), nanoseconds("2024-03-03"))
    client = FakeClient(bars, limit=2_000)
    make_stores(data_dir, lambda raw: download_month(client, INSTRUMENT, "2024-02", raw, FAR))


def check_sound(data_dir: Path, complete: bool) -> None:
    """Whatever is there can be read; when it is `complete`, all is there."""
    for store in stores(data_dir):
        try:
            store.read()
        except FxPipelineError as error:
            assert not complete and re.search(NOT_YET, str(error)), error


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        # DuckDB's bytes are not the same twice, a progress has the time in it.
        if path.is_file() and path.suffix != ".duckdb" and path.name != "progress.json"
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    fill(folder)
    return contents(folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk in memory, which the test gives its size."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)], capture_output=True
    )
    if not made or made.returncode:
        pytest.skip("a disk of a given size can be mounted by the root user only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("size", [4, 32, 64, 128, 200, 320, 512, 640, 800, 1_024, 1_280, 1_536, 1_792, 2_048])
def test_full_disk_is_named_and_the_next_run_completes(small_disk: Path, whole: dict[str, bytes], size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}k", str(small_disk)], check=True)
    with pytest.raises(StorageError, match=rf"the disk is full: {small_disk}.*Free some space and run again"):
        fill(small_disk)
    assert not list(small_disk.rglob(".tmp-*"))
    check_sound(small_disk, complete=False)
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    fill(small_disk)
    check_sound(small_disk, complete=True)
    assert contents(small_disk) == whole


@pytest.mark.parametrize(
    ("calls", "number"), [*((calls, errno.ENOSPC) for calls in (0, 3, 6, 9, 12)), (6, errno.EROFS), (6, errno.EFBIG)]
)
def test_disk_that_fails_later_and_later(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, calls: int, number: int
) -> None:
    replace, done = os.replace, 0

    def fails(source: str, target: str) -> None:
        nonlocal done
        done += 1
        if done > calls:
            raise OSError(number, os.strerror(number), str(source), None, str(target))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fails)
        with pytest.raises(StorageError, match=str(tmp_path)) as caught:
            fill(tmp_path)
    assert ".tmp-" not in str(caught.value)
    assert not list(tmp_path.rglob(".tmp-*"))
    check_sound(tmp_path, complete=False)
    fill(tmp_path)
    assert contents(tmp_path) == whole


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EDQUOT, "Free some space"),
        (errno.EACCES, "make its folder writable"),
        (errno.EPERM, "make its folder writable"),
        (errno.EROFS, "make its folder writable"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EISDIR, "move it away"),
        (errno.ENOTDIR, "move it away"),
        (errno.EIO, "look after the disk"),
        (errno.EMFILE, "ulimit -n"),
    ],
)
def test_what_the_system_says_has_a_remedy(number: int, remedy: str) -> None:
    explained = explain_os_error(OSError(number, os.strerror(number), "/data/file"))
    assert explained is not None and "/data/file" in str(explained) and remedy in str(explained)


def test_what_says_nothing_of_a_disk_is_left_alone(tmp_path: Path) -> None:
    assert explain_os_error(ConnectionResetError(errno.ECONNRESET, "reset")) is None
    assert explain_os_error(FileNotFoundError(errno.ENOENT, "none", "x")) is None
    assert explain_storage_error(ValueError("anything"), tmp_path) is None
    assert explain_storage_error(sqlite3.OperationalError("near FROM: syntax error"), tmp_path) is None


def test_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "proofs").write_text("")
    with pytest.raises(StorageError, match="proofs is a folder where a file should be, or a file"):
        require_writable(tmp_path / "proofs")


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("database or disk is full", "Free some space"),
        ("attempt to write a readonly database", "choose another data folder with FX_DATA_DIR"),
        ("unable to open database file", "choose another data folder with FX_DATA_DIR"),
        ("database is locked", "close what has it open"),
    ],
)
def test_what_sqlite_says_has_a_remedy(tmp_path: Path, said: str, remedy: str) -> None:
    explained = explain_storage_error(sqlite3.OperationalError(said), tmp_path)
    assert explained is not None and str(tmp_path) in str(explained) and remedy in str(explained)


@pytest.mark.parametrize("name", ["dagster/history/runs.db", "mlflow.db", "ledger.db"])
@pytest.mark.parametrize("damage", ["cut short", "zeros", "text"])
def test_damaged_database_is_found_by_looking(tmp_path: Path, name: str, damage: str) -> None:
    for each in ("dagster/history/runs.db", "mlflow.db", "ledger.db"):
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        with sqlite3.connect(tmp_path / each) as connection:
            connection.execute("CREATE TABLE t (x)")
            connection.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 200)
        connection.close()
    path = tmp_path / name
    data = path.read_bytes()
    path.write_bytes({"cut short": data[: len(data) // 2], "zeros": bytes(len(data)), "text": b"no" * 5_000}[damage])
    assert damaged_databases(tmp_path) == [path]
    engine = create_engine(f"sqlite:///{path}")
    with pytest.raises(DatabaseError) as caught, engine.connect() as connected:
        connected.execute(text("SELECT sum(length(x)) FROM t")).fetchall()
    explained = explain_storage_error(caught.value, tmp_path)
    assert explained is not None and f"move {path} away" in str(explained)


def test_command_says_it_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FX_DATA_DIR", str(tmp_path))
    for error in (
        OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "file")),
        sqlite3.OperationalError("database or disk is full"),
    ):
        with pytest.raises(typer.Exit) as caught, clear_errors():
            try:
                raise error
            except Exception as cause:
                raise RuntimeError("a step failed") from cause
        assert caught.value.exit_code == 2
        said = capfd.readouterr().err
        assert said.count("\n") == 1 and "the disk is full" in said and str(tmp_path) in said
