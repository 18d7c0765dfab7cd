"""A ledger that is deleted, put back as an older copy, written anew, or left behind is noticed by the jobs."""

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fx_pipeline.cli import app
from fx_pipeline.defs.ledger_state import ledger_faults
from fx_pipeline.defs.models import validation_report
from fx_pipeline.defs.resources import Tracking
from fx_pipeline.settings import load_settings
from fx_pipeline.tracking.ledger import Ledger, lineage_sha256
from fx_pipeline_tests.defs.conftest import INSTRUMENT, Chain

#: What alone stands between a deleted ledger and a clean one, in turn.
WITNESSES = ("reports", "mlflow.db", "dagster")


def faults(chain: Chain) -> list[str]:
    """What the next validation would say of the ledger."""
    with chain.environment():
        tracking = Tracking()
        return ledger_faults(chain.instance, validation_report.key, load_settings(), tracking, tracking.ledger())


def ledger_of(chain: Chain) -> Ledger:
    return Ledger(chain.data_dir / "ledger.db", who="tester")


def validate(chain: Chain) -> dict[str, Any]:
    """Validate again, whatever stands, and return the report."""
    (chain.report / "made_from.json").unlink(missing_ok=True)
    assert chain.job("validate", chain.key()).success
    return json.loads((chain.report / "report.json").read_bytes())


def complete(report: dict[str, Any]) -> dict[str, Any]:
    """The condition of the gate that the ledger is whole."""
    found: dict[str, Any] = next(c for c in report["figures"]["conditions"] if c["name"] == "ledger_complete")
    return found


@pytest.fixture
def knowing(chain: Chain, tmp_path: Path) -> Iterator[Chain]:
    """A copy of the chain whose instance knows of its validation, too."""
    with chain.copied(tmp_path / "data") as copied:
        validate(copied)
        yield copied


def remove(chain: Chain, *names: str) -> None:
    for name in names:
        path = chain.data_dir / name
        if name == "dagster":
            chain.instance.wipe_assets([validation_report.key])
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def test_an_honest_ledger_has_no_fault_and_is_named_everywhere(knowing: Chain) -> None:
    assert faults(knowing) == []
    ledger, report = ledger_of(knowing), json.loads((knowing.report / "report.json").read_bytes())
    lineage = report["lineage"]
    head = ledger.head()
    assert (lineage["ledger_id"], lineage["ledger_head"], lineage["ledger_rows"]) == (
        head.ledger_id,
        head.hash,
        head.rows,
    )
    assert ledger.hash_at(lineage["ledger_rows"]) == lineage["ledger_head"] and ledger.verify() == []
    with contextlib.closing(sqlite3.connect(knowing.data_dir / "mlflow.db")) as store:
        tags = store.execute("SELECT value FROM tags WHERE key = 'ledger_head'").fetchall()
    assert lineage["ledger_head"] in [value for (value,) in tags]
    (event,) = knowing.instance.fetch_materializations(validation_report.key, limit=1).records
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["ledger head"].value == lineage["ledger_head"]
    # The report itself is a row: figures, and what they were made from.
    trial = next(trial for trial in ledger.of_configuration(INSTRUMENT, ledger.trials()[-1]["config_hash"]))
    kept = {item: value for item, value in lineage.items() if not item.startswith("ledger_")}
    (reported, *_) = [found for found in ledger.reports(trial.key) if found.figures_sha256 == report["figures_sha256"]]
    assert reported.lineage_sha256 == lineage_sha256(kept) and trial.reported


@pytest.mark.parametrize("left", WITNESSES)
def test_a_deleted_ledger_is_missed_by_each_that_tells_of_it(knowing: Chain, left: str) -> None:
    (knowing.data_dir / "ledger.db").unlink()
    remove(knowing, *(name for name in WITNESSES if name != left))
    (fault,) = faults(knowing)
    assert "another trial ledger than the one that is here" in fault and "fx-pipeline ledger recover" in fault


def test_a_validation_after_the_deletion_says_so_and_no_later_one_forgets_it(knowing: Chain) -> None:
    assert complete(validate(knowing))["passed"]
    (knowing.data_dir / "ledger.db").unlink()
    remove(knowing, "mlflow.db", "dagster")
    report = validate(knowing)
    assert not complete(report)["passed"] and report["figures"]["verdict"] == "rejected"
    assert any("another trial ledger" in reason for reason in report["figures"]["reasons"])
    # The report was written over, and with it the last that told of the old ledger.
    remove(knowing, "mlflow.db", "dagster", "reports")
    assert any("another trial ledger" in fault for fault in faults(knowing))
    validate(knowing)
    assert any("another trial ledger" in fault for fault in faults(knowing))


def test_an_older_copy_is_younger_than_its_reports_and_stays_so(knowing: Chain, tmp_path: Path) -> None:
    older = tmp_path / "older.db"
    shutil.copy(knowing.data_dir / "ledger.db", older)
    ledger_of(knowing).note("anything", {})
    validate(knowing)
    newest = (knowing.data_dir / "ledger.db").read_bytes()
    shutil.copy(older, knowing.data_dir / "ledger.db")
    assert any("it is an older copy" in fault for fault in faults(knowing))
    for _ in range(5):
        ledger_of(knowing).note("filling up", {})
    assert any("it was written anew" in fault for fault in faults(knowing))
    (knowing.data_dir / "ledger.db").write_bytes(newest)
    assert faults(knowing) == []


