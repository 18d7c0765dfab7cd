"""A plan that grows: what was planned stays, and new windows validate on bars that no window of the plan has seen.

What holds, of one plan: no two windows validate on the same bar; a window whose bars are as they were is the same
window in every later plan, whatever was appended; a new one begins after the last validated bar of its stretch of days,
or lies where older candles have come in. Where it stops: other settings, or a plan that is lost, plan anew, and so does
the place of a window whose candles went away; then windows may validate on days that were seen before. The trial ledger
knows those by their bars.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.calendar import day_name, trading_day, trading_day_start, trading_day_starts
from fx_pipeline.sessions.table import Plan
from fx_pipeline.sessions.windows import (
    DEFAULT_REACH,
    MIN_TRAIN_DAYS,
    Reach,
    WalkForwardConfig,
    WalkForwardWindow,
    fit_spans,
    full_days,
    make_window,
    plan_stretch,
    stretches,
)

Days = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Replanned:
    """A plan, and what became of the one before it.

    Attributes
    ----------
    plan : Plan
    new : tuple of str
        Keys of windows that were not in the plan before.
    lost : dict of str to str
        By key, why a window that was planned before is none any more.
    moved : tuple of str
        Windows whose training ends at another bar: candles between training and validation have changed.
    anew : str
        Why everything was planned anew; empty when it was not.
    """

    plan: Plan
    new: tuple[str, ...]
    lost: dict[str, str]
    moved: tuple[str, ...]
    anew: str = ""


def replan(
    instrument: str,
    time_ns: npt.NDArray[np.int64],
    config: WalkForwardConfig,
    before: Plan | None,
    reach: Reach = DEFAULT_REACH,
) -> Replanned:
    """Plan the windows that the bars allow, and keep those that were planned before.

    Parameters
    ----------
    instrument : str
    time_ns : (T,) int64
        UTC nanoseconds of all bars that windows may reach.
    config : WalkForwardConfig
    before : Plan, optional
        The plan that stands.
    reach : Reach
        Of the features and sessions.
    """
    found = stretches(full_days(time_ns, reach.timeframe)) if len(time_ns) else []
    anew = _asked_otherwise(before, config) if before is not None else ""
    standing = before.windows if before is not None and not anew else ()
    kept: list[WalkForwardWindow] = []
    lost: dict[str, str] = {window.key: anew for window in before.windows} if before is not None and anew else {}
    for window in standing:
        renewed = _still(time_ns, found, window)
        if isinstance(renewed, str):
            lost[window.key] = renewed
        else:
            kept.append(renewed)
    windows: list[WalkForwardWindow] = []
    for days in found:
        inside = [window for window in kept if days[0] <= _first_day(window) <= days[-1]]
        windows += _grow(time_ns, days, config, inside, reach) if inside else plan_stretch(time_ns, days, config, reach)
    newest = found[-1] if found else np.empty(0, dtype=np.int64)
    plan = Plan(instrument, len(newest), *fit_spans(len(newest), config, reach), tuple(windows), config)
    known, present = {window.key: window for window in standing}, {window.key for window in windows}
    return Replanned(
        plan,
        tuple(window.key for window in windows if window.key not in known),
        {key: why for key, why in lost.items() if key not in present},
        tuple(window.key for window in kept if window.train_end != known[window.key].train_end),
        anew,
    )


def _asked_otherwise(before: Plan, config: WalkForwardConfig) -> str:
    asked = before.asked
    if asked is None:
        # Plans of before kept the spans, not whether they were set or fitted.
        embargoes = {window.embargo_bars for window in before.windows} or {config.embargo_bars}
        same = (
            config.train_days in (None, before.train_days)
            and config.validation_days in (None, before.validation_days)
            and embargoes == {config.embargo_bars}
        )
    else:
        same = asked == config
    return (
        "" if same else "the settings of the windows have changed (FX_TRAIN_DAYS, FX_VALIDATION_DAYS, FX_EMBARGO_BARS)"
    )


def _still(time_ns: npt.NDArray[np.int64], found: Sequence[Days], window: WalkForwardWindow) -> WalkForwardWindow | str:
    """Return the window as the bars that are there now have it, or why they do not allow it."""
    ends = [_first_day(window), int(trading_day([window.valid_end - 1])[0]), int(trading_day([window.train_start])[0])]
    for day in ends:
        if not any(day in days for days in found):
            return f"its trading day {day_name(day)} has too few candles now, or is sealed"
    if not any(days[0] < ends[2] and ends[1] <= days[-1] for days in found):
        return "a hole in the candles lies inside it now, or none are left to warm its features up"
    renewed = make_window(time_ns, window.train_start, window.valid_start, window.valid_end, window.embargo_bars)
    if renewed is None:
        return "too few candles are left to train on"
    return renewed


def _grow(
    time_ns: npt.NDArray[np.int64],
    days: Days,
    config: WalkForwardConfig,
    inside: list[WalkForwardWindow],
    reach: Reach,
) -> list[WalkForwardWindow]:
    """Plan the windows of a stretch that has some already: after the last one, and wherever days are free."""
    train_days, valid_days = fit_spans(len(days), config, reach)
    embargo_days, warmup_days = reach.embargo_days(config.embargo_bars), reach.warmup_days
    fewest_days = MIN_TRAIN_DAYS * reach.stretch
    starts = trading_day_starts(days)
    # Before the first window lie the days that it trains on; only older ones make room for another.
    head = inside[0]
    trained = int(np.searchsorted(starts, head.valid_start) - np.searchsorted(starts, head.train_start)) - embargo_days
    fewest, reached = max(train_days, trained), 0
    grown: list[WalkForwardWindow] = []
    for window in [*inside, None]:
        end = len(days) if window is None else int(np.searchsorted(starts, window.valid_start))
        for position in range(max(reached, warmup_days + fewest + embargo_days), end - valid_days + 1, valid_days):
            made = make_window(
                time_ns,
                int(starts[position - embargo_days - min(train_days, position - embargo_days - warmup_days)]),
                int(starts[position]),
                trading_day_start(int(days[position + valid_days - 1]) + 1),
                config.embargo_bars,
            )
            grown += [made] if made is not None else []
        if window is not None:
            grown.append(window)
            reached = int(np.searchsorted(starts, window.valid_end))
            # Fitted spans may ask for more days than lie behind: then training takes what there is.
            fewest = train_days if config.train_days else min(train_days, fewest_days)
    return grown


def _first_day(window: WalkForwardWindow) -> int:
    return int(trading_day([window.valid_start])[0])
