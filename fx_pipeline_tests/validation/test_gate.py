import math

import pytest

from fx_pipeline.validation.gate import FIRST_GATE, GateConfig, first_gate

GOOD = {
    "trades": 60,
    "expectancy_pips": 1.2,
    "total_pips": 72.0,
    "probability_not_positive": 0.01,
    "overlapping_sessions": 0,
}


def failed(figures, **config):
    verdict = first_gate(figures, GateConfig(**config))
    return {condition.name for condition in verdict.conditions if not condition.passed}


def test_good_figures_pass_every_condition():
    verdict = first_gate(GOOD)
    assert verdict.promoted and verdict.verdict == "promoted"
    assert len(verdict.conditions) == len(FIRST_GATE)
    assert len(verdict.reasons) == len(FIRST_GATE)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"expectancy_pips": 0.0}, {"positive_expectancy"}),
        ({"trades": 29}, {"enough_trades"}),
        ({"probability_not_positive": 0.0501}, {"better_than_flat"}),
        ({"total_pips": 0.0}, {"better_than_flat"}),
        ({"overlapping_sessions": 1}, {"disjoint_sessions"}),
        (
            {"expectancy_pips": -1.0, "total_pips": -60.0, "probability_not_positive": 1.0},
            {"positive_expectancy", "better_than_flat"},
        ),
    ],
)
def test_each_condition_fails_on_its_own_figure(change, names):
    verdict = first_gate({**GOOD, **change})
    assert failed({**GOOD, **change}) == names
    assert verdict.verdict == "rejected"
    assert list(verdict.reasons) == [c.explanation for c in verdict.conditions if not c.passed]


@pytest.mark.parametrize("key", GOOD)
@pytest.mark.parametrize("value", [None, math.nan, math.inf, "many", "absent"])
def test_a_missing_figure_never_passes(key, value):
    figures = {**GOOD, key: value}
    if value == "absent":
        del figures[key]
    assert first_gate(figures).verdict == "rejected"


def test_thresholds_are_settings_and_bounds_are_inclusive_where_they_say_so():
    assert not failed({**GOOD, "trades": 30, "probability_not_positive": 0.05})
    assert failed(GOOD, min_trades=61) == {"enough_trades"}
    assert failed(GOOD, min_expectancy_pips=1.2) == {"positive_expectancy"}


def test_an_empty_gate_is_refused():
    with pytest.raises(ValueError, match="at least one condition"):
        first_gate(GOOD, rules=())
