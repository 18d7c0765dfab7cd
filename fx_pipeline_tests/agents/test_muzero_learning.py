"""The small preset learns what there is to learn: shortened proofs, judged as the long ones are."""

import sys

import numpy as np
import pytest

from fx_pipeline.proofs.markets import MarketName
from fx_pipeline.proofs.optimum import optimum_pips
from fx_pipeline.proofs.prove import Proof, SeedResult, prove_seeds

# Minutes of both cores, which other slow tests may want at the same time.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200)]
#: The hour ends a training only where something is stuck.
STUCK_MINUTES, SESSIONS, EPISODES = 60.0, 256, 768


def _proved(market: MarketName, seeds: int, episodes: int = EPISODES) -> list[SeedResult]:
    proof = Proof("muzero", market, minutes=STUCK_MINUTES, seeds=seeds, episodes=episodes, sessions=SESSIONS, jobs=2)
    return prove_seeds(proof)


def test_every_seed_learns_the_planted_edge_and_search_is_why(capsys: pytest.CaptureFixture[str]) -> None:
    """A tenth of what five minutes allow: the policy network lags behind what the search already knows."""
    results = _proved("ou", seeds=5)
    shares = np.array([result.pips_per_episode for result in results]) / optimum_pips("ou")
    heads = np.array([result.policy_pips_per_episode for result in results], dtype=np.float64) / optimum_pips("ou")
    with capsys.disabled():
        sys.stdout.write(f"\nou, {EPISODES} episodes: share {shares.round(3)}, without search {heads.round(3)}\n")
    assert shares.min() > 0.70
    assert shares.mean() > 0.75
    assert shares.mean() > heads.mean()


def test_small_learns_the_hidden_trend() -> None:
    # It takes longer to find: a fifth of five minutes.
    assert _proved("regime", seeds=1, episodes=1920)[0].pips_per_episode > 0.70 * optimum_pips("regime")


def test_small_learns_to_leave_noise_alone() -> None:
    assert _proved("walk", seeds=1)[0].trades_per_episode <= 0.05
