"""The bars and sessions of a span of a walk-forward window, and a guard that refuses to load a leak."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fx_pipeline.lifecycle.needs import Terms, Warehouse
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.sessions.names import SessionTable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from fx_pipeline.agents.base import TrainingData
    from fx_pipeline.market.arrays import MarketArrays
    from fx_pipeline.sessions.windows import WalkForwardWindow

#: Fewest sessions that make a window worth training on and worth validating.
MIN_TRAIN_STARTS, MIN_VALIDATION_SESSIONS = 200, 5
#: Bars at which every span is tested for rows that depend on later bars.
GUARD_BARS = 20
_DAY_NS = 86_400 * 1_000_000_000


@dataclass(frozen=True)
class Span:
    """A span of a window with its market and its valid starts.

    Attributes
    ----------
    window : WalkForwardWindow
    market : MarketArrays
        Its bars, and those that the first observation looks back on.
    starts : int64 (S,)
        Bars at which its sessions begin.
    leaks : Mapping
        What was searched for leaks, in words, and how many were found.
    rules : SessionRules
        Of the sessions.
    """

    window: "WalkForwardWindow"
    market: "MarketArrays"
    starts: "npt.NDArray[np.int64]"
    leaks: Mapping[str, int]
    rules: SessionRules = SessionRules()


def load_span(
    settings: Terms,
    warehouse: Warehouse,
    instrument: str,
    key: str,
    part: str,
    sealed_until_ns: int | None = None,
    against_lake: bool = True,
) -> Span | str:
    """Load the training ("train") or validation ("valid") span of a window, or the sealed days for its checkpoint
    ("sealed"), or say why there is none.

    Nothing after the span's end is loaded; before its start come the bars that the first observation looks back on.
    Sealed days end with the bar `sealed_until_ns`, or with the newest one. The rows of what is judged are made again
    from the lake and compared, unless `against_lake` says that nobody judges them.
    """
    from fx_pipeline.features.compute import causal_mismatches
    from fx_pipeline.features.table import count_bars, load_market, newest_bar
    from fx_pipeline.market.errors import DataError
    from fx_pipeline.market.live_sessions import live_starts
    from fx_pipeline.market.years import calendar_of
    from fx_pipeline.sessions.index import starts_inside
    from fx_pipeline.sessions.table import read_plan, read_starts
    from fx_pipeline.sessions.windows import Reach

    sessions = settings.recipe.sessions_table
    features, rules = sessions.features, sessions.rules
    which, embargo_bars = (features.feature_set, features.timeframe), Reach.of(sessions).embargo_bars
    try:
        plan = read_plan(settings.layout.windows(instrument), sessions.asset)
    except DataError as error:
        return str(error)
    window = plan.window(key)
    if window is None:
        return (
            f"{instrument} has no window {key}: its {plan.days} trading days allow "
            f"{', '.join(w.key for w in plan.windows) or 'none'} (training {plan.train_days} days, validation "
            f"{plan.validation_days} days)."
        )
    sealed_ns = settings.sealed_from_ns
    if part != "sealed" and sealed_ns is not None and window.valid_end > sealed_ns:
        return (
            f"window {key} of {instrument} was planned before {settings.holdout_start} was sealed, and reaches beyond: "
            f"materialise {sessions.asset}, and take a window that it plans."
        )
    start, end = (window.train_start, window.train_end) if part == "train" else (window.valid_start, window.valid_end)
    with warehouse.get_connection(read_only=True) as connection:
        if part == "sealed":
            if sealed_ns is None:
                return "no day is sealed: set FX_HOLDOUT_START to the first one."
            last_ns = newest_bar(connection, instrument, *which) if sealed_until_ns is None else sealed_until_ns
            start, end = sealed_ns, last_ns + features.timeframe.bar_ns
            if end <= start:
                return f"{instrument} has no bar of the sealed days yet: they begin on {settings.holdout_start}."
            window = replace(window, key=settings.sealed_span, valid_start=start, valid_end=end)
        # A few days earlier: the window of the first observation may reach over a weekend.
        market = load_market(connection, instrument, start - look_back_ns(sessions), end, *which)
        if part == "train":
            starts = starts_inside(market, read_starts(connection, market, rules), start, end, rules)
        else:
            # The published calendar: who closed the days on which a model lost would have chosen what it is judged on.
            starts = live_starts(market, calendar_of(instrument), start, end, rules)
        # Training is held against the lake by the promotion, which looks at what was trained on then.
        compare = against_lake and part != "train"
        foreign = rows_not_of_lake(settings, connection, market, start, end) if compare else 0
        between = count_bars(connection, instrument, window.train_end, window.valid_start, *which)
    # The asset checks say the same of everything, but they stop only what runs with them; nothing may train on a leak.
    if between < embargo_bars or window.train_end > window.valid_start:
        raise DataError(
            f"window {key} of {instrument} has {between} bars between training and validation, {embargo_bars} are "
            f"needed: materialise {sessions.asset} again."
        )
    leaks = causal_mismatches(market, GUARD_BARS, settings.seed)
    if leaks:
        raise DataError(
            f"{instrument}: rows of the feature table are not those of the bars up to them (bars {leaks[:3]} of window "
            f"{key}): remove {settings.layout.warehouse} and materialise {features.asset} again."
        )
    needed = MIN_TRAIN_STARTS if part == "train" else MIN_VALIDATION_SESSIONS
    if len(starts) < needed:
        purpose = "train on" if part == "train" else "validate"
        return f"window {key} of {instrument} has {len(starts)} sessions to {purpose}, at least {needed} are needed."
    early = int((market.time[starts] < start).sum())
    searched = {
        f"{GUARD_BARS} feature rows computed anew from the warm-up before them and nothing after": len(leaks),
        f"an embargo of {embargo_bars} bars after training ({between} bars)": max(embargo_bars - between, 0),
        f"the first bar of {len(starts)} sessions against the start of their span": early,
    }
    if compare:
        searched[f"{len(market)} rows of the feature table against those that the lake gives"] = foreign
    return Span(window, market, starts, searched, rules)


def rows_not_of_lake(settings: Terms, connection: Any, market: "MarketArrays", start_ns: int, end_ns: int) -> int:
    """Count the rows of a span, and of the days that it looks back on, that are not those that the lake gives."""
    from fx_pipeline.features.names import FeatureTable
    from fx_pipeline.features.of_lake import differing_rows
    from fx_pipeline.features.table import Month
    from fx_pipeline.ingest.layout import lake_folder, lake_months, lake_path

    table, lake = FeatureTable(market.feature_set, market.timeframe), lake_folder(settings.layout.data_dir)
    names = lake_months(lake, market.instrument, market.timeframe)
    months = [Month(name, lake_path(lake, market.instrument, name, market.timeframe), "") for name in names]
    start_ns -= look_back_ns(settings.recipe.sessions_table)
    return differing_rows(connection, market.instrument, table, months, start_ns, end_ns)


def look_back_ns(sessions: SessionTable) -> int:
    """Return how long before a span its first observation may begin: over a weekend and a holiday, four days at least.

    Five trading days are seven days.
    """
    window_ns = sessions.rules.window_bars * sessions.features.timeframe.bar_ns * 7 // 5
    return max(4 * _DAY_NS, window_ns + 3 * _DAY_NS)


def training_data(settings: Terms, span: Span) -> "TrainingData":
    """Return what a seed of a window learns from."""
    from fx_pipeline.agents.base import TrainingData

    window = {"key": span.window.key, **span.window.spans()}
    costs, actions = settings.costs_of(span.market.instrument), settings.recipe.actions
    return TrainingData(span.market, span.starts, costs, window, span.rules, actions)
