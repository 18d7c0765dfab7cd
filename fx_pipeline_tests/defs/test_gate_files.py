"""Cheats by files of the data folder, before anything is judged: rows of the warehouse, folders of checkpoints.

Each is played through the jobs, and then has everything else of the report be good: it is the cheat that is refused.
"""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from fx_pipeline.tracking.ledger import Ledger
from fx_pipeline_tests.defs.conftest import attest, warehouse_of

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain


def promoted(chain: "Chain") -> str:
    """Run the promotion; return why nothing came of it, or an empty text where there is a champion now."""
    config = {"ops": {"champion": {"config": {"window": chain.window}}}}
    result = chain.job("promote", chain.instrument, config)
    if (chain.data_dir / "champion" / "EUR_USD.json").exists():
        return ""
    said = [entry.user_message for entry in chain.instance.all_logs(result.run_id) if getattr(entry, "level", 0) == 30]
    (line,) = (line for line in said if line.startswith("not promoted: "))
    return line


def validate(chain: "Chain") -> Any:
    (chain.report / "made_from.json").unlink(missing_ok=True)
    chain.job("validate", chain.key())
    return json.loads((chain.report / "report.json").read_bytes())


def span_of(chain: "Chain", part: str = "valid") -> Any:
    from fx_pipeline.lifecycle.spans import load_span
    from fx_pipeline.settings import load_settings

    with chain.environment():
        settings = load_settings()
        return load_span(settings, warehouse_of(settings), chain.instrument, chain.window, part)


def edit_rows(chain: "Chain", column: str, time_ns: Any, values: Any) -> None:
    """Write values of a column of the feature table."""
    rows = pd.DataFrame({"at": time_ns, "value": values})
    with duckdb.connect(str(chain.data_dir / "warehouse.duckdb")) as connection:
        connection.register("rows_of_nobody", rows)
        connection.execute(
            f"UPDATE features SET {column} = rows_of_nobody.value FROM rows_of_nobody "
            "WHERE instrument = 'EUR_USD' AND epoch_ns(time) = rows_of_nobody.at"
        )


def refused_for_rows(chain: "Chain", rows: int) -> bool:
    figures = validate(chain)["figures"]
    (failed,) = (one for one in figures["conditions"] if one["name"] == "no_leak")
    attest(chain)
    said = promoted(chain)
    return (
        figures["leaks_found"] == rows
        and not failed["passed"]
        and f"{rows:,} rows of the feature table, of the valid span of window {chain.window}, are not those" in said
    )


def test_features_that_know_the_next_bars_are_found_wherever_they_are(copy: "Chain") -> None:
    """The guard draws twenty bars by a seed that is a setting: these are left as they are."""
    from fx_pipeline.features.registry import feature_set
    from fx_pipeline.lifecycle.spans import GUARD_BARS
    from fx_pipeline.market.timeframe import M1

    span = span_of(copy)
    market = span.market
    drawn = np.random.default_rng(7).integers(
        feature_set("temporal9").warmup_bars(M1) - 1, len(market.close), GUARD_BARS
    )
    ahead = np.sign(np.append(market.close[30:], np.full(30, market.close[-1])) - market.close)
    rows = np.setdiff1d(np.flatnonzero(market.time >= span.window.valid_start), drawn)
    edit_rows(copy, "price_change_pips", market.time[rows], ahead[rows])
    with duckdb.connect(str(copy.data_dir / "warehouse.duckdb"), read_only=True) as connection:
        ((changed,),) = connection.execute("SELECT count(*) FROM features WHERE abs(price_change_pips) >= 1").fetchall()
    assert changed > 1_000
    found = validate(copy)["figures"]["leaks_found"]
    assert changed <= found <= len(rows) and refused_for_rows(copy, int(found))


def test_fills_that_nobody_was_offered_are_found(copy: "Chain") -> None:
    market = span_of(copy).market
    rows = np.flatnonzero(np.arange(len(market)) % 50 == 49)
    edit_rows(copy, "open", market.time[rows], market.open[rows] + 0.0005)
    assert refused_for_rows(copy, len(rows))


def test_candles_of_a_generated_market_do_not_take_the_name_of_a_broker(copy: "Chain") -> None:
    market = span_of(copy).market
    edit_rows(copy, "source", market.time, ["practice"] * len(market))
    assert refused_for_rows(copy, len(market))


def test_rows_that_were_taken_out_are_missed(copy: "Chain") -> None:
    span = span_of(copy)
    last = span.window.valid_end - 90 * 60 * 10**9
    with duckdb.connect(str(copy.data_dir / "warehouse.duckdb")) as connection:
        ((gone,),) = connection.execute(
            f"DELETE FROM features WHERE instrument = 'EUR_USD' AND epoch_ns(time) >= {last} "
            f"AND epoch_ns(time) < {span.window.valid_end}"
        ).fetchall()
    assert gone > 60 and refused_for_rows(copy, gone)


def test_what_was_trained_on_is_held_against_the_lake(copy: "Chain") -> None:
    """Days that are judged, written over days of the training and left there."""
    market = span_of(copy, "train").market
    rows = np.arange(5_000, 5_010)
    edit_rows(copy, "outcome_sigma", market.time[rows], np.full(len(rows), 1.0))
    attest(copy)
    assert "10 rows of the feature table, of the train span" in promoted(copy)


