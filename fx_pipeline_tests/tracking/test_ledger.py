import contextlib
import multiprocessing
import sqlite3
import threading
from dataclasses import replace

import numpy as np
import pytest

from fx_pipeline.market.errors import DataError
from fx_pipeline.tracking.ledger import Ledger, Trial, selection_window
from fx_pipeline.tracking.ledger_file import LedgerLockedError

TRIAL = Trial(
    instrument="GBP_JPY",
    window="2016-05",
    agent="muzero",
    config_hash="c0ffee",
    seed=1,
    checkpoint_hash="aa",
    data_fingerprint="dd",
    costs={"kind": "fixed", "fixed_pips": 4.0},
    trades=40,
    expectancy_pips=1.5,
    sharpe_per_trade=0.1,
    session_ns=np.array([10, 20, 30]),
    session_pnl_pips=np.array([1.5, 0.0, -4.25]),
    evaluation_code="e1",
)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "new" / "trials.sqlite", who="tester", clock=lambda: 1_700_000_000.0)


def test_a_fresh_ledger_is_empty(ledger):
    assert (ledger.count(), ledger.sharpes(), ledger.trials()) == (0, (), [])


def test_a_trial_is_a_row_with_who_and_when(ledger):
    assert ledger.record(TRIAL)
    (row,) = ledger.trials()
    assert (row["recorded_by"], row["recorded_at"]) == ("tester", "2023-11-14T22:13:20+00:00")
    assert row["costs"] == TRIAL.costs and row["checkpoint_hash"] == "aa"


def test_the_same_trial_counts_once_and_its_first_score_stands(ledger):
    assert ledger.record(TRIAL)
    assert not ledger.record(
        replace(TRIAL, sharpe_per_trade=9.0, agent="renamed", costs=dict(reversed(TRIAL.costs.items())))
    )
    assert ledger.count() == 1
    assert ledger.sharpes() == (0.1,)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"checkpoint_hash": "bb"},
        {"data_fingerprint": "ee"},
        {"window": "2016-06"},
        {"instrument": "EUR_USD"},
        {"costs": {"kind": "fixed", "fixed_pips": 2.0}},
        {"evaluation_code": "e2"},
    ],
)
def test_what_was_evaluated_makes_a_trial(ledger, change):
    ledger.record(TRIAL)
    assert ledger.record(replace(TRIAL, **change))
    assert ledger.count() == 2


def test_counts_and_scores_by_instrument_and_window(ledger):
    ledger.record(TRIAL)
    ledger.record(replace(TRIAL, window="2016-06", sharpe_per_trade=-0.2))
    ledger.record(replace(TRIAL, instrument="EUR_USD", sharpe_per_trade=None, expectancy_pips=None, trades=0))
    assert (ledger.count(), ledger.count("GBP_JPY"), ledger.count("GBP_JPY", "2016-06")) == (3, 2, 1)
    # A trial without a Sharpe ratio counts as a trial all the same.
    assert ledger.count(instrument="EUR_USD") == 1 and ledger.sharpes(instrument="EUR_USD") == ()
    assert ledger.sharpes() == (0.1, -0.2)


def test_what_a_training_chose_by_is_a_row_and_no_trial_of_the_window(ledger):
    ledger.record(TRIAL)
    chosen_by = selection_window(TRIAL.window)
    for checkpoint in ("bb", "cc", "bb"):
        ledger.record(replace(TRIAL, window=chosen_by, checkpoint_hash=checkpoint, sharpe_per_trade=5.0))
    for scope in ((), ("GBP_JPY",), ("GBP_JPY", TRIAL.window)):
        assert (ledger.count(*scope), ledger.sharpes(*scope)) == (1, (0.1,))
    assert ledger.keys("GBP_JPY") == [TRIAL.key]
    assert [found.key for found in ledger.scored("GBP_JPY", TRIAL.window)] == [TRIAL.key]
    assert (ledger.count("GBP_JPY", chosen_by), ledger.sharpes("GBP_JPY", chosen_by)) == (2, (5.0, 5.0))
    assert ledger.count("GBP_JPY", selection_window("2016-06")) == 0
    assert [row["checkpoint_hash"] for row in ledger.trials()] == ["aa", "bb", "cc"]
    assert len(ledger.scored("GBP_JPY", chosen_by)) == 2


