import numpy as np
import pytest

from fx_pipeline.validation.context import TrialHistory
from fx_pipeline.validation.family import judge_family, judge_significance
from fx_pipeline.validation.seeds import judge_seeds
from fx_pipeline.validation.track_record import SeedRecord, WindowTrial

SESSIONS = 64


def noise(seed, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 10.0, SESSIONS)


def history(*trials, **options):
    count = options.pop("count", len(trials))
    return TrialHistory(count, (0.1, 0.0, -0.1), tuple(trials), chosen_among=max(count, 1), **options)


def trial(configuration, seed, pnl, this=False):
    return WindowTrial(configuration, seed, np.asarray(pnl), this)


def test_equally_good_seeds_of_one_configuration_are_not_called_overfitted():
    seeds = [trial("a", seed, noise(seed, 8.0), this=seed == 0) for seed in range(5)]
    found = judge_family(seeds, 500, 1)
    assert (found.trials, found.configurations, found.absent) == (5, 1, "")
    assert found.overfitting.candidates == 2 and found.overfitting.probability == 0.0
    assert found.snooping.spa_consistent_p < 0.05 and found.superior


def test_worthless_configurations_are_called_overfitted():
    trials = [trial(f"c{k}", 1, noise(k), this=k == 0) for k in range(12)]
    found = judge_family(trials, 500, 1)
    assert found.configurations == 12
    assert found.overfitting.probability > 0.2
    assert found.snooping.spa_consistent_p > 0.05 and found.superior is False


def test_another_trial_that_is_good_does_not_make_this_one_superior():
    trials = [trial("bad", 1, noise(1, -3.0), this=True), trial("good", 1, noise(2, 15.0))]
    found = judge_family(trials, 500, 1)
    assert found.snooping.spa_consistent_p < 0.05 and found.superior is False


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "no ledger"),
        ([], "no trial on these sessions"),
        ([trial("a", 1, noise(1), True)], "one trial on these sessions"),
        ([trial("a", 1, noise(1)[:6], True), trial("b", 1, noise(2)[:6])], "6 sessions are too few"),
        ([trial("a", 1, np.zeros(64), True), trial("b", 1, np.zeros(64))], "made or lost anything"),
    ],
)
def test_a_family_that_is_none_says_why(given, says):
    found = judge_family(given or [], 100, 1, counted=given is not None)
    assert says in found.absent
    assert (found.overfitting, found.snooping, found.superior) == (None, None, None)


def test_few_sessions_give_fewer_blocks():
    trials = [trial(name, 1, noise(k)[:9], k == 0) for k, name in enumerate("ab")]
    assert judge_family(trials, 100, 1).overfitting.blocks == 4


def seed_of(seed, pnl, *checkpoints, trades=50, newest=True):
    return SeedRecord(seed, checkpoints or (f"weights {seed}",), newest, trades, np.asarray(pnl, float))


def test_the_worst_seed_counts_and_none_is_known_without_a_ledger():
    found = judge_seeds([seed_of(1, np.arange(10.0)), seed_of(2, -(np.arange(10.0)[::-1] ** 2))])
    assert found.total_pips == {1: 45.0, 2: -285.0} and found.trades == {1: 50, 2: 50}
    assert (found.count, found.worst_pips, found.mean_pips) == (2, -285.0, -120.0)
    assert found.spread_pips == pytest.approx(np.std([45, -285], ddof=1))
    assert judge_seeds([]).worst_pips is None and judge_seeds([]).count == 0


def test_one_model_under_several_numbers_is_one_seed():
    own = noise(1)
    copies = [seed_of(number, own, "the same weights") for number in range(5)]
    assert judge_seeds(copies).count == 1 and judge_seeds(copies).copies == ((0, 1, 2, 3, 4),)
    # Weights that were changed in their last digits have another hash, and trade alike.
    nearly = [seed_of(number, own + 1e-3 * noise(10 + number)) for number in range(5)]
    assert judge_seeds(nearly).count == 1
    # As alike in another number of trades, or less alike: trainings of their own.
    assert judge_seeds([seed_of(1, own, trades=50), seed_of(2, own + 1e-3 * noise(2), trades=51)]).count == 2
    assert judge_seeds([seed_of(1, own), seed_of(2, own + noise(2))]).count == 2
    # Staying flat makes the same of every seed.
    assert judge_seeds([seed_of(number, np.zeros(9), trades=0) for number in range(5)]).count == 1


def test_a_seed_that_was_not_scored_on_the_newest_window_still_must_not_lose():
    found = judge_seeds([seed_of(1, noise(1, 5.0)), seed_of(2, [np.nan, -3.0, -4.0], newest=False)])
    assert found.count == 1 and found.worst_pips == -7.0


def test_losers_do_not_dilute_the_probability_of_overfitting():
    """The issue's own case: three terrible configurations took it from 0.71 to 0.00."""
    worthless = [trial(f"c{k}", 1, noise(k), this=k == 0) for k in range(6)]
    alone = judge_family(worthless, 500, 1)
    assert alone.overfitting.probability > 0.5
    terrible = [trial(f"terrible {k}", 1, noise(20 + k, -9.0)) for k in range(3)]
    found = judge_family([*worthless, *terrible], 500, 1)
    assert found.hopeless == 3 and found.overfitting.probability == alone.overfitting.probability
    # Those that lose a little vote, and cannot make a choice look good that is no better than flat.
    mild = [trial(f"mild {k}", 1, noise(40 + k, -2.0)) for k in range(6)]
    found = judge_family([*worthless, *mild], 500, 1)
    assert found.hopeless < 6 and found.overfitting.probability > 0.2


def test_near_duplicates_are_one_configuration():
    worthless = [trial(f"c{k}", 1, noise(k), this=k == 0) for k in range(6)]
    alone = judge_family(worthless, 500, 1)
    again = [trial(f"copy {k}", 1, noise(k % 6) + 0.01 * noise(60 + k)) for k in range(12)]
    found = judge_family([*worthless, *again], 500, 1)
    assert found.duplicates == 12 and found.overfitting.probability == alone.overfitting.probability


def test_copies_of_a_trial_move_no_p_value_and_share_its_answer():
    good = [trial("a", seed, noise(seed, 8.0), this=seed == 0) for seed in range(5)]
    found = judge_family(good, 500, 1)
    copied = judge_family([*good, trial("a", 9, noise(0, 8.0))], 500, 1)
    assert copied.snooping.spa_consistent_p == found.snooping.spa_consistent_p
    assert found.superior and copied.superior
    assert found.snooping.spa_consistent_p < found.spa_p_upper < 0.05


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
    found = judge_significance(noise(3), TrialHistory(40, (sharpe,) * 4, tuple(copies), chosen_among=40))
    assert found.deflated.variance_source == "sampling"
    assert found.deflated.probability < found.psr - 0.2


def test_earlier_failures_do_not_refuse_a_good_trial():
    good, sharpes = noise(3, 6.0), (-1.5, -1.4, -1.6, -1.5, 0.6)
    found = judge_significance(good, TrialHistory(5, sharpes, (trial("a", 1, good, this=True),), chosen_among=5))
    assert found.deflated.probability > 0.99 and found.deflated_measured.probability < 0.05
    # More attempts still ask for more.
    assert (
        judge_significance(good, TrialHistory(10**6, sharpes, chosen_among=10**6)).deflated.probability
        < found.deflated.probability
    )


def test_without_two_different_trades_there_is_no_significance():
    assert judge_significance([1.0], history()).deflated is None
