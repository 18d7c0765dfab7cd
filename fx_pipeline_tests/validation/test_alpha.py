"""What a model makes beyond holding and a moving average, with its uncertainty."""

import numpy as np
import pytest

from fx_pipeline.market.errors import DataError
from fx_pipeline.validation.alpha import jensens_alpha

RUNS = 4_000


def trend(sessions, total=640.0, seed=1):
    """Buy and hold in a strong trend: the issue's best baseline, 575 to 701 pips in twenty days."""
    draw = np.random.default_rng(seed)
    hold = total / sessions + draw.normal(0.0, 25.0, sessions)
    return hold, 0.6 * hold + draw.normal(-2.0, 15.0, sessions)


def judge(own, hold, cross, seed=3):
    return jensens_alpha(own, [hold, cross], runs=RUNS, seed=seed)


def test_a_copy_of_buy_and_hold_fails_whatever_the_trend():
    hold, cross = trend(60)
    for copy in (hold, hold - 0.5, 2 * hold, 0.5 * hold, cross, -hold):
        found = judge(copy, hold, cross)
        assert found.p_upper > 0.9 and found.pips == pytest.approx(min(found.pips, 0.0), abs=1e-6)


def test_an_edge_that_is_not_the_trend_passes_far_below_its_total():
    hold, cross = trend(60)
    own = np.random.default_rng(8).normal(4.0, 9.0, 60)
    assert 180 < own.sum() < 300 and hold.sum() > 560
    found = judge(own, hold, cross)
    assert found.p_upper <= 0.05 and found.pips == pytest.approx(4.0, abs=2.0)
    # In the market half of the time, and nothing beside: its large total is the trend's.
    half = np.where(np.arange(60) % 2 == 0, hold, 0.0)
    assert half.sum() > own.sum() and judge(half, hold, cross).p_upper > 0.05


def test_worthless_models_pass_as_seldom_as_the_bound_says():
    passed, histories = 0, 200
    for seed in range(histories):
        draw = np.random.default_rng(1_000 + seed)
        hold, cross = trend(40, seed=seed)
        own = draw.normal(0.0, 9.0, 40) + 0.4 * hold
        passed += jensens_alpha(own, [hold, cross], runs=300, seed=seed).p_upper <= 0.05
    # 5 % are allowed; resampling forty sessions knows their scatter a little too small (7 % as measured).
    assert passed / histories < 0.10


def test_baselines_that_are_the_same_or_never_move_are_no_trouble():
    hold, _ = trend(60)
    own = np.random.default_rng(7).normal(4.0, 9.0, 60)
    alone = jensens_alpha(own, [hold], runs=RUNS, seed=1)
    assert judge(own, hold, np.zeros(60), 1).pips == pytest.approx(alone.pips, abs=1e-6)
    assert judge(own, hold, hold, 1).pips == pytest.approx(alone.pips, abs=1e-5)
    assert judge(own, np.zeros(60), np.zeros(60)).pips == pytest.approx(own.mean())


def test_what_cannot_be_tested_says_so():
    assert jensens_alpha(np.ones(7), [np.ones(7)], runs=10, seed=1) is None
    assert judge(np.zeros(20), *trend(20)).p_upper == 1.0
    with pytest.raises(DataError, match="one value a session"):
        jensens_alpha(np.ones(9), [np.ones(8)], runs=10, seed=1)
    with pytest.raises(DataError, match="not finite"):
        jensens_alpha(np.full(9, np.nan), [np.ones(9)], runs=10, seed=1)
