"""Costs that are too low, played through the jobs: none of them is what a model is judged at."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest

from fx_pipeline.agents import registry
from fx_pipeline.market.spreads import modelled_spread_pips
from fx_pipeline.tracking.ledger import Ledger
from fx_pipeline.validation.baselines import RandomTrader, Turnover

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain

PIP = 0.0001


@pytest.fixture
def trades_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few episodes of training end in staying flat: a trader that sees no cost hands in its decisions instead."""
    known = registry.agent
    trader = RandomTrader(Turnover(0.02, 0.05, 0.5), 1)

    def agent(name: str) -> Any:
        return replace(known(name), load_policy=lambda folder: trader, without_search=None)

    monkeypatch.setattr(registry, "agent", agent)


CHEATS = {
    "nothing": {"FX_COST_FIXED_PIPS": "0"},
    "next to nothing": {"FX_COST_FIXED_PIPS": "1e-9"},
    "modelled": {"FX_COST_KIND": "profile"},
    "one price for bid and ask": {"FX_COST_KIND": "quoted"},
}


def one_price(chain: "Chain") -> None:
    """Let a file have one price for bid and ask, and be called quoted."""
    with duckdb.connect(str(chain.data_dir / "warehouse.duckdb")) as connection:
        prices = ("bid_open = open", "ask_open = open", "bid_close = close", "ask_close = close")
        connection.execute(f"UPDATE features SET {', '.join(prices)}, quotes_modelled = false, source = 'imported'")


def bars(chain: "Chain") -> dict[str, np.ndarray]:
    with duckdb.connect(str(chain.data_dir / "warehouse.duckdb"), read_only=True) as connection:
        query = "SELECT epoch_ns(time) AS time, open, close FROM features WHERE instrument = ? ORDER BY time"
        return connection.execute(query, [chain.instrument]).fetchnumpy()


def least_lost_pips(chain: "Chain", figures: dict[str, Any]) -> np.ndarray:
    """What each trade made less than its mid prices did, beyond half the modelled spread and a tick at either fill."""
    market, trades = bars(chain), figures["trade_list"]
    rows = {
        side: np.searchsorted(
            market["time"],
            np.array([text.rstrip("Z") for text in trades[f"{side}_time"]], "datetime64[ns]").astype(int),
        )
        for side in ("entry", "exit")
    }
    entry, leave = (modelled_spread_pips(chain.instrument, market["time"][at]) / 2 + 0.1 for at in rows.values())
    side, price = np.array(trades["side"]), np.array(trades["exit_price"])
    # A session's last bar fills at its close, all others at the open: the price says which of the two it was.
    middles = np.stack([market["open"][rows["exit"]], market["close"][rows["exit"]]])
    nearest = np.abs(middles - price - side * leave * PIP).argmin(axis=0)
    out = np.take_along_axis(middles, nearest[None], axis=0)[0]
    gross = side * (out - market["open"][rows["entry"]]) / PIP
    return gross - np.array(trades["pnl_pips"]) - entry - leave


@pytest.mark.usefixtures("trades_at_random")
@pytest.mark.parametrize("cheat", CHEATS)
def test_no_costs_of_the_settings_are_below_what_is_judged(chain: "Chain", tmp_path: Path, cheat: str) -> None:
    with chain.copied(tmp_path / "data", **CHEATS[cheat]) as copied:
        if cheat == "one price for bid and ask":
            one_price(copied)
        copied.job("validate", copied.key())
        report = json.loads((copied.report / "report.json").read_text())
        figures = report["figures"]
        assert figures["trades"] > 0 and (least_lost_pips(copied, figures) > -1e-6).all()
        assert figures["expectancy_pips"] == pytest.approx(figures["stressed_expectancy_pips"])
        assert figures["parity"]["differing"] == 0 and figures["parity_error_pips"] < 1e-6
        basis = figures["cost_basis"]
        assert basis["charged_pips"] > 1 and basis["slippage_pips"] == pytest.approx(0.1)
        assert basis["trained_pips"] == 4.0
        if cheat != "modelled":
            assert "less than that of EUR_USD" in " ".join(figures["warnings"])
        if cheat == "one price for bid and ask":
            assert basis["quotes"] == "bid equals ask" and "one price in 100%" in " ".join(figures["warnings"])
        # Whatever is configured, it is one and the same trial: another cost below the market's is no new one.
        rows = Ledger(copied.data_dir / "ledger.db").scored(copied.instrument, copied.window)
        assert {row.costs["fixed_pips"] for row in rows} == {4.0, 0.0} and len(rows) == 2


def test_a_training_at_lower_costs_is_said(chain: "Chain", tmp_path: Path) -> None:
    with chain.copied(tmp_path / "data", FX_COST_FIXED_PIPS="0.5") as copied:
        copied.job("train", copied.key())
        copied.changes = {"FX_COST_FIXED_PIPS": "0"}
        copied.job("validate", copied.key())
        figures = json.loads((copied.report / "report.json").read_text())["figures"]
        assert figures["cost_basis"]["trained_pips"] == 0.5 and figures["cost_basis"]["configured_pips"] == 0.0
        assert "was trained at a spread of 0.5 pips, less than" in " ".join(figures["warnings"])
        page = (copied.report / "report.html").read_text()
        assert "was trained at a spread of 0.5 pips" in page
