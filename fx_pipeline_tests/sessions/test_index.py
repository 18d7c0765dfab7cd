"""The valid-session index against a brute-force account of SPEC section 6."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.market.arrays import SESSION_BARS, WINDOW_BARS, MarketArrays
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.sessions.index import starts_inside, valid_starts
from fx_pipeline.sessions.table import thin

NEW_YORK = ZoneInfo("America/New_York")
MONDAY = int(np.datetime64("2024-01-08T12:00", "ns").astype(np.int64))
#: Friday 16:40 New York, twenty minutes before the week ends.
FRIDAY = int(np.datetime64("2024-01-05T21:40", "ns").astype(np.int64))


def market_of(minutes: list[int], ticks: list[int], cold: set[int] = frozenset(), start: int = MONDAY) -> MarketArrays:  # type: ignore[assignment]
    """Bars `minutes` apart whose close moves by `ticks` of a tenth of a pip; `cold` bars are warming up."""
    count = len(minutes)
    close = (187_000 + np.cumsum(ticks)) / 1_000
    features = np.zeros((count, 9), dtype=np.float32)
    features[sorted(cold), 2] = np.nan
    time = start + MINUTE_NS * np.cumsum(minutes)
    return MarketArrays("GBP_JPY", 0.01, time, *[close] * 8, features, close, "test")


def week_of(time_ns: int) -> tuple[int, int] | None:
    """ISO year and week of the trading week, or None in the weekend."""
    wall = datetime.fromtimestamp(time_ns // 10**9, UTC).astimezone(NEW_YORK)
    weekend = (
        (wall.weekday() == 4 and wall.hour >= 17) or wall.weekday() == 5 or (wall.weekday() == 6 and wall.hour < 17)
    )
    if weekend:
        return None
    # Sunday evening belongs to the ISO week of the Monday after it.
    shifted = datetime.fromtimestamp(time_ns // 10**9 + 7 * 3_600, UTC).astimezone(NEW_YORK)
    return shifted.isocalendar()[:2]


def brute_force(market: MarketArrays, bars: int, window: int, stride: int) -> list[int]:
    found: list[int] = []
    for start in range(window - 1, len(market) - bars + 1):
        session = range(start, start + bars)
        weeks = {week_of(int(market.time[t])) for t in session}
        gaps = [int(market.time[t] - market.time[t - 1]) // MINUTE_NS for t in session[1:]]
        range_ticks = round((market.high[list(session)].max() - market.low[list(session)].min()) * 1_000)
        if (
            np.isfinite(market.features[start - window + 1 : start + bars]).all()
            and len(weeks) == 1
            and None not in weeks
            and max(gaps) <= 10
            and range_ticks >= 10
            and (not found or start >= found[-1] + stride)
        ):
            found.append(start)
    return found


@settings(max_examples=150, deadline=None)
@given(
    bars=st.lists(
        st.tuples(st.sampled_from([1, 1, 1, 1, 2, 10, 11, 2_890]), st.sampled_from([0, 0, 1, -2, 4, -9, 30])),
        min_size=1,
        max_size=60,
    ),
    cold=st.sets(st.integers(0, 59), max_size=2),
    warm_up=st.integers(0, 8),
    stride=st.integers(1, 9),
    start=st.sampled_from([MONDAY, FRIDAY]),
)
def test_the_one_pass_equals_brute_force(
    bars: list[tuple[int, int]], cold: set[int], warm_up: int, stride: int, start: int
) -> None:
    count = len(bars)
    cold = {bar for bar in cold | set(range(warm_up)) if bar < count}
    market = market_of([minute for minute, _ in bars], [tick for _, tick in bars], cold, start)
    found = valid_starts(market, SessionRules(6, 3), stride)
    assert found.tolist() == brute_force(market, 6, 3, stride)


def plain(count: int, warm_up: int = 0) -> MarketArrays:
    return market_of([1] * count, [5, -5] * (count // 2), set(range(warm_up)))


def test_the_defaults_are_six_hours_and_a_window() -> None:
    starts = valid_starts(plain(800, warm_up=100))
    assert (SESSION_BARS, WINDOW_BARS) == (360, 32)
    # 1.0 pip is not reached by moves of half a pip; twice that is.
    assert starts.tolist() == []
    market = market_of([1] * 800, [10, -10] * 400, set(range(100)))
    starts = valid_starts(market)
    assert starts.tolist() == list(range(131, 800 - 360 + 1))
    assert starts.tolist() == brute_force(market, 360, 32, 1)


@pytest.mark.parametrize(("gap", "allowed"), [(10, True), (11, False)])
def test_a_gap_of_ten_minutes_is_allowed_and_of_eleven_is_not(gap: int, allowed: bool) -> None:
    minutes = [1] * 60
    minutes[30] = gap
    starts = valid_starts(market_of(minutes, [10, -10] * 30), SessionRules(20, 1))
    crossing = [start for start in starts if start < 30 < start + 20]
    assert bool(crossing) is allowed
    # The gap lies before bar 30: sessions that end at bar 29 or start at bar 30 do not contain it.
    assert 10 in starts and 30 in starts


def test_a_session_ends_with_the_week_and_none_starts_before_it() -> None:
    minutes = [1] * 30 + [2 * 1_440] + [1] * 40
    market = market_of(minutes, [10, -10] * 35 + [0], start=FRIDAY - MINUTE_NS)
    assert valid_starts(market, SessionRules(15, 1)).tolist() == brute_force(market, 15, 1, 1)
    assert 5 in valid_starts(market, SessionRules(15, 1))
    assert 6 not in valid_starts(market, SessionRules(15, 1))


@pytest.mark.parametrize("stride", [1, 7, 360])
def test_the_stride_thins_the_index_as_thin_does(stride: int) -> None:
    market = market_of([1] * 1_500, [10, -10] * 750)
    every = valid_starts(market)
    assert valid_starts(market, stride=stride).tolist() == thin(every, stride).tolist()
    assert (np.diff(valid_starts(market, stride=stride)) >= stride).all()


def test_a_stride_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="stride"):
        valid_starts(plain(10), stride=0)


@pytest.mark.parametrize("count", [0, 5, 359])
def test_too_few_bars_give_no_start(count: int) -> None:
    starts = valid_starts(market_of([1] * count, [10] * count))
    assert starts.tolist() == [] and starts.dtype == np.int64


def test_starts_inside_keeps_whole_sessions_only() -> None:
    market = market_of([1] * 100, [10, -10] * 50)
    starts = valid_starts(market, SessionRules(20, 1))
    first, end = int(market.time[10]), int(market.time[50])
    # The last bar closes one minute after it opens, at the open of the bar after it.
    assert starts_inside(market, starts, first, end, SessionRules(20)).tolist() == list(range(10, 31))
    assert starts_inside(market, starts, first, end - 1, SessionRules(20)).tolist() == list(range(10, 30))
    assert starts_inside(market, starts, first + 1, end, SessionRules(20)).tolist() == list(range(11, 31))
    assert starts_inside(market, starts[:0], first, end, SessionRules(20)).tolist() == []
