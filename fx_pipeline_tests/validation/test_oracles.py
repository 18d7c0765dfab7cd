"""The metrics held against empyrical-reloaded, ffn and skfolio, on series of many shapes.

Where a convention differs, the figure is converted first, and the conversion says how: what remains is rounding. What a
library calls NaN or infinite is None here.
"""

import math
from collections.abc import Callable
from types import ModuleType

import empyrical
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fx_pipeline.validation.metrics import trade_metrics
from fx_pipeline.validation.pbo import overfitting_probability
from fx_pipeline.validation.ratios import return_ratios
from fx_pipeline.validation.significance import (
    SharpeMoments,
    deflated_sharpe,
    expected_max_sharpe,
    probabilistic_sharpe,
    sharpe_moments,
)

Generator = np.random.Generator
YEAR = 252


def autocorrelated(rng: Generator) -> np.ndarray:
    series = rng.normal(0.0002, 0.01, 400)
    for day in range(1, len(series)):
        series[day] += 0.6 * series[day - 1]
    return series


def clustered(rng: Generator) -> np.ndarray:
    return 0.0004 + 0.01 * np.exp(np.cumsum(rng.normal(0, 0.1, 500))) * rng.normal(size=500)


SERIES: dict[str, Callable[[Generator], np.ndarray]] = {
    "normal": lambda rng: rng.normal(0.0005, 0.01, 500),
    "fat tails": lambda rng: np.clip(0.004 * rng.standard_t(2.5, 500), -0.9, None),
    "rare large losses": lambda rng: 0.02 - np.minimum(rng.lognormal(-4.5, 1.0, 400), 0.9),
    "rare large gains": lambda rng: rng.lognormal(-4.5, 1.0, 400) - 0.017,
    "autocorrelated": autocorrelated,
    "clustered": clustered,
    "mostly idle": lambda rng: np.where(rng.random(600) < 0.9, 0.0, rng.normal(0.001, 0.01, 600)),
    "whole pips": lambda rng: rng.integers(-20, 22, 300) * 1e-4,
    "losing": lambda rng: rng.normal(-0.003, 0.01, 300),
    "gains only": lambda rng: rng.random(50) * 0.01 + 1e-4,
    "losses only": lambda rng: -rng.random(50) * 0.01 - 1e-4,
    "short": lambda rng: rng.normal(0, 0.02, 5),
}
# Returns in whole percents: exact ties, zeros, constant series; and no wealth so near 1 that the library's `- 1` would
# cancel the digits that are compared.
percents = st.lists(st.integers(-30, 30).map(lambda value: value / 100), min_size=2, max_size=40).map(np.array)


@pytest.fixture(scope="module", params=[(name, seed) for name in SERIES for seed in (1, 2)], ids=str)
def series(request: pytest.FixtureRequest) -> np.ndarray:
    name, seed = request.param
    return SERIES[name](np.random.default_rng(seed))


# Both take seconds to import, which no other test should wait for.
@pytest.fixture(scope="module")
def ffn() -> ModuleType:
    import ffn

    return ffn


@pytest.fixture(scope="module")
def measures() -> ModuleType:
    import skfolio.measures

    return skfolio.measures


def figure(theirs: float) -> object:
    """What this project should show; the absolute tolerance is for figures that are 0 but for rounding."""
    return pytest.approx(float(theirs), rel=1e-9, abs=1e-12) if math.isfinite(theirs) else None


def assert_as_empyrical(returns: np.ndarray) -> None:
    found = return_ratios(returns, YEAR)
    with np.errstate(all="ignore"):
        assert found.sharpe == figure(empyrical.sharpe_ratio(returns, annualization=YEAR))
        assert found.sortino == figure(empyrical.sortino_ratio(returns, annualization=YEAR))
        assert found.calmar == figure(empyrical.calmar_ratio(returns, annualization=YEAR))
        assert found.cagr == figure(empyrical.cagr(returns, annualization=YEAR))
        assert found.max_drawdown == figure(-empyrical.max_drawdown(returns))
        assert found.omega == figure(empyrical.omega_ratio(returns))
        assert found.tail_ratio == figure(empyrical.tail_ratio(returns))
        # A constant series has no volatility here, and one of 0 there.
        assert (found.volatility or 0.0) == figure(empyrical.annual_volatility(returns, annualization=YEAR))


def test_ratios_agree_with_empyrical(series: np.ndarray) -> None:
    assert_as_empyrical(series)


@settings(deadline=None)
@given(percents)
@example(np.full(9, 0.01))
@example(np.full(9, -0.01))
@example(np.zeros(4))
def test_ratios_of_any_series_agree_with_empyrical(returns: np.ndarray) -> None:
    assert_as_empyrical(returns)


