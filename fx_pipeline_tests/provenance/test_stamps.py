"""When a result stands: same inputs, same code, and files as they were written."""

from pathlib import Path

import pytest

from fx_pipeline.provenance.stamps import identity, stamp, stands


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "weights").write_bytes(b"weights")
    (tmp_path / "record").write_text("{}")
    stamp(tmp_path, identity("code", seed=1), "weights", "record")
    return tmp_path


def test_stands(folder: Path) -> None:
    assert stands(folder, identity("code", seed=1), "weights", "record")
    assert stands(folder, identity("code", seed=1), "weights")


def test_other_inputs_do_not(folder: Path) -> None:
    assert not stands(folder, identity("code", seed=2), "weights", "record")


def test_a_file_more_than_was_stamped_does_not(folder: Path) -> None:
    assert not stands(folder, identity("code", seed=1), "weights", "record", "page")


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_changed_or_missing_files_do_not(folder: Path, damage: str) -> None:
    if damage == "gone":
        (folder / "weights").unlink()
    else:
        (folder / "weights").write_bytes(b"weightz")
    assert not stands(folder, identity("code", seed=1), "weights", "record")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"identity": "x", "files": 3}', "\x00"])
def test_a_damaged_stamp_vouches_for_nothing(folder: Path, text: str) -> None:
    (folder / "made_from.json").write_text(text)
    assert not stands(folder, identity("code", seed=1), "weights")


def test_nothing_stands_without_a_stamp(tmp_path: Path) -> None:
    assert not stands(tmp_path, identity("code", seed=1))


def test_identity_depends_on_every_input_and_on_the_code() -> None:
    base = identity("code", a=1, b=[1.5, "x"])
    assert base == identity("code", b=[1.5, "x"], a=1)
    assert base != identity("code", a=1, b=[1.5, "y"])
    assert base != identity("another code", a=1, b=[1.5, "x"])


def test_identity_refuses_what_has_no_one_value() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        identity("code", a=float("nan"))
