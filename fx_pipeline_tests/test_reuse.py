"""When a result stands: same inputs, same code, and files as they were written."""

from pathlib import Path

import pytest

from fx_pipeline import reuse
from fx_pipeline.reuse import evaluation_digest, identity, report_digest, stamp, stands, training_digest


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


def test_each_kind_of_result_has_code_of_its_own() -> None:
    digests = {training_digest(), report_digest(), evaluation_digest()}
    assert len(digests) == 3 and {len(digest) for digest in digests} == {12}


@pytest.mark.parametrize(
    ("source", "stale"),
    [
        ("agents/muzero/learner.py", {"training", "report", "evaluation"}),
        ("features/temporal9/kernel.py", {"training", "report"}),
        ("validation/rollout.py", {"report", "evaluation"}),
        ("validation/report_page.py", {"report"}),
        ("broker/paper/desk/__init__.py", {"report"}),
        ("broker/paper/server.py", set()),
    ],
)
def test_an_edit_makes_stale_what_depends_on_it(source: str, stale: set[str]) -> None:
    """No page of validation costs a training."""
    sources = {"training": reuse._TRAINING, "report": reuse._REPORT, "evaluation": reuse._EVALUATION}
    assert (Path(reuse.__file__).parent / source).exists()
    found = {name for name, rooms in sources.items() if any(f"{source}/".startswith(f"{room}/") for room in rooms)}
    assert found == stale
