"""Whether a champion stays: which sessions are weighed, and what ends it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fx_pipeline.validation.champion import Standing
from fx_pipeline.validation.demotion import SessionShapes
from fx_pipeline.validation.promotion_config import PromotionConfig
from fx_pipeline.validation.tenure import (
    PromisedRecord,
    decide_demotion,
    judge_tenure,
    later_standings,
    looks_of,
    shapes_of_trades,
)
from fx_pipeline_tests.validation.test_promotion import CHAMPION as PROMOTED

HOUR_NS = 3_600 * 1_000_000_000
DAY_NS = 24 * HOUR_NS
SESSIONS = 40
CHAMPION = replace(PROMOTED, weights_sha256="a", valid_end_ns=1_000 * DAY_NS)
BEGIN_NS = 1_000 * DAY_NS
#: A true t of about 5 a year, at a cost of 4 pips a session.
RECORD = PromisedRecord(
    SessionShapes.of_totals(np.random.default_rng(3).normal(3.0, 10.0, 250)), 4.0, (0.25, 0.5, 0.75, 1.0), 1.0
)


def standing(number: int, mean: float | None, **change: Any) -> Standing:
    """Window `number` after the record, in which a session makes `mean` pips; None: it could not be judged."""
    start = BEGIN_NS + number * 20 * DAY_NS
    times = start + np.arange(SESSIONS) * 6 * HOUR_NS
    pips = np.random.default_rng(number).normal(mean or 0.0, 10.0, SESSIONS)
    pips += (mean or 0.0) - pips.mean()
    known = mean is not None
    return replace(
        Standing(
            window=f"w{number}",
            weights_sha256="a",
            costs={},
            source="imported",
            sound=known,
            reasons=() if known else ("its weights are gone.",),
            valid_start_ns=int(times[0]),
            valid_end_ns=int(times[-1]) + 6 * HOUR_NS,
            session_ns=times.tolist() if known else [],
            session_pnl_pips=pips.tolist() if known else [],
        ),
        **change,
    )


def demoted(standings: list[Standing], record: PromisedRecord | str = RECORD, **config: Any) -> str:
    return decide_demotion(CHAMPION, standings, record, PromotionConfig(**config)) or ""


def test_a_champion_that_keeps_its_promise_stays() -> None:
    assert demoted([]) == ""
    assert demoted([standing(number, 3.0) for number in range(12)]) == ""


@pytest.mark.parametrize("mean", [-4.0, -6.0])
def test_one_whose_edge_is_gone_goes_within_three_windows(mean: float) -> None:
    reason = demoted([standing(number, mean) for number in range(3)])
    assert "its edge is gone: " in reason and "sessions of 3 windows since its record" in reason


def test_failures_need_not_come_in_a_row() -> None:
    """Two bad windows and a fair one: what was weighed is not forgotten."""
    means = [-2.5, -2.5, 0.5, -2.5, -2.5]
    tenure = judge_tenure(CHAMPION, [standing(n, mean) for n, mean in enumerate(means)], RECORD, PromotionConfig())
    last = judge_tenure(CHAMPION, [standing(4, means[4])], RECORD, PromotionConfig())
    assert tenure is not None and last is not None and tenure.evidence > last.evidence > 0.0
    assert tenure.windows == 5 and tenure.sessions == 5 * SESSIONS


def test_a_session_counts_once_whatever_windows_it_lies_in() -> None:
    """Two failures a day apart are one."""
    one = standing(0, -2.0)
    times, pips = np.asarray(one.session_ns), np.asarray(one.session_pnl_pips)
    again = replace(
        one,
        window="a day later",
        valid_end_ns=one.valid_end_ns + DAY_NS,
        session_ns=[*times.tolist(), *(times[-1] + (np.arange(4) + 1) * 6 * HOUR_NS).tolist()],
        session_pnl_pips=[*pips.tolist(), 1.0, 1.0, 1.0, 1.0],
    )
    both = judge_tenure(CHAMPION, [again, one], RECORD, PromotionConfig())
    assert both is not None and both.sessions == SESSIONS + 4
    assert both.total_pips == pytest.approx(pips.sum() + 4.0)


def test_bars_that_its_record_has_say_nothing_anew() -> None:
    early = standing(0, -30.0)
    times = np.asarray(early.session_ns) - 30 * DAY_NS
    early = replace(early, session_ns=times.tolist(), valid_end_ns=early.valid_end_ns - 30 * DAY_NS)
    assert later_standings(CHAMPION, [early]) == [] and demoted([early]) == ""
    # A window that begins before the record ends adds the sessions after it.
    half = standing(0, -30.0)
    half = replace(half, session_ns=(np.asarray(half.session_ns) - 5 * DAY_NS).tolist())
    (kept,) = later_standings(CHAMPION, [half])
    assert kept.fresh.sum() == (np.asarray(half.session_ns) >= BEGIN_NS).sum() == SESSIONS - 20


@pytest.mark.parametrize("change", [{"weights_sha256": "b"}, {"source": "synthetic"}])
def test_what_is_not_about_this_champion_says_nothing(change: dict[str, Any]) -> None:
    assert demoted([standing(number, -30.0, **change) for number in range(4)]) == ""


def test_a_champion_that_cannot_be_judged_is_not_one() -> None:
    assert demoted([standing(0, None)]) == ""
    assert demoted([standing(0, None), standing(1, 3.0)]) == ""
    assert demoted([standing(0, None), standing(1, 3.0), standing(2, None)]) == ""
    reason = demoted([standing(0, 3.0), standing(1, None), standing(2, None)])
    assert "it cannot be judged on its newest 2 windows" in reason and "w2: its weights are gone." in reason
    assert demoted([standing(0, None)], unjudged_windows=1)


def test_a_record_that_nobody_knows_cannot_be_kept_or_broken() -> None:
    assert demoted([standing(0, 3.0)], "its report is gone") == ""
    reason = demoted([standing(0, 3.0), standing(1, 3.0)], "its report is gone")
    assert "it cannot be judged" in reason and "its report is gone" in reason
    worthless = PromisedRecord(SessionShapes.of_totals([1.0, -50.0, 2.0, -40.0]), 0.0, (0.1,))
    assert "the record promises nothing" in demoted([standing(0, 3.0), standing(1, 3.0)], worthless)


def test_a_drawdown_that_the_record_does_not_allow_ends_it_at_once() -> None:
    deep = standing(0, 5.0)
    shapes = SessionShapes.of_totals(deep.session_pnl_pips)
    fields = {"session_lowest_pips": shapes.lowest.copy(), "session_highest_pips": shapes.highest}
    fields["session_fall_pips"] = shapes.fall.copy()
    assert demoted([replace(deep, **{name: values.tolist() for name, values in fields.items()})]) == ""
    # Within a session only: its result does not show it.
    fields["session_lowest_pips"][7] = -900.0
    reason = demoted([replace(deep, **{name: values.tolist() for name, values in fields.items()})])
    assert "it fell by 9" in reason and "bar by bar, beyond the" in reason
    assert (
        demoted([replace(deep, **{name: values.tolist() for name, values in fields.items()}), standing(1, 3.0)]) == ""
    )


def test_the_shape_of_a_session_knows_the_fall_within_its_trades() -> None:
    #        session 0: up to 8, down to 2, closed at 5; then down to -6 below entry, closed at 1. Session 2: nothing.
    shapes = shapes_of_trades(3, [0, 0, 1], [5.0, 1.0, -3.0], [6.0, 6.0, 4.0], [8.0, 1.0, 0.0])
    assert shapes.total.tolist() == [6.0, -3.0, 0.0]
    assert shapes.highest.tolist() == [8.0, 0.0, 0.0]
    # The second trade fell to 5 + 1 - 6 = 0: 8 below the peak of the session.
    assert shapes.fall.tolist() == [8.0, 4.0, 0.0]
    assert shapes.lowest.tolist() == [0.0, -4.0, 0.0]
    assert shapes.deepest() == 8.0, "deeper than from 8 in the first session to 6 - 4 in the second"


def test_the_only_look_at_a_record_is_its_share_of_a_year() -> None:
    days = (np.arange(21) * DAY_NS + 19_700 * DAY_NS).astype(np.int64)
    assert looks_of(days) == (pytest.approx(21 / 252),)
    assert looks_of(np.arange(400) * DAY_NS) == (1.0,)


def test_a_low_before_the_peak_is_known_by_its_own_mark() -> None:
    # 5 pips are won; the next trade is first 7 below its entry, then 20 above it, and closed there.
    known = ([0, 0], [5.0, 20.0], [0.0, 7.0], [5.0, 20.0])
    assert shapes_of_trades(1, *known, [0.0, -7.0]).lowest.tolist() == [-2.0]
    assert shapes_of_trades(1, *known, [0.0, -7.0]).fall.tolist() == [7.0]
    assert shapes_of_trades(1, *known).lowest.tolist() == [0.0]
