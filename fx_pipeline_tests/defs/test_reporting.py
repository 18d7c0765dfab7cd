"""What the ledger tells a validation of the other trials of its window."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fx_pipeline.defs.reporting import configuration, other_trials, trial_recorder
from fx_pipeline.tracking.ledger import Ledger
from fx_pipeline.validation.context import ReportContext, TrialHistory, TrialScore
from fx_pipeline.validation.family import judge_seeds

RECORD = {"config_digest": "c0ffee", "code_version": "1", "counters": {"episodes": 100}, "seed": 1}
SESSIONS = np.arange(12, dtype=np.int64) * 1_000


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db", who="tester", clock=lambda: 0.0)


def score(ledger: Ledger, seed: int, total: float, record: Any = RECORD, **change: Any) -> TrialHistory:
    sessions = change.pop("sessions", SESSIONS)
    context = ReportContext("EUR_USD", change.pop("window", "w"), checkpoint_sha256=f"{record}{seed}")
    pnl = np.full(len(sessions), total / len(sessions))
    settings = {"data_fingerprint": "data", "costs": {"kind": "fixed"}} | change
    return trial_recorder(ledger, record)(
        TrialScore(
            context=context,
            reward={},
            seed=seed,
            trades=10,
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
    seeds = judge_seeds(history)
    assert seeds.count == 5 and seeds.worst_pips == pytest.approx(-50.0)


@pytest.mark.parametrize(
    ("change", "seeds"),
    [
        ({}, 2),
        ({"costs": {"kind": "quoted"}}, 1),
        ({"data_fingerprint": "other"}, 1),
        ({"record": RECORD | {"counters": {"episodes": 200}}}, 1),
        ({"record": RECORD | {"config_digest": "b"}}, 1),
        ({"record": RECORD | {"code_version": "2"}}, 1),
    ],
)
def test_seeds_are_compared_where_nothing_else_differs(ledger: Ledger, change: Any, seeds: int) -> None:
    score(ledger, 1, 10.0, **change)
    history = score(ledger, 2, 20.0)
    assert len(history.window) == 2 and judge_seeds(history).count == seeds


def test_trials_on_other_sessions_are_counted_and_left_out(ledger: Ledger) -> None:
    score(ledger, 1, 10.0, sessions=SESSIONS + 1)
    score(ledger, 2, 10.0, sessions=SESSIONS[:5])
    score(ledger, 3, 10.0, sessions=np.append(SESSIONS, 50_000))
    score(ledger, 4, 10.0, window="another")
    history = score(ledger, 5, 10.0)
    assert (history.count, history.left_out) == (5, 2)
    assert [trial.seed for trial in history.window] == [3, 5]
    assert all(len(trial.session_pnl_pips) == len(SESSIONS) for trial in history.window)


def test_a_report_is_made_again_when_another_trial_joins_and_not_when_its_own_does(ledger: Ledger) -> None:
    own = f"{RECORD}1"
    assert other_trials(ledger, "EUR_USD", "w", own) == []
    score(ledger, 1, 10.0)
    assert other_trials(ledger, "EUR_USD", "w", own) == []
    score(ledger, 2, 10.0)
    assert len(other_trials(ledger, "EUR_USD", "w", own)) == 1


def test_a_configuration_does_not_know_the_seed() -> None:
    assert configuration(RECORD) == configuration(RECORD | {"seed": 2})
