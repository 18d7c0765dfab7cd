"""What the ledger tells a validation of the other trials of its window."""

import contextlib
import sqlite3
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fx_pipeline.agents.base import SelectionScore
from fx_pipeline.ingest.layout import quarantine_path
from fx_pipeline.lifecycle.configuration import configuration
from fx_pipeline.lifecycle.scores import _quarantined
from fx_pipeline.lifecycle.trials import other_trials, selection_recorder, trial_recorder
from fx_pipeline.market.costs import CostConfig
from fx_pipeline.settings import Settings
from fx_pipeline.tracking.ledger import Ledger, selection_window
from fx_pipeline.validation.context import ReportContext, TrialHistory, TrialScore
from fx_pipeline.validation.seeds import judge_seeds
from fx_pipeline.validation.track_record import window_seeds

RECORD = {"config_digest": "c0ffee", "code_version": "1", "counters": {"episodes": 100}, "seed": 1}
SESSIONS = np.arange(12, dtype=np.int64) * 1_000
COSTS = CostConfig(fixed_pips=2.0)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db", who="tester", clock=lambda: 0.0)


def score(ledger: Ledger, seed: int, total: float, record: Any = RECORD, **change: Any) -> TrialHistory:
    sessions = change.pop("sessions", SESSIONS)
    context = ReportContext("EUR_USD", change.pop("window", "w"), checkpoint_sha256=f"weights {seed}")
    pnl = np.full(len(sessions), total / len(sessions))
    settings = {"data_fingerprint": "data", "costs": asdict(COSTS)} | change
    return trial_recorder(ledger, record)(
        TrialScore(
            context=context,
            reward={},
            seed=seed,
            trades=10 + seed,
            expectancy_pips=total / 10,
            sharpe_per_trade=total / 100,
            session_ns=sessions,
            session_pnl_pips=pnl,
            **settings,
        )
    )


def test_every_seed_of_the_window_is_there_and_none_can_be_dropped(ledger: Ledger) -> None:
    score(ledger, 1, -50.0)
    for seed in (2, 3, 4, 5):
        history = score(ledger, seed, 40.0)
    assert (history.count, history.left_out) == (5, 0)
    assert [trial.seed for trial in history.window if trial.this] == [5]
    seeds = judge_seeds(window_seeds(history))
    assert seeds.count == 5 and seeds.worst_pips == pytest.approx(-50.0)


@pytest.mark.parametrize(
    ("change", "seeds"),
    [
        ({}, 2),
        ({"record": RECORD | {"counters": {"episodes": 200}}}, 1),
        ({"record": RECORD | {"config_digest": "b"}}, 1),
        ({"record": RECORD | {"code_version": "2"}}, 1),
    ],
)
def test_seeds_are_compared_where_nothing_else_differs(ledger: Ledger, change: Any, seeds: int) -> None:
    score(ledger, 1, 10.0, **change)
    history = score(ledger, 2, 20.0)
    assert len(history.window) == 2 and judge_seeds(window_seeds(history)).count == seeds


def test_trials_on_other_sessions_are_counted_and_left_out(ledger: Ledger) -> None:
    score(ledger, 1, 10.0, sessions=SESSIONS + 1)
    score(ledger, 2, 10.0, sessions=SESSIONS[:5])
    score(ledger, 3, 10.0, sessions=np.append(SESSIONS, 50_000))
    score(ledger, 4, 10.0, window="another")
    history = score(ledger, 5, 10.0)
    assert (history.count, history.left_out) == (5, 2)
    assert [trial.seed for trial in history.window] == [3, 5]
    assert all(len(trial.session_pnl_pips) == len(SESSIONS) for trial in history.window)


