"""A close that is no price: every row that reads it is NaN, no other changes, and a stream of bars says the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.features.kernel import SIGMA_BARS, WARMUP_BARS, IncrementalFeatures, compute_features
from fx_pipeline_tests.features.test_kernel import PIP, bars

BARS = 4_000
CLOSE, TIME = bars(BARS, 4)
FEATURES, SIGMA = compute_features(CLOSE, TIME, PIP)
NO_PRICES = (np.nan, np.inf, -np.inf, 0.0, -1.0)


def rows_that_read(places: list[int], window: int) -> np.ndarray:
    read = np.zeros(BARS, bool)
    for place in places:
        read[place : place + window] = True
    return read


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, BARS - 1), st.sampled_from(NO_PRICES)), min_size=1, max_size=4))
def test_rows_are_nan_exactly_where_they_read_it(spoilt: list[tuple[int, float]]) -> None:
    close = CLOSE.copy()
    for place, value in spoilt:
        close[place] = value
    features, sigma = compute_features(close, TIME, PIP)
    places = [place for place, _ in spoilt]
    lost, lost_sigma = rows_that_read(places, WARMUP_BARS), rows_that_read(places, SIGMA_BARS + 1)
    assert np.isnan(features[lost]).all() and np.isnan(sigma[lost_sigma]).all()
    assert features[~lost].tobytes() == FEATURES[~lost].tobytes()
    assert sigma[~lost_sigma].tobytes() == SIGMA[~lost_sigma].tobytes()


@pytest.mark.parametrize("value", NO_PRICES)
def test_a_stream_warms_up_again_as_the_batch_does(value: float) -> None:
    close, time = bars(2 * WARMUP_BARS + 120, 6)
    close[100] = value
    features, _ = compute_features(close, time, PIP)
    stream = IncrementalFeatures(PIP)
    for t in range(len(close)):
        row = stream.append(int(time[t]), float(close[t]))
        if t < 100 + WARMUP_BARS:
            assert row is None and np.isnan(features[t]).all()
        else:
            assert row is not None and row.tobytes() == features[t].tobytes()
