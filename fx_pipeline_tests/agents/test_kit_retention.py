"""Kept checkpoints: whole ones only, the newest five, and none of another training."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fx_pipeline.agents.kit.retention import KEPT, Retention


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


def die_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """From call number `call` that changes the folder on, nothing happens any more."""
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


@pytest.mark.parametrize("call", range(12))
def test_killed_anywhere_every_link_names_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    kept = Retention(tmp_path, "a")
    for episodes in range(10, 70, 10):
        kept.keep(episodes, writer(str(episodes)), best=episodes == 10, due=True)
    die_at(monkeypatch, call)
    with pytest.raises(Killed):
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


@pytest.mark.parametrize("call", range(12))
def test_killed_while_a_number_gets_other_bytes_no_link_dangles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    Retention(tmp_path, "a").keep(70, writer("old"), best=True, due=True)
    die_at(monkeypatch, call)
    with pytest.raises(Killed):
        Retention(tmp_path, "a").keep(70, writer("new"), best=True, due=True)
        raise Killed
    monkeypatch.undo()
    for name in ("latest", "best", "episode-000070"):
        assert {path.read_text() for path in (tmp_path / name).iterdir()} in ({"old"}, {"new"})
    Retention(tmp_path, "a").keep(70, writer("new"), best=True, due=True)
    assert {(tmp_path / name / "weights").read_text() for name in links(tmp_path)} == {"new"}
    assert len(list((tmp_path / "versions").iterdir())) == 1


def test_other_bytes_under_the_same_number_stand_beside_what_a_link_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Retention(tmp_path, "a").keep(10, writer("old"), best=True, due=True)
    link = Retention._link

    def checked(self: Retention, name: str, version: str) -> None:
        for other in links(tmp_path):
            assert (tmp_path / other / "weights").read_text() in ("old", "new"), "no link ever dangles"
        link(self, name, version)

    monkeypatch.setattr(Retention, "_link", checked)
    Retention(tmp_path, "a").keep(10, writer("new"), best=True, due=True)
    assert links(tmp_path) == dict.fromkeys(("latest", "best", "episode-000010"), "versions/000010-2")
    assert (tmp_path / "best" / "weights").read_text() == "new"
    assert [path.name for path in (tmp_path / "versions").iterdir()] == ["000010-2"]


@pytest.mark.parametrize(("episodes", "text"), [(20, "20"), (30, "other")])
def test_a_best_that_the_resumed_training_has_not_made_is_dropped(tmp_path: Path, episodes: int, text: str) -> None:
    Retention(tmp_path, "a").keep(10, writer("10"), best=False, due=True)
    Retention(tmp_path, "a").keep(30, writer("30"), best=True, due=False)
    Retention(tmp_path, "a").keep(episodes, writer(text), best=False, due=False)
    assert links(tmp_path).keys() == {"latest", "episode-000010"}


def test_a_best_from_before_stays(tmp_path: Path) -> None:
    kept = Retention(tmp_path, "a")
    kept.keep(10, writer("10"), best=True, due=False)
    kept.keep(20, writer("20"), best=False, due=False)
    assert links(tmp_path) == {"latest": "versions/000020", "best": "versions/000010"}
