"""Random traders by their moments, against random traders that trade."""

import numpy as np
import pytest
from scipy.stats import gamma

from fx_pipeline.market.costs import CostConfig, build_fills
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.validation.baselines import RandomTrader, Turnover
from fx_pipeline.validation.random_traders import chance_of, random_moments, total_quantile
from fx_pipeline.validation.rollout import rollout

SESSION = 30
STARTS = np.arange(5) * 45 + 200
RATES = Turnover(0.12, 0.08, 0.7)


@pytest.mark.parametrize(
    "costs",
    [
        CostConfig(financing_long_pips=30.0, financing_short_pips=-20.0, slippage_pips=0.2),
        CostConfig(kind="quoted", fill="close", financing_long_pips=30.0, financing_short_pips=-20.0),
    ],
)
def test_the_moments_are_those_of_traders_that_trade(market_of, costs):
    # A night lies in the sessions: 17:00 New York is bar 1,260.
    market = market_of(1_300)
    starts = np.append(STARTS, 1_240)
    fills = build_fills(market, costs)
    moments = random_moments(market, fills, starts, SESSION, RATES)
    runs = [
        rollout(market, fills, starts, RandomTrader(RATES, int(seed)), rules=SessionRules(bars=SESSION, window_bars=1))
        for seed in np.random.SeedSequence(1).generate_state(250, np.uint64)
    ]
    pnl = np.array([run.session_pnl_pips for run in runs])
    about = pnl - moments.pips[:, 0]
    for order, column in ((1, pnl), (2, about**2), (3, about**3)):
        error = column.std(axis=0) / np.sqrt(len(runs))
        assert (np.abs(column.mean(axis=0) - moments.pips[:, order - 1]) < 4.5 * error).all()
    trades = [np.bincount(run.trades["session"], minlength=len(starts)) for run in runs]
    assert moments.trades == pytest.approx(np.mean(trades, axis=0), rel=0.12)


def test_a_trader_who_always_enters_and_never_leaves_is_known_to_the_last_pip(market_of):
    market = market_of(300)
    costs = CostConfig(fixed_pips=1.0)
    fills = build_fills(market, costs)
    starts = np.array([200, 245])
    moments = random_moments(market, fills, starts, SESSION, Turnover(1.0, 0.0, 1.0))
    held = (market.close[starts + SESSION - 1] - market.open[starts + 1]) / market.pip - 1.0
    assert moments.pips[:, 0] == pytest.approx(held) and np.abs(moments.pips[:, 1]).max() < 1e-6
    assert moments.trades == pytest.approx([1.0, 1.0])


def test_the_chance_of_a_skewed_total_is_nearer_the_truth_than_the_normal_one():
    law = gamma(40.0)
    moments = (law.mean(), law.var(), law.stats("s") * law.std() ** 3)
    for share in (0.5, 0.1, 0.05, 0.01):
        total = law.isf(share)
        assert chance_of(total, moments) == pytest.approx(share, rel=0.04)
        assert total_quantile(1 - share, moments) == pytest.approx(total, rel=0.01)
    assert chance_of(1.0, (0.0, 0.0, 0.0)) is None


def test_far_out_the_correction_never_says_nothing():
    assert 0 < chance_of(8.0, (0.0, 1.0, -3.0)) < 1e-14
