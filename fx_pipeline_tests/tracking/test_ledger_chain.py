"""Nothing of the ledger goes or changes unseen, and a file of an earlier version is carried over."""

import contextlib
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fx_pipeline.market.prints import day_prints
from fx_pipeline.tracking.ledger import Ledger, Reported, lineage_sha256
from fx_pipeline_tests.tracking.test_ledger import TRIAL

BARS_NS = np.arange(3 * 1_440) * 60_000_000_000
FULL = replace(
    TRIAL,
    valid_start_ns=10,
    valid_end_ns=int(BARS_NS[-1]),
    days=day_prints(BARS_NS, np.sin(BARS_NS / 1e13)),
    evidence=b"evidence",
    trained_seed_sha="s",
)
TABLES = ("trials", "series", "evidence", "days", "reports", "sealed_openings", "events", "identity", "chain")


@pytest.fixture
def ledger(tmp_path):
    made = Ledger(tmp_path / "ledger.db", who="tester", clock=lambda: 1_700_000_000.0)
    for seed in range(4):
        made.record(replace(FULL, seed=seed))
    made.record(replace(TRIAL, seed=50))
    made.attach_report(FULL, "figures", "lineage")
    made.open_holdout("EUR_USD", "aa", 100, 200, "first")
    made.note("something", {"happened": 1})
    return made


def forge(ledger, *statements):
    """Do what the database refuses, as anyone can who may write the file."""
    with contextlib.closing(sqlite3.connect(ledger.path)) as connection, connection:
        for table in TABLES:
            for verb in ("UPDATE", "DELETE", "REPLACE"):
                connection.execute(f"DROP TRIGGER IF EXISTS {table}_no_{verb}")
        for statement in statements:
            connection.execute(statement)


def test_a_chain_grows_with_every_row_and_holds(ledger):
    before = ledger.head()
    assert ledger.verify() == [] and len(before.hash) == 64 and len(before.ledger_id) == 32
    # Four trials with series and evidence, one with a series, the days once, a report, an opening, an event.
    assert before.rows == 4 * 3 + 2 + 1 + 1 + 1 + 1
    ledger.record(replace(FULL, seed=9))
    after = ledger.head()
    assert (after.ledger_id, after.rows) == (before.ledger_id, before.rows + 3) and after.hash != before.hash
    assert ledger.hash_at(before.rows) == before.hash and ledger.hash_at(after.rows + 1) is None
    # What is known already adds nothing.
    ledger.record(replace(FULL, seed=9))
    assert ledger.head() == after and ledger.verify() == []


def test_a_ledger_that_is_not_there_has_no_head_and_no_fault(tmp_path):
    absent = Ledger(tmp_path / "none.db")
    assert (absent.head().ledger_id, absent.head().rows, absent.verify(), absent.hash_at(0)) == ("", 0, [], None)
    assert absent.events("any") == [] and absent.lost() == 0 and absent.places() == set() and not absent.path.exists()


def test_two_ledgers_have_two_ids(tmp_path):
    ledgers = [Ledger(tmp_path / name) for name in ("a.db", "b.db")]
    for made in ledgers:
        made.record(TRIAL)
    first, second = (made.head() for made in ledgers)
    assert first.ledger_id != second.ledger_id and first.hash != second.hash


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM series WHERE rowid = 2", r"row \d+ \(series \w+\) was removed"),
        ("DELETE FROM trials WHERE id = 5", r"row \d+ \(trials \w+\) was removed"),
        ("UPDATE trials SET seed = 99 WHERE id = 1", r"row \d+ \(trials \w+\) was changed"),
        ("UPDATE trials SET sharpe_per_trade = NULL", r"\(trials \w+\) and 2 more was changed"),
        ("UPDATE evidence SET evidence = x'00' WHERE rowid = 1", r"\(evidence \w+\) was changed"),
        ("UPDATE days SET days = x''", r"\(days \w+\) was changed"),
        ("UPDATE sealed_openings SET last_ns = 0", r"\(sealed_openings 1\) was changed"),
        ("UPDATE reports SET report_hash = 'better'", r"\(reports 1\) was changed"),
        ("DELETE FROM events", r"\(events 1\) was removed"),
        ("DELETE FROM chain WHERE number = 3", "its chain lacks rows 3 to 3"),
        ("DELETE FROM identity", "it has no id"),
        ("UPDATE identity SET ledger_id = 'another'", r"row 1 \(trials \w+\) was changed"),
        (
            "INSERT INTO events (kind, content, recorded_by, recorded_at) VALUES ('x', '{}', '', '')",
            "events 2 was added",
        ),
    ],
)
def test_what_was_forged_is_named(ledger, statement, said):
    import re

    forge(ledger, statement)
    assert any(re.search(said, line) for line in ledger.verify()), ledger.verify()


def test_a_row_that_is_taken_away_with_its_link_is_missed(ledger):
    row = "(SELECT trial_key FROM trials WHERE id = 2)"
    forge(
        ledger,
        f"DELETE FROM chain WHERE row_key = {row}",
        f"DELETE FROM series WHERE trial_key = {row}",
        f"DELETE FROM evidence WHERE trial_key = {row}",
        "DELETE FROM trials WHERE id = 2",
    )
    assert any("its chain lacks rows" in line for line in ledger.verify())


