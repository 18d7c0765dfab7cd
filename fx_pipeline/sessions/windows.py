"""Walk-forward windows: train, embargo, validate, step on; planned from the trading days that exist."""

import math
from dataclasses import InitVar, dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from fx_pipeline.features.names import FeatureTable
from fx_pipeline.market.calendar import (
    DAY_MINUTES,
    MINUTE_NS,
    day_name,
    trading_day,
    trading_day_start,
    trading_day_starts,
)
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.market.timeframe import M1, Timeframe
from fx_pipeline.sessions.names import SessionTable


@dataclass(frozen=True)
class Reach:
    """How far a row of features looks back and a session goes on, in bars: what spans of windows keep apart.

    Attributes
    ----------
    timeframe : Timeframe
    warmup_bars : int
    session_bars : int
    """

    timeframe: Timeframe
    warmup_bars: int
    session_bars: int

    @classmethod
    def of(cls, sessions: SessionTable) -> "Reach":
        """Return the reach of the features and the rules of sessions."""
        features = sessions.features
        warm_up = features.definition.warmup_bars(features.timeframe)
        return cls(features.timeframe, warm_up, sessions.rules.bars)

    @property
    def embargo_bars(self) -> int:
        """Fewest bars between training and validation: no observation or session of one reaches into the other."""
        return self.warmup_bars + self.session_bars

    @property
    def day_bars(self) -> float:
        """Bars of a trading day, as far as none are missing."""
        return DAY_MINUTES / self.timeframe.minutes

    @property
    def warmup_days(self) -> int:
        """Whole trading days that only warm features up."""
        return max(int(self.warmup_bars / self.day_bars), 1)

    @property
    def stretch(self) -> int:
        """By how many times more days a window has than one of M1: bars get fewer by as much as days get more."""
        return math.isqrt(self.timeframe.minutes)

    def embargo_days(self, embargo_bars: int) -> int:
        """Return the trading days that an embargo takes at most, as far as none of their bars are missing."""
        return math.ceil(embargo_bars / self.day_bars)

    def asked(self, config: "WalkForwardConfig") -> "WalkForwardConfig":
        """Return what settings, which speak of M1, mean here: what they add to the least embargo is added here too."""
        embargo_bars = self.embargo_bars + config.embargo_bars - MIN_EMBARGO_BARS
        return WalkForwardConfig(config.train_days, config.validation_days, embargo_bars, self.embargo_bars)


DEFAULT_REACH = Reach(M1, FeatureTable().definition.warmup_bars(M1), SessionRules().bars)
MIN_EMBARGO_BARS = DEFAULT_REACH.embargo_bars
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
    least_bars : int
        Fewest of them that are allowed (`Reach.embargo_bars`).
    """

    train_days: int | None = None
    validation_days: int | None = None
    embargo_bars: int = MIN_EMBARGO_BARS
    least_bars: InitVar[int] = MIN_EMBARGO_BARS

    def __post_init__(self, least_bars: int) -> None:
        if self.embargo_bars < least_bars:
            raise ConfigurationError(
                f"FX_EMBARGO_BARS={self.embargo_bars} is too small: the warm-up of features and one session are "
                f"needed, {least_bars} bars in all."
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


def full_days(time_ns: npt.NDArray[np.int64], timeframe: Timeframe = M1) -> npt.NDArray[np.int64]:
    """Trading days (numbers) that have enough of the bars, ascending in time, to count; ascending.

    The last one counts only once the bars have reached its last hour, or its last bar where that is longer: a window
    that validates on a day still going on would change when the rest of the day arrives.
    """
    if not len(time_ns):
        return np.empty(0, dtype=np.int64)
    first, last = trading_day(time_ns[[0, -1]]).tolist()
    days = np.arange(first, last + 1)
    starts = trading_day_starts(np.append(days, last + 1))
    # Years have few days and many bars: these are counted between the starts of days, and looked at no further.
    counts = np.diff(np.searchsorted(time_ns, starts))
    if time_ns[-1] < starts[-1] - max(60, timeframe.minutes) * MINUTE_NS:
        days, counts = days[:-1], counts[:-1]
    # Trading days are named Monday to Friday; day 0 was a Thursday.
    days, counts = days[(days + 3) % 7 < 5], counts[(days + 3) % 7 < 5]
    return days[counts >= MIN_DAY_SHARE * DAY_MINUTES / timeframe.minutes]


def stretches(days: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Split trading days at holes of more than `MAX_HOLE_DAYS` calendar days, oldest stretch first."""
    return np.split(days, np.flatnonzero(np.diff(days) > MAX_HOLE_DAYS) + 1) if len(days) else []


def fit_spans(days: int, config: WalkForwardConfig, reach: Reach = DEFAULT_REACH) -> tuple[int, int]:
    """Return (training days, validation days): those configured, or what fits `days` trading days of data.

    A fifth of the data, 3 to 20 days, validates. What remains trains one window, or two when there are six weeks,
    up to 120 days. All of it is of M1; on longer bars days are more, by `Reach.stretch`.
    """
    stretch, embargo_days = reach.stretch, reach.embargo_days(config.embargo_bars)
    validation = config.validation_days or int(np.clip(days // 5, _MIN_VALID_DAYS * stretch, _MAX_VALID_DAYS * stretch))
    windows = 2 if days >= 30 * stretch else 1
    left = days - windows * validation - embargo_days - reach.warmup_days
    fitting = int(np.clip(left, MIN_TRAIN_DAYS * stretch, MAX_TRAIN_DAYS * stretch))
    return config.train_days or fitting, validation


def plan_windows(
    time_ns: npt.NDArray[np.int64], config: WalkForwardConfig, reach: Reach = DEFAULT_REACH
) -> list[WalkForwardWindow]:
    """Plan all windows that the bars allow, oldest first; each validates the days after the one before.

    Every stretch of trading days without a long hole is planned by itself.

    Parameters
    ----------
    time_ns : (T,) int64
        UTC nanoseconds of the instrument's bars.
    config : WalkForwardConfig
    reach : Reach

    Returns
    -------
    list of WalkForwardWindow
        Empty when there is not enough data for one window.
    """
    windows: list[WalkForwardWindow] = []
    for days in stretches(full_days(time_ns, reach.timeframe)) if len(time_ns) else []:
        windows += plan_stretch(time_ns, days, config, reach)
    return windows


def plan_stretch(
    time_ns: npt.NDArray[np.int64],
    days: npt.NDArray[np.int64],
    config: WalkForwardConfig,
    reach: Reach = DEFAULT_REACH,
) -> list[WalkForwardWindow]:
    """Plan the windows of a stretch of trading days without a long hole, from its first day on."""
    train_days, valid_days = fit_spans(len(days), config, reach)
    embargo_days = reach.embargo_days(config.embargo_bars)
    windows = []
    # The first trading days warm the features up.
    for position in range(reach.warmup_days + train_days + embargo_days, len(days) - valid_days + 1, valid_days):
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