def test_weights_whose_training_saw_the_judged_days_are_left_out(copy: "Chain") -> None:
    """Those of another window, with the record of this one: spans, candles, seed and settings fit in all they say."""
    other = next(
        window for window in copy.instance.get_dynamic_partitions("walk_forward_window") if window != copy.window
    )
    copy.job("train", copy.key(other))
    there, here = copy.trainings.with_name(other) / "seed-7", copy.checkpoint
    record, foreign = (json.loads((place / "checkpoint.json").read_text()) for place in (here, there))
    shutil.copyfile(there / "weights.safetensors", here / "weights.safetensors")
    changed = record | {name: foreign[name] for name in ("weights_sha256", "probe")}
    (here / "checkpoint.json").write_text(json.dumps(changed))
    figures = validate(copy)["figures"]
    (fault,) = figures["record"]["ledger_faults"]
    assert "knows of no training that left the checkpoint" in fault and figures["verdict"] == "rejected"
    attest(copy)
    assert "knows of no training that left the checkpoint" in promoted(copy)
    # The same training gives what was there; beside it, what was put there is no candidate that could be the worst.
    copy.job("train", copy.key())
    assert json.loads((here / "checkpoint.json").read_text()) == record
    again = validate(copy)
    assert again["lineage"]["checkpoint_sha256"] == record["weights_sha256"]
    assert (
        again["figures"]["record"]["ledger_faults"] == []
        and again["figures"]["record"]["windows"][0]["candidates"] == 1
    )


@pytest.mark.parametrize(
    "change",
    [
        {"code_version": "0.1.0+000000000000"},
        {"seed": 8},
        {"selection": {"score": 99.0, "pips": 99.0, "episode": 4.0}},
    ],
)
def test_a_record_that_was_changed_is_not_what_its_training_left(copy: "Chain", change: dict[str, Any]) -> None:
    """Another configuration for the good seeds alone, a seed more, or the candidate that does best."""
    path = copy.checkpoint / "checkpoint.json"
    kept = path.read_bytes()
    attest(copy)
    path.write_text(json.dumps(json.loads(kept) | change))
    # Promoted it is not either, though its weights are those that were judged.
    assert "knows of no training" in promoted(copy) or "not those that the ledger knows" in promoted(copy)
    path.write_bytes(kept)
    assert promoted(copy) == ""


def test_a_checkpoint_that_was_scored_before_trainings_were_written_down_is_taken_as_it_is(copy: "Chain") -> None:
    """Of an earlier version: only what the ledger knew of before its first training counts so."""
    from fx_pipeline.lifecycle.vouched import keep_trainings, vouchers

    path, record = copy.checkpoint / "checkpoint.json", json.loads((copy.checkpoint / "checkpoint.json").read_text())
    early = Ledger(copy.data_dir / "early.db")
    (row,) = Ledger(copy.data_dir / "ledger.db").scored(copy.instrument, copy.window)
    known = vouchers(early)
    assert known.doubt(copy.instrument, copy.window, path.parent, record)
    from fx_pipeline_tests.tracking.test_ledger import TRIAL

    names = ("instrument", "window", "config_hash", "checkpoint_hash", "seed")
    trial = dataclasses.replace(TRIAL, **{name: getattr(row, name) for name in names})
    early.record(trial)
    assert not vouchers(early).doubt(copy.instrument, copy.window, path.parent, record)
    for _ in range(2):
        keep_trainings(early)
    assert len(early.events("trainings are kept")) == 1
    early.record(dataclasses.replace(trial, seed=8))
    known = vouchers(early)
    assert not known.doubt(copy.instrument, copy.window, path.parent, record)
    assert known.doubt(copy.instrument, copy.window, path.parent, record | {"seed": 8})


def test_a_ledger_that_is_replaced_while_a_report_is_verified_promotes_nothing(
    copy: "Chain", monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An older copy, in which less was tried, put in its place behind the check of what tells of it."""
    from fx_pipeline.lifecycle import promotion

    attest(copy)
    path, older = copy.data_dir / "ledger.db", tmp_path / "older.db"
    shutil.copyfile(path, older)
    Ledger(path).note("tried", {})
    real = promotion.refuse_other_candles

    def swapped(*arguments: Any) -> None:
        shutil.copyfile(older, path)
        real(*arguments)

    monkeypatch.setattr(promotion, "refuse_other_candles", swapped)
    assert "was replaced while the report was verified" in promoted(copy)


def test_a_ledger_that_was_lost_vouches_for_nothing_of_before(copy: "Chain") -> None:
    """Deleted, and recovered: neither that nor a second validation makes a checkpoint one that was trained here."""
    from typer.testing import CliRunner

    from fx_pipeline.cli import app

    (copy.data_dir / "ledger.db").unlink()
    for _ in range(2):
        assert "knows of no training" in " ".join(validate(copy)["figures"]["record"]["ledger_faults"])
    with copy.environment():
        assert CliRunner().invoke(app, ["ledger", "recover", "--reason", "lost"]).exit_code == 0
    (fault,) = validate(copy)["figures"]["record"]["ledger_faults"]
    assert "knows of no training" in fault
    # Nothing stands in the way of an honest loss, once it was trained again.
    copy.job("train", copy.key())
    assert validate(copy)["figures"]["record"]["ledger_faults"] == []
    attest(copy)
    assert promoted(copy) == ""
