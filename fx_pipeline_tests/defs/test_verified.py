"""Cheats on the way to a champion, played through the real jobs: each is refused, and said."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from fx_pipeline.tracking.ledger import Ledger
from fx_pipeline_tests.defs.conftest import attest

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain


@pytest.fixture
def place(copy: "Chain") -> Iterator["Chain"]:
    """A copy of the chain whose report was rejected, as it was computed."""
    with copy.environment():
        yield copy


def report_of(chain: "Chain") -> Any:
    return json.loads((chain.report / "report.json").read_text())


def write(chain: "Chain", report: Any) -> None:
    (chain.report / "report.json").write_text(json.dumps(report))


def promoted(chain: "Chain") -> str:
    """Run the promotion; return why nothing came of it, or an empty text where there is a champion now."""
    config = {"ops": {"champion": {"config": {"window": chain.window}}}}
    result = chain.job("promote", chain.instrument, config)
    if (chain.data_dir / "champion" / "EUR_USD.json").exists():
        return ""
    assert not result.get_asset_materialization_events() and not (chain.data_dir / "models").exists()
    said = [entry.user_message for entry in chain.instance.all_logs(result.run_id) if getattr(entry, "level", 0) == 30]
    (line,) = (line for line in said if line.startswith("not promoted: "))
    return line


def sql(chain: "Chain", query: str) -> None:
    import duckdb

    with duckdb.connect(str(chain.data_dir / "warehouse.duckdb")) as connection:
        connection.execute(query)


def test_what_the_validation_computed_is_promoted(place: "Chain") -> None:
    """Without which none of the refusals below would mean anything."""
    attest(place)
    assert promoted(place) == ""


def test_the_word_promoted_is_not_believed(place: "Chain") -> None:
    report = report_of(place)
    assert report["figures"]["verdict"] == "rejected"
    report["figures"]["verdict"] = "promoted"
    write(place, report)
    said = promoted(place)
    assert f"the gate rejected window {place.window}" in said and "its figures do not bear that out" in said


def test_figures_that_were_changed_do_not_have_their_hash(place: "Chain") -> None:
    attest(place)
    report = report_of(place)
    report["figures"]["record"]["trades"] = 5_000
    write(place, report)
    assert "do not have the hash that stands beside them: somebody changed them" in promoted(place)


def test_figures_with_a_hash_of_their_own_are_not_those_of_the_ledger(place: "Chain") -> None:
    """Who knows the code writes the hash, too, and the stamp."""
    ledger = place.data_dir / "ledger.db"
    before = ledger.read_bytes()
    attest(place)
    ledger.write_bytes(before)
    assert "has no row of this trial" in promoted(place)


@pytest.mark.parametrize("name", ["source", "costs", "seed", "valid_end"])
def test_what_a_report_was_made_from_cannot_be_changed(place: "Chain", name: str) -> None:
    attest(place)
    report = report_of(place)
    other = {"source": "live", "costs": {"kind": "fixed"}, "seed": 8, "valid_end": "2024-06-01T00:00:00+00:00"}
    report["lineage"][name] = other[name]
    write(place, report)
    assert "has no row of this trial" in promoted(place)


def test_a_report_of_another_ledger_is_refused(place: "Chain", chain: "Chain", tmp_path: Path) -> None:
    with chain.copied(tmp_path / "elsewhere") as other:
        attest(other)
        shutil.copyfile(other.report / "report.json", place.report / "report.json")
    assert "belongs to another ledger" in promoted(place)


def test_a_ledger_that_lacks_what_reports_tell_of_promotes_nothing(place: "Chain") -> None:
    attest(place)
    (place.data_dir / "ledger.db").unlink()
    assert "the trial ledger cannot be relied on" in promoted(place)


def test_a_report_of_a_lax_gate_is_judged_by_the_gate_of_now(place: "Chain") -> None:
    lax = {"min_trades": 100}
    attest(place, record={"trades": 150, "min_track_record_trades": 90.0}, gate=lax)
    said = promoted(place)
    assert "150 trades" in said and "under another FX_GATE (min_trades 100 and not 200)" in said
    place.changes["FX_GATE"] = json.dumps(lax)
    assert promoted(place) == ""
    champion = json.loads((place.data_dir / "champion" / "EUR_USD.json").read_text())
    assert champion["gate"]["min_trades"] == 100, "whoever looks at it sees by which gate it came"


def test_a_condition_that_the_report_knows_nothing_of_fails_it(place: "Chain") -> None:
    """A report of a version that asked for less."""
    attest(place, record={"ledger_faults": None})
    assert "the gate rejected window" in promoted(place)


@pytest.mark.parametrize("part", ["valid", "train"])
def test_other_candles_than_those_that_were_seen_are_named(place: "Chain", part: str) -> None:
    attest(place)
    lineage = report_of(place)["lineage"]
    inside = f"time >= TIMESTAMP '{lineage[f'{part}_start'][:19]}' AND time < TIMESTAMP '{lineage[f'{part}_end'][:19]}'"
    sql(
        place,
        f"UPDATE features SET ask_open = ask_open + 0.001 WHERE instrument = 'EUR_USD' AND time = "
        f"(SELECT min(time) FROM features WHERE instrument = 'EUR_USD' AND {inside})",
    )
    said = promoted(place)
    if part == "valid":
        assert f"the candles of window {place.window} are not those that it was validated on (fingerprint" in said
        assert "materialise feature_table if they were replaced, and validate the window again" in said
    else:
        assert "was trained on are not those that there are now: train it again" in said


def test_other_weights_of_the_same_record_are_refused(place: "Chain") -> None:
    attest(place)
    weights = place.checkpoint / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert "are not those that were validated: train the window again" in promoted(place)


def test_another_configuration_of_the_same_weights_is_refused(place: "Chain") -> None:
    attest(place)
    path = place.checkpoint / "checkpoint.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"counters": record["counters"] | {"episodes": 999}}))
    assert "are not those that the ledger knows" in promoted(place)


def test_what_was_tried_since_makes_a_report_stale_and_it_is_made_again(place: "Chain") -> None:
    from fx_pipeline.defs.automation import promote_best

    attest(place)
    ledger = Ledger(place.data_dir / "ledger.db")
    (row,) = ledger.scored(place.instrument, place.window)
    from fx_pipeline.tracking.ledger import Trial

    names = {item.name for item in dataclasses.fields(Trial)} & {item.name for item in dataclasses.fields(row)}
    other = Trial(
        **{name: getattr(row, name) for name in names - {"config_hash", "checkpoint_hash"}},
        config_hash="another",
        checkpoint_hash="another",
        agent="muzero",
        expectancy_pips=-1.0,
        sharpe_per_trade=-0.1,
    )
    assert ledger.record(other)
    assert "more was tried on the same days" in promoted(place)
    place.report_materialization("validation_report", place.key())
    with (
        dg.build_sensor_context(instance=place.instance, definitions=place.definitions()) as context,
        dg.partition_loading_context(dynamic_partitions_store=place.instance),
    ):
        (request,) = promote_best.evaluate_tick(context).run_requests
    assert (request.job_name, request.partition_key) == ("validate", str(place.key()))
    assert request.run_key.endswith("chosen 2")


def test_sealed_days_that_were_opened_since_make_a_report_stale(place: "Chain") -> None:
    attest(place)
    Ledger(place.data_dir / "ledger.db").open_holdout(place.instrument, "someone", 1, 2, "x")
    assert "the sealed days were opened for 1 candidates" in promoted(place)


def test_the_leaderboard_shows_no_verdict_that_the_ledger_does_not_bear_out(place: "Chain") -> None:
    from fx_pipeline.lifecycle.leaderboard import gathered
    from fx_pipeline.settings import load_settings

    attest(place)
    entries, unread = gathered(load_settings())
    assert [entry.verdict for entry in entries] == ["promoted"] and not unread
    report = report_of(place)
    report["figures"]["record"]["trades"] = 5_000
    write(place, report)
    entries, (line,) = gathered(load_settings())
    assert [entry.verdict for entry in entries] == ["not verified"] and not entries[0].promoted
    assert "somebody changed them" in line
