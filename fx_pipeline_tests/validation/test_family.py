import numpy as np
import pytest

from fx_pipeline.validation.context import TrialHistory, WindowTrial
from fx_pipeline.validation.family import judge_family, judge_seeds, judge_significance

SESSIONS = 64


def noise(seed, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 10.0, SESSIONS)


def history(*trials, **options):
    return TrialHistory(options.pop("count", len(trials)), (0.1, 0.0, -0.1), tuple(trials), **options)


def trial(configuration, seed, pnl, this=False):
    return WindowTrial(configuration, seed, np.asarray(pnl), this)


def test_equally_good_seeds_of_one_configuration_are_not_called_overfitted():
    seeds = [trial("a", seed, noise(seed, 8.0), this=seed == 0) for seed in range(5)]
    found = judge_family(history(*seeds), 500, 1)
    assert (found.trials, found.configurations, found.absent) == (5, 1, "")
    assert found.overfitting.candidates == 2 and found.overfitting.probability == 0.0
    assert found.snooping.spa_consistent_p < 0.05 and found.superior


def test_worthless_configurations_are_called_overfitted():
    trials = [trial(f"c{k}", 1, noise(k), this=k == 0) for k in range(12)]
    found = judge_family(history(*trials), 500, 1)
    assert found.configurations == 12
    assert found.overfitting.probability > 0.2
    assert found.snooping.spa_consistent_p > 0.05 and found.superior is False


def test_another_trial_that_is_good_does_not_make_this_one_superior():
    trials = [trial("bad", 1, noise(1, -3.0), this=True), trial("good", 1, noise(2, 15.0))]
    found = judge_family(history(*trials), 500, 1)
    assert found.snooping.spa_consistent_p < 0.05 and found.superior is False


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "no ledger"),
        (history(), "no trial on these sessions"),
        (history(trial("a", 1, noise(1), True)), "one trial on these sessions"),
        (history(trial("a", 1, noise(1)[:6], True), trial("b", 1, noise(2)[:6])), "6 sessions are too few"),
        (history(trial("a", 1, np.zeros(64), True), trial("b", 1, np.zeros(64))), "made or lost anything"),
    ],
)
def test_a_family_that_is_none_says_why(given, says):
    found = judge_family(given, 100, 1)
    assert says in found.absent
    assert (found.overfitting, found.snooping, found.superior) == (None, None, None)


def test_few_sessions_give_fewer_blocks():
    trials = [trial(name, 1, noise(k)[:9], k == 0) for k, name in enumerate("ab")]
    assert judge_family(history(*trials), 100, 1).overfitting.blocks == 4


def test_the_worst_checkpoint_of_each_seed_of_this_configuration_counts():
    ones = np.ones(10)
    found = judge_seeds(
        history(
            trial("a", 1, ones, this=True),
            trial("a", 2, 3 * ones),
            trial("a", 2, -2 * ones),
            trial("b", 3, -9 * ones),
        )
    )
    assert found.total_pips == {1: 10.0, 2: -20.0}
    assert (found.count, found.worst_pips, found.mean_pips) == (2, -20.0, -5.0)
    assert found.spread_pips == pytest.approx(np.std([10, -20], ddof=1))
    assert judge_seeds(None).worst_pips is None


def test_alike_trials_deflate_less_than_their_number():
    pnl, base = noise(3, 3.0), noise(4)
    alike = [trial("a", seed, base + 0.1 * noise(seed), seed == 10) for seed in range(10, 30)]
    found = judge_significance(pnl, history(*alike, count=400))
    assert found.deflated.trials == 400 and 1 < found.deflated_effective.trials < 2
    assert found.deflated.probability < found.deflated_effective.probability <= found.psr
    alone = judge_significance(pnl, None)
    assert alone.deflated.probability == alone.psr and alone.deflated_effective is None and not alone.trials_counted


def test_copies_of_one_lucky_trial_do_not_undo_the_deflation():
    copies = [trial("a", seed, noise(3), seed == 1) for seed in range(1, 5)]
    sharpe = float(noise(3).mean() / noise(3).std(ddof=1))
    found = judge_significance(noise(3), TrialHistory(40, (sharpe,) * 4, tuple(copies)))
    assert found.deflated.variance_source == "sampling"
    assert found.deflated.probability < found.psr - 0.2


def test_earlier_failures_do_not_refuse_a_good_trial():
    good, sharpes = noise(3, 6.0), (-1.5, -1.4, -1.6, -1.5, 0.6)
    found = judge_significance(good, TrialHistory(5, sharpes, (trial("a", 1, good, this=True),)))
    assert found.deflated.probability > 0.99 and found.deflated_measured.probability < 0.05
    # More attempts still ask for more.
    assert judge_significance(good, TrialHistory(10**6, sharpes)).deflated.probability < found.deflated.probability


def test_without_two_different_trades_there_is_no_significance():
    assert judge_significance([1.0], history()).deflated is None
