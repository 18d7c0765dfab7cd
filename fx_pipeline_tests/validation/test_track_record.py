"""The walk-forward record: what belongs to it, and that nobody chooses."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.costs import CostConfig
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.validation.baselines import RandomTrader, Turnover
from fx_pipeline.validation.context import ReportContext, TrialHistory
from fx_pipeline.validation.evidence import Evidence
from fx_pipeline.validation.track_record import YEAR_NS, Planned, gather_record, record_of_window
from fx_pipeline.validation.validate import validate_policy

DAY_NS = 86_400 * 10**9
MINUTE_NS = 60 * 10**9
# A Monday.
FIRST_NS = 1_704_067_200 * 10**9 + 12 * 3_600 * 10**9
SESSIONS = 10


def evidence_from(start_ns, pips, session_bars=60):
    """Two trades a session, which make its pips between them."""
    pips = np.asarray(pips, float)
    sessions, trades = len(pips), 2 * len(pips)
    return Evidence(
        pip=0.01,
        session_bars=session_bars,
        session_ns=start_ns + DAY_NS * np.arange(sessions),
        session_price=np.full(sessions, 150.0),
        trade_session=np.repeat(np.arange(sessions), 2),
        trade_pnl_pips=np.repeat(pips / 2, 2),
        trade_stressed_pips=np.repeat(pips / 2, 2) - 0.2,
        trade_entry_price=np.full(trades, 150.0),
        trade_bars_held=np.full(trades, 7),
        trade_max_drawdown_pips=np.ones(trades),
        trade_peak_pips=np.ones(trades),
        trade_low_pips=-np.ones(trades),
        baselines={"buy and hold": pips[::-1].copy(), "SMA cross 30/120": np.zeros(sessions)},
        random_moments=np.tile([-1.0, 4.0, 0.5], (sessions, 1)),
    )


@dataclass(frozen=True, eq=False)
class Row:
    """A row of the ledger."""

    window: str
    seed: int
    shown: Evidence
    checkpoint_hash: str
    config_hash: str = "config"
    evaluation_code: str = "now"
    costs: dict = field(default_factory=dict)
    reported: bool = True
    kept: bool = True

    @property
    def key(self):
        return f"{self.config_hash} {self.window} {self.checkpoint_hash} {self.evaluation_code} {self.costs}"

    @property
    def evidence(self):
        return self.shown.to_bytes() if self.kept else b""

    @property
    def trades(self):
        return len(self.shown.trade_pnl_pips)

    @property
    def session_ns(self):
        return self.shown.session_ns

    @property
    def session_pnl_pips(self):
        return self.shown.session_pnl_pips

    @property
    def valid_start_ns(self):
        return int(self.session_ns[0])

    @property
    def valid_end_ns(self):
        return int(self.session_ns[-1]) + self.shown.session_bars * MINUTE_NS


def window(number, mean=1.0, seed=0, draw=0, **change):
    """The row of a candidate of the number-th of windows that follow one another."""
    pips = np.random.default_rng([number, seed, draw]).normal(mean, 10.0, SESSIONS)
    shown = evidence_from(FIRST_NS + number * SESSIONS * DAY_NS, pips)
    given = {"checkpoint_hash": f"weights {number} {seed} {draw}"} | change
    return Row(f"w{number}", seed, shown, **given)


def gather(own, *rows, **options):
    return gather_record(own, own.shown, [*rows, own], **options)


def test_evidence_survives_its_bytes_which_are_always_the_same():
    shown = window(0).shown
    data = shown.to_bytes()
    again = Evidence.from_bytes(data)
    assert again.to_bytes() == data == window(0).shown.to_bytes()
    for name, value in vars(shown).items():
        found = getattr(again, name)
        if isinstance(value, dict):
            assert all(np.array_equal(found[key], series) for key, series in value.items())
        else:
            assert np.array_equal(found, value)


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-9], lambda data: b"x" + data])
def test_evidence_that_is_damaged_is_named(damage):
    with pytest.raises(DataError, match="validate its window again"):
        Evidence.from_bytes(damage(window(0).evidence))


def test_a_record_is_every_window_of_the_year_in_order():
    rows = [window(number) for number in range(4)]
    record = gather(rows[3], rows[2], rows[0], rows[1])
    assert [one.window for one in record.windows] == ["w0", "w1", "w2", "w3"]
    assert np.array_equal(record.session_pnl_pips, np.concatenate([row.session_pnl_pips for row in rows]))
    assert record.pnl_pips.sum() == pytest.approx(record.session_pnl_pips.sum())
    assert (record.missing, record.shared_sessions, record.overlapping_sessions) == ((), 0, 0)
    assert record.random_moments == pytest.approx([-40.0, 160.0, 20.0])
    assert list(record.baselines) == ["buy and hold", "SMA cross 30/120"]
    assert len(record.looks) == 4 and record.looks[-1] == pytest.approx(record.days / 252)


def test_a_newer_window_is_no_part_of_an_older_ones_record_nor_is_what_lies_a_year_back():
    rows = [window(number) for number in range(4)]
    old = replace(window(0), shown=evidence_from(rows[3].valid_end_ns - YEAR_NS - DAY_NS, np.ones(5)), window="old")
    assert [one.window for one in gather(rows[1], *rows).windows] == ["w0", "w1"]
    assert [one.window for one in gather(rows[3], *rows, old).windows] == ["w0", "w1", "w2", "w3"]


def test_days_that_were_judged_do_not_go_away():
    """Who closes the days on which it lost, or imports candles without them, has them named."""
    row = window(1)
    start = row.shown.session_ns[0]
    shorter = evidence_from(start, row.session_pnl_pips[:-2])
    assert gather_record(row, row.shown, [row]).missing == ()
    # Scored anew, as the ledger keeps the sessions of the first time; and as a row of other candles.
    (said,) = gather_record(row, shorter, [row]).missing
    assert said.startswith("window w1 was judged on 2024-01-19, 2024-01-20 before")
    other = replace(row, shown=evidence_from(start + 3 * DAY_NS, row.session_pnl_pips[3:]), checkpoint_hash="w")
    (said,) = gather(other, row).missing
    assert said.startswith("window w1 was judged on 2024-01-11, 2024-01-12, 2024-01-13 before")
    # Of other code, of other windows, or beyond the span that the window has by now, they say nothing.
    assert gather(other, replace(row, evaluation_code="before")).missing == ()
    assert gather(other, replace(row, window="w7")).missing == ()
    planned = [Planned("w1", int(start), shorter.session_ns[-1] + DAY_NS // 2)]
    cut = replace(row, shown=shorter, checkpoint_hash="w")
    assert gather(cut, row, planned=planned).missing == () != gather_record(row, shorter, [row]).missing


def test_of_several_candidates_of_a_window_the_worst_counts():
    good, bad = window(0, 5.0), window(0, -5.0, seed=1)
    for order in ((good, bad), (bad, good)):
        record = gather(window(1), *order)
        assert (record.windows[0].checkpoint, record.windows[0].candidates) == (bad.checkpoint_hash, 2)
    # In the newest window, too: another candidate does not undo what the first one showed.
    record = gather(window(1, 9.0, draw=1), window(1, -9.0))
    assert record.windows[0].checkpoint == window(1, -9.0).checkpoint_hash
    # Seeds that were scored beside a candidate are none.
    beside = replace(window(0, -9.0, seed=2), reported=False)
    assert gather(window(1), good, beside).windows[0].checkpoint == good.checkpoint_hash


def test_the_same_weights_judged_again_count_as_they_were_judged_last():
    old = window(0, -5.0, evaluation_code="older", checkpoint_hash="same")
    mended = window(0, 5.0, draw=1, checkpoint_hash="same")
    record = gather(window(1), old, mended)
    assert record.windows[0].candidates == 1
    assert np.array_equal(record.windows[0].evidence.session_pnl_pips, mended.session_pnl_pips)


def test_what_a_record_lacks_is_named():
    rows = [window(number) for number in range(4)]
    plan = [Planned(row.window, row.valid_start_ns, row.valid_end_ns) for row in rows]
    before = Planned("before", FIRST_NS - 9 * DAY_NS, FIRST_NS - 2 * DAY_NS)
    after = Planned("after", rows[3].valid_end_ns, rows[3].valid_end_ns + DAY_NS)
    record = gather(rows[3], rows[0], planned=[before, *plan, after])
    assert [text.split()[1] for text in record.missing] == ["w1", "w2"]
    assert gather(rows[3], *rows[:3], planned=[before, *plan, after]).missing == ()
    (text,) = gather(rows[3], rows[0], rows[1], replace(rows[2], kept=False), planned=plan).missing
    assert text == "window w2 was judged when no evidence was kept"
    (text,) = gather(rows[1], replace(rows[0], reported=False)).missing
    assert text == "window w0 was scored, and has no report"


def test_sessions_of_windows_that_overlap_count_once_in_the_worse_one():
    first = window(0)
    for pips, from_first in ((100.0, 10), (-100.0, 6)):
        again = replace(window(1), shown=evidence_from(FIRST_NS + 6 * DAY_NS, np.full(SESSIONS, pips)))
        record = gather(again, first)
        assert [int(one.kept.sum()) for one in record.windows] == [from_first, 16 - from_first]
        assert len(np.unique(record.session_ns)) == 16 and record.shared_sessions == 4
        assert record.overlapping_sessions == 0 and len(record.pnl_pips) == 32
    # Planned anew until it does well: the first draw of these days counts all the same.
    bad = window(2, -9.0)
    shifted = [
        replace(
            window(2), shown=evidence_from(bad.valid_start_ns + shift * MINUTE_NS, np.full(SESSIONS, 50.0)), window=name
        )
        for shift, name in ((-30, "earlier"), (30, "later"), (90, "beside"))
    ]
    record = gather(shifted[1], bad, shifted[0])
    assert np.array_equal(record.session_pnl_pips, bad.session_pnl_pips)
    # An hour and a half later they are other bars.
    assert len(gather(shifted[2], bad).session_ns) == 20 and gather(shifted[2], bad).overlapping_sessions == 0


def test_seeds_are_those_of_every_window_and_trained_again_the_worse_counts():
    rows = [window(number, seed=seed) for number in (0, 1) for seed in (1, 2)]
    scored = [replace(row, reported=False) for row in rows if row.seed == 2]
    again = replace(window(0, -50.0, seed=2, draw=1), reported=False)
    own = rows[2]
    record = gather(own, rows[0], *scored, again, replace(window(0, seed=3), reported=False))
    seeds = {seed.seed: seed for seed in record.seeds}
    assert {seed: one.newest for seed, one in seeds.items()} == {1: True, 2: True, 3: False}
    assert seeds[2].checkpoints == (again.checkpoint_hash, rows[3].checkpoint_hash)
    assert seeds[2].total_pips == pytest.approx(again.session_pnl_pips.sum() + rows[3].session_pnl_pips.sum())
    assert {seed: one.trades for seed, one in seeds.items()} == {1: 40, 2: 40, 3: 20}


def test_the_family_has_who_was_scored_on_all_of_the_record():
    rows = [window(number) for number in (0, 1)]
    whole = [window(number, draw=5, config_hash="rival") for number in (0, 1)]
    part = window(1, draw=6, config_hash="late")
    # The best again, at costs that differ by nothing: the same weights are no further member.
    dearer = replace(whole[1], costs={"fixed_pips": 1e-9})
    record = gather(rows[1], rows[0], rivals=[*whole, part, dearer])
    assert [(trial.configuration, trial.this) for trial in record.family] == [("config", True), ("rival", False)]
    assert record.left_out == 1
    assert np.array_equal(record.family[1].session_pnl_pips, np.concatenate([row.session_pnl_pips for row in whole]))


SESSION = 60
STARTS = np.arange(40) * 70 + 200


def test_the_record_of_a_single_window_has_the_figures_of_the_window(market_of):
    seen = []

    def record(score):
        seen.append(Evidence.from_bytes(score.evidence))
        alone = TrialHistory(1, (0.1,), ())
        return replace(alone, record=record_of_window(seen[-1], "w", 5, "", alone.window, alone.left_out))

    report = validate_policy(
        market_of(3_200),
        STARTS,
        RandomTrader(Turnover(0.1, 0.1, 0.5), 1),
        costs=CostConfig(),
        reward=RewardConfig(),
        seed=5,
        context=ReportContext("GBP_JPY", "w"),
        mc_runs=200,
        rules=SessionRules(bars=SESSION),
        record_trial=record,
    )
    figures = report["figures"]
    found = figures["record"]
    for name in ("sessions", "trades", "total_pips", "expectancy_pips", "stressed_expectancy_pips"):
        assert found[name] == pytest.approx(figures[name], abs=1e-9)
    assert found["car25"] == figures["risk"]["safe_f"]["car25"]
    assert found["random_p"] == pytest.approx(figures["baselines"]["random"]["p_value"])
    assert found["min_track_record_trades"] == figures["significance"]["min_track_record_trades"]
    simulation = figures["monte_carlo"]
    # The bound of the share that was drawn, and not the draw, is judged.
    assert simulation["probability_not_positive"] <= found["probability_not_positive"] <= 1.0
    assert seen[0].session_pnl_pips.sum() == pytest.approx(figures["total_pips"])
    for line in figures["baselines"]["baselines"]:
        assert seen[0].baselines[line["name"]].sum() == pytest.approx(line["total_pips"])


def test_days_that_another_configuration_was_scored_on_are_not_passed_over():
    """The plan is a file: without window 1 in it, nothing asks for that window any more."""
    rows = [window(0), window(2), window(3)]
    others = [window(number, config_hash="other", draw=1) for number in range(5)]
    missing = gather(rows[-1], *rows[:-1], rivals=others).missing
    assert missing == (
        "10 days from 2024-01-11 on, which others were scored on in window w1, have no session of this configuration",
    )
    # Days before the first window and after the last are not asked for, nor a single short one in between.
    assert not gather(rows[-1], rows[1], rivals=others).missing
    short = replace(others[1], shown=evidence_from(FIRST_NS + 10 * DAY_NS, [1.0]))
    assert not gather(rows[-1], *rows[:-1], rivals=[others[0], short]).missing
