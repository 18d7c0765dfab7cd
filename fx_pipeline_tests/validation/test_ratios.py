import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fx_pipeline.market.errors import DataError
from fx_pipeline.validation.ratios import activity, return_ratios

# Of empyrical-reloaded and quantstats on the reference series.
GOLDEN = {
    "sharpe": 2.1778898854741797,
    "sortino": 3.4072562920228946,
    "max_drawdown": 0.059779606297104534,
    "cagr": 0.2328963810086182,
    "calmar": 3.895916942830363,
    "omega": 1.4144803729653708,
    "tail_ratio": 1.2112966669191576,
    "ulcer_index": 0.020768853673840744,
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_values(name, lcg_normals):
    series = 0.0004 + 0.006 * lcg_normals(500, 20260101)
    assert getattr(return_ratios(series, 252), name) == pytest.approx(GOLDEN[name], rel=1e-12)


def test_by_hand():
    found = return_ratios([0.10, -0.20, 0.05, -0.10, 0.60], 5)
    wealth = np.cumprod([1.10, 0.80, 1.05, 0.90, 1.60])
    assert found.max_drawdown == pytest.approx(1 - wealth[3] / 1.10)
    assert found.longest_drawdown_periods == 3
    assert found.cagr == pytest.approx(wealth[-1] - 1)
    assert found.omega == pytest.approx(0.75 / 0.30)
    assert found.sortino == pytest.approx(0.09 * 5 / (np.sqrt(0.05 / 5) * np.sqrt(5)))


def test_the_first_loss_is_a_drawdown_from_the_start():
    assert return_ratios([-0.5, 0.1], 252).max_drawdown == pytest.approx(0.5)


def test_degenerate_series_have_no_ratios():
    none, one, constant = (return_ratios(series, 252) for series in ([], [0.01], [0.01] * 9))
    assert none.sharpe is none.cagr is none.calmar is none.tail_ratio is None
    assert none.flags == ("no_returns",)
    assert one.sharpe is one.volatility is one.ulcer_index is None and "one_return" in one.flags
    assert constant.sharpe is constant.sortino is constant.calmar is constant.omega is None
    assert set(constant.flags) == {"zero_variance", "no_losses", "no_drawdown"}


@settings(deadline=None)
@given(st.lists(st.floats(-0.9, 5), max_size=40))
@example([1e-320, -1e-310])
@example([4.0] * 3)
def test_every_series_gives_finite_figures_or_none(series):
    found = return_ratios(series, 252 * 1_440)
    json.dumps(found.__dict__, allow_nan=False)
    assert 0 <= found.max_drawdown < 1


def test_activity_counts_both_sides():
    found = activity([10, 30], bars=400, bars_per_year=4_000)
    assert (found.exposure, found.turnover, found.mean_bars_held) == (0.1, 40.0, 20.0)
    idle = activity([], bars=400, bars_per_year=4_000)
    assert (idle.exposure, idle.turnover, idle.mean_bars_held) == (0.0, 0.0, None)
    assert activity([], 0, 4_000).exposure is None


@pytest.mark.parametrize("call", [lambda: return_ratios([np.nan], 252), lambda: return_ratios([0.1], 0)])
def test_series_that_are_not_returns_are_refused(call):
    with pytest.raises(DataError):
        call()


@pytest.mark.parametrize("series", [[0.1, -1.0, 0.5, 0.5], [-40.0, 0.2, -3.0], [-1.0]])
def test_what_loses_everything_has_a_verdict_and_no_comeback(series):
    found = return_ratios(series, 252)
    assert "ruined" in found.flags
    assert found.max_drawdown == pytest.approx(1.0) and found.cagr == pytest.approx(-1.0)
    assert found.longest_drawdown_periods == len(series) - (series[0] > 0)
    assert all(value is None or np.isfinite(value) for value in (found.sharpe, found.sortino, found.calmar))


def test_more_bars_held_than_there_were_are_refused():
    with pytest.raises(DataError):
        activity([5, 6], bars=10, bars_per_year=100)
