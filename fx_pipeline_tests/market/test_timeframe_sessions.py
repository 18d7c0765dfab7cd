"""Sessions of longer bars: gaps in bars, weeks that are inside or not, nothing known of the future."""

import numpy as np
import pytest

from fx_pipeline.market.alignment import expected_bars
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.calendar import FxCalendar, trading_week
from fx_pipeline.market.live_sessions import after_gap, live_starts, session_lengths
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.market.timeframe import H1, H4, M5, D, Timeframe

CALENDAR = FxCalendar()
HOUR = 3_600 * 10**9


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def market_of(time: np.ndarray, timeframe: Timeframe) -> MarketArrays:
    close = 187.0 + np.cumsum(np.random.default_rng(1).normal(0, 0.05, len(time)))
    opened = np.append(close[:1], close[:-1])
    high, low = np.maximum(opened, close), np.minimum(opened, close)
    features = np.zeros((len(time), 9), np.float32)
    sides = (opened, opened, close, close)
    return MarketArrays(
        "GBP_JPY", 0.01, time, opened, high, low, close, *sides, features, np.ones(len(time)), "t", timeframe
    )


def expected(timeframe: Timeframe, start: str = "2024-02-04", end: str = "2024-03-30") -> np.ndarray:
    return expected_bars(CALENDAR, ns(start), ns(end), timeframe)


@pytest.mark.parametrize(
    ("timeframe", "rules"),
    [
        (M5, SessionRules(bars=60, max_gap_bars=3)),
        (H1, SessionRules(bars=24, window_bars=16, max_gap_bars=3)),
        (H1, SessionRules(bars=200, window_bars=16, max_gap_bars=3, within_week=False)),
        (H4, SessionRules(bars=40, window_bars=8, max_gap_bars=2, within_week=False)),
        (D, SessionRules(bars=15, window_bars=8, max_gap_bars=1, within_week=False)),
    ],
    ids=str,
)
def test_sessions_are_cut_by_gaps_and_weeks_and_know_no_future(timeframe: Timeframe, rules: SessionRules) -> None:
    time = expected(timeframe)
    draw = np.random.default_rng(2)
    # A hole of two days, and single bars that are missing.
    hole = (time >= ns("2024-02-28")) & (time < ns("2024-03-02"))
    time = time[~hole & (draw.random(len(time)) < 0.98)]
    market = market_of(time, timeframe)
    starts = live_starts(market, CALENDAR, int(time[0]), int(time[-1]) + timeframe.bar_ns, rules)
    lengths = session_lengths(time, starts, rules, timeframe)
    assert len(starts) and (starts[1:] >= starts[:-1] + lengths[:-1]).all()
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        inside = time[start : start + length]
        assert not after_gap(inside, rules, timeframe)[1:-1].any()
        if rules.within_week:
            # Its last bar may be the first after a gap, by which it is over.
            assert len(set(trading_week(inside[:-1]).tolist())) == 1
        for cut in {start + 1, start + length // 2, start + length - 1}:
            part = market.slice(0, cut)
            known = live_starts(part, CALENDAR, int(time[0]), int(time[-1]) + timeframe.bar_ns, rules)
            assert known.tolist() == starts[starts < cut].tolist()
    if not rules.within_week:
        weeks = [len(set(trading_week(time[s : s + n]).tolist())) for s, n in zip(starts, lengths, strict=True)]
        assert max(weeks) > 1


def test_the_weekend_is_no_gap_where_a_session_need_not_lie_inside_a_week() -> None:
    time = expected(H1, "2024-03-03", "2024-03-17")
    inside, over = (SessionRules(bars=100, max_gap_bars=2, within_week=within) for within in (True, False))
    assert after_gap(time, inside, H1).sum() == 1 and not after_gap(time, over, H1).any()
    assert session_lengths(time, [60], over, H1).tolist() == [100]
    # The first bar in the last two hours of the week ends one that must be flat by then.
    ended = 60 + session_lengths(time, [60], inside, H1)[0] - 1
    assert time[ended] == ns("2024-03-08T20:00")
    # A Monday that was not traded is one all the same.
    holiday = time[(time < ns("2024-03-10T20:00")) | (time >= ns("2024-03-12T00:00"))]
    assert after_gap(holiday, over, H1).sum() == 1


def test_days_follow_one_another_over_weekends() -> None:
    time = expected(D)
    rules = SessionRules(bars=20, window_bars=5, max_gap_bars=1, within_week=False)
    assert not after_gap(time, rules, D).any()
    assert after_gap(np.delete(time, 12), rules, D).sum() == 1
    assert after_gap(np.delete(time, 12), SessionRules(bars=20, max_gap_bars=2, within_week=False), D).sum() == 0
