"""Which folder it is: an original, one that was moved, or a copy, which says that it is one."""

import shutil
from pathlib import Path

import pytest

from fx_pipeline.data_folder import NAME, identify
from fx_pipeline.market.errors import DataError


@pytest.fixture
def original(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    identify(folder)
    return folder


def test_a_folder_keeps_what_it_is(original: Path) -> None:
    first = identify(original)
    assert first == identify(original) and first.path == str(original) and first.said == ""


def test_a_moved_folder_is_the_same(original: Path) -> None:
    first = identify(original)
    moved = original.rename(original.with_name("moved"))
    assert identify(moved).id == first.id and identify(moved).path == str(moved) and identify(moved).said == ""


def test_a_copy_is_another_one_and_says_so_for_good(original: Path) -> None:
    first = identify(original)
    copied = shutil.copytree(original, original.with_name("copy"))
    found = identify(copied)
    assert found.id != first.id and f"a copy of {original}:" in found.said
    assert identify(original) == first
    shutil.rmtree(original)
    moved = copied.rename(copied.with_name("copy moved"))
    assert identify(moved).id == found.id and identify(moved).said == found.said
    again = identify(shutil.copytree(moved, moved.with_name("copy of the copy")))
    assert f"a copy of {moved}:" in again.said


def test_a_link_is_the_folder_itself(original: Path) -> None:
    link = original.with_name("link")
    link.symlink_to(original)
    assert identify(link) == identify(original)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"schema": "fx_pipeline.data_folder/2"}'])
def test_a_damaged_record_is_named(original: Path, content: str) -> None:
    (original / NAME).write_text(content)
    with pytest.raises(DataError, match=r"data_folder\.json"):
        identify(original)


@pytest.mark.parametrize("content", ["", "{}", None])
def test_a_place_that_holds_something_else_now_makes_no_copy(original: Path, content: str | None) -> None:
    moved = original.rename(original.with_name("moved"))
    original.mkdir()
    if content is not None:
        (original / NAME).write_text(content)
    else:
        identify(original)
    assert identify(moved).said == ""
