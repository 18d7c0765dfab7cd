"""The chain from raw pages to the report, as one run of each job left it."""

import json
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pytest

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain

ASSETS = {
    "ingest": ["raw_candles", "m1_candles"],
    "prepare": ["feature_table", "valid_sessions"],
    "train": ["muzero_checkpoint"],
    "validate": ["validation_report", "leaderboard"],
}
CURRENT = {"EUR_USD_is_current", "GBP_USD_is_current"}
CHECKS = {
    "ingest": {"candles_are_sane", "gaps_are_few", "history_stands", "months_have_candles", *CURRENT},
    "prepare": {
        "features_are_finite",
        "features_are_causal",
        "unit_fits",
        "spread_model_fits",
        "sessions_exist",
        "windows_do_not_leak",
        "made_of_present_data",
    },
    "train": {
        "training_is_finite",
        "expectancy_is_bearable",
        "some_trades_win",
        "agent_still_trades",
        "values_fit_their_support",
        "windows_were_trained",
        "made_of_present_data",
    },
    "validate": {"report_is_complete", "windows_were_validated", "made_of_present_data"},
}


def metadata(chain: "Chain", asset: str) -> dict[str, Any]:
    """Of the newest materialisation of an asset, as plain values."""
    event = chain.instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None and event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


@pytest.mark.parametrize("job", ASSETS)
def test_everything_is_materialised_and_checked(chain: "Chain", job: str) -> None:
    result = chain.results[job]
    assert result.success
    assert [event.asset_key.to_user_string() for event in result.get_asset_materialization_events()] == ASSETS[job]
    evaluations = result.get_asset_check_evaluations()
    assert {evaluation.check_name for evaluation in evaluations} == CHECKS[job]
    failed = {e.check_name for e in evaluations if not e.passed}
    # An agent of four episodes may well deserve a warning; a synthetic market has no quotes to compare with.
    expected = {"ingest": {"GBP_USD_is_current"}, "prepare": {"spread_model_fits"}}
    assert job == "train" or failed == expected.get(job, set())
    assert all(e.passed or e.severity == dg.AssetCheckSeverity.WARN for e in evaluations)
    assert not failed & {"made_of_present_data", "windows_were_trained"}


def test_raw_pages_say_where_they_come_from(chain: "Chain") -> None:
    found = metadata(chain, "raw_candles")
    assert found["source"] == "synthetic" and found["quotes"] == "modelled" and found["month complete"] is True
    assert found["pages"] == found["pages downloaded now"] > 1
    assert found["dagster/row_count"] > 25_000


def test_parquet_tells_of_gaps_and_quarantine(chain: "Chain") -> None:
    found = metadata(chain, "m1_candles")
    assert found["dagster/row_count"] == found["expected minutes"] - found["missing minutes"]
    assert 0 < found["missing percent"] < 10 and found["quarantined"] == 0
    assert found["bid and ask from the cost model"] is True
    assert len(found["longest gaps"].records) == 20
    assert found["gaps"].startswith("![plot](data:image/png;base64,")


def test_features_are_counted(chain: "Chain") -> None:
    candles, found = metadata(chain, "m1_candles"), metadata(chain, "feature_table")
    assert found["dagster/row_count"] == found["rows written"] == candles["dagster/row_count"]
    assert found["warm bars"] == found["dagster/row_count"] - 1_499
    assert found["months computed"] == "2024-01"


def test_sessions_and_windows_are_shown(chain: "Chain") -> None:
    found = metadata(chain, "valid_sessions")
    assert found["dagster/row_count"] > found["sessions that do not overlap"] > 10
    assert (found["train days"], found["validation days"], found["embargo bars"]) == (8, 4, 1_860)
    windows = [record.data["window"] for record in found["windows"].records]
    assert windows == list(chain.instance.get_dynamic_partitions("walk_forward_window"))
    assert windows[-1] == chain.window


