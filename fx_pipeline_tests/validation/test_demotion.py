"""When an edge is gone: how often a good champion is taken for gone, and how soon one that is gone is found."""

import numpy as np
import pytest

from fx_pipeline.validation.demotion import (
    Promise,
    SessionShapes,
    demotion_statistic,
    demotion_threshold,
    drawdown_limit,
    promise_of,
)
from fx_pipeline.validation.sequential import spending_boundary

SESSIONS, SD = 20, 40.0
LOOKS = SESSIONS * np.arange(1, 13) / 252


def record(annual_t: float, sessions: int, seed: int) -> np.ndarray:
    """Sessions with exactly this mean and spread."""
    drawn = np.random.default_rng(seed).normal(size=sessions)
    drawn = (drawn - drawn.mean()) / drawn.std(ddof=1)
    return SD * (annual_t / np.sqrt(252) + drawn)


def persistent(sessions: int) -> np.ndarray:
    """Good and bad times that last: the sum varies far more than that of independent sessions would."""
    draw = np.random.default_rng(3)
    pips = np.zeros(sessions)
    for now in range(1, sessions):
        pips[now] = 0.7 * pips[now - 1] + draw.normal()
    return 20.0 * (pips - pips.mean()) / pips.std() + 6.0


def test_a_promise_is_less_than_the_record_and_what_is_gone_costs_its_turnover() -> None:
    pips = record(5.0, 120, 1)
    promise = promise_of(pips, 7.0, LOOKS[:6], seed=1)
    assert promise.gone_pips == -7.0
    assert promise.gone_pips < promise.good_pips < promise.middle_pips < pips.mean()


def test_a_longer_record_promises_more_of_what_it_earned() -> None:
    short, long = (promise_of(record(5.0, SESSIONS * looks, 1), 7.0, LOOKS[:looks], seed=1) for looks in (6, 12))
    assert short.good_pips < long.good_pips


def test_looks_at_which_a_record_was_above_the_boundary_already_were_no_stops() -> None:
    # Promoted at the last look, for want of seeds, say: the boundary chose nothing then, and nothing is shrunk for it.
    pips = record(9.0, SESSIONS * 12, 1)
    late = promise_of(pips, 7.0, LOOKS, seed=1)
    assert late.middle_pips == pytest.approx(pips.mean(), rel=0.1)


def test_sessions_that_depend_on_each_other_tell_less() -> None:
    pips = persistent(200)
    shuffled = np.random.default_rng(1).permutation(pips)
    together, apart = (promise_of(values, 20.0, LOOKS[:10], seed=1) for values in (pips, shuffled))
    assert together.sd_pips > 1.3 * apart.sd_pips
    told, alone = ((one.good_pips - one.gone_pips) / one.sd_pips for one in (together, apart))
    assert told < 0.8 * alone


def test_evidence_rises_when_the_edge_is_gone_and_is_never_credited() -> None:
    promise = Promise(good_pips=8.0, middle_pips=9.0, gone_pips=-4.0, sd_pips=40.0)
    # By hand: 12 / 1600 * (2 - x) a session.
    statistic = demotion_statistic([np.full(10, 2.0), np.full(10, -38.0), np.full(10, 402.0), [-158.0]], promise)
    assert statistic == pytest.approx([0.0, 3.0, 0.0, 1.2])


@pytest.mark.parametrize(("annual_t", "looks", "cost"), [(3.0, 12, 9.0), (5.0, 5, 14.0), (14.0, 1, 9.0)])
def test_a_champion_that_keeps_its_promise_is_demoted_in_one_of_a_hundred_windows(
    annual_t: float, looks: int, cost: float
) -> None:
    pips = record(annual_t, SESSIONS * looks, 5)
    promise = promise_of(pips, cost, LOOKS[:looks], seed=1)
    threshold = demotion_threshold(promise, pips, SESSIONS, seed=2)
    draw = np.random.default_rng(9)
    demoted = lived = 0
    for _ in range(1500):
        windows = draw.normal(promise.good_pips, SD, (26, SESSIONS))
        reached = demotion_statistic(windows, promise) >= threshold
        demoted += bool(reached.any())
        lived += int(reached.argmax()) + 1 if reached.any() else 26
    # The record's own tails are not quite normal.
    assert 0.003 < demoted / lived < 0.0105


def test_a_champion_of_some_turnover_whose_edge_is_gone_is_found_within_three_windows() -> None:
    pips = record(6.0, SESSIONS * 6, 5)
    promise = promise_of(pips, 18.0, LOOKS[:6], seed=1)
    threshold = demotion_threshold(promise, pips, SESSIONS, seed=2)
    draw = np.random.default_rng(9)
    found = [
        (demotion_statistic(draw.normal(promise.gone_pips, SD, (3, SESSIONS)), promise) >= threshold).any()
        for _ in range(500)
    ]
    assert np.mean(found) > 0.9


def test_thresholds_of_sessions_that_depend_on_each_other_are_higher() -> None:
    pips = persistent(200)
    promise = promise_of(pips, 20.0, LOOKS[:10], seed=1)
    shuffled = np.random.default_rng(1).permutation(pips)
    together, apart = (demotion_threshold(promise, values, SESSIONS, seed=2) for values in (pips, shuffled))
    assert together > apart


