"""A table model of the market, whose rows do not depend on one another, for every test of the search."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fx_pipeline.search import AfterstateOutput, RootOutput, StateOutput

NUM_ACTIONS, NUM_OUTCOMES = 4, 3


@dataclass
class TableModel:
    """An `Evaluator` whose latent state is a row number, (B, 1) float32; it counts the calls and rows asked for."""

    prior_logits: np.ndarray
    values: np.ndarray
    chance_logits: np.ndarray
    afterstate_values: np.ndarray
    rewards: np.ndarray
    next_states: np.ndarray
    discount: float = 0.997
    calls: int = 0
    rows: int = 0

    def root(self, states: np.ndarray) -> RootOutput:
        latent = states.astype(np.float32)[:, None]
        return RootOutput(latent, self.prior_logits[states], self.values[states])

    def _enter(self, states: np.ndarray) -> np.ndarray:
        assert states.dtype == np.float32 and states.shape[0] > 0
        self.calls += 1
        self.rows += states.shape[0]
        return states[:, 0].astype(np.int64)

    def afterstate(self, states: Any, actions: Any) -> AfterstateOutput:
        rows = self._enter(states)
        return AfterstateOutput(self.chance_logits[rows, actions], self.afterstate_values[rows, actions])

    def dynamics(self, states: Any, actions: Any, outcomes: Any) -> StateOutput:
        rows = self._enter(states)
        following = self.next_states[rows, actions, outcomes].astype(np.int64)
        return StateOutput(
            following.astype(np.float32)[:, None],
            self.rewards[rows, actions, outcomes],
            self.prior_logits[following],
            self.values[following],
        )


def _random_model(seed: int, *, certain: bool = False, states: int = 40, value_scale: float = 1.0) -> TableModel:
    rng = np.random.default_rng(seed)
    shape = (states, NUM_ACTIONS, NUM_OUTCOMES)
    chance_logits = rng.normal(size=shape)
    if certain:
        only = rng.integers(0, NUM_OUTCOMES, shape[:2])[..., None] == np.arange(NUM_OUTCOMES)
        chance_logits[~only] = -np.inf
    return TableModel(
        prior_logits=rng.normal(size=shape[:2]),
        values=rng.normal(0, value_scale, states),
        chance_logits=chance_logits,
        afterstate_values=rng.normal(0, value_scale, shape[:2]),
        rewards=rng.normal(0, 0.3 * value_scale, shape),
        next_states=rng.integers(0, states, shape),
    )


@pytest.fixture(scope="session")
def table_model() -> type[TableModel]:
    return TableModel


@pytest.fixture(scope="session")
def random_model() -> Callable[..., TableModel]:
    return _random_model
