from dataclasses import dataclass

import numpy as np
import pytest

from fx_pipeline.market.alignment import bar_ends, expected_bars
from fx_pipeline.market.calendar import MINUTE_NS, FxCalendar, week_minutes
from fx_pipeline.market.costs import CostConfig, build_fills, financing_days, judged_costs
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.spreads import (
    DEFAULT_LONDON_SPREAD_PIPS,
    LONDON_SPREAD_PIPS,
    SPREAD_SHAPE,
    modelled_spread_pips,
)
from fx_pipeline.market.timeframe import H1, H4, M1, D, Timeframe


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


@dataclass
class Bars:
    instrument: str
    pip: float
    time: np.ndarray
    open: np.ndarray
    close: np.ndarray
    bid_open: np.ndarray
    ask_open: np.ndarray
    bid_close: np.ndarray
    ask_close: np.ndarray
    timeframe: Timeframe = M1


def bars(start: str = "2024-01-03T10:00", count: int = 5) -> Bars:
    close = 187.0 + 0.1 * np.arange(count)
    open_ = close - 0.03
    return Bars(
        "GBP_JPY",
        0.01,
        ns(start) + MINUTE_NS * np.arange(count),
        open_,
        close,
        open_ - 0.01,
        open_ + 0.02,
        close - 0.015,
        close + 0.025,
    )


def test_fixed_costs_fill_at_the_next_open_and_charge_on_entry() -> None:
    market = bars()
    fills = build_fills(market, CostConfig())
    np.testing.assert_array_equal(fills.buy, [*market.open[1:], market.close[-1]])
    np.testing.assert_array_equal(fills.sell, fills.buy)
    np.testing.assert_array_equal(fills.last_buy, market.close)
    np.testing.assert_array_equal(fills.last_sell, market.close)
    np.testing.assert_array_equal(fills.long_mark, market.close)
    np.testing.assert_array_equal(fills.short_mark, market.close)
    assert (fills.entry_cost_pips == 4.0).all()
    assert not fills.at_close


def test_fill_at_the_close() -> None:
    market = bars()
    fills = build_fills(market, CostConfig(fill="close"))
    np.testing.assert_array_equal(fills.buy, market.close)
    np.testing.assert_array_equal(fills.sell, market.close)
    assert fills.at_close


@pytest.mark.parametrize("slippage", [0.0, 0.5])
def test_quoted_costs_buy_at_the_ask_and_sell_at_the_bid(slippage: float) -> None:
    market = bars()
    fills = build_fills(market, CostConfig(kind="quoted", slippage_pips=slippage))
    slip = slippage * 0.01
    np.testing.assert_array_equal(fills.buy, np.append(market.ask_open[1:], market.ask_close[-1]) + slip)
    np.testing.assert_array_equal(fills.sell, np.append(market.bid_open[1:], market.bid_close[-1]) - slip)
    np.testing.assert_array_equal(fills.last_buy, market.ask_close + slip)
    np.testing.assert_array_equal(fills.last_sell, market.bid_close - slip)
    # Marks are what liquidation is worth at the quote: slippage belongs to fills.
    np.testing.assert_array_equal(fills.long_mark, market.bid_close)
    np.testing.assert_array_equal(fills.short_mark, market.ask_close)
    assert (fills.entry_cost_pips == 0.0).all()


def test_slippage_is_always_against_the_trader() -> None:
    market = bars()
    plain, slipped = build_fills(market, CostConfig()), build_fills(market, CostConfig(slippage_pips=1.5))
    np.testing.assert_allclose(slipped.buy - plain.buy, 0.015)
    np.testing.assert_allclose(slipped.sell - plain.sell, -0.015)
    np.testing.assert_allclose(slipped.last_buy - plain.last_buy, 0.015)
    np.testing.assert_allclose(slipped.last_sell - plain.last_sell, -0.015)


def test_the_profile_charges_the_spread_of_the_hour_in_which_the_order_fills() -> None:
    # 16:58 to 17:02 New York, winter time.
    market = bars("2024-01-03T21:58")
    friday_hour, rollover = SPREAD_SHAPE[23] * DEFAULT_LONDON_SPREAD_PIPS, SPREAD_SHAPE[0] * DEFAULT_LONDON_SPREAD_PIPS
    at_open = build_fills(market, CostConfig(kind="profile"))
    np.testing.assert_allclose(at_open.entry_cost_pips, [friday_hour, rollover, rollover, rollover, rollover])
    at_close = build_fills(market, CostConfig(kind="profile", fill="close"))
    np.testing.assert_allclose(at_close.entry_cost_pips, [friday_hour, friday_hour, rollover, rollover, rollover])
    np.testing.assert_array_equal(at_open.buy, [*market.open[1:], market.close[-1]])


def test_the_spread_profile_has_an_hour_each_and_follows_new_york_through_summer_time() -> None:
    assert len(SPREAD_SHAPE) == 24
    for day, shift in (("2024-01-03", 22), ("2024-07-03", 21)):
        times = ns(f"{day}T00:00") + 60 * MINUTE_NS * (shift + np.arange(24))
        spread = modelled_spread_pips("EUR_USD", times)
        np.testing.assert_array_equal(spread, SPREAD_SHAPE * LONDON_SPREAD_PIPS["EUR_USD"])


