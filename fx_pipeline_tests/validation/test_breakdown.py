import numpy as np

from fx_pipeline.validation.breakdown import break_down

HOUR_NS = 3_600 * 1_000_000_000
# Monday 2016-04-04 00:00 UTC is Sunday 20:00 in New York: the trading day of Monday.
START_NS = 1_459_728_000_000_000_000


def test_trades_are_grouped_by_new_york_hour_and_trading_day():
    entries = START_NS + np.array([0, 0, 13, 21, 24 * 4 + 16]) * HOUR_NS
    found = break_down(entries, np.array([2.0, -1.0, 4.0, 8.0, 16.0]))
    hours = {one.name: one.total_pips for one in found.by_hour if one.trades}
    assert hours == {"20:00": 1.0, "09:00": 4.0, "17:00": 8.0, "12:00": 16.0}
    assert [one.name for one in found.by_hour][:2] == ["17:00", "18:00"] and len(found.by_hour) == 24
    days = {one.name: (one.trades, one.total_pips) for one in found.by_weekday}
    assert days == {"Monday": (3, 5.0), "Tuesday": (1, 8.0), "Wednesday": (0, 0.0), "Thursday": (0, 0.0)} | {
        "Friday": (1, 16.0)
    }
    assert found.by_weekday[2].expectancy_pips is None and found.by_hour[3].win_rate == 0.5


def test_no_trades_are_no_groups():
    found = break_down(np.zeros(0, np.int64), np.zeros(0))
    assert sum(one.trades for one in found.by_hour) == 0
