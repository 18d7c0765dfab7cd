"""A close that is no price: every row that reads it is NaN, no other changes, and a stream of bars says the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.features.compute import IncrementalFeatures
from fx_pipeline.features.sigma import SIGMA_BARS
from fx_pipeline.features.temporal9.closes import features_of_closes
from fx_pipeline.features.temporal9.entry import FEATURE_SET
from fx_pipeline.features.temporal9.kernel import WARMUP_BARS
from fx_pipeline.market.timeframe import M1
from fx_pipeline_tests.features.temporal9.test_kernel import PIP, bars

BARS = 4_000
CLOSE, TIME = bars(BARS, 4)
FEATURES, SIGMA = features_of_closes(CLOSE, TIME, PIP)
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
    features, sigma = features_of_closes(close, TIME, PIP)
    places = [place for place, _ in spoilt]
    lost, lost_sigma = rows_that_read(places, WARMUP_BARS), rows_that_read(places, SIGMA_BARS + 1)
    assert np.isnan(features[lost]).all() and np.isnan(sigma[lost_sigma]).all()
    assert features[~lost].tobytes() == FEATURES[~lost].tobytes()
    assert sigma[~lost_sigma].tobytes() == SIGMA[~lost_sigma].tobytes()


@pytest.mark.parametrize("value", NO_PRICES)
def test_a_stream_warms_up_again_as_the_batch_does(value: float) -> None:
    close, time = bars(2 * WARMUP_BARS + 120, 6)
    close[100] = value
    features, _ = features_of_closes(close, time, PIP)
    stream = IncrementalFeatures(FEATURE_SET, "GBP_JPY", M1, PIP)
    for t in range(len(close)):
        row = stream.append(int(time[t]), {"close": float(close[t])})
        if t < 100 + WARMUP_BARS:
            assert row is None and np.isnan(features[t]).all()
        else:
            assert row is not None and row.tobytes() == features[t].tobytes()
