"""Training: repeatable, resumable to the bit, and honest about what it refuses."""

import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from fx_pipeline.agents.base import Budget, SelectionScore, TrainingData
from fx_pipeline.agents.muzero import training
from fx_pipeline.agents.muzero.bundle import BUNDLE_NAME
from fx_pipeline.agents.muzero.checkpoint import RECORD_NAME, WEIGHTS_NAME, load_checkpoint, write_checkpoint
from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.errors import TrainingDivergedError
from fx_pipeline.agents.muzero.learner import Learner
from fx_pipeline.agents.muzero.networks import build_networks
from fx_pipeline.agents.muzero.policy import MuZeroPolicy
from fx_pipeline.agents.muzero.selfplay import SelfPlay
from fx_pipeline.agents.muzero.torch_settings import learning_device
from fx_pipeline.agents.muzero.trainer import BUNDLE_FOLDER, KEPT_FOLDER, MuZeroTrainer
from fx_pipeline.agents.registry import agent
from fx_pipeline.environment.lockstep import LockstepEnvironment
from fx_pipeline.market.costs import build_fills
from fx_pipeline.market.errors import ConfigurationError, DataError, FxPipelineError

# Dropout and batch norm are part of what must be resumed.
OVERRIDES = {
    "network.dropout": 0.2,
    "learner.final_learning_rate_fraction": 0.1,
    "learner.target_ema": 0.9,
    "selfplay.epsilon": 0.1,
    "selection.share": 0.3,
    "selection.sessions": 8,
    "runtime.keep_every": 2,
}
BARS = 14_000
EPISODES = 6
ITERATIONS = 12  # waves of 4 and 2 episodes, six segments each


SPEED = {"seconds", "steps_per_s", "updates_per_s", "episodes_per_hour"}


class Killed(Exception):
    """Stands for the end of a process."""


def repeatable(metrics) -> dict[str, float]:
    """Metrics without those that depend on the clock, which are there, and of an iteration that took time."""
    assert metrics.keys() >= SPEED
    assert metrics["steps_per_s"] > 0
    return {name: value for name, value in metrics.items() if name not in SPEED}


def train(data: TrainingData, folder: Path, *, seed: int = 0, stop_after: int | None = None, **options):
    calls = []

    def progress(fraction: float, metrics) -> None:
        calls.append((fraction, repeatable(metrics)))
        if len(calls) == stop_after:
            raise Killed

    trainer = MuZeroTrainer(load_config("tiny", options.pop("overrides", OVERRIDES)))
    checkpoint = trainer.train(data, Budget(EPISODES), seed=seed, folder=folder, progress=progress, **options)
    return checkpoint, calls


def first_iteration(data: TrainingData, folder: Path, **options) -> dict[str, float]:
    """Metrics of the first iteration that a training makes, which is then killed."""
    seen: list[dict[str, float]] = []

    def progress(fraction: float, metrics) -> None:
        seen.append(repeatable(metrics))
        raise Killed

    trainer = MuZeroTrainer(load_config("tiny", options.pop("overrides", OVERRIDES)))
    with pytest.raises(Killed):
        trainer.train(data, Budget(EPISODES), folder=folder, progress=progress, **({"seed": 0} | options))
    return seen[0]