def test_ratios_agree_with_ffn(ffn: ModuleType, series: np.ndarray) -> None:
    days = pd.Series(series, pd.date_range("2016-01-01", periods=len(series)))
    prices = ffn.to_price_index(days)
    # ffn's years are of 365.25 calendar days.
    found, daily = return_ratios(series, YEAR), return_ratios(series, 365.25)
    with np.errstate(divide="ignore"):
        assert found.sharpe == figure(ffn.calc_sharpe(days, nperiods=YEAR))
        assert found.sortino == figure(ffn.calc_sortino_ratio(days, nperiods=YEAR))
        assert daily.cagr == figure(ffn.calc_cagr(prices))
        assert daily.calmar == figure(ffn.calc_calmar_ratio(prices))
        assert found.max_drawdown == figure(-ffn.calc_max_drawdown(prices))
    # In percent, and the mean over T + 1 prices.
    rescaled = found.ulcer_index * 100 * math.sqrt((len(series) - 1) / (len(series) + 1))
    assert rescaled == figure(ffn.to_ulcer_index(prices))


def test_the_longest_drawdown_agrees_with_ffn(ffn: ModuleType, series: np.ndarray) -> None:
    prices = ffn.to_price_index(pd.Series(series, pd.date_range("2016-01-01", periods=len(series))))
    below = ffn.to_drawdown_series(prices)
    # ffn counts to the day of the recovery, and an episode that has not ended one day short: let it end.
    below[below.index[-1] + pd.Timedelta(days=1)] = 0.0
    episodes = ffn.core.drawdown_details(below)
    longest = 0 if episodes is None else int(episodes["Length"].max())
    assert return_ratios(series, YEAR).longest_drawdown_periods == longest


def test_ratios_agree_with_skfolio(measures: ModuleType, series: np.ndarray) -> None:
    found = return_ratios(series, YEAR)
    drawdowns = measures.get_drawdowns(series, compounded=True)
    mean, root = float(measures.mean(series)), math.sqrt(YEAR)
    downside = measures.semi_deviation(series, min_acceptable_return=0.0, biased=True)
    assert found.sharpe == figure(mean / measures.standard_deviation(series) * root)
    assert found.sortino == (figure(mean / downside * root) if downside else None)
    assert found.max_drawdown == figure(measures.max_drawdown(drawdowns))
    # The mean over T.
    rescaled = found.ulcer_index * math.sqrt((len(series) - 1) / len(series))
    assert rescaled == figure(measures.ulcer_index(drawdowns))


def test_figures_of_trades_agree_with_all_three(ffn: ModuleType, measures: ModuleType, series: np.ndarray) -> None:
    pips = series * 1e4
    found = trade_metrics(pips)
    assert found.profit_factor == figure(empyrical.omega_ratio(pips))
    assert found.win_rate == figure(empyrical.batting_average(pips, np.zeros(len(pips)))["batting average"])
    assert found.sharpe_per_trade == figure(ffn.calc_sharpe(pd.Series(pips), annualize=False))
    assert found.skew == figure(measures.skew(pips))
    assert found.kurtosis == figure(measures.kurtosis(pips))
    assert found.max_drawdown_pips == figure(measures.max_drawdown(measures.get_drawdowns(pips)))


@pytest.mark.parametrize("benchmark", [-0.05, 0.0, 0.05, 0.2])
def test_psr_agrees_with_skfolio(measures: ModuleType, series: np.ndarray, benchmark: float) -> None:
    moments = sharpe_moments(series)
    assert probabilistic_sharpe(moments, benchmark) == figure(measures.probabilistic_sharpe_ratio(series, benchmark))


@settings(deadline=None)
@given(returns=percents.filter(lambda returns: len(returns) > 2), benchmark=st.floats(-0.5, 0.5))
@example(returns=np.full(9, 0.01), benchmark=0.0)
def test_psr_of_any_series_agrees_with_skfolio(measures: ModuleType, returns: np.ndarray, benchmark: float) -> None:
    moments = sharpe_moments(returns)
    theirs = measures.probabilistic_sharpe_ratio(returns, benchmark)
    if moments is None:
        assert math.isnan(theirs)
        return
    # Of two values, one rare, the variance can be 0 but for rounding.
    assume(moments.dispersion > 1e-3)
    assert probabilistic_sharpe(moments, benchmark) == figure(theirs)


@pytest.mark.parametrize("trials", [1, 2, 3, 10, 46, 1_000, 100_000])
def test_expected_maximum_agrees_with_skfolio_and_ffn(ffn: ModuleType, measures: ModuleType, trials: int) -> None:
    for deviation in (0.0, 0.02, 0.7):
        found = expected_max_sharpe(trials, deviation**2)
        assert found == figure(measures.expected_max_sharpe_ratio(trials, deviation))
        assert found == figure(ffn.core.calc_expected_max_sharpe(trials, deviation))


