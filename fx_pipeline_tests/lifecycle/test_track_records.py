"""The record of a configuration, gathered through the ledger."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fx_pipeline.lifecycle.trials import trial_recorder
from fx_pipeline.market.costs import CostConfig
from fx_pipeline.tracking.ledger import Ledger
from fx_pipeline.validation.context import ReportContext, TrialHistory, TrialScore
from fx_pipeline.validation.evidence import Evidence
from fx_pipeline.validation.track_record import Planned, TrackRecord

RECORD = {"config_digest": "c0ffee", "code_version": "1", "counters": {"episodes": 100}, "seed": 1}
COSTS = asdict(CostConfig())
DAY_NS = 86_400 * 10**9
FIRST_NS = 1_704_110_400 * 10**9
SESSIONS = 10


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db", who="tester", clock=lambda: 0.0)


def span(number: int) -> Planned:
    start = FIRST_NS + number * SESSIONS * DAY_NS
    return Planned(f"w{number}", start, start + SESSIONS * DAY_NS)


PLAN = tuple(span(number) for number in range(6))


def score(ledger: Ledger, number: int, seed: int, mean: float, judged: bool = True, **change: Any) -> TrialHistory:
    """Let a model of some mean be scored on a window, as the jobs do."""
    pips = np.random.default_rng([number, seed]).normal(mean, 10.0, SESSIONS)
    planned = span(number)
    times = planned.valid_start_ns + DAY_NS * np.arange(SESSIONS)
    shown = Evidence(
        pip=0.01,
        session_bars=60,
        session_ns=times,
        session_price=np.full(SESSIONS, 150.0),
        trade_session=np.arange(SESSIONS),
        trade_pnl_pips=pips,
        trade_stressed_pips=pips,
        trade_entry_price=np.full(SESSIONS, 150.0),
        trade_bars_held=np.ones(SESSIONS, np.int64),
        trade_max_drawdown_pips=np.zeros(SESSIONS),
        trade_peak_pips=np.zeros(SESSIONS),
        trade_low_pips=np.zeros(SESSIONS),
        baselines={"buy and hold": np.zeros(SESSIONS)},
        random_moments=np.ones((SESSIONS, 3)),
    )
    record = change.pop("record", RECORD)
    name = f"weights {number} {seed} {record['config_digest']}"
    context = ReportContext("EUR_USD", change.pop("window", planned.key), checkpoint_sha256=name)
    recorder = trial_recorder(ledger, record, judged=judged, planned=change.pop("planned", ()))
    return recorder(
        TrialScore(
            context=context,
            data_fingerprint=f"data {number}",
            costs=COSTS,
            reward={},
            seed=seed,
            trades=SESSIONS,
            expectancy_pips=mean,
            sharpe_per_trade=0.1,
            session_ns=times,
            session_pnl_pips=pips,
            valid_start_ns=planned.valid_start_ns,
            valid_end_ns=planned.valid_end_ns,
            evidence=shown.to_bytes(),
        )
    )


def record_of(history: TrialHistory) -> TrackRecord:
    assert history.record is not None
    return history.record


def windows(history: TrialHistory) -> list[str]:
    return [one.window for one in record_of(history).windows]


def test_each_window_joins_the_record_of_the_next_and_never_of_an_older_one(ledger: Ledger) -> None:
    for number in range(4):
        history = score(ledger, number, 1, 2.0, planned=PLAN)
        assert windows(history) == [f"w{k}" for k in range(number + 1)]
        assert record_of(history).missing == ()
    # Made again, an older report is what it was.
    assert windows(score(ledger, 1, 1, 2.0, planned=PLAN)) == ["w0", "w1"]
    # Another training is another record, and is compared where it was scored on all of this one's sessions.
    other = RECORD | {"config_digest": "b"}
    assert windows(score(ledger, 3, 1, 2.0, record=other)) == ["w3"]
    again = record_of(score(ledger, 3, 1, 2.0))
    assert len(again.windows) == 4 and [trial.this for trial in again.family] == [True] and again.left_out == 1


def test_seeds_that_are_scored_beside_a_candidate_are_seeds_of_every_window(ledger: Ledger) -> None:
    for number in range(2):
        for seed in (2, 3, 4, 5):
            score(ledger, number, seed, 2.0, judged=False)
        history = score(ledger, number, 1, 2.0)
    record = record_of(history)
    assert [one.candidates for one in record.windows] == [1, 1]
    assert [(seed.seed, seed.newest, seed.trades) for seed in record.seeds] == [(k, True, 20) for k in range(1, 6)]


def test_a_candidate_that_was_replaced_counts_where_it_did_worse(ledger: Ledger) -> None:
    score(ledger, 0, 1, -9.0)
    assert record_of(score(ledger, 0, 2, 9.0)).windows[0].seed == 1
    assert record_of(score(ledger, 1, 2, 9.0)).session_pnl_pips[:SESSIONS].sum() < 0


def test_a_window_that_was_passed_over_is_named(ledger: Ledger) -> None:
    score(ledger, 0, 1, 2.0, planned=PLAN)
    score(ledger, 1, 1, -9.0, judged=False)
    missing = record_of(score(ledger, 3, 1, 2.0, planned=PLAN)).missing
    assert missing == ("window w1 was scored, and has no report", "window w2 lies between, and was not validated")


def test_replays_and_sealed_days_stand_for_themselves(ledger: Ledger) -> None:
    score(ledger, 0, 1, 2.0)
    assert score(ledger, 1, 1, 2.0, window="replay w1").record is None
    assert windows(score(ledger, 1, 1, 2.0)) == ["w0", "w1"]
