"""The small preset learns what there is to learn: shortened proofs, judged as the long ones are."""

import pytest

from fx_pipeline.proofs.markets import MarketName
from fx_pipeline.proofs.optimum import optimum_pips
from fx_pipeline.proofs.prove import Proof, prove_seed

pytestmark = pytest.mark.slow
#: A tenth of what five minutes allow; the hour ends a training only where something is stuck.
EPISODES, STUCK_MINUTES, SESSIONS = 768, 60.0, 256


@pytest.mark.parametrize(("market", "least_share"), [("ou", 0.65), ("regime", 0.70)])
def test_small_learns_a_planted_edge(market: MarketName, least_share: float) -> None:
    result = prove_seed(Proof("muzero", market, minutes=STUCK_MINUTES, episodes=EPISODES, sessions=SESSIONS), seed=0)
    assert result.pips_per_episode > least_share * optimum_pips(market)


def test_small_learns_to_leave_noise_alone() -> None:
    result = prove_seed(Proof("muzero", "walk", minutes=STUCK_MINUTES, episodes=EPISODES, sessions=SESSIONS), seed=0)
    assert result.trades_per_episode <= 0.05
