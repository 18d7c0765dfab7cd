"""Sessions of a proof market played by a policy, and what they earned."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.base import Policy
from fx_pipeline.environment.lockstep import LockstepEnvironment
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import CostConfig, build_fills
from fx_pipeline.proofs.markets import COSTS
from fx_pipeline.sessions.index import valid_starts

#: Sessions of the evaluation path that an agent is judged on; on `ou` the standard error of their mean is 1 percent.
SESSIONS = 512


@dataclass(frozen=True)
class Played:
    """What `B` sessions brought.

    Attributes
    ----------
    pips : (B,) float64
        After costs.
    trades : (B,) int64
    """

    pips: npt.NDArray[np.float64]
    trades: npt.NDArray[np.int64]

    @property
    def pips_per_episode(self) -> float:
        """Mean of `pips`."""
        return float(self.pips.mean())

    @property
    def trades_per_episode(self) -> float:
        """Mean of `trades`."""
        return float(self.trades.mean())

    @property
    def standard_error_pips(self) -> float:
        """Standard error of `pips_per_episode`."""
        return float(self.pips.std() / np.sqrt(len(self.pips)))


def draw_starts(market: MarketArrays, sessions: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw `sessions` starts (B,) uniformly, with repetition, from the valid ones of a market."""
    return np.random.default_rng(seed).choice(valid_starts(market), sessions)


def play(
    market: MarketArrays,
    starts: npt.NDArray[np.int64],
    policy: Policy,
    costs: CostConfig = COSTS,
    progress: Callable[[float], None] | None = None,
) -> Played:
    """Play one session from each start, all in lock-step.

    Parameters
    ----------
    market : MarketArrays
    starts : (B,) int64
        In any order; a start may come twice.
    policy : Policy
    costs : CostConfig
    progress : callable, optional
        Called with the fraction done.

    Returns
    -------
    Played
    """
    environment = LockstepEnvironment(market, build_fills(market, costs))
    observation, carry, done = environment.reset(starts), policy.initial(len(starts)), False
    while not done:
        actions, carry = policy.act(observation, carry)
        step = environment.step(actions)
        observation, done = step.observation, step.done
        if progress is not None:
            progress(environment.steps_done / environment.session_bars)
    trades = environment.trades()
    session = np.asarray(trades["session"], dtype=np.int64)
    pips = np.bincount(session, np.asarray(trades["pnl_pips"], dtype=np.float64), len(starts))
    return Played(pips.astype(np.float64), np.bincount(session, minlength=len(starts)).astype(np.int64))