@pytest.mark.parametrize(
    ("roll", "days"),
    [
        ("2024-01-01T22:00", 1),  # Monday
        ("2024-01-02T22:00", 1),
        ("2024-01-03T22:00", 3),  # Wednesday
        ("2024-01-04T22:00", 1),
        ("2024-07-03T21:00", 3),  # Wednesday in summer time
    ],
)
def test_financing_is_charged_when_17_new_york_is_crossed(roll: str, days: int) -> None:
    times = ns(roll) + MINUTE_NS * np.arange(-2, 3)
    assert financing_days(times).tolist() == [0, days, 0, 0, 0]


def test_a_weekend_is_one_day_and_a_week_is_seven() -> None:
    friday, sunday = ns("2024-01-05T21:59"), ns("2024-01-07T22:00")
    assert financing_days(np.array([friday, sunday])).tolist() == [1, 0]
    assert financing_days(np.array([ns("2024-01-03T12:00"), ns("2024-01-10T12:00")])).tolist() == [7, 0]
    assert financing_days(np.array([ns("2024-03-06T12:00"), ns("2024-03-13T12:00")])).tolist() == [7, 0]


def test_each_side_has_its_own_financing() -> None:
    market = bars("2024-01-03T21:58")
    fills = build_fills(market, CostConfig(financing_long_pips=0.5, financing_short_pips=-0.2))
    np.testing.assert_allclose(fills.carry_long_pips, [0, 1.5, 0, 0, 0])
    np.testing.assert_allclose(fills.carry_short_pips, [0, -0.6, 0, 0, 0], atol=1e-15)


def test_fills_are_contiguous_doubles_of_the_market_length() -> None:
    fills = build_fills(bars(), CostConfig(kind="quoted"))
    for array in fills[:-1]:
        assert array.dtype == np.float64 and array.shape == (5,) and array.flags.c_contiguous


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "free"},
        {"fill": "never"},
        {"fixed_pips": -1.0},
        {"slippage_pips": float("nan")},
        {"fixed_pips": float("inf")},
        {"financing_long_pips": float("nan")},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict) -> None:
    with pytest.raises(ConfigurationError):
        CostConfig(**settings)


def long_bars(timeframe: Timeframe, start: str, end: str, calendar: FxCalendar) -> Bars:
    time = expected_bars(calendar, ns(start), ns(end), timeframe)
    flat = np.full(len(time), 187.0)
    return Bars("GBP_JPY", 0.01, time, *[flat] * 6, timeframe)


@pytest.mark.parametrize("timeframe", [H1, H4, D], ids=str)
@pytest.mark.parametrize("week", ["2024-03-03", "2024-03-10", "2024-10-27", "2024-11-03"])
def test_financing_of_longer_bars_is_that_of_the_minutes_in_them(timeframe: Timeframe, week: str) -> None:
    # Two weeks, over a change of clocks or not: whoever holds from one bar's open to another's pays the same nights.
    end = str(np.datetime64(week) + 14)
    market, minutes = (long_bars(length, week, end, FxCalendar()) for length in (timeframe, M1))
    nights, by_minute = (financing_days(of.time) for of in (market, minutes))
    so_far = np.concatenate([[0.0], np.cumsum(by_minute)])
    # Of the first minute of each bar: what was charged before.
    first = np.searchsorted(minutes.time, market.time)
    np.testing.assert_array_equal(nights[:-1], np.diff(so_far[first]))
    # The last roll of the second week is not crossed any more.
    assert nights.sum() == 13.0
    # No bar has the roll inside it: each is charged at the end of the bar that ends at 17:00, or over a gap.
    rolls = bar_ends(market.time[nights > 0], timeframe)
    assert (week_minutes(rolls) % 1_440 == 0).all()


def test_a_missing_day_is_charged_over_the_gap() -> None:
    market = long_bars(D, "2024-01-07", "2024-01-20", FxCalendar())
    whole = financing_days(market.time)
    assert whole.tolist()[:5] == [1.0, 1.0, 3.0, 1.0, 1.0]
    kept = np.arange(len(market.time)) != 2
    assert financing_days(market.time[kept]).tolist()[:3] == [1.0, 4.0, 1.0]


def test_a_longer_bar_opens_and_closes_at_the_spreads_of_two_hours() -> None:
    market = long_bars(D, "2024-01-08", "2024-01-12", FxCalendar())
    last_minute = bar_ends(market.time, D) - MINUTE_NS
    at_open, at_close = (modelled_spread_pips("GBP_JPY", time, market.open) for time in (market.time, last_minute))
    assert (at_open > 2 * at_close).all()
    fills = build_fills(market, judged_costs(CostConfig(), "GBP_JPY"))
    slippage = 0.1
    # Opens lie in the rollover hour; what is marked at the close is the spread of 16:59.
    np.testing.assert_allclose((fills.buy[:-1] - 187.0) / 0.01, np.maximum(at_open[1:] / 2, 2.0) + slippage, atol=1e-6)
    np.testing.assert_allclose((fills.short_mark - 187.0) / 0.01, np.maximum(at_close / 2, 2.0), atol=1e-6)
    np.testing.assert_allclose((187.0 - fills.long_mark) / 0.01, np.maximum(at_close / 2, 2.0), atol=1e-6)
    profile = build_fills(market, CostConfig(kind="profile"))
    np.testing.assert_array_equal(profile.entry_cost_pips, [*at_open[1:], at_close[-1]])
    np.testing.assert_array_equal(
        build_fills(market, CostConfig(kind="profile", fill="close")).entry_cost_pips, at_close
    )
