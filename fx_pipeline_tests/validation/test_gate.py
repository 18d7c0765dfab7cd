import math

import pytest

from fx_pipeline.validation.conditions import CONDITIONS
from fx_pipeline.validation.gate import LAXEST, GateConfig, judge, laxer, refuse_meaningless

RECORD = {
    "windows": [{"window": "2024-01-08"}, {"window": "2024-02-05"}],
    "sessions": 300,
    "days": 80,
    "looks": [0.16, 0.32],
    "trades": 260,
    "min_track_record_trades": 210.0,
    "stressed_expectancy_pips": 1.2,
    "total_pips": 72.0,
    "probability_not_positive": 0.01,
    "baseline_p": 0.02,
    "alpha": {"pips": 0.3},
    "random_p": 0.02,
    "z": 5.0,
    "lucky_z": 1.6,
    "deflated_z": 3.4,
    "trials": 12,
    "chosen": {"configurations": 10, "further candidates": 2, "instruments": 1},
    "overfitting_probability": 0.1,
    "family_absent": "",
    "spa_p": 0.03,
    "superior": True,
    "car25": 0.11,
    "seeds": 5,
    "seed_trades": {"1": 250, "2": 240, "3": 270, "4": 260, "5": 31},
    "seed_copies": [],
    "worst_seed_pips": 3.0,
    "seeds_left_out": 0,
    "missing": [],
    "overlapping_sessions": 0,
    "shared_sessions": 0,
    "ledger_faults": [],
    "mc_runs": 10_000,
}
WINDOW = {
    "parity_error_pips": 1e-12,
    "parity": {
        "replayed": 260,
        "trades": 260,
        "left_out": 0,
        "differing": 0,
        "largest_difference_pips": 1e-12,
        "over_gaps": 2,
    },
    "leaks_searched": ["look-ahead"],
    "leaks_found": 0,
    "overlapping_sessions": 0,
    "holdout_openings": 1,
}
GOOD = {**WINDOW, "record": RECORD}
# Without these a report can still be judged.
SPARE = {"sessions", "family_absent", "days", "z", "lucky_z", "chosen", "seed_copies", "shared_sessions"}
FIGURES = sorted([*(RECORD.keys() - SPARE), *(WINDOW.keys() - {"leaks_searched"}), "record"])
EDGES = {"trades": 200, "min_track_record_trades": 200.0, "probability_not_positive": 0.05, "random_p": 0.05} | {
    "baseline_p": 0.05,
    "overfitting_probability": 0.2,
    "spa_p": 0.05,
    "worst_seed_pips": 0.0,
    "seed_trades": {"1": 30},
}


def changed(**change):
    """The good figures with some of them changed, those of the window and of the record alike."""
    record = {key: value for key, value in change.items() if key in RECORD and key not in WINDOW}
    return GOOD | {key: value for key, value in change.items() if key in WINDOW} | {"record": RECORD | record}


def verdict_on(figures, **config):
    return judge(figures, GateConfig(**config), CONDITIONS)


def failed(figures, **config):
    return {condition.name for condition in verdict_on(figures, **config).conditions if not condition.passed}


def test_good_figures_pass_every_condition():
    verdict = verdict_on(GOOD)
    assert verdict.promoted and verdict.verdict == "promoted"
    assert len(verdict.conditions) == len(verdict.reasons) == len(CONDITIONS)
    assert not any(condition.remedy for condition in verdict.conditions)
    assert len({condition.name for condition in verdict.conditions}) == len(CONDITIONS)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"trades": 199, "min_track_record_trades": 1.0}, "enough_trades"),
        ({"min_track_record_trades": 261.0}, "long_enough_record"),
        ({"stressed_expectancy_pips": 0.0}, "positive_expectancy"),
        ({"probability_not_positive": 0.0501}, "better_than_flat"),
        ({"total_pips": 0.0}, "better_than_flat"),
        ({"baseline_p": 0.0501}, "better_than_baselines"),
        ({"alpha": {"pips": -0.1}}, "better_than_baselines"),
        ({"random_p": 0.06}, "better_than_random"),
        ({"deflated_z": 2.5}, "deflated_sharpe"),
        ({"looks": [0.01]}, "deflated_sharpe"),
        ({"looks": []}, "deflated_sharpe"),
        ({"overfitting_probability": 0.21}, "not_overfitted"),
        ({"spa_p": 0.051}, "superior"),
        ({"superior": False}, "superior"),
        ({"car25": 0.03}, "worth_its_risk"),
        ({"worst_seed_pips": -0.1}, "worst_seed"),
        ({"seeds": 4}, "worst_seed"),
        ({"seeds_left_out": 1}, "worst_seed"),
        ({"seed_trades": RECORD["seed_trades"] | {"5": 29}}, "worst_seed"),
        ({"seed_trades": RECORD["seed_trades"] | {"5": None}}, "worst_seed"),
        ({"missing": ["window 2024-01-22 lies between, and was not validated"]}, "record_complete"),
        ({"windows": []}, "record_complete"),
        ({"ledger_faults": ["Row 7 does not follow row 6."]}, "ledger_complete"),
        ({"mc_runs": 9_999}, "enough_runs"),
        ({"parity_error_pips": 0.01}, "accounting_agrees"),
        ({"parity": GOOD["parity"] | {"differing": 1}}, "broker_agrees"),
        ({"parity": GOOD["parity"] | {"differing": None}}, "broker_agrees"),
        ({"parity": GOOD["parity"] | {"replayed": 259}}, "broker_agrees"),
        ({"leaks_found": 1}, "no_leak"),
        ({"leaks_searched": []}, "no_leak"),
        ({"overlapping_sessions": 1}, "disjoint_sessions"),
        ({"holdout_openings": 2}, "unseen_holdout"),
    ],
)
def test_each_condition_fails_on_its_own_figure(change, name):
    figures = changed(**change)
    verdict = verdict_on(figures)
    assert failed(figures) == {name}
    assert verdict.verdict == "rejected"
    (reason,) = verdict.reasons
    (condition,) = (c for c in verdict.conditions if not c.passed)
    assert reason == condition.explanation and condition.remedy


