"""The four features of the clock: the trading day and the hour of the week, each on a circle.

Tabulated by minute of the week, so that every caller gets the same bits.
"""

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.calendar import DAY_MINUTES, TRADING_WEEK_MINUTES, WEEK_MINUTES, week_minutes

CLOCK_NAMES = ("dow_cos_final", "dow_sin_final", "hour_cos_final", "hour_sin_final")
CLOCK_NOTES = {
    "dow_cos_final": "Trading day of the week on a circle of five days that start at 17:00 New York (cosine).",
    "dow_sin_final": "The same (sine).",
    "hour_cos_final": "Hours since Sunday 17:00 New York on a circle of 120 hours (cosine).",
    "hour_sin_final": "The same (sine).",
}
# Minutes of the weekend (stray prints; never in a session) keep Friday's day.
_MINUTES = np.arange(WEEK_MINUTES)
_DAY_ANGLE = 2.0 * np.pi * np.minimum(_MINUTES // DAY_MINUTES, 4) / 5.0
_HOUR_ANGLE = 2.0 * np.pi * (_MINUTES / 60.0) / (TRADING_WEEK_MINUTES / 60.0)
#: (minutes of a week, 4)
CLOCK_TABLE = np.stack([np.cos(_DAY_ANGLE), np.sin(_DAY_ANGLE), np.cos(_HOUR_ANGLE), np.sin(_HOUR_ANGLE)], axis=1)


def clock_features(time_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the features of the opens of bars (T,), in the order of `CLOCK_NAMES`, (T, 4)."""
    if not len(time_ns):
        return np.empty((0, len(CLOCK_NAMES)))
    return np.asarray(CLOCK_TABLE[week_minutes(time_ns)])
