"""The sealed days: nothing reaches them, and a named candidate sees them once."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pandas as pd

from fx_pipeline.provenance.stamps import stamp
from fx_pipeline.tracking.ledger import Ledger
from fx_pipeline_tests.defs.conftest import attest, skip_of

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain


def open_for(chain: "Chain", window: str, checkpoint: str = "", fails: bool = False) -> dg.ExecuteInProcessResult:
    from fx_pipeline.defs.holdout import holdout_report

    return chain.materialize(holdout_report, chain.key(window), fails=fails, config={"checkpoint": checkpoint})


def sql(chain: "Chain", query: str) -> int:
    resources = chain.definitions().resources
    assert resources is not None
    with resources["warehouse"].get_connection() as connection:
        return connection.execute(query).fetchone()[0]


def refusal(result: dg.ExecuteInProcessResult) -> str:
    (failure,) = result.filter_events(lambda event: event.is_step_failure)
    cause = failure.step_failure_data.error.cause
    assert cause is not None
    return cause.message


def believe(folder: Path) -> None:
    """What a report of a few sessions never says of itself, written into the file, stamp and all."""
    report = json.loads((folder / "report.json").read_text())
    report["figures"]["verdict"] = "promoted"
    (folder / "report.json").write_text(json.dumps(report))
    made_from = json.loads((folder / "made_from.json").read_text())
    stamp(folder, made_from["identity"], *made_from["files"])


def test_sealed_days_are_out_of_reach_and_opened_once(chain: "Chain", tmp_path: Path) -> None:
    with chain.copied(tmp_path / "data", FX_HOLDOUT_START=chain.window) as sealed:
        ledger = Ledger(sealed.data_dir / "ledger.db")
        # The plan is still the one that was made before the seal.
        trials = ledger.count()
        for job, asset in (("train", "muzero_checkpoint"), ("validate", "validation_report")):
            assert "was planned before" in skip_of(sealed.job(job, sealed.key(chain.window)), asset)
        assert ledger.count() == trials
        sealed.job("prepare", sealed.instrument)
        plan = json.loads((sealed.data_dir / "windows" / f"{sealed.instrument}.json").read_text())
        planned = [window["key"] for window in plan["windows"]]
        assert planned and chain.window not in planned
        with sealed.environment():
            from fx_pipeline.settings import load_settings

            start = load_settings().sealed_from_ns
        assert start is not None and all(window["valid_end"] <= start for window in plan["windows"])
        # What was trained on a window that reaches into them is no candidate.
        assert "reaches into the sealed days" in skip_of(open_for(sealed, chain.window), "holdout_report")

        window = planned[-1]
        sealed.job("train", sealed.key(window))
        sealed.job("validate", sealed.key(window))
        folder = sealed.data_dir / "reports" / "muzero" / sealed.instrument / window
        validation = json.loads((folder / "report.json").read_text())
        assert validation["figures"]["holdout_openings"] == 0

        # A run that names no candidate, another one, or one that the gate rejected leaves the seal whole.
        name = validation["lineage"]["checkpoint_sha256"][:12]
        for wrong, reason in (
            ("", "names no checkpoint"),
            ("0" * 12, "names '0000"),
            (name, "the gate says 'rejected'"),
        ):
            assert reason in refusal(open_for(sealed, window, wrong, fails=True))
        assert ledger.holdout_openings(sealed.instrument, start) == 0

        believe(folder)
        assert "do not have the hash that stands beside them" in refusal(open_for(sealed, window, name, fails=True))
        attest(sealed, window)
        sealed.changes["FX_MC_RUNS"] = "100"
        assert "holds no report of this checkpoint" in refusal(open_for(sealed, window, name, fails=True))
        del sealed.changes["FX_MC_RUNS"]
        # The last hour has not been ingested yet.
        newest = sql(sealed, "SELECT max(epoch_ns(time)) FROM features")
        hour_ago = f"epoch_ns(time) > {newest - 3_600_000_000_000}"
        sql(sealed, f"CREATE TABLE later AS SELECT * FROM features WHERE {hour_ago}")
        sql(sealed, f"DELETE FROM features WHERE {hour_ago}")
        (event,) = open_for(sealed, window, name).get_asset_materialization_events()
        report = json.loads((folder / "holdout" / "report.json").read_text())
        assert report["figures"]["sealed"] == f"hold-out {chain.window}" == report["figures"]["window"]
        assert report["figures"]["holdout_openings"] == 1
        shown = report["figures"]["price"]["time"]
        assert pd.Timestamp(shown[0]).value >= start
        assert pd.Timestamp(report["lineage"]["valid_end"]).year == 2024
        assert event.materialization.metadata["sessions"].value == report["figures"]["sessions"]
        assert ledger.holdout_openings(sealed.instrument, start) == 1
        assert len(ledger.scored(sealed.instrument, f"hold-out {chain.window}")) == 1

        # Once more tells nothing new, with newer bars in the table too; under other costs it would.
        last_ns = ledger.sealed_until(sealed.instrument, report["lineage"]["checkpoint_sha256"], start)
        assert last_ns is not None and last_ns < newest
        sql(sealed, "INSERT INTO features SELECT * FROM later")
        shutil.rmtree(folder / "holdout")
        sealed.changes["FX_MC_RUNS"] = "100"
        assert open_for(sealed, window, name).get_asset_materialization_events()
        again = json.loads((folder / "holdout" / "report.json").read_text())
        assert again["figures"]["price"] == report["figures"]["price"]
        assert again["lineage"]["valid_end"] == report["lineage"]["valid_end"]
        assert len(ledger.scored(sealed.instrument, f"hold-out {chain.window}")) == 1
        sealed.changes["FX_COST_FIXED_PIPS"] = "1"
        assert "under other costs" in refusal(open_for(sealed, window, name, fails=True))
        del sealed.changes["FX_COST_FIXED_PIPS"]
        # Another name of the seal does not undo it.
        sealed.changes["FX_HOLDOUT_START"] = str((pd.Timestamp(chain.window) + pd.Timedelta(days=1)).date())
        sealed.job("validate", sealed.key(window))
        attest(sealed, window)
        assert "from another day on" in refusal(open_for(sealed, window, name, fails=True))
        assert ledger.holdout_openings(sealed.instrument, start) == 1

        # From now on every report says so, without the setting too.
        for changed in ({"FX_HOLDOUT_START": chain.window}, {}):
            del sealed.changes["FX_HOLDOUT_START"]
            sealed.changes |= changed
            sealed.job("validate", sealed.key(window))
            assert json.loads((folder / "report.json").read_text())["figures"]["holdout_openings"] == 1


def test_without_sealed_days_there_is_nothing_to_open(chain: "Chain") -> None:
    assert "no day is sealed" in skip_of(open_for(chain, chain.window), "holdout_report")
    assert Ledger(chain.data_dir / "ledger.db").holdout_openings(chain.instrument, None) == 0