def test_nothing_can_be_changed_or_removed(ledger):
    ledger.record(TRIAL)
    ledger.open_holdout("EUR_USD", "aa", 100, 200, "first")
    connection = sqlite3.connect(ledger.path)
    for statement in (
        "DELETE FROM trials",
        "UPDATE trials SET trades = 0",
        "DELETE FROM series",
        "DELETE FROM sealed_openings",
        # A replacement removes the row that is in its way, and tells no trigger of deletions.
        "INSERT OR REPLACE INTO trials SELECT * FROM trials",
        "REPLACE INTO series SELECT trial_key, x'00', x'00' FROM series",
        "REPLACE INTO series (rowid, trial_key, session_ns, pnl_pips) SELECT rowid, 'k', x'00', x'00' FROM series",
        "INSERT OR REPLACE INTO sealed_openings SELECT id + 1, instrument, checkpoint_hash, start_ns, 0, '', '', '' "
        "FROM sealed_openings",
        "UPDATE OR REPLACE trials SET id = 9",
        "INSERT INTO trials SELECT * FROM trials WHERE true ON CONFLICT DO UPDATE SET trades = 0",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()
    assert ledger.count() == 1 and len(ledger.scored("GBP_JPY", "2016-05")) == 1


def test_reports_are_attached_to_recorded_trials_only(ledger):
    with pytest.raises(sqlite3.IntegrityError):
        ledger.attach_report(TRIAL, "hash")
    ledger.record(TRIAL)
    for report in ("one", "one", "two"):
        ledger.attach_report(TRIAL, report)
    assert ledger.trials()[0]["report_hashes"] == ["one", "two"]


def test_the_series_of_a_window_come_back_to_the_bit(ledger):
    ledger.record(TRIAL)
    ledger.record(replace(TRIAL, seed=2, session_pnl_pips=np.array([0.1, 0.2, 0.3])))
    ledger.record(replace(TRIAL, window="2016-06"))
    first, second = ledger.scored("GBP_JPY", "2016-05")
    assert (first.key, first.seed, first.config_hash, first.costs) == (TRIAL.key, 1, "c0ffee", TRIAL.costs)
    assert np.array_equal(first.session_ns, TRIAL.session_ns)
    assert np.array_equal(first.session_pnl_pips, TRIAL.session_pnl_pips)
    assert second.session_pnl_pips.tolist() == [0.1, 0.2, 0.3]


def test_a_known_trial_without_a_series_gets_one_and_keeps_it(ledger):
    ledger.record(replace(TRIAL, seed=2))
    with contextlib.closing(sqlite3.connect(ledger.path)) as connection, connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(trials)") if row[1] not in ("id", "trial_key")]
        columns = ", ".join(names)
        connection.execute(f"INSERT INTO trials (trial_key, {columns}) SELECT ?, {columns} FROM trials", (TRIAL.key,))
    assert len(ledger.scored("GBP_JPY", "2016-05")) == 1
    for change in ({}, {"session_pnl_pips": np.array([9.0, 9.0, 9.0])}):
        assert not ledger.record(replace(TRIAL, **change))
        _, found = ledger.scored("GBP_JPY", "2016-05")
        assert np.array_equal(found.session_pnl_pips, TRIAL.session_pnl_pips)


def test_keys_are_those_of_the_instrument(ledger):
    assert ledger.keys("GBP_JPY") == [] and not ledger.path.exists()
    ledger.record(TRIAL)
    ledger.record(replace(TRIAL, instrument="EUR_USD"))
    assert ledger.keys("GBP_JPY") == [TRIAL.key]


@pytest.mark.parametrize(
    "change",
    [
        {"session_pnl_pips": np.array([1.0, 2.0])},
        {"session_ns": np.array([10, 10, 30])},
        {"session_pnl_pips": np.array([1.0, np.nan, 2.0])},
    ],
)
def test_a_series_that_is_none_leaves_no_row(ledger, change):
    with pytest.raises(ValueError, match="score"):
        ledger.record(replace(TRIAL, **change))
    assert ledger.count() == 0


def test_sealed_days_are_opened_once_for_each_candidate(ledger):
    assert ledger.holdout_openings("EUR_USD", 100) == 0 and ledger.scored("EUR_USD", "h") == []
    assert ledger.sealed_until("EUR_USD", "aa", 100) is None
    assert not ledger.path.exists()
    assert ledger.open_holdout("EUR_USD", "aa", 100, 200, "first")
    # The same evaluation again tells nothing new: a killed run may be repeated.
    assert ledger.sealed_until("EUR_USD", "aa", 100) == 200
    assert not ledger.open_holdout("EUR_USD", "aa", 100, 200, "first")
    for start_ns, last_ns, evaluation in (
        (100, 200, "second"),
        (100, 300, "first"),
        (90, 200, "first"),
        (200, 300, "x"),
    ):
        with pytest.raises(DataError, match=r"seen sealed days of EUR_USD already \(tester, 2023"):
            ledger.open_holdout("EUR_USD", "aa", start_ns, last_ns, evaluation)
    assert ledger.open_holdout("EUR_USD", "bb", 101, 200, "first")
    # Days after the last bar that was seen are unseen.
    assert ledger.open_holdout("EUR_USD", "aa", 201, 300, "second")
    assert ledger.open_holdout("GBP_JPY", "aa", 100, 200, "second")
    # Another start of the seal forgets no one who has seen a bar after it.
    starts = (None, 0, 100, 200, 201, 301)
    assert [ledger.holdout_openings("EUR_USD", start_ns) for start_ns in starts] == [2, 2, 2, 2, 1, 0]


def _record(path, first):
    for seed in range(first, first + 10):
        Ledger(path).record(replace(TRIAL, seed=seed))


def test_processes_record_together_from_the_first_use_on(tmp_path):
    path = tmp_path / "trials.sqlite"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_record, args=(path, first)) for first in (0, 5, 100)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert Ledger(path).count() == 25