def contents(folder: Path) -> dict[str, str]:
    """Hashes of all files, and where the links go."""
    return {
        str(path.relative_to(folder)): os.readlink(path)
        if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture(scope="module")
def market(make_market) -> TrainingData:
    """Long enough for a selection span."""
    return make_market(1, BARS)


@pytest.fixture(scope="module")
def trained(market, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    checkpoint, calls = train(market, folder)
    return folder, checkpoint, calls


def same_scores(ours: list[SelectionScore], theirs: list[SelectionScore]) -> bool:
    def facts(score: SelectionScore) -> tuple:
        values = vars(score).values()
        return tuple(value.tobytes() if isinstance(value, np.ndarray) else value for value in values)

    return [facts(score) for score in ours] == [facts(score) for score in theirs]


def test_what_a_training_leaves(trained) -> None:
    folder, checkpoint, calls = trained
    assert {path.name for path in folder.iterdir()} == {RECORD_NAME, WEIGHTS_NAME, KEPT_FOLDER}
    kept = folder / KEPT_FOLDER
    assert {path.name for path in kept.iterdir() if path.is_symlink()} == {
        "latest",
        "best",
        "episode-000004",
        "episode-000006",
    }
    assert {path.name for path in (kept / "versions").iterdir()} == {"000004", "000006"}
    for link in ("latest", "best", "episode-000004"):
        MuZeroPolicy.from_checkpoint(kept / link, instrument="EUR_USD", pip=0.0001)
    assert checkpoint.sha256 == contents(folder)[WEIGHTS_NAME]
    assert [metrics for _, metrics in calls] == checkpoint.history
    assert calls[-1][0] == 1.0
    assert len(calls) == ITERATIONS
    record = json.loads((folder / RECORD_NAME).read_text())
    assert record["selection"]["sessions"] == 8
    assert record["selection"] == json.loads((kept / "best" / RECORD_NAME).read_text())["selection"]
    assert record["weights_sha256"] == contents(kept / "best")[WEIGHTS_NAME]
    judged = [row for row in checkpoint.history if "selection_score" in row]
    assert [row["episodes"] for row in judged] == [4.0, 6.0]
    assert max(row["selection_score"] for row in judged) == record["selection"]["score"]
    assert judged[-1]["selection_best_episode"] == record["selection"]["episode"]
    assert record["counters"] == {"episodes": 6, "iterations": ITERATIONS, "steps": 2160, "updates": 27}
    assert record["outcomes"] == ["UP", "NEUTRAL", "DOWN"]
    assert all(np.isfinite(value) for value in checkpoint.metrics.values())


def test_the_newest_weights_are_found_by_the_agents_name(trained) -> None:
    folder, _, _ = trained
    muzero = agent("muzero")
    newest = muzero.newest(folder)
    assert json.loads((newest / RECORD_NAME).read_text())["counters"]["episodes"] == 6
    muzero.load_policy(newest)
    assert not muzero.newest(folder / "not begun").exists()


def test_two_runs_give_the_same_bytes_and_another_seed_others(trained, market, tmp_path) -> None:
    folder, checkpoint, _ = trained
    heard: list[SelectionScore] = []
    train(market, tmp_path / "again", on_score=heard.append)
    assert heard, "that the scores are told changes nothing"
    assert contents(tmp_path / "again") == contents(folder)
    assert first_iteration(market, tmp_path / "same") == checkpoint.history[0]
    assert first_iteration(market, tmp_path / "other", seed=1) != checkpoint.history[0]


def test_in_turns_or_side_by_side_makes_the_same_bytes(market, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(training, "workers_available", lambda: 2)
    played_by: list[str] = []
    collect = SelfPlay.collect

    def noted(self, planner):
        played_by.append(threading.current_thread().name)
        return collect(self, planner)

    monkeypatch.setattr(SelfPlay, "collect", noted)
    # With as many threads as cores they take turns, unless self-play has been given threads of its own.
    for name, workers in (("turns", 0), ("beside", 1)):
        overrides = {**OVERRIDES, "runtime.threads": 2, "runtime.workers": workers}
        train(market, tmp_path / name, overrides=overrides)
    half = len(played_by) // 2
    assert {name.startswith("selfplay") for name in played_by[:half]} == {False}
    assert {name.startswith("selfplay") for name in played_by[half:]} == {True}
    assert (tmp_path / "turns" / WEIGHTS_NAME).read_bytes() == (tmp_path / "beside" / WEIGHTS_NAME).read_bytes()


def test_a_clock_ends_a_training(market, tmp_path) -> None:
    config = load_config("tiny", {"selfplay.environments": 1})
    budget = Budget(1_000_000, minutes=0.005)
    fractions: list[float] = []
    checkpoint = MuZeroTrainer(config).train(
        market, budget, seed=0, folder=tmp_path, progress=lambda fraction, _: fractions.append(fraction)
    )
    assert fractions == sorted(fractions)
    assert fractions[-1] >= 1.0
    assert (np.array(fractions[:-1]) < 1.0).all()
    assert checkpoint.metrics["episodes"] < 1000


@pytest.mark.parametrize("stop_after", [1, 5, 9, ITERATIONS])
def test_a_training_killed_and_resumed_equals_an_uninterrupted_one(trained, market, tmp_path, stop_after) -> None:
    folder, checkpoint, _ = trained
    with pytest.raises(Killed):
        train(market, tmp_path, stop_after=stop_after)
    assert not (tmp_path / RECORD_NAME).exists()
    resumed, calls = train(market, tmp_path)
    assert len(calls) == ITERATIONS - stop_after // 2 * 2
    assert contents(tmp_path) == contents(folder)
    assert resumed.history == checkpoint.history


def test_every_judgement_is_told_with_its_weights_before_it_chooses(trained, market, tmp_path) -> None:
    folder, checkpoint, _ = trained
    heard: list[SelectionScore] = []

    def kill(score: SelectionScore) -> None:
        heard.append(score)
        assert not (tmp_path / KEPT_FOLDER / "versions" / f"{score.episode:06d}").exists()
        if len(heard) == 2:
            raise Killed

    with pytest.raises(Killed):
        train(market, tmp_path, on_score=kill)
    again: list[SelectionScore] = []
    train(market, tmp_path, on_score=again.append)
    # The second was told, and the process was killed before its iteration ended: it is judged and told again.
    assert [score.episode for score in heard] == [4, 6]
    assert same_scores(again, heard[1:])
    assert contents(tmp_path) == contents(folder)

    record = json.loads((folder / RECORD_NAME).read_text())
    assert {(score.config_digest, score.code_version) for score in heard} == {
        (record["config_digest"], record["code_version"])
    }
    judged = [row for row in checkpoint.history if "selection_score" in row]
    for score, row in zip(heard, judged, strict=True):
        kept = json.loads((folder / KEPT_FOLDER / f"episode-{score.episode:06d}" / RECORD_NAME).read_text())
        assert score.checkpoint_sha256 == kept["weights_sha256"]
        assert score.session_pnl_pips.mean() == row["selection_pips"]
        assert len(score.session_ns) == row["selection_sessions"] == 8
        assert score.trade_pnl_pips.sum() == pytest.approx(score.session_pnl_pips.sum())
    (best,) = (score for score in heard if score.episode == record["selection"]["episode"])
    assert best.checkpoint_sha256 == record["weights_sha256"] == checkpoint.sha256


def test_a_training_killed_by_the_system_resumes_to_the_same_bytes(trained, tmp_path) -> None:
    folder, _, _ = trained
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys
            from pathlib import Path
            sys.path.insert(0, {str(Path(__file__).parent)!r})
            from conftest import reverting_market
            from fx_pipeline.agents.base import Budget
            from fx_pipeline.agents.muzero.config import load_config
            from fx_pipeline.agents.muzero.trainer import MuZeroTrainer
            def progress(fraction, metrics):
                print(int(metrics["iterations"]), flush=True)
            MuZeroTrainer(load_config("tiny", {OVERRIDES!r})).train(
                reverting_market(1, {BARS}), Budget({EPISODES}), seed=0, folder=Path(sys.argv[1]), progress=progress)
            """
        )
    )
    target = tmp_path / "model"
    command = [sys.executable, str(script), str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 7:
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert (target / BUNDLE_FOLDER / BUNDLE_NAME).is_file()
    assert not (target / RECORD_NAME).exists()
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(finished.stdout.split()[0]) > 1, "it went on and did not start afresh"
    assert contents(target) == contents(folder)


@pytest.mark.parametrize("change", ["seed", "config", "data", "resume", "garbled", "flipped"])
def test_a_bundle_of_another_training_is_not_used(market, make_market, tmp_path, caplog, change) -> None:
    with pytest.raises(Killed):
        train(market, tmp_path, stop_after=4)
    bundle = tmp_path / BUNDLE_FOLDER / BUNDLE_NAME
    options: dict = {}
    data = market
    if change == "seed":
        options["seed"] = 9
    elif change == "config":
        options["overrides"] = {**OVERRIDES, "learner.td_steps": 7}
    elif change == "data":
        data = make_market(2, BARS)
    elif change == "resume":
        options["resume"] = False
    elif change == "garbled":
        bundle.write_bytes(b"\x10garbled")
    else:
        content = bytearray(bundle.read_bytes())
        content[len(content) // 2] ^= 1
        bundle.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        metrics = first_iteration(data, tmp_path, **options)
    assert metrics["iterations"] == 1
    if change in ("seed", "config", "data"):
        assert f"{change} is" in caplog.text
    if change in ("garbled", "flipped"):
        assert "cannot be read" in caplog.text
    if change == "flipped":
        assert "damaged" in caplog.text


def test_divergence_keeps_the_last_good_checkpoint(trained, market, tmp_path, monkeypatch) -> None:
    shutil.copytree(trained[0], tmp_path, dirs_exist_ok=True)
    before = contents(tmp_path)

    def explode(self, batch, **options):
        raise TrainingDivergedError("the loss is not finite")

    monkeypatch.setattr(Learner, "update", explode)
    with pytest.raises(TrainingDivergedError):
        train(market, tmp_path, seed=5)
    assert contents(tmp_path) == before
    load_checkpoint(tmp_path)


def test_divergence_in_the_middle_leaves_what_was_kept(market, tmp_path, monkeypatch) -> None:
    """The end of the first wave was kept; the training stops in the second."""
    update, at = Learner.update, 20

    def explode(self, batch, **options):
        if self.updates == at:
            raise TrainingDivergedError("the loss is not finite")
        return update(self, batch, **options)

    monkeypatch.setattr(Learner, "update", explode)
    with pytest.raises(TrainingDivergedError):
        train(market, tmp_path)
    assert not (tmp_path / RECORD_NAME).exists()
    for link in ("latest", "best", "episode-000004"):
        record = load_checkpoint(tmp_path / KEPT_FOLDER / link).record
        assert record["counters"]["episodes"] == 4
        assert record["counters"]["updates"] < at


@pytest.mark.parametrize(("name", "found", "expected"), [("auto", False, "cpu"), ("cpu", True, "cpu")])
def test_the_learner_is_where_it_was_told_to_be(name, found, expected, monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: found)
    assert learning_device(name).type == expected


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigurationError, match=r"runtime\.device is cuda, but torch finds no GPU"):
        learning_device("cuda")


def test_no_session_is_an_error(market, tmp_path) -> None:
    empty = TrainingData(market.market, np.zeros(0, dtype=np.int64), market.costs)
    with pytest.raises(DataError, match="no valid session of EUR_USD"):
        train(empty, tmp_path)


def observations(data: TrainingData, policy: MuZeroPolicy, rows: int = 24, steps: int = 30):
    environment = LockstepEnvironment(data.market, build_fills(data.market, data.costs))
    observation = environment.reset(data.starts[:: len(data.starts) // rows][:rows])
    for _ in range(steps):
        yield observation
        observation = environment.step(policy.choose(observation)).observation


def test_a_loaded_policy_acts_legally_and_the_same_alone_or_in_a_batch(trained, market) -> None:
    folder, checkpoint, _ = trained
    policy = MuZeroPolicy.from_checkpoint(folder, instrument="EUR_USD", pip=0.0001)
    again = MuZeroPolicy.from_checkpoint(folder)
    head = policy.without_search()
    again.chunk_rows = 7
    assert checkpoint.sha256.startswith(policy.name.removeprefix("muzero-"))
    for observation in observations(market, policy):
        actions = policy.choose(observation)
        assert actions.dtype == np.int64
        assert observation.legal[np.arange(len(actions)), actions].all()
        np.testing.assert_array_equal(again.choose(observation), actions)
        row = 5
        single = type(observation)(*(field[row : row + 1] for field in observation))
        assert policy.choose(single)[0] == actions[row]
        unsearched = head.choose(observation)
        assert observation.legal[np.arange(len(actions)), unsearched].all()
    assert policy.choose(type(observation)(*(field[:0] for field in observation))).shape == (0,)


def test_what_a_checkpoint_is_refused_for(trained, tmp_path) -> None:
    folder, _, _ = trained
    with pytest.raises(ConfigurationError, match="trained on EUR_USD"):
        load_checkpoint(folder, instrument="GBP_JPY")
    with pytest.raises(ConfigurationError, match=r"pip of 0\.0001, not 0\.01"):
        load_checkpoint(folder, pip=0.01)
    with pytest.raises(ConfigurationError, match="holds no checkpoint"):
        load_checkpoint(tmp_path)
    record = json.loads((folder / RECORD_NAME).read_text())
    weights = (folder / WEIGHTS_NAME).read_bytes()
    cases = [
        ({**record, "schema": 99}, weights, "schema 99"),
        ({**record, "agent": "ppo"}, weights, "agent 'ppo'"),
        ({**record, "features_version": 0}, weights, "features_version 0"),
        ({**record, "outcomes": ["DOWN", "NEUTRAL", "UP"]}, weights, "outcomes"),
        ({**record, "config_digest": "0"}, weights, "digest"),
        ({**record, "probe": [answer + 0.01 for answer in record["probe"]]}, weights, "mean something else"),
        (record, weights[:-1] + b"\x01", "corrupt"),
    ]
    for changed, data, message in cases:
        (tmp_path / RECORD_NAME).write_text(json.dumps(changed))
        (tmp_path / WEIGHTS_NAME).write_bytes(data)
        with pytest.raises(FxPipelineError, match=message):
            load_checkpoint(tmp_path)
    (tmp_path / RECORD_NAME).write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        load_checkpoint(tmp_path)


def test_a_checkpoint_knows_whether_its_rewards_are_prefixes(market, tmp_path) -> None:
    config = load_config("tiny", {"network.value_prefix": True})
    networks = build_networks(config.network, 0)
    torch.nn.init.normal_(networks.reward_head.weight, generator=torch.Generator().manual_seed(0))
    write_checkpoint(tmp_path, networks, config, market, seed=0, device="cpu", counters={}, metrics={})
    loaded = load_checkpoint(tmp_path)
    assert loaded.config == config
    assert loaded.networks.config.value_prefix
    # The same weights read as rewards answer otherwise, though the record were made to say so.
    other = load_config("tiny")
    record = json.loads((tmp_path / RECORD_NAME).read_text())
    changed = {**record, "config": other.to_dict(), "config_digest": other.digest()}
    (tmp_path / RECORD_NAME).write_text(json.dumps(changed))
    with pytest.raises(ConfigurationError, match="mean something else"):
        load_checkpoint(tmp_path)
