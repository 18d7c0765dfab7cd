"""Numbers that are extreme and possible end in a verdict and a page, never in an error."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from fx_pipeline.agents.base import Stateless
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, SELL, playable
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.costs import CostConfig, judged_costs
from fx_pipeline.market.instrument import instrument
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.validation.baselines import Flat, RandomTrader, Turnover
from fx_pipeline.validation.context import ReportContext
from fx_pipeline.validation.report import write_report
from fx_pipeline.validation.validate import validate_policy

SESSION = 60
STARTS = np.arange(30) * 70 + 200
BUSY = RandomTrader(Turnover(0.4, 0.4, 0.5), 1)


@dataclass(frozen=True)
class Once(Stateless):
    """One trade: sold or bought at a bar, and closed at the next."""

    bar: int
    side: int = BUY

    def choose(self, observation):
        wanted = np.where(observation.bar == self.bar, self.side, HOLD)
        return playable(np.where(observation.static[:, 0] != 0, CLOSE, wanted), observation.legal)


def priced(market, name, price, spread_pips, moves=1.0):
    """The market as another instrument around a price, with that spread; its moves in pips times a factor."""
    pip = instrument(name).pip
    scale = moves * pip / market.pip
    columns = {
        key: price + (getattr(market, key) - market.close[0]) * scale for key in ("open", "high", "low", "close")
    }
    half = spread_pips * pip / 2
    quotes = {
        f"{side}_{key}": columns[key] + sign * half
        for side, sign in (("bid", -1), ("ask", 1))
        for key in ("open", "close")
    }
    sigma = market.outcome_sigma * scale
    return replace(market, instrument=name, pip=pip, **columns, **quotes, outcome_sigma=sigma)


def verdict(market, policy, folder: Path, costs: CostConfig | None = None):
    """The figures of a validation at judged costs, once they were a report and a page."""
    report = validate_policy(
        market,
        STARTS,
        policy,
        costs=costs or judged_costs(CostConfig(fixed_pips=0.0), market.instrument),
        reward=RewardConfig(),
        seed=1,
        context=ReportContext(market.instrument, "w"),
        mc_runs=200,
        rules=SessionRules(bars=SESSION),
    )
    write_report(report, folder)
    page = (folder / "report.html").read_text()
    figures = json.loads((folder / "report.json").read_text())["figures"]
    assert figures["verdict"] == "rejected" and figures["reasons"]
    # No number is longer than one can read.
    text = page[: page.index("<script")] if "<script" in page else page
    assert not [word for word in text.split() if word.replace(",", "").strip("+-.%").isdigit() and len(word) > 20]
    rates = (figures["record"]["car25"], figures["risk"]["ratios"]["cagr"])
    assert all(rate is None or (math.isfinite(rate) and rate >= -1) for rate in rates)
    return figures


@pytest.fixture(scope="module")
def market(market_of):
    """A session a day: one an hour would be thousands of trades a week, which take long to resample over two years."""
    market, bars = market_of(2_400), np.arange(2_400)
    # The first bar of a session is the first of its day.
    minutes = (bars + 10) // 70 * 1_440 + (bars + 10) % 70
    return replace(market, time=market.time[0] + minutes * MINUTE_NS)


MARKETS = {
    "quotes of 200 pips": ("GBP_JPY", 150.0, 200.0, 1.0),
    "quotes of 200 pips of a pair near 1": ("EUR_USD", 1.1, 200.0, 1.0),
    "a spread as wide as the price": ("EUR_USD", 1.1, 11_000.0, 1.0),
    "a spread three times the price": ("EUR_USD", 1.1, 33_000.0, 1.0),
    "a spread above every move": ("EUR_USD", 1.1, 40.0, 0.01),
    "no spread": ("EUR_USD", 1.1, 0.0, 1.0),
    "crossed quotes": ("EUR_USD", 1.1, -3.0, 1.0),
    "a price of 1e-5": ("EUR_USD", 1e-5, 0.01, 1e-6),
    "a price of 1e6": ("USD_JPY", 1e6, 3.0, 1.0),
    "a price of 1e6 of bitcoin": ("BTC_USD", 1e6, 1e4, 100.0),
    "moves of half the price": ("EUR_USD", 1.1, 1.0, 40.0),
    "a price that never moves": ("EUR_USD", 1.1, 1.0, 0.0),
    "a price that never moves, without a spread": ("EUR_USD", 1.1, 0.0, 0.0),
}


@pytest.mark.parametrize("case", MARKETS)
def test_a_market_of_extremes_has_a_verdict(market, tmp_path, case):
    extreme = priced(market, *MARKETS[case])
    assert (extreme.close > 0).all()
    figures = verdict(extreme, BUSY, tmp_path)
    assert figures["trades"] > 200 and figures["expectancy_pips"] < 0


@pytest.mark.parametrize("case", ["a spread three times the price", "a price that never moves, without a spread"])
@pytest.mark.parametrize("side", [BUY, SELL])
def test_a_single_trade_on_it_has_one_too(market, tmp_path, case, side):
    assert verdict(priced(market, *MARKETS[case]), Once(int(STARTS[5]) + 5, side), tmp_path)["trades"] == 1


@pytest.mark.parametrize("policy", [Flat(), Once(int(STARTS[-1]) + SESSION - 2)])
def test_hardly_any_trade_has_a_verdict(market, tmp_path, policy):
    assert verdict(market, policy, tmp_path)["trades"] <= 1


@pytest.mark.parametrize("kind", ["quoted", "fixed"])
def test_costs_that_are_asked_for_by_hand_have_one(market, tmp_path, kind):
    costs = CostConfig(kind=kind, fixed_pips=20_000.0, slippage_pips=50.0, financing_long_pips=1e4)
    figures = verdict(priced(market, *MARKETS["a spread as wide as the price"]), BUSY, tmp_path, costs)
    assert figures["trades"] > 200 and "ruined" in figures["risk"]["ratios"]["flags"]
