import numpy as np
import pytest

from fx_pipeline.market.arrays import MarketArrays


def arrays(count: int = 50) -> MarketArrays:
    price = np.arange(count, dtype=np.float64) + 1.0
    features = np.arange(count * 9, dtype=np.float32).reshape(count, 9)
    time = np.arange(count, dtype=np.int64)
    return MarketArrays("GBP_JPY", 0.01, time, *[price] * 8, features, price, "hash")


def test_windows_end_at_and_include_their_bar() -> None:
    market = arrays()
    windows = market.windows(np.array([31, 40]))
    assert windows.shape == (2, 32, 9) and windows.dtype == np.float32
    np.testing.assert_array_equal(windows[0], market.features[:32])
    np.testing.assert_array_equal(windows[1], market.features[9:41])


def test_a_window_never_wraps_around_to_the_newest_bars() -> None:
    with pytest.raises(IndexError, match="before bar 0"):
        arrays().windows(np.array([40, 30]))
    assert arrays().windows(np.array([], dtype=np.int64)).shape == (0, 32, 9)


def test_a_slice_is_a_market_of_its_own() -> None:
    part = arrays().slice(10, 20)
    assert len(part) == 10
    np.testing.assert_array_equal(part.close, arrays().close[10:20])
    assert part.features.flags.c_contiguous and part.instrument == "GBP_JPY"
    part.close[0] = -1.0


def test_arrays_of_different_lengths_are_refused() -> None:
    price = np.ones(5)
    with pytest.raises(ValueError, match="outcome_sigma has 4 bars"):
        MarketArrays("X", 0.01, np.arange(5), *[price] * 8, np.zeros((5, 9), np.float32), np.ones(4), "h")