@pytest.mark.parametrize("change", [{"costs": {"fixed_pips": 0.0}}, {"data_fingerprint": "other"}, {"code": "older"}])
def test_a_score_at_other_costs_data_or_code_is_counted_and_is_no_candidate(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    with monkeypatch.context() as patch:
        if "code" in change:
            code = change.pop("code")
            patch.setattr("fx_pipeline.reuse.evaluation_digest", lambda: code)
        score(ledger, 1, 900.0, **change)
        score(ledger, 2, 900.0, **change)
    history = score(ledger, 2, 20.0)
    assert (history.count, len(history.sharpes), history.left_out) == (3, 3, 2)
    assert [(trial.seed, trial.this) for trial in history.window] == [(2, True)]
    assert history.window[0].session_pnl_pips.sum() == pytest.approx(20.0)


def test_a_trial_is_compared_on_the_sessions_of_its_own_new_score(ledger: Ledger) -> None:
    for seed in (1, 2):
        score(ledger, seed, 12.0)
    history = score(ledger, 2, 7.0, sessions=SESSIONS[:6])
    assert (history.count, history.left_out) == (2, 0)
    assert [trial.session_pnl_pips.sum() for trial in history.window] == pytest.approx([6.0, 7.0])


def test_a_ledger_of_the_first_version_is_read_on(ledger: Ledger) -> None:
    ledger.path.write_bytes(b"")
    with contextlib.closing(sqlite3.connect(ledger.path, isolation_level=None)) as connection:
        connection.execute(
            "CREATE TABLE trials (id INTEGER PRIMARY KEY, trial_key TEXT NOT NULL UNIQUE, recorded_by TEXT NOT NULL, "
            "recorded_at TEXT NOT NULL, instrument TEXT NOT NULL, window TEXT NOT NULL, agent TEXT NOT NULL, "
            "config_hash TEXT NOT NULL, seed INTEGER NOT NULL, checkpoint_hash TEXT NOT NULL, "
            "data_fingerprint TEXT NOT NULL, costs TEXT NOT NULL, expectancy_pips REAL, sharpe_per_trade REAL, "
            "trades INTEGER NOT NULL)"
        )
        connection.execute(
            "INSERT INTO trials VALUES (1, 'key', 'me', 'then', 'EUR_USD', 'w', 'muzero', 'c', 1, 'weights 1', 'data', "
            "'{}', 1.0, 0.3, 9)"
        )
        connection.execute("PRAGMA user_version = 1")
    for _ in range(2):
        history = score(ledger, 1, 10.0)
        assert (history.count, history.left_out, len(history.window)) == (2, 1, 1)
        assert history.sharpes == (0.3, 0.1)


def others(ledger: Ledger) -> dict[str, Any]:
    """What a report on weights 1 in window w takes of the ledger, on a market of the sessions of this module."""
    record = RECORD | {"weights_sha256": "weights 1"}
    bars = np.arange(400, dtype=np.int64) * 1_000
    market = SimpleNamespace(instrument="EUR_USD", fingerprint="data", time=bars, close=np.sin(bars))
    return other_trials(ledger, SimpleNamespace(market=market, starts=SESSIONS // 1_000), "w", record, COSTS)


def test_a_report_is_made_again_when_what_deflates_it_changes_and_not_when_its_own_trial_joins(ledger: Ledger) -> None:
    alone = others(ledger)
    assert alone["trials"] == [] and alone["chosen"]["configurations"] == 1
    score(ledger, 1, 10.0)
    assert others(ledger) == alone
    # A replay, and seeds of the configuration on days after these, change nothing of it.
    later = {"window": "v", "sessions": SESSIONS + 10**18, "data_fingerprint": "newer"}
    score(ledger, 3, 10.0, window="replay w")
    score(ledger, 2, 10.0, **later)
    assert others(ledger) == alone
    # Another seed of this window, and another configuration on these days.
    score(ledger, 2, 10.0)
    second = others(ledger)
    score(ledger, 1, 10.0, {**RECORD, "config_digest": "b"}, window="another")
    third = others(ledger)
    assert (len(second["trials"]), second["chosen"]) == (1, alone["chosen"])
    assert (third["trials"], third["chosen"]["configurations"]) == (second["trials"], 2)


SELECTED = SelectionScore("weights 1", "c0ffee", "1", 40, SESSIONS, np.full(12, 0.5), np.array([2.0, -1.0, 5.0]))


def select(ledger: Ledger, score: SelectionScore = SELECTED) -> None:
    market = SimpleNamespace(instrument="EUR_USD", fingerprint="data")
    span = SimpleNamespace(market=market, window=SimpleNamespace(key="w"))
    selection_recorder(ledger, span, "muzero", COSTS, episodes=100, seed=1)(score)


def test_a_score_by_which_a_training_chooses_is_a_row_of_its_configuration(ledger: Ledger) -> None:
    for _ in range(2):
        select(ledger)
    (row,) = ledger.trials()
    assert (row["window"], row["seed"], row["agent"]) == (selection_window("w"), 1, "muzero")
    assert (row["checkpoint_hash"], row["config_hash"]) == ("weights 1", configuration(RECORD))
    assert (row["trades"], row["expectancy_pips"], row["sharpe_per_trade"]) == (3, pytest.approx(2.0), 2 / 3)
    (found,) = ledger.scored("EUR_USD", selection_window("w"))
    assert found.session_pnl_pips.tolist() == [0.5] * 12 and found.session_ns.tolist() == SESSIONS.tolist()
    # Other weights, or the same ones played by other settings.
    select(ledger, replace(SELECTED, checkpoint_sha256="weights 2"))
    select(ledger, replace(SELECTED, config_digest="b"))
    select(ledger, replace(SELECTED, trade_pnl_pips=np.array([]), checkpoint_sha256="weights 3"))
    assert [row["trades"] for row in ledger.trials()] == [3, 3, 3, 0]


def test_what_trainings_choose_by_changes_neither_the_history_nor_the_need_for_a_report(ledger: Ledger) -> None:
    def seen() -> tuple[Any, ...]:
        history = score(ledger, 1, 12.0)
        known = (history.count, history.sharpes, len(history.window), history.left_out, history.seeds_left_out)
        return (*known, history.chosen_among, others(ledger))

    score(ledger, 2, 20.0)
    before = seen()
    for number in range(5):
        select(ledger, replace(SELECTED, checkpoint_sha256=f"weights {number}"))
    assert seen() == before and len(ledger.trials()) == 2 + 5


def test_bars_that_were_set_aside_are_counted_beside_half_written_files(tmp_path: Path) -> None:
    path = quarantine_path(tmp_path, "EUR_USD", "import")
    path.parent.mkdir(parents=True)
    times = pd.date_range("2024-01-01", periods=4, freq="D", tz="UTC", unit="ns")
    pd.DataFrame({"time": times}).to_parquet(path)
    (path.parent / f".tmp-{path.name}").write_bytes(b"half")
    assert _quarantined(Settings(data_dir=tmp_path), "EUR_USD", times[1], times[3]) == 2


def test_a_configuration_does_not_know_the_seed() -> None:
    assert configuration(RECORD) == configuration(RECORD | {"seed": 2})
