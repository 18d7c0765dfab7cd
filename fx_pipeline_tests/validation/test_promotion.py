"""Which report may make a champion and what ends one, case by case."""

from typing import Any

import pytest

from fx_pipeline.validation.promotion import PromotionConfig, decide_demotion, decide_promotion, telling_standings

COSTS = {"kind": "fixed", "fixed_pips": 4.0}


def report(
    window: str = "2024-02-01",
    expectancy: float = 3.0,
    verdict: str = "promoted",
    sha: str = "new",
    source: str = "imported",
    costs: Any = COSTS,
    p: float | None = 0.01,
    beside: str = "old",
) -> Any:
    figures = {"window": window, "expectancy_pips": expectancy, "verdict": verdict, "reasons": ["one", "two"]}
    paired = {
        "champion_sha256": beside,
        "mean_difference_pips": 1.5,
        "interval_pips": [0.2, 2.8],
        "sessions": 60,
        "p_value": p,
    }
    figures["paired"] = None if p is None else paired
    return {"figures": figures, "lineage": {"checkpoint_sha256": sha, "source": source, "costs": costs}}


CHAMPION = {
    "window": "2024-02-01",
    "sha256": "old",
    "source": "imported",
    "costs": COSTS,
}
TOY = CHAMPION | {"source": "synthetic", "window": "2024-03-01"}
DEMOTED = {"sha256": "old", "source": "imported", "last_window": "2024-03-01", "reason": "it failed."}
DEMOTED_TOY = DEMOTED | {"source": "synthetic"}


@pytest.mark.parametrize(
    ("candidate", "champion", "promote", "says"),
    [
        (report(), None, True, "3.00 pips a trade; it is the first champion"),
        (report(verdict="rejected"), None, False, "the gate rejected window 2024-02-01: one; two"),
        (report(verdict="rejected", expectancy=99.0), CHAMPION, False, "rejected"),
        (report(), CHAMPION, True, "+1.50 pips a session against the champion of window 2024-02-01 on 60 sessions"),
        (report(), CHAMPION, True, "(95% interval +0.20 to +2.80, p 0.01): it replaces"),
        (report(p=0.05), CHAMPION, False, "needed below 0.05): not better enough"),
        (report(p=0.4, expectancy=99.0), CHAMPION, False, "not better enough"),
        (report(p=float("nan")), CHAMPION, False, "not better enough"),
        (report(p=None), CHAMPION, False, "was not validated beside the present champion"),
        (report(beside="an older one"), CHAMPION, False, "was not validated beside the present champion"),
        (report(window="2024-03-01", expectancy=0.5), CHAMPION, True, "it replaces"),
        (report(window="2024-01-01", expectancy=9.0), CHAMPION, False, "validated on newer data"),
        (report(sha="old"), CHAMPION, False, "is the champion already"),
        (report(sha="old", window="2024-03-01"), CHAMPION, False, "is the champion already"),
        (report(window="2024-05-01", source="synthetic"), CHAMPION, False, "validated on real candles"),
        (report(window="2016-06-14", p=None), TOY, True, "the champion knew a synthetic market only"),
        (report(window="2024-05-01", source="synthetic"), TOY, True, "it replaces"),
        (report(costs={"kind": "fixed", "fixed_pips": 0.0}, expectancy=9.0), CHAMPION, False, "under other costs"),
    ],
)
def test_decision(candidate: Any, champion: Any, promote: bool, says: str) -> None:
    decision = decide_promotion(candidate, champion)
    assert decision.promote is promote
    assert says in decision.reason


@pytest.mark.parametrize(
    ("candidate", "demotion", "promote", "says"),
    [
        (report(sha="old", window="2024-03-01", p=None), DEMOTED, False, "was demoted: it failed."),
        (report(window="2024-02-15", p=None), DEMOTED, False, "a successor is judged on newer days"),
        (report(window="2024-03-01", p=None), DEMOTED, True, "in place of the demoted one"),
        (report(window="2024-04-01", p=None, verdict="rejected"), DEMOTED, False, "the gate rejected"),
        # The days of a synthetic market are neither newer nor older than real ones.
        (report(window="2024-04-01", p=None, source="synthetic"), DEMOTED, False, "validated on real candles"),
        (report(window="2016-06-14", p=None), DEMOTED_TOY, True, "in place of the demoted one"),
        (report(window="2024-02-15", p=None, source="synthetic"), DEMOTED_TOY, False, "judged on newer days"),
        (report(window="2024-03-01", p=None, source="synthetic"), DEMOTED_TOY, True, "in place of the demoted one"),
    ],
)
def test_after_a_demotion(candidate: Any, demotion: Any, promote: bool, says: str) -> None:
    decision = decide_promotion(candidate, None, demotion)
    assert decision.promote is promote and says in decision.reason


