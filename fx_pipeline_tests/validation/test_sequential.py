"""The boundary that a growing record has to cross: published values, simulation, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from fx_pipeline.validation.sequential import crossing_probabilities, drift_limit, spending_boundary

FIFTHS = np.arange(1, 6) / 5
THIRTEEN = np.arange(1, 14) / 13


@pytest.mark.parametrize(
    ("rho", "published"),
    # Jennison and Turnbull (2000), power family with alpha 0.025 and five looks; ldbounds and gsDesign agree.
    [(1.0, [2.576, 2.492, 2.411, 2.339, 2.276]), (2.0, [3.090, 2.714, 2.473, 2.280, 2.114])],
)
def test_bounds_of_the_power_family_are_the_published_ones(rho: float, published: list[float]) -> None:
    assert spending_boundary(FIFTHS, 0.025, rho) == pytest.approx(published, abs=6e-4)


@pytest.mark.parametrize(
    "bounds",
    # Pocock's, and O'Brien and Fleming's, for five looks, two-sided 0.05 (Jennison and Turnbull, tables 2.1 and 2.3).
    [np.full(5, 2.413), 2.040 / np.sqrt(FIFTHS)],
)
def test_constants_of_pocock_and_of_obrien_and_fleming_keep_their_error(bounds: np.ndarray) -> None:
    assert crossing_probabilities(FIFTHS, bounds).sum() == pytest.approx(0.025, abs=2e-5)


@pytest.mark.parametrize(("drift", "expected"), [(0.0, 0.05), (3.0, 0.8935), (4.0, 0.9871)])
def test_brownian_motion_crosses_as_often_as_the_integration_says(drift: float, expected: float) -> None:
    bounds = spending_boundary(THIRTEEN)
    draw = np.random.default_rng(18)
    motion = (drift / 13 + draw.normal(size=(200_000, 13)) / np.sqrt(13)).cumsum(axis=1)
    crossed = (motion / np.sqrt(THIRTEEN) >= bounds).any(axis=1).mean()
    found = crossing_probabilities(THIRTEEN, bounds, drift).sum()
    assert found == pytest.approx(expected, abs=1e-4)
    assert crossed == pytest.approx(found, abs=4 * np.sqrt(found * (1 - found) / 200_000))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=12).filter(lambda days: sum(days) <= 252),
    st.floats(0.01, 0.2),
    st.floats(0.5, 4.0),
)
def test_error_is_spent_as_announced_at_any_looks(days: list[int], alpha: float, rho: float) -> None:
    fractions = np.cumsum(days) / 252
    bounds = spending_boundary(fractions, alpha, rho)
    spent = crossing_probabilities(fractions, bounds).cumsum()
    assert spent == pytest.approx(alpha * fractions**rho, abs=1e-9)
    # What comes later changes nothing that was said before.
    assert spending_boundary(fractions[:1], alpha, rho)[0] == bounds[0]


def test_one_look_is_a_plain_test() -> None:
    assert spending_boundary([1.0]) == pytest.approx([-ndtri(0.05)])
    assert spending_boundary(20 / 252) == pytest.approx([-ndtri(0.05 * (20 / 252) ** 2)])


def test_a_first_window_of_twenty_days_can_promote_by_a_very_strong_edge() -> None:
    assert 3.0 < spending_boundary([20 / 252])[0] < 3.5


def test_limits_after_stopping_cover_the_drift_as_often_as_they_say() -> None:
    fractions = np.arange(1, 7) / 6
    bounds, drift = spending_boundary(fractions), 3.0
    draw = np.random.default_rng(7)
    motion = (drift / 6 + draw.normal(size=(400, 6)) / np.sqrt(6)).cumsum(axis=1) / np.sqrt(fractions)
    above, plain, unbiased = {0.5: 0, 0.8: 0}, [], []
    for path in motion:
        crossed = path >= bounds
        look = int(crossed.argmax()) if crossed.any() else 5
        for level in above:
            above[level] += drift_limit(fractions[: look + 1], bounds[: look + 1], path[look], level) <= drift
        plain.append(path[look] / np.sqrt(fractions[look]))
        unbiased.append(drift_limit(fractions[: look + 1], bounds[: look + 1], path[look], 0.5))
    assert above[0.5] / 400 == pytest.approx(0.5, abs=0.08)
    assert above[0.8] / 400 == pytest.approx(0.8, abs=0.065)
    # The winner's curse that it takes out.
    assert np.mean(plain) > drift + 0.3
    assert np.mean(unbiased) < np.mean(plain) - 0.15


def test_at_the_first_look_the_limit_is_that_of_a_plain_test() -> None:
    assert drift_limit([0.25], [3.0], 3.2, 0.9) == pytest.approx((3.2 + ndtri(0.1)) / 0.5, abs=1e-5)


@pytest.mark.parametrize("fractions", [[], [0.0, 0.5], [0.5, 0.5], [0.6, 0.5], [0.5, 1.01], [float("nan")]])
def test_looks_that_do_not_increase_within_a_year_are_refused(fractions: list[float]) -> None:
    with pytest.raises(ValueError, match=r"at least one look|increase within"):
        spending_boundary(fractions)


@pytest.mark.parametrize(("alpha", "rho"), [(0.0, 2.0), (1.0, 2.0), (0.05, 0.0), (0.05, float("inf"))])
def test_errors_that_mean_nothing_are_refused(alpha: float, rho: float) -> None:
    with pytest.raises(ValueError, match=r"alpha|rho"):
        spending_boundary([0.5], alpha, rho)