def test_checkpoint_shows_its_identity_and_curves(chain: "Chain") -> None:
    found = metadata(chain, "muzero_checkpoint")
    record = json.loads((chain.checkpoint / "checkpoint.json").read_text())
    assert found["sha256"] == record["weights_sha256"]
    assert (found["seeds"], found["preset"], found["kept as it stood"]) == ("7", "tiny", False)
    assert found["episodes"] == 4.0 and np.isfinite(found["loss"])
    assert found["curves"].startswith("![plot]")
    assert sorted(path.name for path in chain.checkpoint.iterdir()) == [
        "checkpoint.json",
        "history.json",
        "kept",
        "made_from.json",
        "progress.json",
        "run.json",
        "weights.safetensors",
    ]


def test_report_shows_verdict_and_conditions(chain: "Chain") -> None:
    found = metadata(chain, "validation_report")
    report = json.loads((chain.report / "report.json").read_text())
    assert found["verdict"] == report["figures"]["verdict"]
    assert [record.data["condition"] for record in found["conditions"].records] == [
        condition["title"] for condition in report["figures"]["conditions"]
    ]
    assert found["report page"] == f"http://127.0.0.1:3001/muzero/EUR_USD/{chain.window}/report.html"
    assert found["source"] == "synthetic"
    assert found["checkpoint sha256"] == metadata(chain, "muzero_checkpoint")["sha256"]


def test_report_knows_what_it_was_made_of(chain: "Chain") -> None:
    lineage = json.loads((chain.report / "report.json").read_text())["lineage"]
    assert lineage["synthetic"] is True and lineage["quotes_modelled"] == 1.0
    assert lineage["embargo_bars"] == 1_860
    assert lineage["train_end"] < lineage["valid_start"] < lineage["valid_end"]
    assert lineage["market_bars"] > 4 * 1_000
    assert all(gap["minutes"] > 0 for gap in lineage["gaps"]) and lineage["gaps"]
    assert lineage["quarantined_bars"] == 0


def test_training_and_validation_never_meet(chain: "Chain") -> None:
    """No bar of a training session, nor of its label, is seen by a validation session or its features."""
    from fx_pipeline.lifecycle.spans import load_span
    from fx_pipeline.market.arrays import SESSION_BARS
    from fx_pipeline.settings import load_settings

    with chain.environment():
        warehouse = chain.definitions().resources["warehouse"]
        train = load_span(load_settings(), warehouse, chain.instrument, chain.window, "train")
        valid = load_span(load_settings(), warehouse, chain.instrument, chain.window, "valid")
    assert train.market.time[-1] < train.window.train_end
    last_train = train.market.time[train.starts + SESSION_BARS - 1].max()
    assert last_train < train.window.train_end < valid.window.valid_start <= valid.market.time[valid.starts].min()
    assert np.all(np.diff(valid.starts) >= SESSION_BARS)


