"""The small preset learns what there is to learn: shortened proofs, judged as the long ones are."""

import pytest

from fx_pipeline.proofs.markets import MarketName
from fx_pipeline.proofs.optimum import optimum_pips
from fx_pipeline.proofs.prove import Proof, prove_seed

pytestmark = pytest.mark.slow
#: The hour ends a training only where something is stuck.
STUCK_MINUTES, SESSIONS = 60.0, 256


# A tenth and a fifth of what five minutes allow: the hidden trend takes longer to find.
@pytest.mark.parametrize(("market", "episodes", "least_share"), [("ou", 768, 0.65), ("regime", 1920, 0.70)])
def test_small_learns_a_planted_edge(market: MarketName, episodes: int, least_share: float) -> None:
    result = prove_seed(Proof("muzero", market, minutes=STUCK_MINUTES, episodes=episodes, sessions=SESSIONS), seed=0)
    assert result.pips_per_episode > least_share * optimum_pips(market)


def test_small_learns_to_leave_noise_alone() -> None:
    result = prove_seed(Proof("muzero", "walk", minutes=STUCK_MINUTES, episodes=768, sessions=SESSIONS), seed=0)
    assert result.trades_per_episode <= 0.05
