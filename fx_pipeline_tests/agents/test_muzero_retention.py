"""Kept checkpoints: whole ones only, the newest five, and none of another training."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fx_pipeline.agents.muzero.retention import KEPT, Retention


class Killed(Exception):
    """Stands for the end of a process."""


def writer(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "weights").write_text(text)
        (folder / "record").write_text(text)

    return write


def links(folder: Path) -> dict[str, str]:
    return {path.name: os.readlink(path) for path in folder.iterdir() if path.is_symlink()}


def test_latest_best_and_the_last_five_are_kept(tmp_path: Path) -> None:
    kept = Retention(tmp_path / "kept", "a")
    for episodes in range(10, 130, 10):
        kept.keep(episodes, writer(str(episodes)), best=episodes == 30, due=episodes % 20 == 0)
    found = links(kept.folder)
    assert found == {
        "latest": "versions/000120",
        "best": "versions/000030",
        **{f"episode-{episodes:06d}": f"versions/{episodes:06d}" for episodes in (40, 60, 80, 100, 120)},
    }
    assert len(found) == KEPT + 2
    assert {path.name for path in (kept.folder / "versions").iterdir()} == {
        Path(target).name for target in found.values()
    }
    assert (kept.folder / "best" / "weights").read_text() == "30"


def test_a_resumed_training_drops_what_lay_ahead_and_keeps_the_same_again(tmp_path: Path) -> None:
    kept = Retention(tmp_path, "a")
    for episodes in (10, 20, 30):
        kept.keep(episodes, writer(str(episodes)), best=False, due=True)
    before = (tmp_path / "episode-000020" / "weights").stat().st_mtime_ns
    Retention(tmp_path, "a").keep(20, writer("20"), best=False, due=True)
    assert links(tmp_path) == {
        "latest": "versions/000020",
        "episode-000010": "versions/000010",
        "episode-000020": "versions/000020",
    }
    assert (tmp_path / "latest" / "weights").stat().st_mtime_ns == before


def test_another_training_takes_the_folder_over(tmp_path: Path) -> None:
    Retention(tmp_path, "a").keep(10, writer("a"), best=True, due=True)
    Retention(tmp_path, "b").keep(5, writer("b"), best=False, due=False)
    assert links(tmp_path) == {"latest": "versions/000005"}
    assert (tmp_path / "latest" / "weights").read_text() == "b"


def test_a_copy_that_followed_the_links_may_be_gone_on_with(tmp_path: Path) -> None:
    Retention(tmp_path / "kept", "a").keep(10, writer("10"), best=True, due=False)
    shutil.copytree(tmp_path / "kept", tmp_path / "copy")
    assert not (tmp_path / "copy" / "latest").is_symlink()
    Retention(tmp_path / "copy", "a").keep(20, writer("20"), best=True, due=False)
    assert links(tmp_path / "copy") == {"latest": "versions/000020", "best": "versions/000020"}


@pytest.mark.parametrize("call", range(12))
def test_killed_anywhere_every_link_names_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    kept = Retention(tmp_path, "a")
    for episodes in range(10, 70, 10):
        kept.keep(episodes, writer(str(episodes)), best=episodes == 10, due=True)
    calls = 0

    def counted(name: str) -> None:
        real = getattr(Path, name)

        def wrapped(self: Path, *arguments: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls > call:
                raise Killed
            return real(self, *arguments, **options)

        monkeypatch.setattr(Path, name, wrapped)

    for name in ("rename", "replace", "symlink_to", "mkdir"):
        counted(name)
    # The process dies at its call number `call` that changes the folder: nothing after it happens.
    dies = pytest.raises(Killed)
    with dies:
        kept.keep(70, writer("70"), best=True, due=True)
        raise Killed
    monkeypatch.undo()
    assert {"latest", "best"} <= links(tmp_path).keys()
    for name, target in links(tmp_path).items():
        texts = {path.read_text() for path in (tmp_path / name).iterdir()}
        assert texts == {str(int(Path(target).name))}
    Retention(tmp_path, "a").keep(70, writer("70"), best=True, due=True)
    assert links(tmp_path)["best"] == links(tmp_path)["latest"] == "versions/000070"
    assert not [path for path in tmp_path.rglob(".tmp-*")]
