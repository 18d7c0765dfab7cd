"""The costs that a model is judged at: whatever is configured, none is below the market's."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fx_pipeline.market.costs import CostConfig, JudgedCosts, build_fills, judged_costs, recorded_costs
from fx_pipeline.market.financing import financing_rate
from fx_pipeline.market.instrument import instrument, known_instruments
from fx_pipeline.market.levels import typical_price
from fx_pipeline.market.spreads import cost_scale, modelled_spread_pips
from fx_pipeline_tests.market.test_costs import Bars, bars, ns

# A Tuesday around 17:00 in New York: the modelled spread is five times that of London, and the day is financed.
ROLL = "2024-01-02T21:57"


def equal_quotes(market: Bars) -> Bars:
    return replace(market, bid_open=market.open, ask_open=market.open, bid_close=market.close, ask_close=market.close)


def round_trips(market: Bars, costs: CostConfig) -> np.ndarray:
    """Pips lost by buying at each bar and selling at once."""
    fills = build_fills(market, costs)
    return (fills.buy - fills.sell) / market.pip + fills.entry_cost_pips


CHEATS = [
    CostConfig(fixed_pips=0.0),
    CostConfig(fixed_pips=1e-9),
    CostConfig(fixed_pips=1.0, financing_long_pips=-50.0, financing_short_pips=-50.0),
    CostConfig(kind="quoted"),
    CostConfig(kind="profile"),
    CostConfig(kind="quoted", fixed_pips=0.0),
]


@pytest.mark.parametrize("configured", CHEATS)
@pytest.mark.parametrize("market", [bars(), bars(ROLL, 8), equal_quotes(bars()), equal_quotes(bars(ROLL, 8))])
def test_no_configuration_is_judged_below_the_market(market: Bars, configured: CostConfig) -> None:
    judged = judged_costs(configured, market.instrument)
    fills = build_fills(market, judged)
    half = modelled_spread_pips(market.instrument, market.time, market.open) / 2 * market.pip
    slip = 0.1 * market.pip
    # Written out anew: each side apart, at the next open, and at the last close.
    assert (fills.buy[:-1] >= np.maximum(market.ask_open, market.open + half)[1:] + slip - 1e-12).all()
    assert (fills.sell[:-1] <= np.minimum(market.bid_open, market.open - half)[1:] - slip + 1e-12).all()
    assert (fills.last_buy >= np.maximum(market.ask_close, market.close + half) + slip - 1e-12).all()
    assert (fills.last_sell <= np.minimum(market.bid_close, market.close - half) - slip + 1e-12).all()
    assert (fills.carry_long_pips >= 0).all() and (fills.carry_short_pips >= 0).all()
    # And that is what is charged: neither more nor another way for one of them.
    assert asdict(judged) == asdict(judged_costs(CostConfig(fixed_pips=0.0), market.instrument))


def test_the_worst_of_three_is_taken_bar_by_bar() -> None:
    market = bars(ROLL, 6)
    # The quotes are 3 pips apart at the open, the model says 4.5 before 17:00 New York and 12.5 after it.
    fills = build_fills(market, judged_costs(CostConfig(fixed_pips=10.0), "GBP_JPY"))
    spread = (fills.buy - fills.sell)[:-1] / market.pip - 0.2
    assert spread[:2] == pytest.approx([10.0, 10.0]) and spread[2:] == pytest.approx([12.5] * 3)
    wide = replace(market, ask_open=market.open + 2.0, bid_open=market.open - 0.01)
    fills = build_fills(wide, judged_costs(CostConfig(), "GBP_JPY"))
    assert (fills.buy[:-1] - market.open[1:]) / market.pip == pytest.approx([200.1] * 5)


def test_a_higher_cost_of_the_user_stays() -> None:
    configured = CostConfig(fixed_pips=40.0, slippage_pips=2.0, financing_long_pips=30.0, financing_short_pips=1.0)
    market = bars(ROLL, 8)
    judged = judged_costs(configured, "GBP_JPY")
    assert round_trips(market, judged)[:-1] == pytest.approx([44.0] * 7)
    fills = build_fills(market, judged)
    assert fills.carry_long_pips.max() == 30.0
    # The user's pip a day for shorts is less than the difference of the interest rates and the fee.
    assert fills.carry_short_pips.max() == pytest.approx((5.35 + 1.0) / 100 * market.close[2] / 365 / 0.01)


def test_judging_what_is_judged_changes_nothing() -> None:
    judged = judged_costs(CostConfig(), "EUR_USD")
    assert judged_costs(judged, "EUR_USD") == judged


@pytest.mark.parametrize("name", ["SYNTHETIC_OU", "nonsense"])
def test_a_market_that_no_broker_has_keeps_its_costs(name: str) -> None:
    free = CostConfig(fixed_pips=0.0)
    assert judged_costs(free, name) is free


@pytest.mark.parametrize("name", known_instruments())
def test_every_instrument_pays_a_tick_and_financing_on_both_sides(name: str) -> None:
    judged = judged_costs(CostConfig(fixed_pips=0.0), name)
    assert isinstance(judged, JudgedCosts)
    assert judged.slippage_pips == pytest.approx(0.1 * cost_scale(name)) and judged.slippage_pips >= 0.1
    price = np.full(8, typical_price(name))
    market = Bars(name, instrument(name).pip, bars(ROLL, 8).time, *[price] * 6)
    fills = build_fills(market, judged)
    night = financing_rate(name) * price[0] / 365 / market.pip
    assert fills.carry_long_pips.max() == fills.carry_short_pips.max() == pytest.approx(night)
    assert 0.01 <= financing_rate(name) <= 0.5


def test_wednesday_carries_the_weekend() -> None:
    market = bars("2024-01-03T21:57", 8)
    night = build_fills(bars(ROLL, 8), judged_costs(CostConfig(), "GBP_JPY")).carry_long_pips.max()
    assert build_fills(market, judged_costs(CostConfig(), "GBP_JPY")).carry_long_pips.max() == pytest.approx(3 * night)
    assert ns(ROLL) < market.time[0]


@given(fixed=st.floats(0, 1e6), slippage=st.floats(0, 1e4), name=st.sampled_from(["GBP_JPY", "XAU_USD", "BTC_USD"]))
def test_raising_what_is_configured_never_makes_a_judged_cost_smaller(fixed: float, slippage: float, name: str) -> None:
    market = replace(bars(ROLL, 8), instrument=name)
    low = round_trips(market, judged_costs(CostConfig(), name))
    high = round_trips(market, judged_costs(CostConfig(fixed_pips=max(fixed, 4.0), slippage_pips=slippage), name))
    asked = round_trips(market, CostConfig(fixed_pips=fixed, slippage_pips=slippage))
    assert (high >= low - 1e-6 * abs(low)).all() and (high >= asked - 1e-6 * abs(asked)).all()


@pytest.mark.parametrize("record", [None, {"fixed_pips": "four"}, {"kind": "free"}, {"fixed_pips": -1.0}])
def test_costs_that_no_record_tells_are_not_known(record: dict[str, object] | None) -> None:
    assert recorded_costs(record) is None
    assert recorded_costs(asdict(CostConfig(fixed_pips=2.0)) | {"later": 1}) == CostConfig(fixed_pips=2.0)
