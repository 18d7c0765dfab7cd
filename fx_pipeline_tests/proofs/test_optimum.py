"""The optimum is what the best policy earns in the pipeline's own environment, and nobody earns more."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.environment.action_sets import LEVERAGE7, LONG_FLAT, LONG_FLAT_SHORT, UNIT4, ActionSet
from fx_pipeline.proofs.markets import MARKETS, path_pips, proof_market
from fx_pipeline.proofs.optimum import Plan, best_plan, next_belief, optimum_pips
from fx_pipeline.proofs.play import Played, draw_starts, play
from fx_pipeline.proofs.players import BEST_RULES, BestPlayer

#: Measured elsewhere by Monte Carlo of other code, for 360 moves a session; here the last decision closes, so 359.
ELSEWHERE = {"ou": 225.8, "regime": 123.0}
RULES = {"ou": (177.0, 0.785), "regime": (113.0, 0.919)}


def entering(plan: Plan, decision: int) -> np.ndarray:
    """What a long, nothing and a short bring to a flat account, (3, G)."""
    return plan.gains(decision, plan.actions.levels.index(0.0))


def play_best(name: str, sessions: int, batch: int = 2_000, actions: ActionSet = UNIT4) -> Played:
    market = proof_market(name, 2)
    parts = []
    for number, first in enumerate(range(0, sessions, batch)):
        starts = draw_starts(market, min(batch, sessions - first), number)
        parts.append(play(market, starts, BestPlayer(name, market, starts, actions), actions=actions))
    return Played(np.concatenate([part.pips for part in parts]), np.concatenate([part.trades for part in parts]))


@pytest.mark.parametrize("name", ELSEWHERE)
def test_optimum_agrees_with_what_others_found(name: str) -> None:
    assert optimum_pips(name) == pytest.approx(ELSEWHERE[name], rel=0.005)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_best_player_earns_the_optimum(name: str) -> None:
    done = play_best(name, 1_500)
    assert done.pips_per_episode == pytest.approx(optimum_pips(name), abs=3.5 * done.standard_error_pips)
    assert done.trades_per_episode == pytest.approx({"ou": 15.8, "regime": 5.0}[name], rel=0.05)


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("actions", [LONG_FLAT, LEVERAGE7], ids=lambda actions: actions.name)
def test_best_player_earns_the_optimum_of_its_actions(name: str, actions: ActionSet) -> None:
    done = play_best(name, 1_000, actions=actions)
    assert done.pips_per_episode == pytest.approx(
        optimum_pips(name, actions=actions), abs=3.5 * done.standard_error_pips
    )


@pytest.mark.parametrize("name", MARKETS)
def test_sizes_between_nothing_and_all_earn_nothing_more(name: str) -> None:
    """Computed over all seven levels: the value of a size is its share of the whole, so the best is all or nothing."""
    sized, turning = best_plan(name, 60, LEVERAGE7), best_plan(name, 60, LONG_FLAT_SHORT)
    assert sized.optimum_pips == pytest.approx(turning.optimum_pips, abs=1e-9)
    long, flat = sized.onward[:, 0], sized.onward[:, 3]
    np.testing.assert_allclose(sized.onward[:, 2], long / 3 + flat * 2 / 3, rtol=0, atol=1e-9)
    gains = sized.gains(10, 3)
    assert (gains.max(axis=0) <= np.maximum(gains[[0, 6]].max(axis=0), 0.0) + 1e-9).all()


def test_optima_of_the_sets_in_order() -> None:
    """A side less costs half of the symmetric markets; a turn without a bar in between is worth a little."""
    for name in ELSEWHERE:
        unit, sized = optimum_pips(name), optimum_pips(name, actions=LEVERAGE7)
        assert unit < sized < 1.1 * unit
        assert 0.4 * unit < optimum_pips(name, actions=LONG_FLAT) < 0.6 * unit
    assert optimum_pips("walk", actions=LEVERAGE7) == optimum_pips("walk", actions=LONG_FLAT) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("name", ELSEWHERE)
def test_best_player_earns_the_optimum_within_one_percent(name: str) -> None:
    done = play_best(name, 20_000)
    assert done.pips_per_episode == pytest.approx(optimum_pips(name), rel=0.01)


def test_best_player_leaves_the_walk_alone() -> None:
    market = proof_market("walk", 2, 30_000)
    starts = draw_starts(market, 200, 0)
    done = play(market, starts, BestPlayer("walk", market, starts))
    assert optimum_pips("walk") == 0.0 and done.trades.sum() == 0 and done.pips.sum() == 0.0
    assert (entering(best_plan("walk"), 100)[[0, 2]] < 0).all(), "entering costs its price in every state"


@pytest.mark.parametrize("name", RULES)
def test_best_rule_on_one_feature(name: str) -> None:
    market = proof_market(name, 2)
    done = play(market, draw_starts(market, 1_500, 0), BEST_RULES[name])
    pips, share = RULES[name]
    assert done.pips_per_episode == pytest.approx(pips, abs=3.5 * done.standard_error_pips)
    assert done.pips_per_episode / optimum_pips(name) == pytest.approx(share, abs=0.035)


def test_thresholds_are_symmetric_and_wait_for_the_cost() -> None:
    plan = best_plan("ou")
    (buy, _, sell), close_long, close_short = entering(plan, 100), plan.gains(100, 0)[1], plan.gains(100, 2)[1]
    np.testing.assert_allclose(buy, sell[::-1], atol=1e-6)
    np.testing.assert_allclose(close_long, close_short[::-1], atol=1e-6)
    enters = plan.grid[buy > 0].max()
    assert -12.0 < enters < -2.0
    assert (buy[: np.searchsorted(plan.grid, enters)] > 0).all(), "below the threshold it always buys"


def test_nothing_is_entered_that_cannot_earn_its_cost_in_time() -> None:
    assert (best_plan("walk").onward[-1] == 0).all()
    # Two bars at 0.6 pips cannot pay 4.
    assert (entering(best_plan("regime"), 357)[[0, 2]] < 0).all()


def test_a_longer_session_earns_more() -> None:
    values = [optimum_pips("ou", bars) for bars in (2, 60, 120, 360)]
    assert values == sorted(values) and values[0] < values[-1] / 100
    # Far from the ends every bar is worth the same.
    assert (optimum_pips("ou", 240) - optimum_pips("ou", 120)) == pytest.approx(
        values[3] - optimum_pips("ou", 240), rel=0.01
    )


def test_belief_is_calibrated() -> None:
    """Of the bars on which the filter says 0.8, four in five move up on average as its drift says."""
    from fx_pipeline.proofs.players import known_state

    market = proof_market("regime", 5)
    belief, move = known_state("regime", market)[:-1], np.diff(path_pips("regime", 5))
    for low in (0.05, 0.35, 0.65, 0.85):
        inside = (belief > low) & (belief < low + 0.1)
        expected = 0.6 * (2.0 * belief[inside].mean() - 1.0)
        assert move[inside].mean() == pytest.approx(expected, abs=4 * 2.1 / np.sqrt(inside.sum()))


@settings(max_examples=50, deadline=None)
@given(st.floats(1 / 90, 1 - 1 / 90), st.floats(-15.0, 15.0))
def test_belief_follows_the_price_and_never_becomes_certain(belief: float, move: float) -> None:
    after = float(next_belief(belief, move))
    assert 1 / 90 - 1e-12 <= after <= 1 - 1 / 90 + 1e-12
    assert float(next_belief(belief, move + 1.0)) >= after
    assert float(next_belief(1 - belief, -move)) == pytest.approx(1 - after)


@pytest.mark.parametrize("name", MARKETS)
def test_expectations_are_of_probabilities(name: str) -> None:
    """Holding to the end is worth the drift that is left, on average nothing."""
    plan = best_plan(name)
    assert np.isfinite(plan.onward).all() and plan.optimum_pips >= 0.0
