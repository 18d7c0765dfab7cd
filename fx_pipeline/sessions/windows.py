"""Walk-forward windows: train, embargo, validate, step on; planned from the trading days that exist."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from fx_pipeline.features.kernel import WARMUP_BARS
from fx_pipeline.market.arrays import SESSION_BARS
from fx_pipeline.market.calendar import (
    DAY_MINUTES,
    MINUTE_NS,
    day_name,
    trading_day,
    trading_day_start,
    trading_day_starts,
)
from fx_pipeline.market.errors import ConfigurationError

#: No observation or session of the training span may reach into the validation span, nor the other way round.
MIN_EMBARGO_BARS = WARMUP_BARS + SESSION_BARS
#: A trading day counts when at least this share of its minutes has a bar.
MIN_DAY_SHARE = 0.25
#: Days without data beyond which a stretch of trading days ends: no window reaches over such a hole.
MAX_HOLE_DAYS = 14
MIN_TRAIN_DAYS, MAX_TRAIN_DAYS = 5, 120
_MIN_VALID_DAYS, _MAX_VALID_DAYS = 3, 20


@dataclass(frozen=True)
class WalkForwardConfig:
    """Spans of the walk-forward windows; absent ones are fitted to the data.

    Attributes
    ----------
    train_days, validation_days : int, optional
        Trading days of each span.
    embargo_bars : int
        Bars between the end of training and the start of validation.
    """

    train_days: int | None = None
    validation_days: int | None = None
    embargo_bars: int = MIN_EMBARGO_BARS

    def __post_init__(self) -> None:
        if self.embargo_bars < MIN_EMBARGO_BARS:
            raise ConfigurationError(
                f"FX_EMBARGO_BARS={self.embargo_bars} is too small: {WARMUP_BARS} bars of feature warm-up and one "
                f"session of {SESSION_BARS} bars are needed, {MIN_EMBARGO_BARS} in all."
            )
        for name, value in (("FX_TRAIN_DAYS", self.train_days), ("FX_VALIDATION_DAYS", self.validation_days)):
            if value is not None and value < 1:
                raise ConfigurationError(f"{name}={value} must be at least 1, or absent to be fitted to the data.")


@dataclass(frozen=True)
class WalkForwardWindow:
    """One window. Times are UTC nanoseconds; spans are [start, end).

    Attributes
    ----------
    key : str
        Name of the partition: the trading day on which validation starts.
    """

    key: str
    train_start: int
    train_end: int
    valid_start: int
    valid_end: int
    embargo_bars: int

    def spans(self) -> dict[str, str]:
        """Return the four times as ISO strings, for people and records."""
        names = ("train_start", "train_end", "valid_start", "valid_end")
        return {name: pd.Timestamp(getattr(self, name), tz="UTC").isoformat() for name in names}


def full_days(time_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Trading days (numbers) that have enough of the bars, ascending in time, to count; ascending.

    The last one counts only once the bars have reached its last hour: a window that validates on a day still going
    on would change when the rest of the day arrives.
    """
    if not len(time_ns):
        return np.empty(0, dtype=np.int64)
    first, last = trading_day(time_ns[[0, -1]]).tolist()
    days = np.arange(first, last + 1)
    starts = trading_day_starts(np.append(days, last + 1))
    # Years have few days and many bars: these are counted between the starts of days, and looked at no further.
    counts = np.diff(np.searchsorted(time_ns, starts))
    if time_ns[-1] < starts[-1] - 60 * MINUTE_NS:
        days, counts = days[:-1], counts[:-1]
    # Trading days are named Monday to Friday; day 0 was a Thursday.
    days, counts = days[(days + 3) % 7 < 5], counts[(days + 3) % 7 < 5]
    return days[counts >= MIN_DAY_SHARE * DAY_MINUTES]


def stretches(days: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Split trading days at holes of more than `MAX_HOLE_DAYS` calendar days, oldest stretch first."""
    return np.split(days, np.flatnonzero(np.diff(days) > MAX_HOLE_DAYS) + 1) if len(days) else []


def fit_spans(days: int, config: WalkForwardConfig) -> tuple[int, int]:
    """Return (training days, validation days): those configured, or what fits `days` trading days of data.

    A fifth of the data, 3 to 20 days, validates. What remains trains one window, or two when there are six weeks,
    up to 120 days.
    """
    embargo_days = embargo_days_of(config)
    validation = config.validation_days or int(np.clip(days // 5, _MIN_VALID_DAYS, _MAX_VALID_DAYS))
    windows = 2 if days >= 30 else 1
    fitting = int(np.clip(days - windows * validation - embargo_days - 1, MIN_TRAIN_DAYS, MAX_TRAIN_DAYS))
    return config.train_days or fitting, validation


def plan_windows(time_ns: npt.NDArray[np.int64], config: WalkForwardConfig) -> list[WalkForwardWindow]:
    """Plan all windows that the bars allow, oldest first; each validates the days after the one before.

    Every stretch of trading days without a long hole is planned by itself.

    Parameters
    ----------
    time_ns : (T,) int64
        UTC nanoseconds of the instrument's bars.

    Returns
    -------
    list of WalkForwardWindow
        Empty when there is not enough data for one window.
    """
    windows: list[WalkForwardWindow] = []
    for days in stretches(full_days(time_ns)) if len(time_ns) else []:
        windows += plan_stretch(time_ns, days, config)
    return windows


def plan_stretch(
    time_ns: npt.NDArray[np.int64], days: npt.NDArray[np.int64], config: WalkForwardConfig
) -> list[WalkForwardWindow]:
    """Plan the windows of a stretch of trading days without a long hole, from its first day on."""
    train_days, valid_days = fit_spans(len(days), config)
    embargo_days = embargo_days_of(config)
    windows = []
    # The first trading day warms the features up.
    for position in range(1 + train_days + embargo_days, len(days) - valid_days + 1, valid_days):
        valid_start = trading_day_start(int(days[position]))
        valid_end = trading_day_start(int(days[position + valid_days - 1]) + 1)
        train_start = trading_day_start(int(days[position - embargo_days - train_days]))
        window = make_window(time_ns, train_start, valid_start, valid_end, config.embargo_bars)
        windows += [window] if window is not None else []
    return windows


def make_window(
    time_ns: npt.NDArray[np.int64], train_start: int, valid_start: int, valid_end: int, embargo_bars: int
) -> WalkForwardWindow | None:
    """Return the window of these spans, whose training ends `embargo_bars` bars before validation; None without any."""
    train_end_bar = int(np.searchsorted(time_ns, valid_start)) - embargo_bars
    if train_end_bar <= 0 or time_ns[train_end_bar] <= train_start:
        return None
    key = day_name(int(trading_day([valid_start])[0]))
    return WalkForwardWindow(key, train_start, int(time_ns[train_end_bar]), valid_start, valid_end, embargo_bars)


def embargo_days_of(config: WalkForwardConfig) -> int:
    """Return the trading days that the embargo takes at most, as far as none of their bars are missing."""
    return -(-config.embargo_bars // DAY_MINUTES)
