"""The compiled engine against the torch oracle."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from fx_pipeline.agents.errors import TrainingDivergedError
from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.engine import forward, pack
from fx_pipeline.agents.muzero.engine.engine import Engine, best_precision
from fx_pipeline.agents.muzero.engine.vectors import HAS_BF16
from fx_pipeline.agents.muzero.evaluator import TorchEvaluator
from fx_pipeline.agents.muzero.networks import MuZeroNetworks, build_networks
from fx_pipeline.agents.muzero.planner import TorchPlanner, make_planner, resolve_engine
from fx_pipeline.environment.action_sets import action_set
from fx_pipeline.environment.actions import NUM_ACTIONS, NUM_OUTCOMES
from fx_pipeline.environment.lockstep import Observation
from fx_pipeline.environment.spec import ObservationSpec
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.search import SearchConfig
from fx_pipeline.search.tree import UNKNOWN_PRIOR, UNVISITED

SPEC = ObservationSpec()
needs_bf16 = pytest.mark.skipif(not HAS_BF16, reason="this processor has no bfloat16 products")


def networks_of(preset: str, seed: int = 0, spec: ObservationSpec = SPEC, **overrides: object) -> MuZeroNetworks:
    """Networks whose every number has moved away from its initial value, as after a training."""
    config = load_config(preset, {f"network.{name}": value for name, value in overrides.items()}).network
    networks = build_networks(config, seed, spec).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in networks.named_parameters():
            scale = 0.1 if "head" in name else 0.05 if parameter.dim() == 1 else 0.0
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
        for name, buffer in networks.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return networks


def observations(rows: int, seed: int = 0, spec: ObservationSpec = SPEC) -> Observation:
    draw = np.random.default_rng(seed)
    flat = draw.random(rows) < 0.5
    legal = action_set(spec.action_set).legal_table[0, np.where(flat, 0, 1)]
    temporal = draw.standard_normal((rows, spec.window_bars, spec.features)).astype(np.float32)
    static = np.where(flat[:, None], 0.0, draw.standard_normal((rows, spec.static))).astype(np.float32)
    return Observation(temporal, static, legal, np.arange(rows))


def counters_of(rows: int) -> np.ndarray:
    return np.arange(rows, dtype=np.uint64)


@pytest.mark.parametrize("value_prefix", [False, True])
@pytest.mark.parametrize(("preset", "rows"), [("tiny", 1), ("tiny", 7), ("small", 13), ("full", 1), ("full", 29)])
def test_every_head_equals_the_oracle(preset: str, rows: int, value_prefix: bool) -> None:
    networks, seen = networks_of(preset, value_prefix=value_prefix), observations(rows)
    oracle = TorchEvaluator(networks)
    root = oracle.root(seen)
    packed = pack.pack(networks, "fp32")
    scratch = forward.allocate_scratch(packed, "fp32", rows)
    codes = np.zeros((rows, networks.config.channels), dtype=np.float32)
    states = pack.aligned(root.states.shape, np.float32)
    forward.encode_windows(packed, scratch, seen.temporal, codes)
    forward.embed_rows(packed, codes, seen.static, states)
    np.testing.assert_allclose(states, root.states, atol=1e-4)
    logits, values = np.zeros((rows, NUM_ACTIONS)), np.zeros(rows)
    forward.policy_of(packed, scratch, states, logits)
    forward.value_of(packed, scratch, states, values)
    np.testing.assert_allclose(logits, root.prior_logits, atol=1e-4)
    np.testing.assert_allclose(values, root.values, rtol=1e-5, atol=1e-4)
    draw = np.random.default_rng(1)
    actions, outcomes = draw.integers(NUM_ACTIONS, size=rows), draw.integers(NUM_OUTCOMES, size=rows)
    scratch.states[:] = root.states
    chance, values = np.zeros((rows, NUM_OUTCOMES)), np.zeros(rows)
    forward.afterstate(packed, scratch, actions, chance, values)
    expected = oracle.afterstate(root.states, actions)
    np.testing.assert_allclose(chance, expected.chance_logits, atol=1e-4)
    np.testing.assert_allclose(values, expected.values, rtol=1e-5, atol=1e-4)
    following, rewards = pack.aligned(root.states.shape, np.float32), np.zeros(rows)
    forward.dynamics(packed, scratch, actions, outcomes, following, rewards, values)
    forward.policy_of(packed, scratch, following, logits)
    after = oracle.dynamics(root.states, actions, outcomes)
    np.testing.assert_allclose(following, after.states, atol=1e-4)
    np.testing.assert_allclose(rewards, after.rewards, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(logits, after.prior_logits, atol=1e-4)
    np.testing.assert_allclose(values, after.values, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("backup", ["mean", "expected"])
@pytest.mark.parametrize("root", ["puct", "gumbel"])
@pytest.mark.parametrize(("selection", "value_prefix"), [("quota", False), ("quota", True), ("sample", False)])
def test_searches_equal_those_of_the_oracle(selection: str, root: str, backup: str, value_prefix: bool) -> None:
    networks, seen = networks_of("small", value_prefix=value_prefix), observations(50)
    search = SearchConfig(chance_selection=selection, root_action_selection=root, backup=backup)
    expected = TorchPlanner(networks, search).plan(seen, seed=3, counters=counters_of(50), noise=1.0)
    result = Engine(networks, search, "fp32", workers=2).plan(seen, seed=3, counters=counters_of(50), noise=1.0)
    # A rounding in the seventh digit can tip a near tie, in one search of a hundred at most.
    same = (result.visits == expected.visits).all(axis=1)
    assert same.mean() > 0.97
    np.testing.assert_allclose(result.values[same], expected.values[same], atol=1e-3)
    np.testing.assert_allclose(result.prior_probs, expected.prior_probs, atol=1e-5)
    np.testing.assert_allclose(result.policy[same], expected.policy[same], atol=1e-3)
    np.testing.assert_array_equal(result.actions[same], expected.actions[same])
    np.testing.assert_array_equal(result.max_depth[same], expected.max_depth[same])


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=needs_bf16)])
def test_a_batch_of_64_equals_64_single_searches(precision) -> None:
    networks, seen, search = networks_of("small"), observations(64), SearchConfig()
    together = Engine(networks, search, precision, workers=2)
    alone = Engine(networks, search, precision, workers=1)
    whole = together.plan(seen, seed=3, counters=counters_of(64), noise=1.0)
    priors = together.priors(seen)
    for row in range(64):
        part = slice(row, row + 1)
        one = Observation(*(array[part] for array in seen))
        single = alone.plan(one, seed=3, counters=counters_of(64)[part], noise=1.0)
        for name, array in whole._asdict().items():
            np.testing.assert_array_equal(array[part], getattr(single, name), err_msg=name)
        np.testing.assert_array_equal(priors[part], alone.priors(one))


@needs_bf16
def test_bfloat16_moves_a_search_less_than_other_outcomes_do() -> None:
    networks, rows = networks_of("small"), 200
    seen, search = observations(rows), SearchConfig(chance_selection="sample")

    def visits(precision, seed: int) -> np.ndarray:
        # Without noise the seed decides the outcomes alone.
        result = Engine(networks, search, precision).plan(seen, seed=seed, counters=counters_of(rows), noise=0.0)
        return result.visits / search.simulations

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(0.5 * np.abs(a - b).sum(axis=1).mean())

    exact = visits("fp32", 3)
    redrawn = distance(exact, visits("fp32", 4))
    assert 0.0 < distance(exact, visits("bf16", 3)) < 0.5 * redrawn


def test_new_weights_reach_the_engine_with_refresh() -> None:
    networks, seen = networks_of("tiny"), observations(3)
    engine = Engine(networks, SearchConfig(simulations=4), "fp32", workers=1)
    before = engine.priors(seen)
    with torch.no_grad():
        networks.policy_head.bias.add_(1.0)
    np.testing.assert_array_equal(engine.priors(seen), before)
    engine.refresh()
    np.testing.assert_allclose(engine.priors(seen), before + 1.0, atol=1e-5)


def test_a_bar_is_encoded_once_and_as_its_window_says(small_market) -> None:
    networks = networks_of("tiny")
    engine = Engine(networks, SearchConfig(simulations=4), best_precision(), workers=2)
    features = small_market.market.features
    bars = np.array([[2000, 2001, 2002], [2001, 2002, 2003]])
    codes, places = engine._market_codes(features, bars)
    assert engine.codes_known == 4
    again = engine._market_codes(features, bars + 1)[1]
    assert engine.codes_known == 5
    np.testing.assert_array_equal(again[0, :2], places[0, 1:])
    windows = small_market.market.windows(bars.ravel())
    expected = np.zeros((6, networks.config.channels), dtype=np.float32)
    forward.encode_windows(
        engine.packed, forward.allocate_scratch(engine.packed, engine.precision, 1), windows, expected
    )
    np.testing.assert_array_equal(codes[places.ravel()], expected)


# Presets, and shapes whose convolutions reach to the end of a window or beyond, or not back at all.
SHAPES = [
    *((preset, {}, 32) for preset in ("tiny", "small", "full")),
    ("tiny", {"kernel_size": 1, "temporal_blocks": 2, "channels": 16}, 8),
    ("tiny", {"kernel_size": 2, "temporal_blocks": 4, "channels": 48}, 16),
    ("tiny", {"kernel_size": 4, "temporal_blocks": 3, "channels": 80}, 33),
    ("tiny", {"kernel_size": 5, "temporal_blocks": 5, "channels": 32}, 8),
]


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=needs_bf16)])
@pytest.mark.parametrize(("preset", "shape", "window"), SHAPES)
def test_bars_encoded_together_have_the_codes_of_their_windows_to_the_bit(preset, shape, window, precision) -> None:
    networks = networks_of(preset, spec=ObservationSpec(window_bars=window), **shape)
    features = np.random.default_rng(2).standard_normal((120, 9)).astype(np.float32)
    # One bar, too few for a stretch, whole stretches and what is left of them, and the end of the market.
    bars = np.concatenate([[32], [40, 41], np.arange(45, 90), np.arange(100, 106), [119]])
    windows = features[bars[:, None] + np.arange(1 - window, 1)]
    with torch.inference_mode():
        oracle = networks.encode_market(torch.from_numpy(windows)).numpy()
    for workers in (1, 2):
        engine = Engine(networks, SearchConfig(simulations=4), precision, workers=workers)
        # What another market leaves in the rooms must not matter.
        engine.market_codes(np.full_like(features, np.nan), bars)
        codes = engine.market_codes(features, bars)
        expected = np.zeros_like(codes)
        scratch = forward.allocate_scratch(engine.packed, precision, 1)
        forward.encode_windows(engine.packed, scratch, windows, expected)
        np.testing.assert_array_equal(codes, expected)
        np.testing.assert_allclose(codes, oracle, atol=1e-5 if precision == "fp32" else 0.1)
        # Known codes are no other than fresh ones, in any order.
        np.testing.assert_array_equal(engine.market_codes(features, bars[::-1]), expected[::-1])


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=needs_bf16)])
def test_a_search_does_not_depend_on_how_rows_are_grouped(monkeypatch, precision) -> None:
    networks, seen = networks_of("tiny"), observations(33)
    wide = Engine(networks, SearchConfig(), precision, workers=2)
    monkeypatch.setattr("fx_pipeline.agents.muzero.engine.engine.GROUP_ROWS", 5)
    narrow = Engine(networks, SearchConfig(), precision, workers=2)
    # Rooms that have been used, by searches of other rows.
    narrow.plan(observations(33, seed=1), seed=4, counters=counters_of(33), noise=1.0)
    results = [engine.plan(seen, seed=3, counters=counters_of(33), noise=1.0) for engine in (wide, narrow)]
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_policy_is_asked_for_only_where_an_action_is_chosen() -> None:
    rows = 6
    engine = Engine(networks_of("tiny"), SearchConfig(), "fp32", workers=1)
    engine.plan(observations(rows), seed=3, counters=counters_of(rows), noise=1.0)
    tree = engine.room(0)[1].tree
    decisions = ~tree.is_chance[:rows]
    without = decisions & (tree.probs[:rows, :, 0] == UNKNOWN_PRIOR)
    np.testing.assert_array_equal(without, decisions & (tree.visits[:rows] == 1))
    assert without.any(axis=1).all()
    assert (tree.children[:rows][without] == UNVISITED).all()
    np.testing.assert_allclose(tree.probs[:rows][decisions & ~without].sum(axis=-1), 1.0)


def test_codes_of_a_long_market_are_kept_as_far_as_there_is_room(monkeypatch) -> None:
    features = np.random.default_rng(2).standard_normal((90, 9)).astype(np.float32)
    engine = Engine(networks_of("tiny"), SearchConfig(simulations=4), "fp32", workers=1)
    expected = engine.market_codes(features, np.arange(31, 90))
    monkeypatch.setattr("fx_pipeline.agents.muzero.engine.engine.KEPT_CODES", 20)
    engine.refresh()
    for bars in (np.arange(31, 46), np.arange(40, 50), np.arange(60, 70), np.arange(31, 46)):
        np.testing.assert_array_equal(engine.market_codes(features, bars), expected[bars - 31])
        assert engine.codes_known <= len(engine._codes) <= 20
    # What was asked for at once stays, although it is more: its sessions are being played.
    engine.market_codes(features, np.arange(40, 80))
    np.testing.assert_array_equal(engine.market_codes(features, np.array([50, 41])), expected[[19, 10]])
    assert engine.codes_known == 40


@pytest.mark.parametrize("bar", [-1, 30, 60])
def test_a_window_that_leaves_the_market_has_no_code(bar) -> None:
    engine = Engine(networks_of("tiny"), SearchConfig(simulations=4), "fp32", workers=1)
    with pytest.raises(IndexError, match="leave the 60 bars"):
        engine.market_codes(np.zeros((60, 9), dtype=np.float32), np.array([40, bar]))


def test_a_code_knows_nothing_of_the_bars_after_it() -> None:
    features = np.random.default_rng(2).standard_normal((100, 9)).astype(np.float32)
    bars, last = np.arange(40, 100), 72
    engine = Engine(networks_of("small"), SearchConfig(simulations=4), "fp32", workers=1)
    known = engine.market_codes(features, bars)
    # They are encoded together with bars that do have one.
    later = features.copy()
    later[last + 1 :] = np.nan
    changed = engine.market_codes(later, bars)
    np.testing.assert_array_equal(changed[: last + 1 - 40], known[: last + 1 - 40])
    assert np.isnan(changed[last + 1 - 40 :]).all()


def test_codes_that_are_known_change_no_search_and_no_prior() -> None:
    networks, seen = networks_of("small"), observations(20)
    features = np.random.default_rng(2).standard_normal((51, 9)).astype(np.float32)
    bars = np.arange(31, 51)
    seen = seen._replace(temporal=features[bars[:, None] + np.arange(-31, 1)], bar=bars)
    engine = Engine(networks, SearchConfig(), "fp32", workers=2)
    codes = engine.market_codes(features, bars)
    np.testing.assert_array_equal(engine.priors(seen, codes=codes), engine.priors(seen))
    known = engine.plan(seen, seed=3, counters=counters_of(20), noise=0.0, codes=codes)
    fresh = engine.plan(seen, seed=3, counters=counters_of(20), noise=0.0)
    for name, array in known._asdict().items():
        np.testing.assert_array_equal(array, getattr(fresh, name), err_msg=name)


def test_weights_that_are_not_finite_are_an_error() -> None:
    networks = networks_of("tiny")
    with torch.no_grad():
        networks.value_head.bias[0] = float("nan")
    engine = Engine(networks, SearchConfig(simulations=4), "fp32", workers=1)
    with pytest.raises(TrainingDivergedError, match="not finite"):
        engine.plan(observations(3), seed=0, counters=counters_of(3), noise=0.0)


def test_shapes_that_the_engine_cannot_run_go_to_torch() -> None:
    networks = networks_of("tiny", channels=20)
    assert resolve_engine("auto", networks) == "torch"
    with pytest.raises(ConfigurationError, match=r"network\.channels is 20"):
        make_planner("fp32", networks, SearchConfig())
    assert resolve_engine("auto", networks_of("tiny")) == best_precision()


_OTHER_PROCESSOR = """
import numpy as np
from fx_pipeline.agents.muzero.engine.vectors import HAS_AVX512, HAS_BF16, MAX_VECTORS
from fx_pipeline_tests.agents.test_muzero_engine import test_every_head_equals_the_oracle
assert not HAS_AVX512 and not HAS_BF16 and MAX_VECTORS == 1
for value_prefix in (False, True):
    test_every_head_equals_the_oracle("small", 13, value_prefix)
"""


@pytest.mark.slow
def test_a_processor_with_avx2_only_gives_the_same() -> None:
    environment = {**os.environ, "NUMBA_CPU_NAME": "haswell", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", _OTHER_PROCESSOR], check=True, env=environment)
