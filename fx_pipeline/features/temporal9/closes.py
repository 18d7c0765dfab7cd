"""The features of temporal9, which reads closes alone, of markets that are nothing but closes: proofs and tests."""

import numpy as np
import numpy.typing as npt

from fx_pipeline.features.compute import compute_features
from fx_pipeline.features.feature_set import PRICES, Bars
from fx_pipeline.features.sigma import outcome_sigma
from fx_pipeline.features.temporal9.entry import FEATURE_SET
from fx_pipeline.market.timeframe import M1, Timeframe


def features_of_closes(
    close: npt.NDArray[np.float64], time_ns: npt.NDArray[np.int64], unit: float, timeframe: Timeframe = M1
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Compute the nine features and the outcome sigma of each bar.

    Parameters
    ----------
    close : (T,) float64
        Mid closes of consecutive bars.
    time_ns : (T,) int64
        UTC nanoseconds of the bars' opens.
    unit : float
        In price units: a pip of currency pairs; see `market.units`.
    timeframe : Timeframe

    Returns
    -------
    features : (T, 9) float32
        NaN in the first `WARMUP_BARS` - 1 rows.
    sigma : (T,) float64
        As of `outcome_sigma`.
    """
    prices = dict.fromkeys(PRICES, close)
    return compute_features(FEATURE_SET, Bars("", timeframe, unit, time_ns, **prices)), outcome_sigma(close)
