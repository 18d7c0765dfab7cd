"""What trades count for in the policy gradient: phased and weighted learning.

The clipped surrogate of PPO is homogeneous in the advantage: to weight a step is to scale its advantage, after the
advantages were normalised. So the weights are on the gradient of the policy alone; the value is learned unweighted, as
a critic of what is really earned. All steps of a trade, from the order that opens it to the one that closes it, share
one weight; steps without a position count in full. A step whose entry the gate has blocked has no weight: what was done
there was not what was chosen.

A loser that counts for less makes the agent seek risk: on a market without an edge it then learns to trade. So losers
count in full from half-time on, whatever came before.
"""

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.ppo.config import TradesConfig

#: From this fraction of a training on, every trade counts in full.
HALF_TIME = 0.5


def loser_weight(config: TradesConfig, fraction: float, phase_ended: float | None) -> float:
    """Return what a losing trade counts for after a fraction of a training.

    Parameters
    ----------
    config : TradesConfig
    fraction : float
        0 to 1.
    phase_ended : float or None
        Fraction at which enough trades had won; None while they have not.
    """
    if not (config.phased or config.weighted) or fraction >= HALF_TIME:
        return 1.0
    if config.phased and phase_ended is None:
        return 0.0
    begun = phase_ended if config.phased and phase_ended is not None else 0.0
    return config.loser_weight + (1.0 - config.loser_weight) * (fraction - begun) / (HALF_TIME - begun)


def step_weights(
    of_trade: npt.NDArray[np.int64],
    blocked: npt.NDArray[np.bool_],
    pnl_pips: npt.NDArray[np.float64],
    losers: float,
) -> npt.NDArray[np.float32]:
    """Return the weights of the steps of sessions that have ended, (T, B) float32.

    Parameters
    ----------
    of_trade : (T, B) int64
        Number of the trade, among those of its session, that a step belongs to; -1 for none.
    blocked : (T, B) bool
        Whether the gate blocked an entry.
    pnl_pips : (B, M) float64
        Result of each trade, by session.
    losers : float
        Weight of a trade that did not win.
    """
    sessions = np.broadcast_to(np.arange(of_trade.shape[1]), of_trade.shape)
    won = pnl_pips[sessions, np.maximum(of_trade, 0)] > 0.0
    weights = np.where((of_trade < 0) | won, 1.0, losers)
    return np.where(blocked, 0.0, weights).astype(np.float32)
