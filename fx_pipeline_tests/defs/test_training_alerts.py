"""The alerts of a training, as checks of its checkpoint."""

import json
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from fx_pipeline.agents.errors import TrainingDivergedError

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain

#: Four episodes of a tiny agent are nothing to be proud of.
HEALTHY = {"expectancy_pips": 1.0, "win_rate": 0.5, "selection_trades": 1.0, "value_saturation": 0.0}


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("expectancy_is_bearable", {"expectancy_pips": -30.0}, "below -10"),
        ("some_trades_win", {"win_rate": 0.01}, "selfplay.warmup_bars"),
        ("agent_still_trades", {"selection_trades": 0.0, "search_depth": 2.0}, "stopped trading"),
        ("values_fit_their_support", {"value_saturation": 0.5}, "network.support_pips"),
    ],
)
def test_a_bad_history_is_a_warning(copy: "Chain", name: str, changes: dict[str, float], says: str) -> None:
    copy.report_materialization("muzero_checkpoint", copy.key())
    history = copy.checkpoint / "history.json"
    rows = [row | HEALTHY for row in json.loads(history.read_bytes())]
    history.write_text(json.dumps(rows))
    assert copy.check(f"muzero_checkpoint.{name}").passed
    history.write_text(json.dumps([row | changes for row in rows]))
    evaluation = copy.check(f"muzero_checkpoint.{name}")
    assert not evaluation.passed and not evaluation.blocking
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    (problem,) = evaluation.metadata["problems"].value
    assert problem.startswith(f"{copy.key()} seed-7: ") and says in problem


def test_a_training_that_diverged_keeps_its_checkpoint_and_is_an_error(
    copy: "Chain", monkeypatch: pytest.MonkeyPatch
) -> None:
    from fx_pipeline.agents.muzero.learner import Learner

    copy.report_materialization("muzero_checkpoint", copy.key())
    before = (copy.checkpoint / "weights.safetensors").read_bytes()

    def explode(*_: object, **__: object) -> None:
        raise TrainingDivergedError("update 3: the loss is not finite.")

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "update", explode)
        result = copy.job("train", copy.key(), {"ops": {"muzero_checkpoint": {"config": {"force": True}}}}, fails=True)
    assert not result.success
    assert (copy.checkpoint / "weights.safetensors").read_bytes() == before
    evaluation = copy.check("muzero_checkpoint.training_is_finite")
    assert not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR
    assert "update 3" in evaluation.metadata["problems"].value[0]
