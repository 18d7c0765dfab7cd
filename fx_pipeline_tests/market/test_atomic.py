import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fx_pipeline.market.atomic import (
    TEMPORARY_PREFIX,
    atomic_path,
    atomic_write_bytes,
    atomic_write_json,
    remove_leftovers,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_writes_replaces_and_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.bin"
    atomic_write_bytes(path, b"one")
    atomic_write_bytes(str(path), b"two")
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["c.bin"]


def test_the_temporary_file_stands_beside_the_final_one_and_keeps_its_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "m.parquet") as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".parquet"
        temporary.write_bytes(b"x")
        assert not (tmp_path / "m.parquet").exists()


def test_a_failure_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "c.bin"
    atomic_write_bytes(path, b"old")
    with pytest.raises(OSError, match="disk"), atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        raise OSError("disk full")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["c.bin"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_system_call_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / "c.bin"
    atomic_write_bytes(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match=r"the disk is full: .*c\.bin was not written"):
        atomic_write_bytes(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["c.bin"]


def test_the_data_is_on_disk_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), fsync(descriptor))[1])
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("replace"), replace(*paths))[1])
    atomic_write_bytes(tmp_path / "c.bin", b"x")
    assert calls == ["fsync", "replace", "fsync"]


def test_the_umask_decides_the_mode(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        atomic_write_bytes(tmp_path / "c.bin", b"x")
        assert stat.S_IMODE((tmp_path / "c.bin").stat().st_mode) == 0o640
    finally:
        os.umask(before)


def test_json_is_sorted_and_refuses_nan(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    atomic_write_json(path, {"b": 1, "a": [2.5, None]})
    assert path.read_text().index('"a"') < path.read_text().index('"b"')
    with pytest.raises(ValueError):
        atomic_write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": [2.5, None], "b": 1}
    assert names(tmp_path) == ["c.json"]


WRITER = """
import sys
from pathlib import Path
from fx_pipeline.market.atomic import atomic_write_bytes
path = Path(sys.argv[1])
number = 0
while True:
    number += 1
    atomic_write_bytes(path, bytes([number % 251]) * 200_000)
    print(number, flush=True)
"""


def test_sigkill_during_writes_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "c.bin"
    for round_ in range(3):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline(), "the writer died by itself"
        time.sleep(0.003 * round_)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        data = path.read_bytes()
        assert len(data) == 200_000 and len(set(data)) == 1
        assert all(name == "c.bin" or name.startswith(TEMPORARY_PREFIX) for name in names(tmp_path))
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["c.bin"]


HALF_WAY = """
import os, signal, sys
from fx_pipeline.market.atomic import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half of the ne")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_sigkill_half_way_leaves_the_old_file_and_a_leftover_that_can_be_removed(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "c.bin"
    atomic_write_bytes(path, b"old")
    result = subprocess.run([sys.executable, "-c", HALF_WAY, str(path)], check=False)
    assert result.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    removed = remove_leftovers(tmp_path)
    assert len(removed) == 1 and removed[0].parent == path.parent
    assert names(path.parent) == ["c.bin"]