def test_no_setting_chooses_the_sessions_that_a_model_is_judged_on(
    chain: "Chain", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day that is closed by a setting, or a break that takes the hours of the losses, moves no session."""
    from fx_pipeline.lifecycle.spans import load_span
    from fx_pipeline.settings import load_settings

    with chain.environment():
        warehouse = chain.definitions().resources["warehouse"]
        valid = load_span(load_settings(), warehouse, chain.instrument, chain.window, "valid")
        day = np.datetime64(int(valid.market.time[valid.starts[1]]), "ns").astype("datetime64[D]")
        for name, value in (("FX_HOLIDAYS", str(day)), ("FX_DAILY_BREAK", "03:00-16:00")):
            with monkeypatch.context() as patched:
                patched.setenv(name, value)
                again = load_span(load_settings(), warehouse, chain.instrument, chain.window, "valid")
            assert again.starts.tolist() == valid.starts.tolist()


def test_mlflow_has_a_run_of_each_that_names_the_dagster_run(chain: "Chain") -> None:
    from fx_pipeline.settings import load_settings
    from fx_pipeline.tracking.mlflow_store import Tracking

    with chain.environment():
        layout = load_settings().layout
        client = Tracking(layout.mlflow_uri, layout.mlflow_artifacts).client
    wanted = {
        "training": ("train", {"preset": "tiny", "episodes": "4", "seed": "7"}, "loss", "weights.safetensors"),
        "validation": ("validate", {"mc_runs": "200", "seed": "7"}, "exposure", "report.html"),
    }
    for name, (job, parameters, metric, artifact) in wanted.items():
        experiment = client.get_experiment_by_name(name)
        (run,) = client.search_runs([experiment.experiment_id])
        assert run.info.status == "FINISHED"
        assert parameters.items() <= run.data.params.items()
        assert metric in run.data.metrics
        assert run.data.tags["dagster/run_id"] == chain.results[job].run_id
        assert run.data.tags["window"] == chain.window and run.data.tags["instrument"] == chain.instrument
        assert artifact in {file.path for file in client.list_artifacts(run.info.run_id)}


def test_dagster_names_the_mlflow_run(chain: "Chain") -> None:
    report = json.loads((chain.report / "report.json").read_text())
    assert report["run"]["dagster_run_id"] == chain.results["validate"].run_id
    assert "/#/experiments/" in report["run"]["mlflow_url"]
    assert len(metadata(chain, "muzero_checkpoint")["mlflow run"]) == 32


def test_ledger_has_the_trial(chain: "Chain") -> None:
    from fx_pipeline.tracking.ledger import Ledger

    report = json.loads((chain.report / "report.json").read_text())
    (row,) = Ledger(chain.data_dir / "ledger.db").trials()
    assert (row["instrument"], row["window"], row["seed"]) == (chain.instrument, chain.window, 7)
    assert row["checkpoint_hash"] == report["lineage"]["checkpoint_sha256"]
    assert row["trades"] == report["figures"]["trades"]
    (scored,) = Ledger(chain.data_dir / "ledger.db").scored(chain.instrument, chain.window)
    assert len(scored.session_pnl_pips) == report["figures"]["sessions"]
    assert scored.session_pnl_pips.sum() == pytest.approx(report["figures"]["total_pips"])


def test_report_compares_with_the_agent_without_search_and_says_what_was_searched(chain: "Chain") -> None:
    report = json.loads((chain.report / "report.json").read_text())
    figures = report["figures"]
    assert figures["baselines"]["ablation"]["name"] == "this model without its search"
    assert figures["leaks_found"] == 0 and len(figures["leaks_searched"]) == 4
    assert figures["parity_error_pips"] < 1e-6
    assert figures["trials"] == figures["seeds"] == 1
    assert "the ledger has one trial" in figures["record"]["family_absent"]


def test_summary_prints_the_contract_as_its_last_line(chain: "Chain") -> None:
    from typer.testing import CliRunner

    from fx_pipeline.cli import app
    from fx_pipeline.defs.checks import SUMMARY_FIELDS

    with chain.environment():
        done = CliRunner().invoke(app, ["summary", "--json"])
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout.splitlines()[-1])
    assert tuple(summary) == SUMMARY_FIELDS
    assert (summary["instrument"], summary["window"], summary["seed"]) == (chain.instrument, chain.window, 7)
    assert summary["episodes"] == 4 and summary["sessions"] > 5 and summary["bars"] == 360 * summary["sessions"]
    assert summary["verdict"] in ("promoted", "rejected") and summary["reasons"]
    assert summary["report"] == str(chain.report / "report.html") and summary["wall_s"] > 0


def test_summary_is_a_table_for_people(chain: "Chain") -> None:
    from typer.testing import CliRunner

    from fx_pipeline.cli import app

    with chain.environment():
        done = CliRunner().invoke(app, ["summary"])
    assert done.exit_code == 0 and "expectancy_pips" in done.output


def test_nothing_temporary_is_left(chain: "Chain") -> None:
    assert not list(chain.data_dir.rglob(".tmp-*"))