def test_reports_in_a_fresh_folder_tell_of_the_ledger_that_was_left_behind(knowing: Chain, tmp_path: Path) -> None:
    with knowing.copied(tmp_path / "fresh") as fresh:
        remove(fresh, "ledger.db", "mlflow.db")
        assert any("another trial ledger" in fault for fault in faults(fresh))
        shutil.copy(knowing.data_dir / "ledger.db", fresh.data_dir / "ledger.db")
        assert faults(fresh) == []


def test_reports_and_runs_of_earlier_versions_tell_of_their_trials(knowing: Chain) -> None:
    path = knowing.report / "report.json"
    report = json.loads(path.read_bytes())
    report["lineage"] = {k: v for k, v in report["lineage"].items() if not k.startswith("ledger_")}
    path.write_text(json.dumps(report))
    with contextlib.closing(sqlite3.connect(knowing.data_dir / "mlflow.db")) as store, store:
        store.execute("DELETE FROM tags WHERE key LIKE 'ledger_%' OR key = 'checkpoint_sha256'")
    remove(knowing, "dagster")
    assert faults(knowing) == []
    (knowing.data_dir / "ledger.db").unlink()
    (fault,) = faults(knowing)
    assert "trials that the trial ledger lacks" in fault and "report.json" in fault and "MLflow run" in fault


def test_scores_of_a_run_that_died_before_its_report_are_told_of(
    knowing: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    (knowing.data_dir / "ledger.db").unlink()
    remove(knowing, "dagster", "reports")
    # This process has MLflow's file open: removed, it would be written to all the same.
    with contextlib.closing(sqlite3.connect(knowing.data_dir / "mlflow.db")) as store, store:
        store.execute("DELETE FROM tags")

    def die(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    # What is called once the score is a row, and before anything of it is shown.
    monkeypatch.setattr("fx_pipeline.validation.validate.build_report", die)
    assert not knowing.job("validate", knowing.key(), fails=True).success
    assert ledger_of(knowing).count(INSTRUMENT) == 1 and faults(knowing) == []
    assert ledger_of(knowing).looks()[0][0].reported
    (knowing.data_dir / "ledger.db").unlink()
    (fault,) = faults(knowing)
    assert "another trial ledger" in fault and "MLflow run" in fault
    remove(knowing, "mlflow.db")
    (fault,) = faults(knowing)
    assert "another trial ledger" in fault and "Dagster run" in fault


def test_a_forged_row_is_a_fault(knowing: Chain) -> None:
    with contextlib.closing(sqlite3.connect(knowing.data_dir / "ledger.db")) as connection, connection:
        connection.execute("DROP TRIGGER series_no_UPDATE")
        connection.execute("UPDATE series SET pnl_pips = zeroblob(8)")
    (fault,) = faults(knowing)
    assert "is not as it was written" in fault and "series" in fault


def test_what_is_gone_for_good_is_recovered_in_the_open_and_counts(knowing: Chain) -> None:
    with knowing.environment():
        for _ in range(2):
            ledger_of(knowing).note("rows of a long life", {})
    had = ledger_of(knowing).count()
    (knowing.data_dir / "ledger.db").unlink()
    report = validate(knowing)
    assert report["lineage"]["ledger_trials"] >= 1
    with knowing.environment():
        seen = CliRunner().invoke(app, ["ledger", "check"])
        assert seen.exit_code == 1 and "another trial ledger" in seen.output.replace("\n", " ")
        done = CliRunner().invoke(app, ["ledger", "recover", "--reason", "the disk died"])
        assert done.exit_code == 0 and f"{had} lost" in done.output
        assert CliRunner().invoke(app, ["ledger", "check"]).exit_code == 0
    ledger = ledger_of(knowing)
    (event,) = ledger.events("recovered")
    assert event["reason"] == "the disk died" and event["lost"] == ledger.lost() == had
    assert faults(knowing) == [] and ledger.verify() == []
    before = ledger.looks()[0][-1]
    assert ledger.choices(before, ledger.looks()[1][before.days]).lost == had


def test_recovery_carries_over_the_trials_that_reports_tell_of(knowing: Chain) -> None:
    (knowing.data_dir / "ledger.db").unlink()
    with knowing.environment():
        done = CliRunner().invoke(app, ["ledger", "recover", "--reason", "lost"])
    assert done.exit_code == 0 and "1 trials carried over" in done.output
    (row,) = ledger_of(knowing).trials(INSTRUMENT)
    assert (row["origin"], row["window"], row["evaluation_code"]) == ("recovered", knowing.window, "recovered")
    assert faults(knowing) == []
    # What is validated anew is one configuration, what was carried over another: nobody knows that they are one.
    report = validate(knowing)
    assert report["lineage"]["ledger_rows"] > 0 and faults(knowing) == []
    own = ledger_of(knowing).looks()[0][-1]
    assert ledger_of(knowing).choices(own, ledger_of(knowing).looks()[1][own.days]).configurations == 2
