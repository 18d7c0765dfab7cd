"""Records of champions: what was written is read as it was, and records of earlier versions come up to date."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fx_pipeline.market.errors import DataError, NewerVersionError
from fx_pipeline.validation.champion import CHAMPION_SCHEMA, Champion, Standing
from fx_pipeline.validation.records import (
    read_champion_record,
    read_demotion_record,
    read_registered_record,
    read_standing_record,
)
from fx_pipeline_tests.validation.test_promotion import CHAMPION, DEMOTED

#: Written by the version before the records had types.
GOLDEN = Path(__file__).parent / "golden_records"
SHA256 = "ba67f4718fab629bbad9719253632700a3e38f822217774d89f5c775a5999507"


def place(sha256: str) -> Path:
    return Path("models") / "EUR_USD" / sha256[:16]


def test_a_champion_is_read_as_it_was_written(tmp_path: Path) -> None:
    champion = replace(CHAMPION, model=place("old"), report_sha256="r", record_sha256="c", promoted="2026-12-01")
    path = tmp_path / "EUR_USD.json"
    path.write_text(json.dumps(champion.to_json(lambda model: model.as_posix())))
    assert read_champion_record(path, place) == champion
    written = json.loads(path.read_text())
    assert written["schema"] == CHAMPION_SCHEMA and written["report"] == "models/EUR_USD/old/report.json"
    assert written["origin"].startswith("The candles came from")


def test_a_demotion_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "EUR_USD.json"
    for demotion in (DEMOTED, replace(DEMOTED, last_end_ns=None, judged_until_ns=None, dagster_run_id="run")):
        path.write_text(json.dumps(demotion.to_json()))
        assert read_demotion_record(path) == demotion


def test_a_standing_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    standing = Standing(
        window="w",
        weights_sha256="a",
        costs={"kind": "fixed"},
        source="imported",
        sound=False,
        reasons=["its weights are gone."],
        conditions=[],
        session_ns=[],
        session_pnl_pips=[],
    )
    path.write_text(json.dumps(standing.to_json()))
    assert read_standing_record(path) == standing


def test_a_champion_of_the_version_before_comes_up_to_date() -> None:
    champion = read_champion_record(GOLDEN / "champion_3.json", place)
    then = json.loads((GOLDEN / "champion_3.json").read_text())
    assert (champion.weights_sha256, champion.model) == (SHA256, place(SHA256))
    assert champion.record_sha256 == then["checkpoint_record_sha256"]
    assert champion.market_fingerprint == then["data_fingerprint"] != champion.training_fingerprint
    assert champion.training_fingerprint == then["training_data_fingerprint"]
    assert champion.promotion_dagster_run_id == then["dagster/run_id"]
    renamed = {"schema", "sha256", "checkpoint_record_sha256", "data_fingerprint", "training_data_fingerprint"}
    now = champion.to_json(lambda model: model.as_posix())
    assert {name: now[name] for name in then.keys() - renamed - {"dagster/run_id"}} == {
        name: value for name, value in then.items() if name not in renamed | {"dagster/run_id"}
    }


def test_a_demotion_of_the_version_before_comes_up_to_date() -> None:
    demotion = read_demotion_record(GOLDEN / "demotion_2.json")
    assert (demotion.weights_sha256, demotion.last_window) == (SHA256, "2024-02-20")
    assert demotion.judged_until_ns == 1706306400000000000 and demotion.dagster_run_id.startswith("ef6b78fb")


def test_a_standing_of_the_version_before_comes_up_to_date() -> None:
    standing, then = (
        read_standing_record(GOLDEN / "standing_2.json"),
        json.loads((GOLDEN / "standing_2.json").read_text()),
    )
    assert standing.weights_sha256 == then.pop("sha256")
    now = standing.to_json()
    assert {name: now[name] for name in then if name != "schema"} == {
        name: value for name, value in then.items() if name != "schema"
    }


def test_a_registered_version_of_the_version_before_comes_up_to_date() -> None:
    assert read_registered_record(GOLDEN / "registered_1.json")["weights_sha256"] == SHA256


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"schema": "fx_pipeline.champion/5"}, NewerVersionError, "newer version"),
        ({"schema": "fx_pipeline.standing/3"}, DataError, "its schema is"),
        ({"weights_sha256": None}, DataError, "weights_sha256"),
        ({"costs": []}, DataError, "costs"),
        # Names of before in a record of now are no names.
        ({"weights_sha256": ..., "sha256": "a"}, DataError, "it lacks the key weights_sha256"),
    ],
)
def test_what_is_no_record_is_refused_with_file_and_key(
    tmp_path: Path, change: dict[str, object], error: type[Exception], said: str
) -> None:
    path = tmp_path / "EUR_USD.json"
    record = {k: v for k, v in (CHAMPION.to_json() | change).items() if v is not ...}
    path.write_text(json.dumps(record))
    with pytest.raises(error, match=said) as found:
        read_champion_record(path, place)
    assert "EUR_USD.json" in str(found.value)


def test_a_record_never_changes() -> None:
    with pytest.raises(AttributeError):
        CHAMPION.window = "another"  # type: ignore[misc]
    assert isinstance(CHAMPION, Champion)
