"""The peer trains by the same clock, on the same paths, and is judged on the same sessions."""

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fx_pipeline.proofs.bars import missed_bars
from fx_pipeline.proofs.certify import prove_market
from fx_pipeline.proofs.prove import Proof, unwatched

if TYPE_CHECKING:
    from fx_pipeline_tests.proofs.conftest import StandIn

pytest.importorskip("stable_baselines3", reason="the extra `ppo` is not installed")

SHORT = Proof("rule", "ou", minutes=5.0, seeds=1, episodes=128, sessions=32, bars=20_000)


def never() -> dt.datetime:
    return dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


def test_clock_ends_its_training() -> None:
    from fx_pipeline.proofs.ppo_peer import prove_ppo_seed

    ticks = iter(np.arange(0.0, 10_000.0, 0.5))
    one = prove_ppo_seed(
        Proof("rule", "ou", minutes=1.0, sessions=32, bars=20_000), 0, clock=lambda: float(next(ticks))
    )
    # Half a second a look, one look a step of 64 environments.
    assert 115 * 64 <= one.counters["steps"] <= 125 * 64


def test_peer_is_judged_beside_the_agent(rule_agent: "StandIn") -> None:
    made = prove_market(SHORT, ppo=True, watch=unwatched, now=never)
    (peer,) = made["ppo"]
    assert made["ppo_share_mean"] == peer["share"] < 0.5, "two rounds of sessions teach it little"
    assert [len(point) for point in peer["curve"]] == [2, 2]
    assert peer["curve"][0][1] < -100, "it begins at random"
    assert peer["policy_pips_per_episode"] is None
    assert not any("PPO" in line for line in missed_bars(made))


def test_walk_needs_no_peer(rule_agent: "StandIn") -> None:
    made = prove_market(Proof("rule", "walk", seeds=1, sessions=32, bars=20_000), ppo=True, watch=unwatched, now=never)
    assert made["ppo"] == [] and made["ppo_share_mean"] is None


def test_same_seed_gives_the_same_peer() -> None:
    from fx_pipeline.proofs.ppo_peer import prove_ppo_seed

    first, second = (prove_ppo_seed(replace(SHORT, episodes=64), 4).pips_per_episode for _ in range(2))
    assert first == second


@pytest.mark.slow
def test_peer_learns() -> None:
    """By steps, not by the clock: 600 episodes are enough to earn on `ou`, where chance loses 240 pips."""
    from fx_pipeline.proofs.ppo_peer import prove_ppo_seed

    one = prove_ppo_seed(Proof("rule", "ou", minutes=30.0, episodes=600, sessions=128), 0)
    assert one.pips_per_episode > 60.0
    assert one.curve[0][1] < -150.0
