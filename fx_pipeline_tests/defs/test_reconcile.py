"""What trades is what was judged: record, registry and weights are one model, or a state with a name."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pytest

from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.origin import candle_origin, is_from_broker
from fx_pipeline_tests.defs.conftest import attest

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain

LIVE = {"ops": {"decide_live": {"config": {"instrument": "EUR_USD"}}}}
NAME = "EUR_USD-muzero"


@pytest.fixture(scope="module")
def throne(chain: "Chain", tmp_path_factory: pytest.TempPathFactory) -> Iterator["Chain"]:
    """A copy of the chain with a champion."""
    with chain.copied(tmp_path_factory.mktemp("throne") / "data") as copied:
        attest(copied)
        config = {"ops": {"champion": {"config": {"window": copied.window}}}}
        copied.results["promote"] = copied.job("promote", copied.instrument, config)
        yield copied


@pytest.fixture
def place(throne: "Chain", tmp_path: Path) -> Iterator["Chain"]:
    """A copy that a test may change."""
    with throne.copied(tmp_path / "data") as copied, copied.environment():
        yield copied


def registry() -> Any:
    from fx_pipeline.defs.resources import Tracking

    return Tracking().mlflow()


def model_of(chain: "Chain") -> Path:
    record = json.loads((chain.data_dir / "champion" / "EUR_USD.json").read_text())
    return chain.data_dir / record["model"]


def refused(chain: "Chain") -> str:
    """Run the live job, which must fail; return why."""
    result = chain.job("live_trading", config=LIVE, fails=True)
    assert not result.success and not (chain.data_dir / "live" / "EUR_USD.json").exists()
    (event,) = [event for event in result.all_events if event.is_step_failure]
    # A person who looks at the asset sees it, whatever run came upon it.
    assert not _check_of(chain.instance).passed
    return str(event.step_failure_data.error)


def _check_of(instance: dg.DagsterInstance) -> dg.AssetCheckEvaluation:
    key = dg.AssetCheckKey(dg.AssetKey("champion"), "champion_is_what_was_judged")
    (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    evaluation = record.event.dagster_event.event_specific_data
    assert isinstance(evaluation, dg.AssetCheckEvaluation)
    return evaluation


def another_model(chain: "Chain", folder: Path) -> str:
    """Write a valid checkpoint of other weights into a folder; return the hash of its weights."""
    from safetensors.numpy import load, save

    weights = {name: np.array(array) for name, array in load((folder / "weights.safetensors").read_bytes()).items()}
    name = next(name for name, array in weights.items() if array.dtype.kind == "f" and array.ndim == 2)
    weights[name][0, 0] += 1e-4
    data = save(weights)
    sha256 = hashlib.sha256(data).hexdigest()
    record = json.loads((folder / "checkpoint.json").read_text())
    (folder / "weights.safetensors").write_bytes(data)
    (folder / "checkpoint.json").write_text(json.dumps(record | {"weights_sha256": sha256}))
    return sha256


def test_what_agrees_trades(place: "Chain", throne: "Chain") -> None:
    decision = place.job("live_trading", config=LIVE).output_for_node("decide_live")
    assert decision["champion_state"] == "agrees"
    (evaluation,) = throne.results["promote"].get_asset_check_evaluations()
    assert evaluation.passed and "EUR_USD: agrees" in evaluation.metadata


def test_another_valid_checkpoint_in_the_folder_of_the_champion_does_not_trade(place: "Chain") -> None:
    from fx_pipeline.agents.registry import agent

    model = model_of(place)
    sha256 = another_model(place, model)
    # It loads, and the agent has nothing against it.
    assert agent("muzero").load_policy(model).weights_sha256 == sha256
    said = refused(place)
    assert "weights are others" in said and sha256[:12] in said and "restore the file" in said


def test_a_checkpoint_that_comes_after_the_look_does_not_trade_either(
    place: "Chain", monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was loaded is hashed, and not what lay there a moment before."""
    from fx_pipeline.lifecycle import verified

    model, looked = model_of(place), verified.refuse_swapped_model

    def swapped(champion: Any) -> None:
        looked(champion)
        another_model(place, model)

    monkeypatch.setattr("fx_pipeline.lifecycle.reconcile.refuse_swapped_model", swapped)
    result = place.job("live_trading", config=LIVE, fails=True)
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert not result.success and "and those that were judged are" in str(event.step_failure_data.error)


@pytest.mark.parametrize("written", ["source", "report", "verdict"])
def test_a_record_that_no_promotion_wrote_is_no_champion(place: "Chain", written: str) -> None:
    """Who can write the record and the registry still has no row in the ledger that bears it out."""
    path = place.data_dir / "champion" / "EUR_USD.json"
    record = json.loads(path.read_text())
    frozen = model_of(place) / "report.json"
    report = json.loads(frozen.read_text())
    if written == "source":
        path.write_text(json.dumps(record | {"source": "live"}))
        said = "says other things than the record"
    elif written == "report":
        report["figures"]["record"]["trades"] = 9_999
        frozen.write_text(json.dumps(report))
        said = "does not know the report"
    else:
        # A report that the ledger knows, of a model that was rejected.
        attest(place, record={"trades": 3})
        shutil.copyfile(place.report / "report.json", frozen)
        said = "the gate of now rejects the report"
    refusal = refused(place)
    assert "not promoted by the gate" in refusal and said in refusal


