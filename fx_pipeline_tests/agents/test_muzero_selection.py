"""The selection span shares no bar with self-play, and what is judged is what the checkpoint would do."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.agents.base import TrainingData
from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.engine.pack import unsupported
from fx_pipeline.agents.muzero.networks import MuZeroNetworks, build_networks
from fx_pipeline.agents.muzero.planner import TorchPlanner, make_planner
from fx_pipeline.agents.muzero.policy import MuZeroPolicy
from fx_pipeline.agents.muzero.selection import MIN_SESSIONS, Judge, split_starts
from fx_pipeline.environment.lockstep import LockstepEnvironment
from fx_pipeline.features.temporal9.kernel import WARMUP_BARS
from fx_pipeline.market.costs import build_fills

CONFIG = load_config("tiny").selection
SESSION, WINDOW = 360, 32


@settings(max_examples=50, deadline=None)
@given(
    gaps=st.lists(st.integers(1, 400), min_size=100, max_size=400),
    share=st.floats(0.1, 0.5),
    sessions=st.integers(1, 40),
)
def test_no_bar_of_self_play_is_behind_an_observation_of_the_span(gaps, share, sessions) -> None:
    starts = np.cumsum(gaps)
    split = split_starts(starts, replace(CONFIG, share=share, sessions=sessions), SESSION, WINDOW)
    if not len(split.judged):
        np.testing.assert_array_equal(split.played, starts)
        return
    first_bar_that_counts = split.judged[0] - (WINDOW - 1) - WARMUP_BARS
    assert split.played.max() + SESSION <= first_bar_that_counts
    assert (np.diff(split.judged) >= SESSION).all()
    assert len(split.judged) <= sessions
    assert np.isin(split.judged, starts).all()
    assert 2 * len(split.played) >= len(starts)


@pytest.mark.parametrize(("bars", "share", "said"), [(3_000, 0.15, True), (30_000, 0.0, False), (30_000, 0.15, False)])
def test_a_window_too_small_for_a_span_is_said_to_be(bars, share, said, caplog) -> None:
    starts = np.arange(1_500, 1_500 + bars)
    with caplog.at_level(logging.WARNING):
        split = split_starts(starts, replace(CONFIG, share=share), SESSION, WINDOW)
    assert ("no selection span" in caplog.text) == said
    assert (len(split.judged) >= MIN_SESSIONS) == (share > 0 and not said)


def taught(networks: MuZeroNetworks) -> MuZeroNetworks:
    """Networks with an opinion: fresh ones have heads of zeros."""
    import torch

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(7)
        for head in (networks.policy_head, networks.value_head, networks.reward_head):
            head.weight.normal_(0.0, 0.5)
    return networks.eval()


def greedy_pips(data: TrainingData, policy: MuZeroPolicy, starts) -> np.ndarray:
    environment = LockstepEnvironment(data.market, build_fills(data.market, data.costs), policy.config.reward)
    observation = environment.reset(starts)
    while environment.steps_done < environment.session_bars:
        observation = environment.step(policy.choose(observation)).observation
    trades = environment.trades()
    return np.bincount(trades["session"], trades["pnl_pips"], len(starts))


@pytest.mark.parametrize("engine", ["fp32", "torch"])
def test_what_is_judged_is_what_the_policy_does(small_market, engine) -> None:
    config = load_config("tiny", {"selection.standard_errors": 2.0})
    networks = taught(build_networks(config.network, 3, config.selfplay.window_bars))
    assert unsupported(networks) is None
    starts = small_market.starts[::360][:6]
    planner = make_planner(engine, networks, config.search, workers=1)
    assert isinstance(planner, TorchPlanner) == (engine == "torch")
    judged = Judge(config, small_market, starts).judge(planner, 12)
    judgement = judged.judgement
    pips = greedy_pips(small_market, MuZeroPolicy(networks, config, engine=engine), starts)
    assert np.ptp(pips) > 0
    error = pips.std(ddof=1) / np.sqrt(6)
    assert judgement.pips == pytest.approx(pips.mean(), abs=1e-9)
    assert judgement.score == pytest.approx(pips.mean() - 2.0 * error, abs=1e-9)
    assert (judgement.episode, judgement.sessions) == (12, 6)
    np.testing.assert_array_equal(judged.session_ns, small_market.market.time[starts])
    np.testing.assert_allclose(judged.session_pnl_pips, pips, atol=1e-9)
    assert judged.trade_pnl_pips.sum() == pytest.approx(pips.sum())
    assert len(judged.trade_pnl_pips) == judgement.trades * 6
    assert judgement.metrics().keys() >= {"selection_pips", "selection_score", "selection_trades"}
