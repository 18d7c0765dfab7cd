"""Which report may make a champion, case by case."""

from typing import Any

import pytest

from fx_pipeline.validation.promotion import decide_promotion

COSTS = {"kind": "fixed", "fixed_pips": 4.0}


def report(
    window: str = "2024-02-01",
    expectancy: float = 3.0,
    verdict: str = "promoted",
    sha: str = "new",
    source: str = "imported",
    costs: Any = COSTS,
) -> Any:
    figures = {"window": window, "expectancy_pips": expectancy, "verdict": verdict, "reasons": ["one", "two"]}
    return {"figures": figures, "lineage": {"checkpoint_sha256": sha, "source": source, "costs": costs}}


CHAMPION = {
    "window": "2024-02-01",
    "sha256": "old",
    "expectancy_pips": 2.0,
    "source": "imported",
    "costs": COSTS,
}
TOY = CHAMPION | {"source": "synthetic", "window": "2024-03-01"}


@pytest.mark.parametrize(
    ("candidate", "champion", "promote", "says"),
    [
        (report(), None, True, "3.00 pips a trade; it is the first champion"),
        (report(verdict="rejected"), None, False, "the gate rejected window 2024-02-01: one; two"),
        (report(verdict="rejected", expectancy=99.0), CHAMPION, False, "rejected"),
        (report(), CHAMPION, True, "it replaces 2024-02-01"),
        (report(expectancy=2.0), CHAMPION, False, "2.00 pips a trade on window 2024-02-01, this one 2.00"),
        (report(expectancy=1.0), CHAMPION, False, "this one 1.00"),
        (report(window="2024-03-01", expectancy=0.5), CHAMPION, True, "it replaces 2024-02-01"),
        (report(window="2024-01-01", expectancy=9.0), CHAMPION, False, "validated on newer data"),
        (report(sha="old"), CHAMPION, False, "is the champion already"),
        (report(sha="old", window="2024-03-01"), CHAMPION, False, "is the champion already"),
        (report(window="2024-05-01", source="synthetic"), CHAMPION, False, "validated on real candles"),
        (report(window="2016-06-14"), TOY, True, "the champion knew a synthetic market only"),
        (report(window="2024-05-01", source="synthetic"), TOY, True, "it replaces 2024-03-01"),
        (report(costs={"kind": "fixed", "fixed_pips": 0.0}, expectancy=9.0), CHAMPION, False, "under other costs"),
    ],
)
def test_decision(candidate: Any, champion: Any, promote: bool, says: str) -> None:
    decision = decide_promotion(candidate, champion)
    assert decision.promote is promote
    assert says in decision.reason


def test_rejected_report_without_a_trade_has_no_expectancy() -> None:
    candidate = report(verdict="rejected")
    candidate["figures"]["expectancy_pips"] = None
    assert not decide_promotion(candidate, CHAMPION).promote
