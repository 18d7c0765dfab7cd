"""Figures that say whether a training is in good health."""

import numpy as np

from fx_pipeline.agents.muzero.batch import Batch
from fx_pipeline.agents.muzero.replay import Replay


def replay_health(replay: Replay) -> dict[str, float]:
    """What the replay holds.

    Returns
    -------
    dict
        `replay_steps`; `replay_in_trade`, the share of them with an open position; `replay_age`, their mean age in
        waves.
    """
    arrays = replay.arrays
    lengths = arrays["lengths"]
    recorded = np.arange(replay.session_bars) < lengths[:, None]
    in_trade = recorded & (arrays["static"][:, :, 0] != 0.0)
    steps = replay.steps
    ages = (replay.wave - arrays["waves"]) * lengths
    return {
        "replay_steps": float(steps),
        "replay_in_trade": float(in_trade.sum() / steps),
        "replay_age": float(ages.sum() / steps),
    }


def target_saturation(batch: Batch, support_pips: float) -> float:
    """Share of a batch's value targets that lie at or beyond the ends of the value head's support."""
    targets = batch.values[batch.state_mask > 0]
    return float((np.abs(targets) >= support_pips).mean()) if len(targets) else 0.0
