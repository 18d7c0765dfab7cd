"""Units: a pip of currency pairs, as much of any other instrument's day."""

import math

import numpy as np
import pytest

from fx_pipeline.environment import position as pk
from fx_pipeline.features.temporal9.entry import FEATURE_SET
from fx_pipeline.market.instrument import instrument, known_instruments
from fx_pipeline.market.levels import typical_price
from fx_pipeline.market.units import price_unit, unit_pips

#: Usual volatility a year, and days a year, as the page of `market.units` names them.
USUAL = {"XAU_USD": (0.15, 252), "XAG_USD": (0.28, 252), "BTC_USD": (0.65, 365)}


def test_every_currency_pair_has_a_pip_and_the_version_of_before() -> None:
    pairs = [name for name in known_instruments() if instrument(name).kind == "currency"]
    assert len(pairs) > 60
    assert {unit_pips(name) for name in pairs} == {1.0} == {unit_pips("SYNTHETIC_OU")}
    assert all(price_unit(name) == instrument(name).pip for name in pairs)
    assert {FEATURE_SET.version_of(name) for name in pairs} == {FEATURE_SET.version} == {1}


@pytest.mark.parametrize("name", USUAL)
def test_a_unit_is_the_next_round_share_of_a_days_move(name: str) -> None:
    volatility, days = USUAL[name]
    pips = typical_price(name) * volatility / math.sqrt(days) / 80 / instrument(name).pip
    rounds = [digit * 10.0**power for power in range(-1, 4) for digit in (1, 2, 5)]
    assert unit_pips(name) == min(rounds, key=lambda value: abs(math.log(value / pips)))
    assert FEATURE_SET.version_of(name) != FEATURE_SET.version


def test_position_features_count_in_units() -> None:
    position = np.zeros(pk.POSITION_SIZE)
    pk.open_position(position, 1, 40_000.0, 40.0)
    pk.mark(position, 41_000.0, 1.0)
    pips, units = np.zeros(6, np.float32), np.zeros(6, np.float32)
    pk.write_static(position, pips, 1.0)
    pk.write_static(position, units, 20.0)
    assert pips[1] == pytest.approx(1.0, abs=1e-6)
    assert units[1] == pytest.approx(math.tanh(960 / 2_000))
    # Bars are bars.
    assert units[2] == pips[2]