def test_a_ledger_of_an_earlier_version_refuses_replacements_too(ledger):
    ledger.record(TRIAL)
    with contextlib.closing(sqlite3.connect(ledger.path)) as connection, connection:
        for table in ("trials", "reports", "series", "sealed_openings"):
            connection.execute(f"DROP TRIGGER {table}_no_REPLACE")
        connection.execute("PRAGMA user_version = 3")
    assert ledger.count() == 1
    with contextlib.closing(sqlite3.connect(ledger.path)) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("REPLACE INTO trials SELECT * FROM trials")


def test_a_locked_ledger_is_waited_for_and_nothing_is_lost(ledger):
    ledger.record(TRIAL)
    blocker = sqlite3.connect(ledger.path, isolation_level=None, check_same_thread=False)
    blocker.execute("BEGIN EXCLUSIVE")
    impatient = Ledger(ledger.path, patience_s=0.1)
    with pytest.raises(LedgerLockedError, match=r"trials\.sqlite, the trial ledger, is held by another process"):
        impatient.record(replace(TRIAL, seed=2))
    freed = threading.Timer(0.3, lambda: blocker.execute("ROLLBACK"))
    freed.start()
    assert ledger.record(replace(TRIAL, seed=2))
    freed.join()
    blocker.close()
    assert ledger.count() == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty: put a copy of it back"),
        (bytes(4096), "cannot be used as the trial ledger"),
        (b"this is no database" * 100, "cannot be used as the trial ledger .file is not a database"),
    ],
)
def test_what_is_no_ledger_is_named_and_left_alone(ledger, content, said):
    ledger.path.parent.mkdir()
    ledger.path.write_bytes(content)
    for use in (ledger.count, lambda: ledger.record(TRIAL), lambda: ledger.scored("GBP_JPY", "2016-05")):
        with pytest.raises(DataError, match=rf"trials\.sqlite.*{said}"):
            use()
    assert ledger.path.read_bytes() == content


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("PRAGMA user_version = 99", "written by a newer version of fx_pipeline .version 99"),
        ("DROP TABLE trials", "no such table: trials"),
        ("ALTER TABLE trials RENAME COLUMN instrument TO symbol", "no such column: instrument"),
    ],
)
def test_a_newer_or_damaged_ledger_is_refused_in_words(ledger, statement, said):
    ledger.record(TRIAL)
    with contextlib.closing(sqlite3.connect(ledger.path)) as connection, connection:
        for table in ("trials", "reports", "series", "sealed_openings"):
            connection.execute(f"DROP TRIGGER {table}_no_REPLACE")
        connection.execute(statement)
    with pytest.raises(DataError, match=said):
        ledger.count("GBP_JPY")