def test_a_ledger_that_is_gone_for_good_has_a_remedy():
    (condition,) = (
        c for c in verdict_on(changed(ledger_faults=["Another."])).conditions if c.name == "ledger_complete"
    )
    assert "fx-pipeline ledger recover --reason" in condition.remedy


def test_the_replay_says_how_much_of_it_was_left_out():
    def explained(left_out):
        verdict = verdict_on(GOOD | {"parity": GOOD["parity"] | {"left_out": left_out}})
        (condition,) = (c for c in verdict.conditions if c.name == "broker_agrees")
        assert condition.passed
        return condition.explanation

    assert "not replayed" not in explained(0)
    assert "90,388 more, of sessions that were not drawn, were not replayed" in explained(90_388)


@pytest.mark.parametrize("key", FIGURES)
@pytest.mark.parametrize("value", [None, math.nan, math.inf, "many", "absent"])
def test_a_missing_figure_never_passes(key, value):
    for place in [table for table in (GOOD, RECORD) if key in table]:
        figures = {**GOOD, "record": dict(RECORD)}
        table = figures if place is GOOD else figures["record"]
        table[key] = value
        if value == "absent":
            del table[key]
        assert verdict_on(figures).verdict == "rejected"


def test_nothing_passes_on_nothing():
    assert failed({}) == {condition.name for condition in verdict_on(GOOD).conditions}


def test_bounds_are_inclusive_where_they_say_so():
    assert not failed(changed(**EDGES))


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"min_trades": 261}, "enough_trades"),
        ({"min_expectancy_pips": 1.2}, "positive_expectancy"),
        ({"max_probability_not_positive": 0.001}, "better_than_flat"),
        ({"max_random_p": 0.01}, "better_than_random"),
        ({"min_deflated_sharpe": 0.999}, "deflated_sharpe"),
        ({"max_baseline_p": 0.01}, "better_than_baselines"),
        ({"min_seed_trades": 32}, "worst_seed"),
        ({"max_overfitting": 0.05}, "not_overfitted"),
        ({"max_snooping_p": 0.01}, "superior"),
        ({"risk_free_rate": 0.2}, "worth_its_risk"),
        ({"min_seeds": 6}, "worst_seed"),
        ({"min_worst_seed_pips": 4.0}, "worst_seed"),
        ({"max_parity_error_pips": 1e-15}, "accounting_agrees"),
        ({"max_holdout_openings": 0}, "unseen_holdout"),
    ],
)
def test_thresholds_are_settings(config, name):
    assert failed(GOOD, **config) == {name}


def test_what_would_have_to_change_is_said_in_figures():
    verdict = verdict_on(changed(trades=100, seeds=1, stressed_expectancy_pips=-0.75))
    remedies = {condition.name: condition.remedy for condition in verdict.conditions}
    assert remedies["enough_trades"] == "100 more unseen trades: at its rate of trading, about 300 more sessions."
    assert remedies["worst_seed"] == "Train and validate 4 more seeds of the same configuration."
    assert "0.75 pips more" in remedies["positive_expectancy"]


def test_a_family_that_cannot_be_tested_says_why():
    verdict = verdict_on(changed(overfitting_probability=None, family_absent="the ledger has one trial."))
    assert any("Overfitting cannot be tested: the ledger has one trial." in reason for reason in verdict.reasons)


def test_a_threshold_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="max_overfitting"):
        GateConfig(max_overfitting=math.nan)


def test_thresholds_that_ask_for_less_are_named_and_have_a_floor():
    assert laxer(GateConfig()) == [] == laxer(GateConfig(min_trades=300, max_random_p=0.01))
    assert laxer(GateConfig(min_trades=100, max_random_p=0.1)) == [
        "min_trades 100 (default 200)",
        "max_random_p 0.1 (default 0.05)",
    ]
    refuse_meaningless(GateConfig(**LAXEST))
    for name, floor in LAXEST.items():
        beyond = floor + 0.05 if name.startswith("max_") else floor - 0.05
        with pytest.raises(ValueError, match=f"{name} is at (most|least) {floor:g}, and not"):
            refuse_meaningless(GateConfig(**{name: beyond}))


def test_an_empty_gate_is_refused():
    with pytest.raises(ValueError, match="at least one condition"):
        judge(GOOD, GateConfig(), ())


def test_the_deflated_sharpe_ratio_says_over_how_many_trials_of_what_at_which_look():
    (condition,) = (c for c in verdict_on(GOOD).conditions if c.name == "deflated_sharpe")
    assert "12 worthless ones that were chosen among (10 configurations, 2 further candidates)" in condition.explanation
    assert "At look 2 of its year, after 80 trading days" in condition.explanation
    # The bound is that of the look: earlier looks have spent of the error, and little of it is there early on.
    bounds = [
        next(c.threshold for c in verdict_on(changed(looks=looks)).conditions if c.name == "deflated_sharpe")
        for looks in ([0.1], [0.5], [1.0], [0.25, 0.5, 0.75, 1.0])
    ]
    assert bounds[0] > bounds[1] > bounds[2] == pytest.approx(1.645, abs=0.01)
    assert 1.645 < bounds[3] < 2.2
