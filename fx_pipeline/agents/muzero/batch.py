"""What one update learns from, and its mirror image."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fx_pipeline.environment.actions import BUY, NUM_ACTIONS, NUM_OUTCOMES, SELL
from fx_pipeline.environment.position import STATIC_FEATURES
from fx_pipeline.features.temporal9.kernel import FEATURE_NAMES

_SIDE = STATIC_FEATURES.index("position_side")
_FLIPPED = [
    FEATURE_NAMES.index(name)
    for name in ("position_in_range_60", "min_max_scaled_momentum_60", "min_max_scaled_momentum_5")
]
_NEGATED = FEATURE_NAMES.index("price_change_pips")
_OPPOSITE = np.arange(NUM_ACTIONS)
_OPPOSITE[[BUY, SELL]] = SELL, BUY


@dataclass(frozen=True)
class Batch:
    """B samples of K unroll steps, which are K + 1 states.

    Attributes
    ----------
    rows, steps : (B,) int64
        Where in the replay each sample begins.
    temporal : (B, T, F) float32
    static : (B, 6) float32
    actions, outcomes : (B, K) int64
    rewards : (B, K) float32
    policies : (B, K + 1, A) float32
        Visit shares of the search; all zero where no search was made, which gives no policy loss.
    values : (B, K + 1) float32
    state_mask : (B, K + 1) float32
        1 where the state has targets.
    step_mask : (B, K) float32
        1 where action, outcome and reward are of a step inside the session. A session's last decision is not one:
        it is forced, and no observation tells it from any other.
    weights : (B,) float32
        Of the losses of value, reward and outcome; 1 where steps are drawn alike.
    action_values : (B, K) float32 or None
        Of the actions taken in the states; None if they are `values`.
    later_temporal, later_static : (B, S, T, F), (B, S, 6) float32 or None
        Observations of the first S unrolled states, for the consistency loss; where masked, of the session's last step.
    """

    rows: npt.NDArray[np.int64]
    steps: npt.NDArray[np.int64]
    temporal: npt.NDArray[np.float32]
    static: npt.NDArray[np.float32]
    actions: npt.NDArray[np.int64]
    outcomes: npt.NDArray[np.int64]
    rewards: npt.NDArray[np.float32]
    policies: npt.NDArray[np.float32]
    values: npt.NDArray[np.float32]
    state_mask: npt.NDArray[np.float32]
    step_mask: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    action_values: npt.NDArray[np.float32] | None = None
    later_temporal: npt.NDArray[np.float32] | None = None
    later_static: npt.NDArray[np.float32] | None = None


def mirrored(batch: Batch, samples: slice) -> Batch:
    """The batch with some samples turned upside down: what they would be had the price moved the other way.

    Position in the range and momentum are reflected in their scale, the price change and the side change sign, BUY and
    SELL, UP and DOWN change places. Range, calendar, profit, reward and value stay.
    """
    later = None if batch.later_temporal is None else _mirrored_features(batch.later_temporal, samples)
    later_static = None if batch.later_static is None else _mirrored_static(batch.later_static, samples)
    actions, outcomes, policies = batch.actions.copy(), batch.outcomes.copy(), batch.policies.copy()
    actions[samples] = _OPPOSITE[actions[samples]]
    outcomes[samples] = NUM_OUTCOMES - 1 - outcomes[samples]
    policies[samples] = policies[samples][..., _OPPOSITE]
    return replace(
        batch,
        temporal=_mirrored_features(batch.temporal, samples),
        static=_mirrored_static(batch.static, samples),
        actions=actions,
        outcomes=outcomes,
        policies=policies,
        later_temporal=later,
        later_static=later_static,
    )


def _mirrored_features(temporal: npt.NDArray[np.float32], samples: slice) -> npt.NDArray[np.float32]:
    temporal = temporal.copy()
    part = temporal[samples]
    part[..., _FLIPPED] = 1.0 - part[..., _FLIPPED]
    part[..., _NEGATED] *= -1.0
    return temporal


def _mirrored_static(static: npt.NDArray[np.float32], samples: slice) -> npt.NDArray[np.float32]:
    static = static.copy()
    static[samples][..., _SIDE] *= -1.0
    return static
