"""The synthetic markets are what they say they are, inside the pipeline as it trades."""

import numpy as np
import pytest

from fx_pipeline.environment.lockstep import LockstepEnvironment
from fx_pipeline.market.calendar import FxCalendar
from fx_pipeline.market.costs import CostConfig, build_fills
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.proofs.markets import COST_PIPS, COSTS, MARKETS, closes_in_pips, known_market, path_pips, proof_market
from fx_pipeline.proofs.play import draw_starts, play
from fx_pipeline.proofs.players import BestPlayer, RandomPlayer
from fx_pipeline.sessions.index import valid_starts

BARS = 30_000


@pytest.mark.parametrize("name", MARKETS)
def test_path_is_settled_by_its_seed(name: str) -> None:
    market = proof_market(name, 3, BARS)
    again = proof_market(name, 3, BARS)
    assert market.close.tobytes() == again.close.tobytes()
    assert market.fingerprint == again.fingerprint != proof_market(name, 4, BARS).fingerprint
    assert np.abs(closes_in_pips(market) - path_pips(name, 3, BARS)).max() < 1e-8


def test_ou_returns_to_its_mean_as_fast_as_it_says() -> None:
    x = path_pips("ou", 1, 200_000)
    assert np.corrcoef(x[1:], x[:-1])[0, 1] == pytest.approx(0.90, abs=0.005)
    assert (x[1:] - 0.9 * x[:-1]).std() == pytest.approx(5.0, rel=0.01)
    assert x.std() == pytest.approx(11.47, rel=0.03)


def test_trend_of_regime_lasts_ninety_bars() -> None:
    moves = np.diff(path_pips("regime", 1, 400_000))
    assert moves.std() == pytest.approx(np.sqrt(0.6**2 + 2.0**2), rel=0.01)
    # Moves k bars apart correlate by drift² (1 - 2 / 90) ** k.
    for lag in (1, 30, 90):
        expected = 0.36 * (1 - 2 / 90) ** lag
        assert (moves[lag:] * moves[:-lag]).mean() == pytest.approx(expected, abs=0.03)


def test_walk_has_no_memory() -> None:
    moves = np.diff(path_pips("walk", 1, 200_000))
    assert moves.std() == pytest.approx(2.5, rel=0.01)
    assert abs(np.corrcoef(moves[1:], moves[:-1])[0, 1]) < 0.01


@pytest.mark.parametrize("name", MARKETS)
def test_bars_stand_in_the_fx_week_and_open_at_the_close_before(name: str) -> None:
    market = proof_market(name, 1, BARS)
    assert len(market) == BARS
    assert FxCalendar().is_expected(market.time).all()
    assert (np.diff(market.time) > 0).all()
    assert (np.diff(market.time) > 40 * 3_600 * 10**9).sum() >= 3, "weekends are left out"
    assert market.open[1:].tobytes() == market.close[:-1].tobytes()
    assert (market.low <= np.minimum(market.open, market.close)).all()
    assert market.instrument == f"SYNTHETIC_{name.upper()}"


def test_most_bars_start_a_valid_session() -> None:
    market = proof_market("ou", 1, BARS)
    assert len(valid_starts(market)) > 0.8 * (BARS - 1_531)


def test_fill_at_the_next_open_is_a_fill_at_the_close() -> None:
    """What the optimum supposes and what the pipeline does by default earn the same, to the bit."""
    market = proof_market("ou", 2, BARS)
    starts = draw_starts(market, 64, 0)
    assert COSTS.fill == "next_open" and COSTS.fixed_pips == COST_PIPS
    results = []
    for fill in ("next_open", "close"):
        costs = CostConfig(kind="fixed", fixed_pips=COST_PIPS, fill=fill)
        environment = LockstepEnvironment(market, build_fills(market, costs))
        observation, player, rewards = environment.reset(starts), BestPlayer("ou", market, starts), []
        for _ in range(environment.session_bars):
            step = environment.step(player.choose(observation))
            observation = step.observation
            rewards.append(step.rewards)
        results.append((environment.trades(), np.array(rewards)))
    (opened, opened_rewards), (closed, closed_rewards) = results
    assert len(opened) > 500
    assert opened["pnl_pips"].tobytes() == closed["pnl_pips"].tobytes()
    assert opened_rewards.tobytes() == closed_rewards.tobytes()


def test_unknown_market_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="known are ou, regime, walk"):
        known_market("trend")


@pytest.mark.parametrize("name", MARKETS)
def test_chance_loses_the_cost_of_its_trades(name: str) -> None:
    """60 trades an episode at 4 pips: a policy that learned nothing makes this."""
    market = proof_market(name, 2, BARS)
    done = play(market, draw_starts(market, 256, 0), RandomPlayer(1))
    assert done.trades_per_episode == pytest.approx(60.0, abs=2.0)
    assert done.pips_per_episode == pytest.approx(-240.0, abs=4 * done.standard_error_pips + 8.0)