def test_the_same_seed_sets_the_same_threshold() -> None:
    pips = record(5.0, 100, 1)
    promise = promise_of(pips, 7.0, LOOKS[:5], seed=1)
    first, again, other = (demotion_threshold(promise, pips, SESSIONS, seed=seed) for seed in (2, 2, 3))
    assert first == again
    assert first == pytest.approx(other, rel=0.15)


def test_shapes_of_bars_know_the_falls_within_a_session_and_between_two() -> None:
    bars = np.array([[5.0, -9.0, 6.0], [-3.0, 1.0, 0.0]])
    shapes = SessionShapes.of_bars(bars)
    assert shapes.total.tolist() == [2.0, -2.0]
    assert shapes.lowest.tolist() == [-4.0, -3.0]
    assert shapes.highest.tolist() == [5.0, 0.0]
    assert shapes.fall.tolist() == [9.0, 3.0]
    assert shapes.deepest() == 9.0
    path = np.concatenate([[0.0], bars.ravel().cumsum()])
    assert shapes.deepest() == (np.maximum.accumulate(path) - path).max()
    assert SessionShapes.of_totals(bars.sum(axis=1)).deepest() == 2.0


@pytest.mark.parametrize("seed", range(5))
def test_the_deepest_fall_is_that_of_the_whole_path(seed: int) -> None:
    bars = np.random.default_rng(seed).normal(size=(30, 12))
    path = np.concatenate([[0.0], bars.ravel().cumsum()])
    assert SessionShapes.of_bars(bars).deepest() == pytest.approx((np.maximum.accumulate(path) - path).max())


def test_a_good_champion_stays_within_its_drawdown_limit_though_its_record_flattered_it() -> None:
    truth = 4.0 * SD / np.sqrt(252)
    draw = np.random.default_rng(4)
    records = draw.normal(truth, SD, (2000, SESSIONS * 4))
    z = records.cumsum(axis=1)[:, SESSIONS - 1 :: SESSIONS] / (SD * np.sqrt(SESSIONS * np.arange(1, 5)))
    crossed = z >= spending_boundary(LOOKS[:4])
    chosen = records[crossed[:, 3] & ~crossed[:, :3].any(axis=1)][:60]
    assert chosen.mean() > truth + 2.0
    beyond = 0
    for number, pips in enumerate(chosen):
        promise = promise_of(pips, 9.0, LOOKS[:4], seed=1)
        limit = drawdown_limit(SessionShapes.of_totals(pips), promise, SESSIONS, seed=number, percentile=99.0)
        assert limit is not None
        later = draw.normal(truth, SD, (100, SESSIONS))
        beyond += sum(SessionShapes.of_totals(one).deepest() > limit for one in later)
    assert beyond / (100 * len(chosen)) < 0.012


def test_drawdown_limits_measured_by_bar_are_deeper() -> None:
    bars = np.random.default_rng(2).normal(0.05, 2.0, (120, 300))
    promise = promise_of(bars.sum(axis=1), 9.0, LOOKS[:6], seed=1)
    closed = drawdown_limit(SessionShapes.of_totals(bars.sum(axis=1)), promise, SESSIONS, seed=1)
    marked = drawdown_limit(SessionShapes.of_bars(bars), promise, SESSIONS, seed=1)
    assert closed is not None
    assert marked is not None
    assert marked > closed


def test_nothing_to_resample_has_no_limit() -> None:
    promise = Promise(8.0, 9.0, -4.0, 40.0)
    assert drawdown_limit(SessionShapes.of_totals([]), promise, 20, seed=1) is None
    assert drawdown_limit(SessionShapes.of_totals([1.0, 2.0]), promise, 0, seed=1) is None


@pytest.mark.parametrize(
    ("pips", "cost", "match"),
    [
        ([1.0], 1.0, "promise nothing"),
        ([1.0] * 20, 1.0, "promise nothing"),
        (record(1.0, 20, 1), -1.0, "at least 0 pips"),
        (record(-9.0, 20, 1), 1.0, "promises nothing"),
    ],
)
def test_what_promises_nothing_is_refused(pips: list[float], cost: float, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        promise_of(pips, cost, LOOKS[:1], seed=1)


def test_a_short_record_promises_what_the_gate_is_made_for_and_not_the_sky() -> None:
    year = np.sqrt(252)
    # One window at an annual t of 14: nobody has that.
    sky = promise_of(record(14.0, SESSIONS, 5), 9.0, LOOKS[:1], seed=1)
    assert sky.good_pips == pytest.approx(5.0 * sky.sd_pips / year)
    # The limit of a record that crossed late is below 3; its own estimate is above.
    late = promise_of(record(3.6, SESSIONS * 7, 1), 9.0, LOOKS[:7], seed=1)
    assert late.middle_pips > late.good_pips == pytest.approx(3.0 * late.sd_pips / year)
    weak = promise_of(record(2.0, SESSIONS * 12, 1), 9.0, LOOKS, seed=1)
    assert weak.good_pips == pytest.approx(weak.middle_pips) and weak.good_pips < 3.0 * weak.sd_pips / year
