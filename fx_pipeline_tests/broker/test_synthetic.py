"""The synthetic market: a pure function of instrument, minute and seed."""

import numpy as np
import pytest

from fx_pipeline.broker.paper import synthetic
from fx_pipeline.broker.paper.synthetic import SPAN_NS, synthetic_candles
from fx_pipeline.market.calendar import MINUTE_NS, FxCalendar
from fx_pipeline.market.candles import bad_bar_reasons
from fx_pipeline.market.hours import instrument_calendar
from fx_pipeline.market.instrument import instrument, known_instruments
from fx_pipeline.market.spread_fit import fit_spread

DAY = 1440 * MINUTE_NS
MIDDLE = SPAN_NS[0] + 30 * DAY


def forget() -> None:
    synthetic.synthetic_week.cache_clear()
    synthetic._week_level.cache_clear()


def test_any_range_gives_the_same_bars_in_any_order() -> None:
    whole = synthetic_candles("GBP_JPY", MIDDLE, MIDDLE + 14 * DAY)
    times = whole["time"].to_numpy().astype(np.int64)
    for first, last in ((9, 12), (0, 3), (5.5, 5.6), (2.3, 9.7)):
        forget()
        start, end = MIDDLE + int(first * DAY), MIDDLE + int(last * DAY)
        part = synthetic_candles("GBP_JPY", start, end)
        assert part.equals(whole.filter((times >= start) & (times < end)))


def test_bars_are_possible_labelled_and_inside_trading_hours() -> None:
    table = synthetic_candles("EUR_USD", *SPAN_NS)
    times = table["time"].to_numpy().astype(np.int64)
    assert set(table["source"].to_pylist()) == {"synthetic"}
    assert all(table["quotes_modelled"].to_pylist())
    assert set(bad_bar_reasons(table.to_pandas())) == {""}
    assert FxCalendar().is_expected(times).all()
    missing = 1 - len(times) / len(FxCalendar().expected_minutes(*SPAN_NS))
    assert 0.01 < missing < 0.02
    assert times[0] >= SPAN_NS[0]
    assert times[-1] < SPAN_NS[1]


@pytest.mark.parametrize("name", ["XAU_USD", "NZD_USD", "BTC_USD", "USD_TRY"])
def test_each_market_has_the_hours_and_the_spread_of_its_instrument(name: str) -> None:
    # With the spring change of New York's clocks, which lies in a weekend.
    table = synthetic_candles(name, MIDDLE, SPAN_NS[1])
    times = table["time"].to_numpy().astype(np.int64)
    calendar = instrument_calendar(name)
    assert calendar.is_expected(times).all()
    assert 0.97 < len(times) / len(calendar.expected_minutes(MIDDLE, SPAN_NS[1])) < 1
    fit = fit_spread(name, times, table["bid_o"].to_numpy(), table["ask_o"].to_numpy())
    assert fit is not None and fit.factor < 1.01
    assert set(bad_bar_reasons(table.to_pandas())) == {""}


def test_bitcoin_moves_on_at_the_weekend_without_a_jump() -> None:
    table = synthetic_candles("BTC_USD", MIDDLE, SPAN_NS[1])
    times, close = table["time"].to_numpy().astype(np.int64), table["mid_c"].to_numpy()
    assert np.diff(times).max() < DAY / 24
    assert np.abs(np.diff(np.log(close))).max() < 0.002


def test_prices_move_like_a_currency_and_stay_near_their_level() -> None:
    close = synthetic_candles("GBP_JPY", *SPAN_NS)["mid_c"].to_numpy()
    pips = np.diff(close) / instrument("GBP_JPY").pip
    assert 0.5 < pips.std() < 5
    assert close.min() / close.mean() > 0.85
    assert close.max() / close.mean() < 1.15


def test_seeds_and_instruments_differ_and_nothing_is_outside_the_span() -> None:
    window = (MIDDLE, MIDDLE + DAY)
    first = synthetic_candles("GBP_JPY", *window)
    assert not first.equals(synthetic_candles("GBP_JPY", *window, seed=2))
    assert len(synthetic_candles("GBP_JPY", 0, SPAN_NS[0])) == 0
    assert len(synthetic_candles("GBP_JPY", SPAN_NS[1], SPAN_NS[1] + DAY)) == 0
    assert len(synthetic_candles("GBP_JPY", 0, DAY * 7, span_ns=(0, DAY * 7))) > 5000


@pytest.mark.parametrize("name", known_instruments())
def test_every_known_instrument_has_a_market(name: str) -> None:
    table = synthetic_candles(name, MIDDLE, MIDDLE + DAY // 4)
    assert set(bad_bar_reasons(table.to_pandas())) == {""}
