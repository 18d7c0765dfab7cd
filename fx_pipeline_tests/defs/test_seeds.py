"""Several seeds of a window: each keeps its checkpoint, all are scored, and none is chosen for how it was scored."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd
import pytest

from fx_pipeline.lifecycle.configuration import configuration
from fx_pipeline.tracking.ledger import Ledger, Trial, selection_window

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain


def config(*seeds: int) -> dict[str, Any]:
    return {"ops": {"muzero_checkpoint": {"config": {"seeds": list(seeds)}}}}


def shown(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}


def weights(chain: "Chain") -> dict[str, tuple[bytes, int]]:
    found = sorted(chain.trainings.glob("seed-*/weights.safetensors"))
    return {path.parent.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def test_seeds_are_trained_in_one_run_taken_up_after_a_kill_and_validated_together(
    copy: "Chain", monkeypatch: pytest.MonkeyPatch
) -> None:
    from fx_pipeline.agents.muzero.trainer import MuZeroTrainer

    before = weights(copy)
    whole = MuZeroTrainer.train

    def killed(self: MuZeroTrainer, *args: Any, seed: int, **rest: Any) -> Any:
        if seed == 9:
            raise KeyboardInterrupt
        return whole(self, *args, seed=seed, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(MuZeroTrainer, "train", killed)
        with pytest.raises(KeyboardInterrupt):
            copy.job("train", copy.key(), config(7, 8, 9))
    halfway = weights(copy)
    assert list(halfway) == ["seed-7", "seed-8"] and halfway["seed-7"] == before["seed-7"]

    trained = shown(copy.job("train", copy.key(), config(7, 8, 9)), "muzero_checkpoint")
    after = weights(copy)
    assert {name: after[name] for name in halfway} == halfway, "what stood was not trained again"
    assert len({content for content, _ in after.values()}) == 3
    rows = [record.data for record in trained["checkpoints"].records]
    assert [(row["seed"], row["kept as it stood"]) for row in rows] == [(7, True), (8, True), (9, False)]
    assert trained["seeds"] == "7, 8, 9" and trained["kept as it stood"] is False
    assert len({row["mlflow run"] for row in rows}) == 3 and len(set(trained["sha256"].split(", "))) == 3

    validated = shown(copy.job("validate", copy.key()), "validation_report")
    report = json.loads((copy.report / "report.json").read_text())
    scored = Ledger(copy.data_dir / "ledger.db").scored(copy.instrument, copy.window)
    assert sorted(trial.seed for trial in scored) == [7, 8, 9]
    totals = {str(trial.seed): trial.session_pnl_pips.sum() for trial in scored}
    assert report["figures"]["seed_totals"]["total_pips"] == pytest.approx(totals)
    assert report["figures"]["worst_seed_pips"] == pytest.approx(min(totals.values()))
    # After a handful of episodes they may trade alike, or not at all: then they are one.
    groups = report["figures"]["record"]["seed_copies"]
    assert validated["seeds of this configuration"] == 3 - sum(len(group) - 1 for group in groups)
    # Training judged none of them on its selection span, which is too short here: the lowest seed is the candidate.
    assert report["figures"]["seed"] == 7 == validated["seed"]

    # Nothing is scored twice, and nothing made again.
    again = copy.job("validate", copy.key())
    assert shown(again, "validation_report")["figures sha256"] == validated["figures sha256"]
    assert len(Ledger(copy.data_dir / "ledger.db").scored(copy.instrument, copy.window)) == 3


def test_every_score_of_a_training_is_a_row_and_no_trial_of_the_validation(
    copy: "Chain", monkeypatch: pytest.MonkeyPatch
) -> None:
    # The training span of the chain is too short for the sessions that a real one judges by.
    monkeypatch.setattr("fx_pipeline.agents.muzero.selection.MIN_SESSIONS", 2)
    ledger, name = Ledger(copy.data_dir / "ledger.db"), selection_window(copy.window)
    launched = {"ops": {"muzero_checkpoint": {"config": {"seeds": [8], "episodes": 8}}}}
    record, recorded = Ledger.record, list[Trial]()

    def killed(self: Ledger, trial: Trial) -> bool:
        recorded.append(trial)
        record(self, trial)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", killed)
        with pytest.raises(KeyboardInterrupt):
            copy.job("train", copy.key(), launched)
    assert [trial.key for trial in recorded] == [trial.key for trial in ledger.scored(copy.instrument, name)]

    copy.job("train", copy.key(), launched)
    folder = copy.trainings / "seed-8"
    checkpoint = json.loads((folder / "checkpoint.json").read_text())
    judged = [row for row in json.loads((folder / "history.json").read_text()) if "selection_pips" in row]
    rows, series = [row for row in ledger.trials() if row["window"] == name], ledger.scored(copy.instrument, name)
    assert [row["episodes"] for row in judged] == [4.0, 8.0]
    for row, scored, said in zip(rows, series, judged, strict=True):
        assert (row["seed"], row["agent"], row["config_hash"]) == (8, "muzero", configuration(checkpoint))
        assert len(scored.session_ns) == said["selection_sessions"] >= 2
        assert scored.session_pnl_pips.mean() == pytest.approx(said["selection_pips"])
        assert row["trades"] == pytest.approx(said["selection_trades"] * said["selection_sessions"])
        assert scored.session_ns.max() < pd.Timestamp(checkpoint["window"]["train_end"]).value
    best = max(range(len(judged)), key=lambda place: judged[place]["selection_score"])
    assert rows[best]["checkpoint_hash"] == checkpoint["weights_sha256"]

    validated = shown(copy.job("validate", copy.key()), "validation_report")
    report = json.loads((copy.report / "report.json").read_text())
    assert report["figures"]["seed"] == 8
    assert ledger.count() == 2, "the validation's own of seeds 7 and 8"
    assert report["figures"]["trials"] == 2, "two lengths of the training are two configurations"
    assert report["lineage"]["selection_scores"] == 2 == validated["scores of checkpoints while training"]
    page = copy.report / "report.html"
    assert "2 scores of weights that the trainings of this window chose among" in page.read_text()
    # Another training of the window, and the report stands.
    ledger.record(replace(recorded[0], seed=9, checkpoint_hash="other weights"))
    written = page.stat().st_mtime_ns
    assert shown(copy.job("validate", copy.key()), "validation_report")["figures sha256"] == validated["figures sha256"]
    assert page.stat().st_mtime_ns == written


def test_a_training_names_seeds_that_there_are(copy: "Chain") -> None:
    for wrong in ((), (-1,), (2**31,)):
        result = copy.job("train", copy.key(), config(*wrong), fails=True)
        assert not result.success
    assert [path.name for path in copy.trainings.iterdir()] == ["seed-7"]
