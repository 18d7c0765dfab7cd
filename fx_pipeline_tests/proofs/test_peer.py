"""The peer trains on the same paths for the same time, and is judged on the same sessions."""

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from fx_pipeline.proofs.bars import missed_bars
from fx_pipeline.proofs.certify import prove_market
from fx_pipeline.proofs.peer import compared
from fx_pipeline.proofs.prove import Proof, prove_seed, unwatched

if TYPE_CHECKING:
    from fx_pipeline_tests.proofs.conftest import StandIn

pytest.importorskip("stable_baselines3", reason="the extra `ppo` is not installed")

SHORT = Proof("rule", "ou", minutes=5.0, seeds=1, episodes=128, sessions=32, bars=20_000)


def never() -> dt.datetime:
    return dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


def test_peer_is_judged_beside_the_agent(rule_agent: "StandIn") -> None:
    made = prove_market(SHORT, ppo=True, watch=unwatched, now=never)
    (peer,) = made["ppo"]
    assert made["ppo_share_mean"] == peer["share"] < 0.5, "two rounds of sessions teach it little"
    assert [len(point) for point in peer["curve"]] == [2, 2]
    assert peer["curve"][0][1] < -30, "it begins by trading at random now and then"
    assert peer["policy_pips_per_episode"] is None and peer["counters"]["episodes"] == 128
    assert not any("PPO" in line for line in missed_bars(made))


def test_walk_needs_no_peer_nor_does_the_peer_itself(rule_agent: "StandIn") -> None:
    made = prove_market(Proof("rule", "walk", seeds=1, sessions=32, bars=20_000), ppo=True, watch=unwatched, now=never)
    assert made["ppo"] == [] and made["ppo_share_mean"] is None
    assert compared("rule", "ou") and not compared("ppo", "ou")


def test_clock_ends_its_training() -> None:
    one = prove_seed(Proof("ppo", "ou", preset="tiny", minutes=0.02, sessions=8, bars=20_000), 0)
    assert one.counters["episodes"] >= 4


@pytest.mark.slow
def test_peer_learns() -> None:
    one = prove_seed(Proof("ppo", "ou", minutes=30.0, episodes=1_600, sessions=128), 0)
    assert one.pips_per_episode > 100