@pytest.mark.parametrize("trials", [1.1, 1.3, 1.5, 3.4, 61.7])
def test_expected_maximum_of_effective_trials_agrees_with_skfolio(measures: ModuleType, trials: float) -> None:
    # Up to 1.3 trials the approximation is below 0, which is kept there, and is 0 here.
    assert expected_max_sharpe(trials, 0.04) == figure(max(measures.expected_max_sharpe_ratio(trials, 0.2), 0.0))


def bias_corrected(moments: SharpeMoments) -> SharpeMoments:
    """The sample skew and kurtosis, as pandas estimates them."""
    n = moments.periods
    skew = moments.skew * math.sqrt(n * (n - 1)) / (n - 2)
    kurtosis = 3 + (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * (moments.kurtosis - 3) + 6)
    return SharpeMoments(moments.sharpe, n, skew, kurtosis)


@pytest.mark.parametrize("trials", [1, 2, 7, 40])
def test_deflated_sharpe_agrees_with_skfolio_and_ffn(
    ffn: ModuleType, measures: ModuleType, series: np.ndarray, trials: int
) -> None:
    rng = np.random.default_rng(trials)
    others = series[:, None] + rng.normal(0, series.std(), (len(series), trials - 1))
    sharpes = [sharpe_moments(column).sharpe for column in np.column_stack([series, others]).T]
    moments = sharpe_moments(series)
    found = deflated_sharpe(moments, trials, sharpes)
    assert found.probability == figure(measures.deflated_sharpe_ratio(series, sharpes))
    of_ffn = ffn.core.calc_deflated_sharpe_ratio(pd.Series(series), sharpes, annualized_trials=False)
    assert deflated_sharpe(bias_corrected(moments), trials, sharpes).probability == figure(of_ffn)


def assert_as_ffn(ffn: ModuleType, matrix: np.ndarray, blocks: int, metric: Callable | None = None) -> None:
    found = overfitting_probability(matrix, blocks=blocks)
    theirs = ffn.core.calc_prob_backtest_overfitting(pd.DataFrame(matrix), blocks, metric, full_output=True)
    assert found.splits == len(theirs["logits"])
    assert found.probability == pytest.approx(theirs["pbo"], abs=1e-15)
    assert found.mean_logit == figure(theirs["logits"].mean())


@pytest.mark.parametrize("name", [name for name in SERIES if name != "short"])
@pytest.mark.parametrize(("candidates", "blocks"), [(2, 4), (9, 6), (20, 8)])
def test_pbo_agrees_with_ffn(ffn: ModuleType, name: str, candidates: int, blocks: int) -> None:
    rng = np.random.default_rng(candidates)
    assert_as_ffn(ffn, np.column_stack([SERIES[name](rng) for _ in range(candidates)]), blocks)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    candidates=st.integers(2, 20),
    blocks=st.sampled_from([2, 4, 6]),
    height=st.integers(2, 12),
    remainder=st.integers(0, 1),
    common=st.floats(0, 3),
    copies=st.integers(0, 3),
)
def test_pbo_of_any_family_agrees_with_ffn(
    ffn: ModuleType,
    seed: int,
    candidates: int,
    blocks: int,
    height: int,
    remainder: int,
    common: float,
    copies: int,
) -> None:
    rng = np.random.default_rng(seed)
    periods = blocks * height + remainder
    matrix = rng.standard_t(3, (periods, candidates)) + common * rng.normal(size=(periods, 1))
    # Copies of a candidate tie with it on every half.
    matrix = np.column_stack([matrix, matrix[:, rng.integers(candidates, size=copies)]])
    assert_as_ffn(ffn, matrix[:, rng.permutation(candidates + copies)], blocks)


def sharpe_or_zero(part: pd.Series) -> float:
    return part.mean() / part.std() if part.max() > part.min() else 0.0


@pytest.mark.parametrize("blocks", [2, 4, 6])
def test_pbo_with_a_flat_candidate_agrees_with_ffn(ffn: ModuleType, blocks: int) -> None:
    rng = np.random.default_rng(blocks)
    matrix = np.column_stack([rng.normal(0, 1, (120, 4)), np.zeros((120, 2))])
    # By default ffn has no figure where a candidate never varied; here its Sharpe ratio is 0 there.
    assert math.isnan(ffn.core.calc_prob_backtest_overfitting(pd.DataFrame(matrix), blocks))
    assert_as_ffn(ffn, matrix, blocks, sharpe_or_zero)
