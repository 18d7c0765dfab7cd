"""How a champion stands on newer days."""

from typing import Any

import numpy as np
import pytest

from fx_pipeline.validation.gate import GateConfig
from fx_pipeline.validation.standing import drawdown_limit, judge_standing

FIGURES = {
    "trades": 40,
    "sessions": 30,
    "expectancy_pips": 1.0,
    "stressed_expectancy_pips": 0.9,
    "total_pips": 40.0,
    "probability_not_positive": 0.01,
    "margin_over_baselines_pips": 12.0,
    "random_p": 0.01,
    "parity_error_pips": 0.0,
    "parity": {
        "replayed": 40,
        "trades": 40,
        "left_out": 0,
        "differing": 0,
        "largest_difference_pips": 0.0,
        "over_gaps": 0,
    },
    "leaks_searched": ["a span"],
    "leaks_found": 0,
    "overlapping_sessions": 0,
    "metrics": {"max_drawdown_pips": 21.0},
    # None of these is asked of a model on days that it was not chosen by.
    "deflated_sharpe": None,
    "seeds": 1,
    "worst_seed_pips": -5.0,
    "holdout_openings": 9,
}
LINEAGE = {"checkpoint_sha256": "a", "costs": {"kind": "fixed"}, "source": "imported"}
TRADES = np.random.default_rng(1).normal(0.5, 8.0, 300)


def standing(**change: Any) -> dict[str, Any]:
    report = {"figures": FIGURES | change, "lineage": LINEAGE}
    return judge_standing(report, "w", TRADES, gate=GateConfig(), percentile=99.0, runs=2_000, seed=1)


def test_a_champion_that_makes_money_stands() -> None:
    found = standing()
    assert found["passed"] and found["sound"]
    assert found["source"] == "imported"
    assert (found["window"], found["sha256"], found["trades"], found["max_drawdown_pips"]) == ("w", "a", 40, 21.0)
    assert found["drawdown_limit_pips"] == drawdown_limit(TRADES, 40, 99.0, runs=2_000, seed=1)


@pytest.mark.parametrize(
    "change",
    [
        {"stressed_expectancy_pips": -0.1},
        {"probability_not_positive": 0.2},
        {"margin_over_baselines_pips": -1.0},
        {"random_p": 0.3},
        {"random_p": None},
    ],
)
def test_each_condition_can_fail_it(change: dict[str, Any]) -> None:
    found = standing(**change)
    assert not found["passed"] and found["sound"] and len(found["reasons"]) == 1


@pytest.mark.parametrize(
    "change", [{"parity_error_pips": 1.0}, {"parity": None}, {"leaks_found": 1}, {"overlapping_sessions": 2}]
)
def test_a_replay_that_is_wrong_says_nothing_of_the_model(change: dict[str, Any]) -> None:
    assert not standing(**change)["sound"]


def test_the_limit_grows_with_the_number_of_trades_and_the_percentile() -> None:
    def limit(trades: int, percentile: float) -> float:
        found = drawdown_limit(TRADES, trades, percentile, runs=2_000, seed=1)
        assert found is not None
        return found

    assert limit(20, 99.0) < limit(80, 99.0) < limit(300, 99.0)
    assert limit(80, 50.0) < limit(80, 95.0) < limit(80, 99.0)
    # One history in a hundred goes beyond it, on trades of the same kind.
    rng, beyond, bound = np.random.default_rng(9), 0, limit(80, 99.0)
    for _ in range(1_000):
        equity = np.cumsum(rng.choice(TRADES, 80))
        beyond += (np.maximum.accumulate(np.append(0.0, equity))[1:] - equity).max() > bound
    assert 1 <= beyond <= 30


def test_without_trades_there_is_no_limit() -> None:
    assert drawdown_limit([], 10, 99.0, runs=100, seed=0) is None
    assert drawdown_limit(TRADES, 0, 99.0, runs=100, seed=0) is None
    found = standing(trades=0, expectancy_pips=None, stressed_expectancy_pips=None, metrics={"max_drawdown_pips": None})
    assert not found["passed"] and found["max_drawdown_pips"] == 0.0 and found["drawdown_limit_pips"] is None