def test_other_settings_of_the_search_are_another_model(place: "Chain") -> None:
    path = model_of(place) / "checkpoint.json"
    path.write_text(path.read_text() + " ")
    assert "weights are others" in refused(place) and "checkpoint.json has the hash" in refused(place)


def test_an_alias_that_was_moved_by_hand_is_noticed_and_not_followed(place: "Chain", tmp_path: Path) -> None:
    other = shutil.copytree(model_of(place), tmp_path / "other")
    sha256 = another_model(place, other)
    version = registry().register_model_version(NAME, other, tags={"sha256": sha256})
    registry().set_champion(NAME, version)
    said = refused(place)
    assert "alias moved" in said and f"on version {version} (weights {sha256[:12]})" in said
    assert "put the alias champion of EUR_USD-muzero back to version 1" in said
    assert not place.check("champion.champion_is_what_was_judged").passed
    registry().set_champion(NAME, "1")
    assert place.check("champion.champion_is_what_was_judged").passed
    assert place.job("live_trading", config=LIVE).success


def test_an_alias_that_is_gone_stops_the_live_job(place: "Chain") -> None:
    registry().client.delete_registered_model_alias(NAME, "champion")
    assert "alias missing" in refused(place)


def test_a_version_of_other_weights_stops_the_live_job(place: "Chain") -> None:
    registry().client.set_model_version_tag(NAME, "1", "sha256", "0" * 64)
    said = refused(place)
    assert "version of other weights" in said and "is of weights 000000000000" in said


def test_a_version_that_is_gone_stops_the_live_job(place: "Chain") -> None:
    registry().client.delete_registered_model_alias(NAME, "champion")
    registry().client.delete_model_version(NAME, "1")
    assert "version missing" in refused(place)


def test_a_record_that_cannot_be_read_stops_the_live_job(place: "Chain") -> None:
    (place.data_dir / "champion" / "EUR_USD.json").write_text("{")
    result = place.job("live_trading", config=LIVE, fails=True)
    assert not result.success
    evaluation = place.check("champion.champion_is_what_was_judged")
    assert not evaluation.passed and "EUR_USD: record unreadable" in evaluation.metadata


def test_no_champion_is_a_state_in_which_nothing_is_wrong(copy: "Chain") -> None:
    evaluation = copy.check("champion.champion_is_what_was_judged")
    assert evaluation.passed
    assert "EUR_USD: no champion" in evaluation.metadata and "GBP_USD: no champion" in evaluation.metadata


@pytest.mark.parametrize(
    ("source", "said", "broker"),
    [
        ("imported", "files that a user imported: nobody but their author vouches for them", False),
        ("synthetic", "a generated market", False),
        ("practice", "OANDA's practice server", True),
        ("live", "OANDA's live server", True),
        ("imported+live", "would look the same, and from OANDA's live server", False),
        ("live+practice", "OANDA's live server, as it answered, and from OANDA's practice server", True),
        ("", "a source that was not written down", False),
        ("telepathy", "a source that this version does not know", False),
    ],
)
def test_where_candles_came_from_is_said_in_words(source: str, said: str, broker: bool) -> None:
    assert said in candle_origin(source) and candle_origin(source).startswith("The candles came from ")
    assert is_from_broker(source) is broker


def test_real_money_is_not_traded_with_a_model_that_no_broker_judged_unless_it_is_named(place: "Chain") -> None:
    from fx_pipeline.lifecycle.champions import read_champion
    from fx_pipeline.lifecycle.reconcile import require_acknowledged
    from fx_pipeline.settings import load_settings

    champion = read_champion(load_settings(), place.instrument)
    assert champion is not None and champion["source"] == "synthetic"
    assert champion["origin"] == candle_origin("synthetic")
    name = champion["sha256"][:12]
    assert place.job("live_trading", config=LIVE).success, "paper money is nobody's"
    place.changes |= {"FX_OANDA_ENVIRONMENT": "live", "FX_OANDA_TOKEN": "t", "FX_OANDA_ACCOUNT": "a"}
    (place.data_dir / "live" / "EUR_USD.json").unlink()
    result = place.job("live_trading", config=LIVE, fails=True)
    (event,) = [event for event in result.all_events if event.is_step_failure]
    said = str(event.step_failure_data.error)
    assert "never judged on candles from a broker" in said and f"set FX_LIVE_UNPROVEN={name}" in said
    assert not (place.data_dir / "live" / "EUR_USD.json").exists()
    place.changes["FX_LIVE_UNPROVEN"] = "0" * 12
    assert not place.job("live_trading", config=LIVE, fails=True).success, "another model was named"
    place.changes["FX_LIVE_UNPROVEN"] = name
    assert place.job("live_trading", config=LIVE).success
    require_acknowledged("live", (name,), champion | {"sha256": "f" * 64, "source": "live"})
    with pytest.raises(ConfigurationError, match="files that a user imported"):
        require_acknowledged("live", (name,), champion | {"sha256": "f" * 64, "source": "imported"})
