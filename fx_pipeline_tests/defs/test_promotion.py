"""Promotion: a model version, the alias, a frozen copy and a record; repeated or interrupted, it ends the same."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from fx_pipeline_tests.defs.conftest import attest, warehouse_of

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain


@pytest.fixture
def place(copy: "Chain") -> Iterator["Chain"]:
    """A copy of the chain whose report passed the gate."""
    attest(copy)
    with copy.environment():
        yield copy


def promote(chain: "Chain") -> Any:
    from fx_pipeline.defs.resources import Tracking
    from fx_pipeline.lifecycle.promotion import promote
    from fx_pipeline.settings import load_settings

    settings = load_settings()
    return promote(settings, warehouse_of(settings), Tracking(), "muzero", chain.instrument, chain.window, "a-run")


def registry() -> Any:
    from fx_pipeline.defs.resources import Tracking

    return Tracking().mlflow()


def test_model_is_registered_and_named_champion(place: "Chain") -> None:
    done = promote(place)
    record = json.loads((place.checkpoint / "checkpoint.json").read_text())
    version = registry().champion("EUR_USD-muzero")
    assert version.version == done.champion["version"] == "1"
    assert version.checkpoint_sha256 == record["weights_sha256"] == done.champion["sha256"]
    assert version.tags["window"] == place.window and version.tags["dagster/run_id"] == "a-run"
    model = Path(done.champion["model"])
    assert version.path == model
    for name in ("weights.safetensors", "checkpoint.json"):
        assert (model / name).read_bytes() == (place.checkpoint / name).read_bytes()
    champion = json.loads((place.data_dir / "champion" / "EUR_USD.json").read_text())
    # Nothing in it says where the data folder lies: a moved or copied one has its own model.
    assert {name: place.data_dir / champion.pop(name) for name in ("model", "report")} == {
        "model": model,
        "report": model / "report.json",
    }
    assert str(place.data_dir) not in json.dumps(champion)
    assert {name: done.champion[name] for name in champion} == champion
    assert champion["expectancy_pips"] == 3.2


def test_the_version_names_all_that_it_came_from_and_is_named_by_it(place: "Chain") -> None:
    done = promote(place)
    version, client = registry().champion("EUR_USD-muzero"), registry().client
    tags, report = version.tags, json.loads((place.report / "report.json").read_text())
    # The report as it was at the promotion stays, whatever becomes of the window's own.
    (place.report / "report.json").unlink()
    kept = Path(tags["report"])
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == tags["report_sha256"]
    assert json.loads(kept.read_bytes())["figures_sha256"] == tags["figures_sha256"] == report["figures_sha256"]
    assert kept.with_suffix(".html").exists()
    assert tags["sha256"] == report["lineage"]["checkpoint_sha256"]
    assert tags["data_fingerprint"] == report["lineage"]["data_fingerprint"] != tags["training_data_fingerprint"]
    assert tags["training_dagster_run_id"] == trained_by(place) and version.run_id == tags["training_mlflow_run_id"]
    assert tags["validation_dagster_run_id"] == report["run"]["dagster_run_id"]
    for run_id in (tags["training_mlflow_run_id"], tags["validation_mlflow_run_id"]):
        run = client.get_run(run_id)
        assert run.data.tags["registered_model"] == "EUR_USD-muzero" and run.data.tags["version"] == "1"
        assert run.data.tags["window"] == place.window
    back = json.loads((place.report / "registered.json").read_text())
    assert back["version"] == version.version and back["sha256"] == tags["sha256"]
    assert done.champion["registered_url"] == back["registered_url"]
    assert back["registered_url"].endswith("/#/models/EUR_USD-muzero/versions/1")


def trained_by(chain: "Chain") -> str:
    run: str = json.loads((chain.checkpoint / "run.json").read_text())["dagster_run_id"]
    return run


def test_a_report_that_is_made_again_names_the_version_of_its_checkpoint_only(place: "Chain") -> None:
    from fx_pipeline.defs.report_metadata import report_metadata
    from fx_pipeline.validation.report import read_report

    assert "registered model" not in report_metadata(read_report(place.report), place.report)
    promote(place)
    report = read_report(place.report)
    assert report_metadata(report, place.report)["registered model"] == "EUR_USD-muzero v1"
    report["lineage"]["checkpoint_sha256"] = "another"
    assert "registered model" not in report_metadata(report, place.report)


def test_frozen_model_is_what_the_live_job_loads(place: "Chain") -> None:
    from fx_pipeline.agents.registry import agent

    done = promote(place)
    agent("muzero").load_policy(Path(done.champion["model"]))


def test_repeated_promotion_changes_nothing(place: "Chain") -> None:
    done = promote(place)
    files = {path: path.stat().st_mtime_ns for path in (place.data_dir / "models").rglob("*") if path.is_file()}
    again = promote(place)
    assert again.champion is None and "is the champion already" in again.reason
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert len(registry().versions("EUR_USD-muzero")) == 1
    assert registry().champion("EUR_USD-muzero").version == done.champion["version"]


@pytest.mark.parametrize("step", ["register_model_version", "set_champion", "record"])
def test_interrupted_promotion_is_completed(place: "Chain", monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    from fx_pipeline.tracking.mlflow_store import Tracking

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if step == "record":
            patch.setattr("fx_pipeline.lifecycle.promotion.atomic_write_json", killed)
        else:
            patch.setattr(Tracking, step, killed)
        with pytest.raises(KeyboardInterrupt):
            promote(place)
    done = promote(place)
    assert done.champion is not None and done.champion["version"] == "1"
    assert len(registry().versions("EUR_USD-muzero")) == 1


def test_interrupted_copy_is_completed(place: "Chain") -> None:
    sha256 = json.loads((place.checkpoint / "checkpoint.json").read_text())["weights_sha256"]
    model = place.data_dir / "models" / "EUR_USD" / sha256[:16]
    model.mkdir(parents=True)
    (model / "weights.safetensors").write_bytes(b"half of i")
    done = promote(place)
    assert Path(done.champion["model"]) == model
    assert (model / "weights.safetensors").read_bytes() == (place.checkpoint / "weights.safetensors").read_bytes()


def test_checkpoint_trained_again_since_its_report_is_refused(place: "Chain") -> None:
    record = json.loads((place.checkpoint / "checkpoint.json").read_text())
    record["weights_sha256"] = "0" * 64
    (place.checkpoint / "checkpoint.json").write_text(json.dumps(record))
    done = promote(place)
    assert done.champion is None and "was trained again after its report" in done.reason
    assert not (place.data_dir / "champion").exists()


@pytest.mark.parametrize("name", ["run.json", "weights.safetensors", "checkpoint.json"])
def test_a_checkpoint_that_is_gone_is_said(place: "Chain", name: str) -> None:
    (place.checkpoint / name).unlink()
    done = promote(place)
    assert done.champion is None and f"has no {name} any more: train and validate" in done.reason
    assert not (place.data_dir / "models").exists()


def test_a_report_made_again_after_an_interrupted_promotion_is_the_one_that_is_kept(
    place: "Chain", monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("fx_pipeline.lifecycle.promotion._register", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            promote(place)
    attest(place, episodes=99)
    done = promote(place)
    assert json.loads(Path(done.champion["report"]).read_text())["figures"]["episodes"] == 99


def test_rejected_report_is_refused_by_the_asset_too(copy: "Chain") -> None:
    """A run launched by hand gets no further than the sensor would."""
    config = {"ops": {"champion": {"config": {"window": copy.window}}}}
    result = copy.job("promote", copy.instrument, config)
    assert result.success and result.get_asset_materialization_events() == []
    assert not (copy.data_dir / "champion").exists() and not (copy.data_dir / "models").exists()


def test_asset_shows_the_champion(place: "Chain") -> None:
    config = {"ops": {"champion": {"config": {"window": place.window}}}}
    (event,) = place.job("promote", place.instrument, config).asset_materializations_for_node("champion")
    shown = {name: value.value for name, value in event.metadata.items()}
    assert shown["registered_model"] == "EUR_USD-muzero" and shown["version"] == "1"
    assert shown["window"] == place.window and "it is the first champion" in shown["reason"]
    assert shown["state"] == "champion" and shown["report page"].endswith(f"/EUR_USD/{place.window}/report.html")
    (record,) = place.instance.fetch_observations(dg.AssetKey("validation_report"), limit=5).records
    assert record.asset_observation is not None and record.partition_key == str(place.key())
    assert record.asset_observation.metadata["version"].value == "1"


def test_weights_swapped_under_the_record_are_not_registered(place: "Chain") -> None:
    (place.checkpoint / "weights.safetensors").write_bytes(b"something else")
    done = promote(place)
    assert done.champion is None and "weights" in done.reason
    assert not (place.data_dir / "champion").exists()


def test_a_model_is_compared_with_another_champion_of_no_newer_window(empty: "Chain") -> None:
    from fx_pipeline.lifecycle.champions import champions, rival
    from fx_pipeline.settings import load_settings

    with empty.environment():
        settings = load_settings()
        assert rival(settings, "EUR_USD", "2024-02-01", "a") is None and champions(settings) == ([], [])
        path = settings.layout.champion("EUR_USD")
        path.parent.mkdir(parents=True)
        record = dict.fromkeys(("agent", "source", "registered_model", "version", "registered_url"), "x") | {
            **{"instrument": "EUR_USD", "window": "2024-02-01", "sha256": "a", "costs": {}},
            **{"model": "/elsewhere/data/models/EUR_USD/a", "last_window": "2024-02-01", "reason": "it failed"},
        }
        path.write_text(json.dumps(record))
        # What a kill leaves of a record is none, and one that cannot be read is named.
        path.with_name(".tmp-1-0-GBP_USD.json").write_text("{")
        path.with_name("GBP_USD.json").write_text("{}")
        found, (unread,) = champions(settings)
        assert found == ["a"] and "GBP_USD.json is damaged (it lacks the key instrument" in unread
        assert rival(settings, "EUR_USD", "2024-03-01", "a") is None
        assert rival(settings, "EUR_USD", "2024-01-01", "b") is None
        for window in ("2024-02-01", "2024-03-01"):
            champion = rival(settings, "EUR_USD", window, "b")
            # Earlier versions wrote whole paths: a copy has its own model all the same.
            assert champion is not None and champion["model"] == str(empty.data_dir / "models" / "EUR_USD" / "a")
        settings.layout.demotion("EUR_USD").parent.mkdir()
        settings.layout.demotion("EUR_USD").write_text(json.dumps(record))
        assert rival(settings, "EUR_USD", "2024-03-01", "b") is None and champions(settings)[0] == []
