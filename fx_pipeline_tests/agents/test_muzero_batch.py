"""A mirrored batch is what the market upside down would have given."""

import dataclasses

import numpy as np

from fx_pipeline.agents.muzero.batch import Batch, mirrored
from fx_pipeline.environment.actions import BUY, CLOSE, DOWN, HOLD, NEUTRAL, SELL, UP, outcome_of
from fx_pipeline.features.temporal9.closes import features_of_closes


def batch_of(temporal: np.ndarray) -> Batch:
    rows = len(temporal)
    random = np.random.default_rng(0)
    static = random.normal(size=(rows, 6)).astype(np.float32)
    static[:, 0] = random.integers(-1, 2, size=rows)
    return Batch(
        rows=np.arange(rows),
        steps=np.arange(rows),
        temporal=temporal,
        static=static,
        actions=np.tile([HOLD, BUY, SELL, CLOSE], (rows, 1)),
        outcomes=np.tile([UP, NEUTRAL, DOWN, UP], (rows, 1)),
        rewards=random.normal(size=(rows, 4)).astype(np.float32),
        policies=np.tile(np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32), (rows, 5, 1)),
        values=random.normal(size=(rows, 5)).astype(np.float32),
        state_mask=np.ones((rows, 5), dtype=np.float32),
        step_mask=np.ones((rows, 4), dtype=np.float32),
        weights=np.ones(rows, dtype=np.float32),
        later_temporal=temporal[:, None],
        later_static=static[:, None],
    )


def test_mirrored_windows_are_those_of_the_mirrored_market(small_market) -> None:
    market = small_market.market
    bars = np.arange(2000, 2040)
    features, _ = features_of_closes(20.0 - market.close, market.time, market.pip)
    upside_down = dataclasses.replace(market, features=features, fingerprint="mirror")
    batch = batch_of(market.windows(bars))
    turned = mirrored(batch, slice(1, None, 2))
    np.testing.assert_array_equal(turned.temporal[::2], batch.temporal[::2])
    np.testing.assert_allclose(turned.temporal[1::2], upside_down.windows(bars)[1::2], atol=1e-5)
    np.testing.assert_array_equal(turned.later_temporal[:, 0], turned.temporal)
    assert (np.abs(turned.temporal[1::2] - batch.temporal[1::2]).max(axis=(0, 1))[[0, 1, 3, 4]] > 0.1).all()


def test_sides_and_outcomes_change_places_and_nothing_else_moves() -> None:
    batch = batch_of(np.random.default_rng(1).random((4, 32, 9)).astype(np.float32))
    turned = mirrored(batch, slice(1, None, 2))
    for row in (0, 2):
        for name in ("static", "actions", "outcomes", "policies"):
            np.testing.assert_array_equal(getattr(turned, name)[row], getattr(batch, name)[row])
    for row in (1, 3):
        assert turned.actions[row].tolist() == [HOLD, SELL, BUY, CLOSE]
        assert turned.outcomes[row].tolist() == [DOWN, NEUTRAL, UP, DOWN]
        np.testing.assert_allclose(turned.policies[row], np.tile([0.1, 0.3, 0.2, 0.4], (5, 1)))
        np.testing.assert_array_equal(turned.static[row], batch.static[row] * [-1, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(turned.later_static[:, 0], turned.static)
    assert turned.rewards is batch.rewards
    assert turned.values is batch.values
    twice = mirrored(turned, slice(1, None, 2))
    np.testing.assert_allclose(twice.temporal, batch.temporal, atol=1e-6)
    np.testing.assert_array_equal(twice.actions, batch.actions)


def test_an_outcome_is_the_opposite_of_the_opposite_move() -> None:
    for change in (-1.0, -0.3, 0.0, 0.3, 1.0):
        assert outcome_of(-change, 1.0) == UP + DOWN - outcome_of(change, 1.0)
