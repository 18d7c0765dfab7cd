"""The sealed days: nothing reaches them, and a candidate sees them once."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pandas as pd

from fx_pipeline.tracking.ledger import Ledger

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain


def open_for(chain: "Chain", window: str, fails: bool = False) -> dg.ExecuteInProcessResult:
    from fx_pipeline.defs.holdout import holdout_report

    return chain.materialize(holdout_report, chain.key(window), fails=fails)


def test_sealed_days_are_out_of_reach_and_opened_once(chain: "Chain", tmp_path: Path) -> None:
    with chain.copied(tmp_path / "data", FX_HOLDOUT_START=chain.window) as sealed:
        sealed.job("prepare", sealed.instrument)
        plan = json.loads((sealed.data_dir / "windows" / f"{sealed.instrument}.json").read_text())
        planned = [window["key"] for window in plan["windows"]]
        assert planned and chain.window not in planned
        with sealed.environment():
            from fx_pipeline.settings import load_settings

            start = load_settings().sealed_from_ns
        assert all(window["valid_end"] <= start for window in plan["windows"])
        # What was trained on a window that reaches into them is no candidate.
        assert not open_for(sealed, chain.window).get_asset_materialization_events()

        window = planned[-1]
        sealed.job("train", sealed.key(window))
        sealed.job("validate", sealed.key(window))
        folder = sealed.data_dir / "reports" / "muzero" / sealed.instrument / window
        assert json.loads((folder / "report.json").read_text())["figures"]["holdout_openings"] == 0

        (event,) = open_for(sealed, window).get_asset_materialization_events()
        report = json.loads((folder / "holdout" / "report.json").read_text())
        assert report["figures"]["sealed"] == f"hold-out {chain.window}" == report["figures"]["window"]
        assert report["figures"]["holdout_openings"] == 1
        assert pd.Timestamp(report["figures"]["price"]["time"][0]).value >= start
        assert event.materialization.metadata["sessions"].value == report["figures"]["sessions"]
        ledger = Ledger(sealed.data_dir / "ledger.db")
        assert ledger.holdout_openings(sealed.instrument, f"hold-out {chain.window}") == 1
        assert len(ledger.scored(sealed.instrument, f"hold-out {chain.window}")) == 1

        # Once more tells nothing new; under other costs it would.
        assert open_for(sealed, window).get_asset_materialization_events()
        sealed.changes["FX_COST_FIXED_PIPS"] = "1"
        assert not open_for(sealed, window, fails=True).success
        assert ledger.holdout_openings(sealed.instrument, f"hold-out {chain.window}") == 1

        # From now on every report says so.
        del sealed.changes["FX_COST_FIXED_PIPS"]
        sealed.job("validate", sealed.key(window))
        assert json.loads((folder / "report.json").read_text())["figures"]["holdout_openings"] == 1


def test_without_sealed_days_there_is_nothing_to_open(chain: "Chain") -> None:
    assert not open_for(chain, chain.window).get_asset_materialization_events()
    assert Ledger(chain.data_dir / "ledger.db").holdout_openings(chain.instrument, "") == 0
