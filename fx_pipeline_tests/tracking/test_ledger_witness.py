"""What tells of the ledger outside of it, and what is carried over when it is gone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fx_pipeline.tracking.ledger import Ledger
from fx_pipeline.tracking.ledger_witness import Witness, find_faults, recover, report_witnesses, run_witnesses
from fx_pipeline_tests.tracking.test_ledger import TRIAL


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path / "ledger.db", who="tester")
    for number in range(5):
        made.record(replace(TRIAL, checkpoint_hash=f"w{number}", seed=number))
    return made


def tells(ledger: Ledger, where: str = "the report r", **changes: object) -> Witness:
    """What a report tells that is made now, on the newest trial."""
    head, newest = ledger.head(), ledger.trials()[-1]
    place = (where, newest["instrument"], newest["window"], newest["checkpoint_hash"])
    return replace(Witness(*place, head.ledger_id, head.hash, head.rows, ledger.count()), **changes)


def test_who_agrees_is_no_fault_and_leaves_no_trace(ledger: Ledger) -> None:
    early = tells(ledger)
    ledger.record(TRIAL)
    head = ledger.head()
    assert find_faults(ledger, [early, tells(ledger), Witness("an old run", "GBP_JPY", "2016-05")]) == []
    assert find_faults(ledger, [Witness("one that names no trial", "", "2016-05")]) == [] and ledger.head() == head


def test_each_difference_is_a_sentence_with_who_says_so(ledger: Ledger) -> None:
    witnesses = [
        tells(ledger, "a", ledger_id="another"),
        tells(ledger, "b", ledger_rows=99),
        tells(ledger, "c", ledger_head="0" * 64),
        tells(ledger, "d", checkpoint_hash="unknown"),
        tells(ledger, "e", checkpoint_hash="unknown too"),
        tells(ledger, "f", checkpoint_hash="unknown as well"),
    ]
    faults = find_faults(ledger, witnesses)
    said = ["another trial ledger", "it is an older copy", "it was written anew", "that the trial ledger lacks"]
    assert len(faults) == 4 and all(part in fault for part, fault in zip(said, faults, strict=True))
    assert faults[3].startswith("d, e and 1 more tell of") and all("ledger recover" in fault for fault in faults)
    # They are rows now: the same again adds none, and stays when nobody says so any more.
    head = ledger.head()
    assert find_faults(ledger, witnesses) == faults and ledger.head() == head
    assert find_faults(ledger, []) == faults


def test_an_older_copy_is_recovered_with_what_came_after_it(ledger: Ledger, tmp_path: Path) -> None:
    early, copy = tells(ledger, "early"), tmp_path / "copy.db"
    shutil.copy(ledger.path, copy)
    for number in range(5, 9):
        ledger.record(replace(TRIAL, checkpoint_hash=f"w{number}", seed=number))
    late = tells(ledger, "late", known={"seed": 8, "trades": 40, "costs": {"fixed_pips": 4.0}})
    older = Ledger(copy)
    done = recover(older, [early, late], "only a copy of yesterday is left")
    # Five are there, the newest was told of, and three are known by their number alone.
    assert (done.recovered, done.lost, done.ledgers) == (1, 3, 1)
    assert find_faults(older, [early, late]) == [] and (older.count(), older.lost()) == (6, 3)
    (row,) = [row for row in older.trials() if row["origin"]]
    assert (row["checkpoint_hash"], row["seed"], row["costs"]) == ("w8", 8, {"fixed_pips": 4.0})
    # Another head of the same lost rows is another fault: what is settled is what was told.
    assert find_faults(older, [replace(late, ledger_rows=late.ledger_rows + 2, ledger_head="1" * 64)]) != []


def test_a_ledger_that_is_gone_counts_as_many_trials_as_it_is_known_to_have_had(ledger: Ledger, tmp_path: Path) -> None:
    witnesses = [tells(ledger, "one"), tells(ledger, "two", ledger_trials=405, checkpoint_hash="w2")]
    fresh = Ledger(tmp_path / "fresh.db")
    done = recover(fresh, witnesses, "lost")
    assert (done.recovered, done.lost) == (2, 403) and find_faults(fresh, witnesses) == []
    own = next(look for look in fresh.looks()[0] if look.checkpoint_hash == "w4")
    assert fresh.choices(own, np.zeros(0, [])).total == 405


def test_nothing_is_recovered_where_nothing_is_wrong(ledger: Ledger) -> None:
    done = recover(ledger, [tells(ledger)], "out of curiosity")
    assert (done.recovered, done.lost, done.ledgers) == (0, 0, 0) and ledger.lost() == 0


def test_reports_that_cannot_be_read_tell_nothing_and_stop_nothing(tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"{}", b"[1]", b"\xff", b'{"figures": {}, "lineage": null}')):
        folder = tmp_path / "reports" / "muzero" / "EUR_USD" / f"w{number}"
        folder.mkdir(parents=True)
        (folder / "report.json").write_bytes(content)
    report = {"figures": {"instrument": "EUR_USD", "window": "w"}, "lineage": {"checkpoint_sha256": "aa"}}
    for place in ("reports/muzero/EUR_USD/w/holdout", "models/EUR_USD/0123"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "report.json").write_text(json.dumps(report))
    assert {witness.place for witness in report_witnesses(tmp_path)} == {("EUR_USD", "w", "aa")}
    assert len(report_witnesses(tmp_path)) == 2
    assert run_witnesses(tmp_path / "none.db") == [] == run_witnesses(None)


def test_heads_in_between_of_a_ledger_that_was_recovered_are_settled_up_to_what_was_counted(
    ledger: Ledger, tmp_path: Path
) -> None:
    """Dagster alone has them, whom `recover` does not ask."""
    last = tells(ledger)
    between = replace(last, ledger_head="0" * 64, ledger_rows=last.ledger_rows - 1, ledger_trials=4)
    fresh = Ledger(tmp_path / "fresh.db", who="tester")
    assert recover(fresh, [last], "the disk died").ledgers == 1
    assert find_faults(fresh, [last, between]) == []
    (fault,) = find_faults(fresh, [replace(between, ledger_trials=6)])
    assert "another trial ledger" in fault
