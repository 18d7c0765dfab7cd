"""Which report may make a champion and what ends one, case by case."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.settings import load_settings
from fx_pipeline.validation.champion import Champion, Demotion
from fx_pipeline.validation.gate import GateConfig
from fx_pipeline.validation.promotion import decide_promotion
from fx_pipeline.validation.promotion_config import PromotionConfig
from fx_pipeline.validation.spans import iso_ns
from fx_pipeline_tests.validation.test_gate import GOOD

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
    span: tuple[str, str] | None = None,
) -> Any:
    figures = GOOD | {"window": window, "instrument": "EUR_USD", "expectancy_pips": expectancy, "verdict": verdict}
    if verdict == "rejected":
        figures |= {"record": GOOD["record"] | {"trades": 12}}
    paired = {
        "champion_sha256": beside,
        "mean_difference_pips": 1.5,
        "interval_pips": [0.2, 2.8],
        "sessions": 60,
        "p_value": p,
    }
    figures["paired"] = None if p is None else paired
    start, end = span or (window, f"{window[:7]}-28")
    lineage = {"checkpoint_sha256": sha, "source": source, "costs": costs, "valid_start": start, "valid_end": end}
    return {"figures": figures, "lineage": lineage}


CHAMPION = Champion(
    instrument="EUR_USD",
    window="2024-01-01",
    agent="muzero",
    weights_sha256="old",
    model=Path("models/EUR_USD/old"),
    source="imported",
    costs=COSTS,
    registered_model="EUR_USD-muzero",
    version="1",
    registered_url="",
    valid_end_ns=iso_ns("2024-01-31"),
)
TOY = replace(CHAMPION, source="synthetic", window="2024-03-01", valid_end_ns=iso_ns("2024-03-28"))
DEMOTED = Demotion(
    instrument="EUR_USD",
    window="2024-01-01",
    weights_sha256="old",
    source="imported",
    registered_model="EUR_USD-muzero",
    version="1",
    last_window="2024-03-01",
    reason="it failed.",
    last_end_ns=iso_ns("2024-03-28"),
    judged_until_ns=iso_ns("2024-01-31"),
)
#: As an earlier version wrote it.
OLD_DEMOTED = replace(DEMOTED, last_end_ns=None, judged_until_ns=None)
DEMOTED_TOY = replace(DEMOTED, source="synthetic")


@pytest.mark.parametrize(
    ("candidate", "champion", "promote", "says"),
    [
        (report(), None, True, "3.00 pips a trade; it is the first champion"),
        (report(verdict="rejected"), None, False, "the gate rejected window 2024-02-01: "),
        (report(verdict="rejected", expectancy=99.0), CHAMPION, False, "rejected"),
        (report(), CHAMPION, True, "+1.50 pips a session against the champion of window 2024-01-01 on 60 sessions"),
        (report(), CHAMPION, True, "(95% interval +0.20 to +2.80, p 0.01): it replaces"),
        (report(p=0.05), CHAMPION, False, "needed below 0.05): not better enough"),
        (report(p=0.4, expectancy=99.0), CHAMPION, False, "not better enough"),
        (report(p=float("nan")), CHAMPION, False, "not better enough"),
        (report(p=None), CHAMPION, False, "was not validated beside the present champion"),
        (report(beside="an older one"), CHAMPION, False, "was not validated beside the present champion"),
        (report(window="2024-03-01", expectancy=0.5), CHAMPION, True, "it replaces"),
        (report(window="2023-12-01", expectancy=9.0), CHAMPION, False, "validated on newer data"),
        # Bars decide, and no name of a window.
        (report(window="2024-01-01"), CHAMPION, False, "validated on newer data"),
        (report(span=("2024-01-02", "2024-02-20")), CHAMPION, False, "who is better is judged on later ones"),
        (report(window="2023-01-01", span=("2024-01-31", "2024-02-20")), CHAMPION, True, "it replaces"),
        (report(window="2023-01-01"), replace(CHAMPION, valid_end_ns=None), False, "validated on newer data"),
        (report(sha="old"), CHAMPION, False, "is the champion already"),
        (report(sha="old", window="2024-03-01"), CHAMPION, False, "is the champion already"),
        (report(window="2024-05-01", source="synthetic"), CHAMPION, False, "validated on real candles"),
        (report(window="2016-06-14", p=None), TOY, True, "the champion knew a synthetic market only"),
        (report(window="2024-05-01", source="synthetic"), TOY, True, "it replaces"),
        # The costs at which models are judged: nothing but lower ones is in the way.
        (
            report(costs=COSTS | {"fixed_pips": 3.0}),
            CHAMPION,
            False,
            "higher costs (4 and not 3 pips a trade)",
        ),
        (report(costs=COSTS | {"fixed_pips": 4.000001}), CHAMPION, True, "it replaces"),
        (report(costs=COSTS | {"fixed_pips": 3.9999999}), CHAMPION, True, "it replaces"),
        (report(costs=COSTS | {"slippage_pips": 2.0}), CHAMPION, True, "it replaces"),
        (report(), replace(CHAMPION, costs=COSTS | {"financing_long_pips": 5.0}), False, "5 and not 0 pips a day long"),
        (report(), replace(CHAMPION, costs=COSTS | {"fill": "close"}), False, "fill close and not next_open"),
        (report(), replace(CHAMPION, costs={"who": 1}), False, "which this version does not know"),
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
        (report(p=None, span=("2024-01-15", "2024-04-15")), DEMOTED, False, "a successor is judged on newer days"),
        (report(window="2024-02-15", p=None), OLD_DEMOTED, False, "a successor is judged on newer days"),
        (report(window="2024-03-01", p=None), OLD_DEMOTED, True, "in place of the demoted one"),
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
        {"demotion_chance": 0.0},
        {"demotion_chance": float("nan")},
        {"unjudged_windows": 0},
        {"unjudged_windows": 1_000},
        {"drawdown_percentile": 100.0},
        {"drawdown_percentile": float("nan")},
    ],
)
def test_thresholds_that_mean_nothing_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PromotionConfig(**wrong)


def test_rejected_report_without_a_trade_has_no_expectancy() -> None:
    candidate = report(verdict="rejected")
    candidate["figures"]["expectancy_pips"] = None
    assert not decide_promotion(candidate, CHAMPION).promote


def test_the_word_of_the_file_decides_nothing() -> None:
    """Neither to promote nor to reject: the figures are judged."""
    believed = report(verdict="rejected")
    believed["figures"]["verdict"] = "promoted"
    decision = decide_promotion(believed, None)
    assert not decision.promote
    assert "the gate rejected window 2024-02-01: 12 trades" in decision.reason
    assert "Its file says promoted: its figures do not bear that out." in decision.reason
    modest = report()
    modest["figures"]["verdict"] = "rejected"
    assert decide_promotion(modest, None).promote


def test_the_gate_of_now_judges_a_report_of_another_gate() -> None:
    lax = report()
    lax["figures"] |= {"record": GOOD["record"] | {"trades": 150, "min_track_record_trades": 100.0}}
    lax["figures"]["gate"] = vars(GateConfig(min_trades=100))
    assert decide_promotion(lax, None, gate=GateConfig(min_trades=100)).promote
    decision = decide_promotion(lax, None)
    assert not decision.promote
    assert "under another FX_GATE (min_trades 100 and not 200), and the gate of now decides" in decision.reason


@pytest.mark.parametrize("name", ["demote_after", "telling_trades"])
def test_a_setting_of_an_earlier_version_is_refused_with_what_replaces_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FX_PROMOTION", f'{{"{name}": 3}}')
    with pytest.raises(ConfigurationError, match=f"FX_PROMOTION: {name} does not exist any more: "):
        load_settings()
