"""The weights of a milestone are those that the training had kept when it passed it, whatever it keeps later."""

from itertools import count
from pathlib import Path

from fx_pipeline.proofs.recorder import Recorder


def recorder(tmp_path: Path, *milestones: int, keeps: bool = True) -> tuple[Recorder, Path]:
    newest, ticks = tmp_path / "newest", count()
    made = Recorder(
        milestones,
        newest if keeps else None,
        tmp_path / "copies",
        lambda fraction, figures: None,
        lambda: float(next(ticks)),
    )
    return made, newest


def keep(newest: Path, weights: str) -> None:
    newest.mkdir(exist_ok=True)
    (newest / "weights").write_text(weights)


def test_weights_are_copied_when_more_episodes_have_begun(tmp_path: Path) -> None:
    watching, newest = recorder(tmp_path, 4, 8)
    keep(newest, "of 4")
    watching.listen(0.1, {"episodes": 4.0})
    assert watching.passed == {}, "the fourth may still be played"
    watching.listen(0.2, {"episodes": 6.0})
    assert list(watching.passed) == [4]
    keep(newest, "of 6")
    watching.listen(0.3, {"episodes": 8.0})
    assert (watching.copy_of(4) / "weights").read_text() == "of 4"
    assert not watching.copy_of(8).exists()


def test_milestone_before_any_weights_gets_the_first(tmp_path: Path) -> None:
    watching, newest = recorder(tmp_path, 4)
    watching.listen(0.1, {"episodes": 6.0})
    assert watching.passed == {}
    keep(newest, "of 6")
    watching.listen(0.2, {"episodes": 12.0})
    keep(newest, "of 12")
    watching.listen(0.3, {"episodes": 18.0})
    assert (watching.copy_of(4) / "weights").read_text() == "of 6"


def test_training_that_keeps_nothing_passes_no_milestone(tmp_path: Path) -> None:
    watching, _ = recorder(tmp_path, 4, keeps=False)
    watching.listen(0.5, {"episodes": 6.0})
    assert watching.passed == {}
