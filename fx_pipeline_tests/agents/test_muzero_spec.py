"""What the networks see: any window, features and actions; and nothing else than what they were made for."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from fx_pipeline.agents.base import Budget
from fx_pipeline.agents.entry import Needs
from fx_pipeline.agents.muzero.checkpoint import read_record, spec_of, write_checkpoint
from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.engine.engine import Engine
from fx_pipeline.agents.muzero.engine.vectors import HAS_BF16
from fx_pipeline.agents.muzero.planner import TorchPlanner, make_planner
from fx_pipeline.agents.muzero.policy import MuZeroPolicy
from fx_pipeline.agents.muzero.replay import Replay
from fx_pipeline.agents.muzero.selfplay import SelfPlay
from fx_pipeline.agents.muzero.trainer import MuZeroTrainer
from fx_pipeline.agents.registry import agent
from fx_pipeline.environment.action_sets import LEVERAGE7, LONG_FLAT
from fx_pipeline.environment.lockstep import LockstepEnvironment
from fx_pipeline.environment.spec import ObservationSpec
from fx_pipeline.features.compute import bars_of, compute_features
from fx_pipeline.features.registry import feature_set
from fx_pipeline.market.atomic import atomic_write_json
from fx_pipeline.market.costs import build_fills
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.market.timeframe import H1
from fx_pipeline.search import SearchConfig
from fx_pipeline.validation.rollout import rollout
from fx_pipeline_tests.agents.test_muzero_engine import counters_of, networks_of, observations
from fx_pipeline_tests.agents.test_muzero_selfplay import opinionated, segment

SPEC = ObservationSpec()
LEVERS = {"actions": 7, "action_set": "leverage7"}
#: Windows, features and actions that are not the first ones; wider and narrower than any layer of `tiny`.
SPECS = [
    ObservationSpec(window_bars=8),
    ObservationSpec(window_bars=64, features=17, feature_set="picco17", timeframe="H1"),
    ObservationSpec(features=76, feature_set="hybrid"),
    ObservationSpec(window_bars=16, features=1, feature_set="one", **LEVERS),  # type: ignore[arg-type]
    ObservationSpec(actions=2, action_set="long_flat"),
]


@pytest.mark.parametrize("engine", ["fp32", "torch"])
@pytest.mark.parametrize("window", [8, 16, 64])
def test_a_window_of_another_length_is_refused_before_anything_reads_it(window: int, engine: str) -> None:
    networks, config = networks_of("tiny", spec=ObservationSpec(window_bars=window)), load_config("tiny")
    planner = make_planner(engine, networks, config.search)  # type: ignore[arg-type]
    policy = MuZeroPolicy(networks, config, engine=engine)  # type: ignore[arg-type]
    seen = observations(5)
    said = rf"temporal is \(5, {window}, 9\).*is given \(5, 32, 9\)"
    for act in (
        lambda: planner.priors(seen),
        lambda: planner.plan(seen, seed=0, counters=counters_of(5), noise=0.0),
        lambda: policy.choose(seen),
        lambda: policy.without_search().choose(seen),
        lambda: policy.act(seen, policy.initial(5)),
    ):
        with pytest.raises(DataError, match=said):
            act()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"temporal": np.zeros((5, 32, 8), np.float32)}, "temporal"),
        ({"temporal": np.zeros((4, 32, 9), np.float32)}, "temporal"),
        ({"static": np.zeros((5, 7), np.float32)}, "static"),
        ({"legal": np.ones((5, 7), np.bool_)}, "legal"),
    ],
)
def test_every_part_of_an_observation_is_checked(change, said) -> None:
    engine = Engine(networks_of("tiny"), SearchConfig(simulations=2), "fp32", workers=1)
    with pytest.raises(DataError, match=f"whose {said} is"):
        engine.plan(observations(5)._replace(**change), seed=0, counters=counters_of(5), noise=0.0)


def test_markets_and_environments_of_another_kind_are_refused(small_market) -> None:
    market, starts = small_market.market, small_market.starts[:3]
    fills, search = build_fills(market, small_market.costs), SearchConfig(simulations=2)
    wide = dataclasses.replace(market, features=np.repeat(market.features, 2, axis=1))
    engine = Engine(networks_of("tiny"), search, "fp32", workers=1)
    with pytest.raises(DataError, match=r"reads 9 features a bar, and is given \(4000, 18\)"):
        engine.market_codes(wide.features, starts)
    policy = MuZeroPolicy(networks_of("tiny"), load_config("tiny"))
    for rules, actions, where, said in (
        (SessionRules(window_bars=16), small_market.actions, market, "window_bars 32, not 16"),
        (SessionRules(), LEVERAGE7, market, "actions 4, not 7"),
        (SessionRules(), small_market.actions, wide, "features 9, not 18"),
        (SessionRules(), small_market.actions, dataclasses.replace(market, feature_set="other"), "feature_set"),
    ):
        with pytest.raises(DataError, match=said):
            rollout(where, fills, starts, policy, rules=rules, actions=actions)
        environment = LockstepEnvironment(where, fills, rules=rules, actions=actions)
        environment.reset(starts)
        with pytest.raises(DataError, match=said):
            engine.play(environment, *([None] * 3), 0, 1)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize("spec", SPECS)
def test_the_engine_searches_as_the_oracle_does_whatever_it_sees(spec: ObservationSpec) -> None:
    seen = observations(40, spec=spec)
    for preset in ("tiny", "small"):
        networks, search = networks_of(preset, spec=spec), SearchConfig(simulations=12, root_action_selection="gumbel")
        engine = Engine(networks, search, "fp32", workers=2)
        oracle = TorchPlanner(networks, search)
        np.testing.assert_allclose(engine.priors(seen), oracle.priors(seen), atol=1e-4)
        result, expected = (one.plan(seen, seed=3, counters=counters_of(40), noise=1.0) for one in (engine, oracle))
        same = (result.visits == expected.visits).all(axis=1)
        assert same.mean() > 0.97
        np.testing.assert_allclose(result.values[same], expected.values[same], atol=1e-3)
        np.testing.assert_array_equal(result.actions[same], expected.actions[same])
        assert seen.legal[np.arange(40), result.actions].all()
    if HAS_BF16:
        low = Engine(networks, search, "bf16", workers=1)
        assert np.abs(low.priors(seen) - oracle.priors(seen)).max() < 0.2


@pytest.mark.parametrize("spec", SPECS)
def test_bars_have_the_codes_of_their_windows_whatever_they_hold(spec: ObservationSpec) -> None:
    features = np.random.default_rng(2).standard_normal((120, spec.features)).astype(np.float32)
    bars = np.concatenate([[66], np.arange(70, 119)])
    seen = observations(len(bars), spec=spec)
    windows = features[bars[:, None] + np.arange(1 - spec.window_bars, 1)]
    for precision in ("fp32", "bf16") if HAS_BF16 else ("fp32",):
        engine = Engine(networks_of("tiny", spec=spec), SearchConfig(simulations=2), precision, workers=1)  # type: ignore[arg-type]
        codes = engine.market_codes(features, bars)
        alone = engine.priors(seen._replace(temporal=windows))
        np.testing.assert_array_equal(engine.priors(seen, codes=codes), alone)


@pytest.mark.parametrize("actions", [LEVERAGE7, LONG_FLAT])
def test_the_engine_plays_any_actions_and_sessions_as_the_oracle_does(small_market, actions) -> None:
    data = dataclasses.replace(small_market, rules=SessionRules(bars=90, window_bars=24), actions=actions)
    config = load_config("tiny", {"selfplay.epsilon": 0.3, "selfplay.warmup_bars": 45, "selfplay.segment_bars": 40})
    stories = []
    for engine in ("fp32", "torch"):
        replay = Replay(config.replay, 90, actions)
        selfplay = SelfPlay(config, data, replay, 3)
        selfplay.begin(0, 4, 0.0)
        networks = opinionated(networks_of("tiny", spec=data.spec))
        planner, metrics = make_planner(engine, networks, config.search, workers=1), []  # type: ignore[arg-type]
        while selfplay.in_wave:
            metrics.append(segment(selfplay, planner))
            assert selfplay.segment_bars == (10 if len(metrics) == 3 else 40)
        stories.append((replay.arrays, metrics))
    (mine, metrics), (theirs, expected) = stories
    for name in ("static", "actions", "outcomes", "rewards"):
        np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)
    np.testing.assert_allclose(mine["policies"], theirs["policies"], atol=1e-4)
    assert mine["lengths"][:4].tolist() == [90] * 4
    for one, other in zip(metrics, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    shares = [metrics[-1][f"share_{name.lower()}"] for name in actions.names]
    assert sum(shares) == pytest.approx(1.0) and len(set(mine["actions"][:4].ravel().tolist())) == len(actions)
    held = mine["static"][:4, :, 0]
    assert np.isin(held, np.float32(actions.levels)).all() and len(np.unique(held)) == len(actions.levels)
    # Every step is quality's, and every trade counted.
    assert mine["trade_counts"].sum() > 4


@pytest.mark.parametrize(
    ("features", "actions", "rules"),
    [
        ("temporal9", LEVERAGE7, SessionRules()),
        ("picco17", LEVERAGE7, SessionRules(bars=100, window_bars=16)),
        ("temporal9", LONG_FLAT, SessionRules(bars=50, window_bars=24)),
    ],
)
def test_a_training_learns_from_any_features_actions_and_sessions(make_market, tmp_path, features, actions, rules):
    data = dataclasses.replace(make_market(1, 9_000), rules=rules, actions=actions)
    if features != "temporal9":
        # Its hours are those of a longer bar.
        first = data.market.time[0]
        hourly = dataclasses.replace(data.market, timeframe=H1, time=first + 60 * (data.market.time - first))
        made = compute_features(feature_set(features), bars_of(hourly))
        ready = dataclasses.replace(hourly, features=made, feature_set=features)
        warm = np.flatnonzero(np.isfinite(ready.features).all(axis=1))[0] + rules.window_bars
        data = dataclasses.replace(data, market=ready, starts=np.arange(warm, len(ready) - rules.bars))
    overrides = {"learner.consistency_weight": 1.0, "learner.reanalyze_share": 0.5, "replay.evict": "quality"}
    config = load_config("tiny", {"replay.priority_weight": 0.5, "runtime.device": "cpu", **overrides})
    checkpoint = MuZeroTrainer(config).train(data, Budget(8), seed=1, folder=tmp_path)
    assert checkpoint.metrics["episodes"] == 8 and checkpoint.metrics["steps"] == 8 * rules.bars
    assert np.isfinite(list(checkpoint.metrics.values())).all()
    policy = MuZeroPolicy.from_checkpoint(tmp_path)
    assert policy.spec == data.spec
    fills = build_fills(data.market, data.costs)
    done = rollout(data.market, fills, data.starts[:: rules.bars][:6], policy, rules=rules, actions=actions)
    assert done.actions.shape == (6, rules.bars) and done.action_counts.sum() == done.decisions


def test_sessions_that_a_training_cannot_work_with_are_refused() -> None:
    refuses = agent("muzero").refuses
    assert refuses(Needs("small", actions=LEVERAGE7, feature_set="picco17", rules=SessionRules(bars=120))) is None
    assert "shorter than an unroll" in str(refuses(Needs("small", rules=SessionRules(bars=5))))
    assert "replay.capacity_steps" in str(refuses(Needs("tiny", rules=SessionRules(bars=7_200))))


def test_a_checkpoint_says_what_it_sees_and_one_that_does_not_is_of_the_first_kind(small_market, tmp_path) -> None:
    data = dataclasses.replace(small_market, rules=SessionRules(bars=90, window_bars=24), actions=LEVERAGE7)
    config, networks = load_config("tiny"), networks_of("tiny", spec=data.spec)

    def written(folder: Path, **change: object) -> Path:
        folder.mkdir()
        write_checkpoint(folder, networks, config, data, seed=0, device="cpu", counters={}, metrics={})
        atomic_write_json(folder / "checkpoint.json", read_record(folder) | change)
        return folder

    folder = written(tmp_path / "whole")
    policy = MuZeroPolicy.from_checkpoint(folder)
    assert policy.spec == data.spec == spec_of(read_record(folder))
    assert read_record(folder)["session_rules"]["bars"] == 90
    fills = build_fills(data.market, data.costs)
    done = rollout(data.market, fills, data.starts[:2], policy, rules=data.rules, actions=LEVERAGE7)
    assert done.actions.shape == (2, 90)
    with pytest.raises(DataError, match="damaged"):
        read_record(written(tmp_path / "damaged", observation={**data.spec.record(), "window_bars": "24"}))
    assert spec_of({"weights_sha256": ""}) == SPEC


def test_a_checkpoint_of_before_is_read_as_it_was_written(small_market, tmp_path) -> None:
    config = load_config("tiny")
    write_checkpoint(tmp_path, networks_of("tiny"), config, small_market, seed=0, device="cpu", counters={}, metrics={})
    record = read_record(tmp_path)
    del record["observation"], record["session_rules"]
    record["config"]["selfplay"] |= {"session_bars": 360, "window_bars": 32}
    atomic_write_json(tmp_path / "checkpoint.json", record)
    policy = MuZeroPolicy.from_checkpoint(tmp_path)
    assert policy.spec == SPEC and policy.config == config