def test_a_vacuum_and_new_columns_change_nothing(ledger):
    head = ledger.head()
    with contextlib.closing(sqlite3.connect(ledger.path)) as connection:
        connection.execute("VACUUM")
        connection.execute("ALTER TABLE trials ADD COLUMN later TEXT")
    assert ledger.verify() == [] and ledger.head() == head


def test_many_trials_are_recorded_at_once_or_not_at_all(ledger):
    many = [replace(FULL, seed=seed) for seed in range(3, 1_003)]
    with pytest.raises(ValueError, match="not finite"):
        ledger.record_many([*many, replace(FULL, seed=5_000, session_pnl_pips=np.array([1.0, np.nan, 0.0]))])
    assert ledger.count() == 5
    assert ledger.record_many(many) == [number not in (3, 50) for number in range(3, 1_003)]
    assert ledger.count() == 5 + 998 and ledger.verify() == []


def test_span_evidence_and_days_come_back(ledger):
    (first, *_, bare) = ledger.of_configuration("GBP_JPY", "c0ffee")
    assert (first.valid_start_ns, first.valid_end_ns, first.evidence) == (10, FULL.valid_end_ns, b"evidence")
    assert (first.window, first.checkpoint_hash, first.trained_seed_sha, first.trades) == ("2016-05", "aa", "s", 40)
    # A file that kept no span knows the sessions.
    assert (bare.valid_start_ns, bare.valid_end_ns, bare.evidence) == (10, 30 + 6 * 3_600 * 10**9, b"")
    looks, days = ledger.looks()
    assert len(days) == 1 and days[looks[0].days].tobytes() == FULL.days.tobytes() and looks[-1].days == ""


def test_neither_replays_nor_sealed_days_nor_selections_are_windows_of_a_configuration(ledger):
    for name in ("replay 2016-05", "hold-out 2016-07-01", "selection 2016-05"):
        ledger.record(replace(FULL, window=name))
    assert {trial.window for trial in ledger.of_configuration("GBP_JPY", "c0ffee")} == {"2016-05"}
    assert [look.window for look in ledger.looks()[0][5:]] == ["hold-out 2016-07-01", "selection 2016-05"]


def test_who_was_judged_is_known_whatever_became_of_the_report(ledger):
    ledger.record(replace(FULL, seed=7), judged=True)
    reported = {trial.seed: trial.reported for trial in ledger.of_configuration("GBP_JPY", "c0ffee")}
    assert (reported[7], reported[2]) == (True, False)
    assert ledger.reports(replace(FULL, seed=7).key) == []
    assert ledger.reports(FULL.key) == [Reported("figures", "lineage")]
    assert ledger.trials()[-1]["report_hashes"] == []


def test_a_lineage_is_hashed_without_what_is_written_after_it():
    lineage = {"source": "practice", "costs": {"fixed_pips": 1.0}}
    assert lineage_sha256(lineage) == lineage_sha256({**lineage, "ledger_head": "h", "ledger_rows": 3})
    assert lineage_sha256(lineage) != lineage_sha256({**lineage, "source": "synthetic"})


def test_a_file_of_the_version_before_is_carried_over_and_kept(tmp_path):
    old = Ledger(tmp_path / "ledger.db")
    for seed in range(3):
        old.record(replace(TRIAL, seed=seed))
    forge(
        old,
        *(f"DROP TABLE {table}" for table in ("chain", "evidence", "days", "events", "identity")),
        "ALTER TABLE trials DROP COLUMN origin",
        "ALTER TABLE reports DROP COLUMN lineage_sha256",
        "PRAGMA user_version = 4",
    )
    before = old.path.read_bytes()
    ledger = Ledger(old.path, who="me")
    assert (ledger.count(), ledger.verify(), ledger.head().rows) == (3, [], 1 + 6)
    (event,) = ledger.events("carried over")
    assert event["from_version"] == 4 and event["rows"]["trials"] == 3
    kept = old.path.with_name("ledger.db.version-4")
    with contextlib.closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == 4
        assert connection.execute("SELECT count(*) FROM trials").fetchone()[0] == 3
    assert len(kept.read_bytes()) == len(before)
    # A trial of then that is scored again gets what was not kept, and stays the same trial.
    assert not ledger.record(replace(FULL, seed=1))
    assert ledger.of_configuration("GBP_JPY", "c0ffee")[1].evidence == b"evidence" and ledger.verify() == []
    # Carried over once.
    assert len(Ledger(old.path).events("carried over")) == 1


def test_a_ledger_from_before_recipes_is_whole_and_tells_recipes_from_now_on(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.record(replace(TRIAL, recipe=""))
    with sqlite3.connect(ledger.path) as connection:
        connection.execute("ALTER TABLE trials DROP COLUMN recipe")
        connection.execute("PRAGMA user_version = 5")
    assert not ledger.verify()
    ledger.record(replace(TRIAL, seed=99, recipe="mine"))
    assert [row["recipe"] for row in ledger.trials()] == [None, "mine"]
    assert not ledger.verify()
