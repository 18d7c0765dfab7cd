"""`fx-pipeline clean` removes what the pipeline made, and nothing else."""

import fcntl
from pathlib import Path

import pytest

from fx_pipeline.clean_command import KEPT, REMADE, clean_folder
from fx_pipeline.layout import Layout
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.settings import load_settings


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for name in (*REMADE, *KEPT, "README.md", "photos"):
        if "." in name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("")
        else:
            (folder / name / "inner").mkdir(parents=True)
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_can_be_made_again_goes(data: Path, tmp_path: Path) -> None:
    clean_folder(load_settings(data_dir=data), tmp_path)
    assert names(data) == {*KEPT, "README.md", "photos"}
    clean_folder(load_settings(data_dir=data), tmp_path, everything=True)
    assert names(data) == {"README.md", "photos"}


def test_every_place_of_the_layout_is_known() -> None:
    layout = Layout(Path("d"))
    places = [getattr(layout, name) for name, kind in vars(Layout).items() if isinstance(kind, property)]
    places += [layout.checkpoint("i", "w", 1), layout.champion("i"), layout.model("i", "s"), layout.windows("i")]
    places += [layout.standings("i", "s"), layout.live_decision("i"), layout.desk(Path("c"))]
    tops = {place.relative_to("d").parts[0] for place in places if isinstance(place, Path)}
    assert tops <= {*REMADE, *KEPT}


def test_a_link_goes_and_what_it_leads_to_stays(data: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "precious").mkdir(parents=True)
    (data / "lake" / "inner").rmdir()
    (data / "lake").rmdir()
    (data / "lake").symlink_to(elsewhere)
    clean_folder(load_settings(data_dir=data), tmp_path)
    assert "lake" not in names(data) and (elsewhere / "precious").is_dir()


def test_folders_of_others_are_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(data))
    for folder in (Path("/"), tmp_path, tmp_path / "project", data):
        with pytest.raises(ConfigurationError, match="nothing was removed"):
            clean_folder(load_settings(data_dir=folder), tmp_path / "project", everything=True)
    assert "lake" in names(data)
    assert clean_folder(load_settings(data_dir=tmp_path / "none"), tmp_path) == [f"{tmp_path / 'none'} is not there"]


@pytest.mark.parametrize(("lock", "holder"), [("ui/lock", "fx-pipeline ui"), ("demo.lock", "a demo")])
def test_nothing_goes_while_something_runs(data: Path, tmp_path: Path, lock: str, holder: str) -> None:
    with (data / lock).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(ConfigurationError, match=f"{holder} runs on .*: end it first"):
            clean_folder(load_settings(data_dir=data), tmp_path, everything=True)
    assert "lake" in names(data)
