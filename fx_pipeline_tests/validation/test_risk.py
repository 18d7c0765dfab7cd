from dataclasses import replace

import numpy as np
import pytest

from fx_pipeline.market.costs import CostConfig, build_fills
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.validation.baselines import Flat, RandomTrader, Turnover
from fx_pipeline.validation.numbers import number
from fx_pipeline.validation.risk import HORIZON_YEARS, account_risk
from fx_pipeline.validation.rollout import rollout

SESSION = 60
STARTS = np.arange(20) * 70 + 200


@pytest.fixture(scope="module")
def market(market_of):
    return market_of(2_000)


def run(market, policy):
    return rollout(market, build_fills(market, CostConfig()), STARTS, policy, rules=SessionRules(bars=SESSION))


def test_pips_become_returns_of_a_year_of_sessions(market):
    done = run(market, RandomTrader(Turnover(0.1, 0.1, 0.5), 1))
    found = account_risk(done, market, runs=100, seed=1)
    # Monday and Tuesday of a year of 261 weekdays less Christmas and New Year; by the clock it was 23 hours.
    assert found.days == 2 and found.years == pytest.approx(2 / 259.5, rel=1e-3)
    returns = done.session_pnl_pips * market.pip / market.close[STARTS]
    yearly = returns.mean() / returns.std(ddof=1) * np.sqrt(20 / found.years)
    assert found.ratios.sharpe == pytest.approx(yearly)
    assert found.trades_per_year == pytest.approx(len(done.trades) / found.years)
    assert found.horizon_trades == round(HORIZON_YEARS * found.trades_per_year)
    assert found.activity.exposure == pytest.approx(done.trades["bars_held"].sum() / done.decisions)
    assert found.activity.exposure == done.exposure == done.in_position.mean()
    equity = np.cumsum(done.session_pnl_pips)
    assert found.drawdown.depth_pips == pytest.approx((np.maximum.accumulate(np.append(0, equity))[1:] - equity).max())
    assert found.drawdown.bars_pips == done.deepest_fall_pips > found.drawdown.depth_pips
    # It loses, so three histories in four lose at any size.
    assert found.safe_f.car25 < 0 and found.safe_f.safe_f > 0


def test_without_trades_there_is_nothing_to_size(market):
    found = account_risk(run(market, Flat()), market, runs=100, seed=1)
    assert found.safe_f is None and found.trades_per_year == 0 and found.drawdown.longest_sessions == 0


def test_a_steep_edge_of_a_short_record_has_a_finite_car25(market_of):
    rising = market_of(2_000, drift_pips=1.0)
    found = account_risk(run(rising, RandomTrader(Turnover(0.5, 0.05, 1.0), 1)), rising, runs=100, seed=1)
    # Beyond 1,000 % a year no digit means anything: there it stays, and is shown as above that.
    assert found.safe_f.car25 == 10.0 and found.safe_f.car25_sd == 0.0
    assert number(found.safe_f.car25, "percent") == "above 1,000%"


def test_a_window_before_a_weekend_has_the_annual_rates_of_one_across_it(market_of):
    market = market_of(40_000)
    rates = []
    for starts in (np.arange(0, 4) * 1_440 + 60, np.arange(3, 7) * 1_440 + 60):
        # The four days from Monday, and Thursday, Friday, Monday and Tuesday, as no bar lies on a weekend.
        time = market.time + (np.arange(40_000) // 1_440 >= 5) * 2 * 1_440 * 60_000_000_000
        gapped = replace(market, time=time)
        fills = build_fills(gapped, CostConfig())
        done = rollout(
            gapped, fills, starts, RandomTrader(Turnover(0.1, 0.1, 0.5), 1), rules=SessionRules(bars=SESSION)
        )
        found = account_risk(done, gapped, runs=100, seed=1)
        rates.append(found.trades_per_year / len(done.trades))
        assert found.ratios.sharpe is not None
    assert rates[0] == rates[1]
