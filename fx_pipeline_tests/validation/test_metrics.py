import json
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fx_pipeline.market.errors import DataError
from fx_pipeline.validation.metrics import drawdown, trade_metrics, trades_needed

GOLDEN = {
    "trades": 40,
    "expectancy_pips": 1.0175,
    "std_pips": 9.572527129291704,
    "sqn": 0.6722608305544506,
    "t_stat": 0.6722608305544506,
    "p_value": 0.25269058945097495,
    "win_rate": 0.425,
    "avg_win_pips": 9.876470588235295,
    "avg_loss_pips": 5.530434782608696,
    "profit_factor": 1.3199685534591195,
    "payoff": 1.7858398076211617,
    "max_drawdown_pips": 18.0,
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_values(name, reference_trades):
    assert getattr(trade_metrics(reference_trades), name) == pytest.approx(GOLDEN[name], abs=1e-12)


def test_expectancy_is_win_rate_times_average_win_less_loss_rate_times_average_loss(reference_trades):
    m = trade_metrics(reference_trades)
    assert m.win_rate * m.avg_win_pips - (1 - m.win_rate) * m.avg_loss_pips == pytest.approx(
        m.expectancy_pips, abs=1e-12
    )


def test_sqn_is_capped_at_100_trades_and_the_t_statistic_is_not(reference_trades):
    m = trade_metrics(reference_trades * 5)
    assert m.t_stat == pytest.approx(1.5185603019464013, abs=1e-12)
    assert m.sqn == pytest.approx(1.0737842871469914, abs=1e-12)


def test_trading_quality_counts_the_expectancy_five_times_once(reference_trades):
    m = trade_metrics(reference_trades)
    assert m.trading_quality == pytest.approx(1.0175 * 5 + 1.0175 * 0.5 + 0.425 * 10 * 2 + 1, abs=1e-12)


@pytest.mark.parametrize(("sharpe", "trades"), [(0.05, 1083), (0.10, 271), (0.0, None), (-0.1, None), (None, None)])
def test_trades_needed(sharpe, trades):
    assert trades_needed(sharpe) == trades


def test_no_trades_have_no_figures():
    m = trade_metrics([])
    assert (m.trades, m.total_pips, m.max_drawdown_pips) == (0, 0.0, 0.0)
    assert m.expectancy_pips is m.sqn is m.trading_quality is m.win_rate is m.profit_factor is None
    assert "no_trades" in m.flags


def test_one_trade_has_no_spread():
    m = trade_metrics([3.0])
    assert m.expectancy_pips == 3.0
    assert m.sqn is m.std_pips is m.profit_factor is m.payoff is None
    assert {"one_trade", "no_losses"} <= set(m.flags)


def test_equal_trades_have_no_sharpe_ratio():
    m = trade_metrics([0.1] * 50)
    assert m.std_pips == 0.0
    assert m.sqn is m.t_stat is m.sharpe_per_trade is None
    assert "zero_variance" in m.flags


def test_break_even_trades_count_as_losses_of_nothing():
    m = trade_metrics([0.0, 0.0, 4.0, 2.0])
    assert (m.win_rate, m.avg_loss_pips, m.expectancy_pips) == (0.5, 0.0, 1.5)
    assert m.profit_factor is m.payoff is None
    assert "no_losses" in m.flags


def test_drawdown_counts_from_the_start():
    assert drawdown([-3, 5, -1]).tolist() == [3.0, 0.0, 1.0]
    assert trade_metrics([-3, -1, 5, -1]).longest_drawdown_trades == 2


def test_a_result_that_is_not_finite_is_refused():
    with pytest.raises(DataError, match="trade 1"):
        trade_metrics([1.0, math.nan])


@given(st.lists(st.floats(-1e4, 1e4), max_size=60))
@example([1.0, -1e-310])
def test_every_list_gives_finite_figures_or_none(pnl):
    m = trade_metrics(pnl)
    json.dumps(m.__dict__, allow_nan=False)
    assert m.trades == len(pnl)
    if pnl:
        assert m.expectancy_pips == pytest.approx(np.mean(pnl))