def test_the_threshold_is_a_setting() -> None:
    assert decide_promotion(report(p=0.3), CHAMPION, config=PromotionConfig(max_paired_p=0.5)).promote
    assert not decide_promotion(report(p=0.01), CHAMPION, config=PromotionConfig(max_paired_p=0.001)).promote


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_paired_p": 0.0},
        {"max_paired_p": float("nan")},
        {"demote_after": 0},
        {"telling_trades": 0},
        {"drawdown_percentile": 101.0},
        {"drawdown_percentile": float("nan")},
    ],
)
def test_thresholds_that_mean_nothing_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PromotionConfig(**wrong)


def standing(window: str, passed: bool, fall: float = 10.0, limit: float | None = 50.0, **change: Any) -> Any:
    return {
        "window": window,
        "sha256": "old",
        "costs": COSTS,
        "source": "imported",
        "passed": passed,
        "trades": 30,
        "reasons": [f"reason of {window}."],
        "max_drawdown_pips": fall,
        "drawdown_limit_pips": limit,
    } | change


@pytest.mark.parametrize(
    ("standings", "says"),
    [
        ([], None),
        ([standing("2024-03", False)], None),
        ([standing("2024-03", False), standing("2024-04", True)], None),
        ([standing("2024-03", False), standing("2024-04", True), standing("2024-05", False)], None),
        (
            [standing("2024-03", False), standing("2024-04", False)],
            "2 newer windows in a row. 2024-03: reason of 2024-03.",
        ),
        ([standing("2024-04", False), standing("2024-02-15", True), standing("2024-03", False)], "2 newer windows"),
        ([standing("2024-03", True, fall=50.1)], "fell by 50.1 pips, beyond the 50.0 pips that 99% of the histories"),
        ([standing("2024-03", True, fall=50.0)], None),
        ([standing("2024-03", True, fall=900.0), standing("2024-04", True)], None),
        ([standing("2024-03", False, fall=900.0, limit=None)], None),
        # A window on which it hardly traded neither fails it nor clears it.
        ([standing("2024-03", False, trades=29), standing("2024-04", False)], None),
        (
            [standing("2024-03", False), standing("2024-04", False, trades=0), standing("2024-05", False)],
            "2 newer windows",
        ),
        (
            [standing("2024-03", False), standing("2024-04", True, trades=29), standing("2024-05", False)],
            "2 newer windows",
        ),
        ([standing("2024-03", False, trades=2, fall=50.1)], "fell by 50.1 pips"),
        # Nothing of these is said of this champion.
        ([standing("2024-03", False, sha256="x"), standing("2024-04", False)], None),
        ([standing("2024-03", False, costs={}), standing("2024-04", False)], None),
        ([standing("2024-01", False), standing("2024-02-01", False)], None),
        ([standing("2024-03", False, source="synthetic"), standing("2024-04", False, source="synthetic")], None),
        ([standing("2024-03", True, fall=900.0, source="synthetic")], None),
    ],
)
def test_demotion(standings: Any, says: str | None) -> None:
    reason = decide_demotion(CHAMPION, standings, PromotionConfig())
    assert reason is None if says is None else says in (reason or "")


def test_a_champion_of_a_synthetic_market_is_told_by_any_candles() -> None:
    real = [standing("2024-04", False), standing("2024-05", False)]
    toy = [found | {"source": "synthetic"} for found in real]
    assert decide_demotion(TOY, real, PromotionConfig()) and decide_demotion(TOY, toy, PromotionConfig())


def test_only_what_tells_something_decides_from_when_on_a_successor_is_judged() -> None:
    real = [standing("2024-04", False), standing("2024-03", False)]
    toy = standing("2030-01", False, source="synthetic")
    assert [found["window"] for found in telling_standings(CHAMPION, [*real, toy])] == ["2024-03", "2024-04"]


def test_one_window_is_enough_where_that_is_set() -> None:
    reason = decide_demotion(CHAMPION, [standing("2024-03", False)], PromotionConfig(demote_after=1))
    assert reason is not None and "1 newer window in a row" in reason


def test_rejected_report_without_a_trade_has_no_expectancy() -> None:
    candidate = report(verdict="rejected")
    candidate["figures"]["expectancy_pips"] = None
    assert not decide_promotion(candidate, CHAMPION).promote
