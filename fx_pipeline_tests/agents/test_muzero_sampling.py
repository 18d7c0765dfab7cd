"""Drawing: likelihoods, strata and the weights that make up for them."""

import dataclasses

import numpy as np
import pytest

from fx_pipeline.agents.muzero.config import ReplayConfig, load_config
from fx_pipeline.agents.muzero.sampling import Sampler, recency
from fx_pipeline.market.errors import FxPipelineError

EPISODES, SESSION = 3, 20


def config(**settings: object) -> ReplayConfig:
    return dataclasses.replace(load_config("tiny").replay, in_trade_share=0.0, **settings)


def sampler(settings: ReplayConfig, priorities: np.ndarray | None = None) -> Sampler:
    usable = np.ones((EPISODES, SESSION), dtype=np.bool_)
    usable[2, 10:] = False
    in_trade = np.zeros((EPISODES, SESSION), dtype=np.bool_)
    in_trade[:, 5:9] = True
    return Sampler(settings, usable, in_trade, np.array([3, 30, 55]), priorities)


def priorities() -> np.ndarray:
    return np.random.default_rng(7).random((EPISODES, SESSION)) + np.arange(SESSION)


def test_without_options_every_usable_step_is_alike() -> None:
    choice = sampler(config()).draw(20_000, np.random.default_rng(0))
    counts = np.bincount(choice.places, minlength=60)
    assert (counts[50:] == 0).all()
    np.testing.assert_allclose(counts[:50], 400, atol=100)
    np.testing.assert_array_equal(choice.weights, 1.0)


@pytest.mark.parametrize("mix", [0.5, 1.0])
def test_priorities_set_the_likelihood(mix: float) -> None:
    given = priorities()
    choice = sampler(config(priority_weight=mix), given).draw(40_000, np.random.default_rng(0))
    expected = given.ravel().copy()
    expected[50:] = 0.0
    density = mix * expected / expected.sum() + (1 - mix) * (np.arange(60) < 50) / 50
    np.testing.assert_allclose(np.bincount(choice.places, minlength=60) / 40_000, density, atol=0.004)
    np.testing.assert_array_equal(choice.weights, 1.0)


def test_the_success_share_and_the_in_trade_share_are_kept() -> None:
    settings = dataclasses.replace(config(success_share=0.25), in_trade_share=0.5)
    choice = sampler(settings).draw(1000, np.random.default_rng(0))
    assert set(choice.places[500:750].tolist()) == {3, 30}, "place 55 is not usable"
    assert set((choice.places[:500] % SESSION).tolist()) == {5, 6, 7, 8}


@pytest.mark.parametrize(("mix", "success_share"), [(0.8, 0.0), (0.8, 0.2), (0.0, 0.2)])
@pytest.mark.parametrize("in_trade_share", [0.0, 0.3])
def test_weighted_means_have_the_expectation_of_alike_drawing(
    mix: float, success_share: float, in_trade_share: float
) -> None:
    options = config(priority_weight=mix, importance=1.0, success_share=success_share)
    settings = dataclasses.replace(options, in_trade_share=in_trade_share)
    plain = dataclasses.replace(config(), in_trade_share=in_trade_share)
    signal = np.random.default_rng(3).normal(size=60) + 5.0
    batch = 50_000
    given = priorities() if mix else None
    weighted = sampler(settings, given).draw(batch, np.random.default_rng(0))
    alike = sampler(plain).draw(batch, np.random.default_rng(1))
    assert weighted.weights.std() > 0.1
    assert weighted.weights.mean() == pytest.approx(1.0, abs=0.02)
    corrected = (signal[weighted.places] * weighted.weights).mean()
    assert corrected == pytest.approx(signal[alike.places].mean(), abs=0.1)
    half = dataclasses.replace(settings, importance=0.5)
    roots = sampler(half, given).draw(batch, np.random.default_rng(0)).weights
    np.testing.assert_allclose(roots, np.sqrt(weighted.weights), rtol=1e-5)


def test_the_same_generator_draws_the_same() -> None:
    drawn = [sampler(config(priority_weight=0.5), priorities()).draw(64, np.random.default_rng(5)) for _ in range(2)]
    np.testing.assert_array_equal(drawn[0].places, drawn[1].places)


def test_recency_runs_from_a_half_to_one_over_the_episodes_held() -> None:
    np.testing.assert_allclose(recency(np.array([7, -1, 3, 5])), [1.0, 0.0, 0.5, 0.75])
    np.testing.assert_allclose(recency(np.array([-1, 4])), [0.0, 1.0])


def test_nothing_to_draw_is_an_error() -> None:
    nothing = np.zeros((EPISODES, SESSION), dtype=np.bool_)
    with pytest.raises(FxPipelineError, match="no step to learn from"):
        Sampler(config(), nothing, nothing, np.zeros(0, dtype=np.int64), None)
