"""Run a policy over sessions in lock-step and keep what it did."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.base import Foresighted, Policy, Progress
from fx_pipeline.environment.action_sets import UNIT4, ActionSet
from fx_pipeline.environment.lockstep import LockstepEnvironment
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.environment.trades import TRADE_DTYPE
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import Fills
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.live_sessions import session_lengths
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.validation.excursions import Excursions, deepest_fall

PROGRESS_EVERY_BARS = 20

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rollout:
    """What a policy did in `S` sessions of `T` bars; `N` trades.

    Attributes
    ----------
    starts : (S,) int64
        First bar of each session, increasing.
    actions : (S, T) int8
        The action at each bar.
    trades : (N,) TRADE_DTYPE
        Closed trades by session and entry; `session` indexes `starts`.
    reward_pips : float
        Sum of the rewards.
    lengths : (S,) int64
        Decisions of each session, `T` at most: what follows them in `actions` rests, and is no decision.
    action_set : ActionSet
        What the actions mean.
    rules : SessionRules
        Of the sessions; `bars` is `T`.
    """

    starts: IntArray
    actions: npt.NDArray[np.int8]
    trades: npt.NDArray[np.void]
    reward_pips: float
    lengths: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    action_set: ActionSet = UNIT4
    rules: SessionRules = SessionRules()

    def __post_init__(self) -> None:
        if len(self.lengths) != len(self.starts):
            object.__setattr__(self, "lengths", np.full(len(self.starts), self.session_bars, dtype=np.int64))
        if self.rules.bars != self.session_bars:
            object.__setattr__(self, "rules", replace(self.rules, bars=self.session_bars))

    @property
    def sessions(self) -> int:
        """Number of sessions, `S`."""
        return self.actions.shape[0]

    @property
    def session_bars(self) -> int:
        """Most bars of a session, `T`."""
        return self.actions.shape[1]

    @property
    def decisions(self) -> int:
        """Number of decisions: ``S * T``, less what sessions lack that ended early."""
        return int(self.lengths.sum())

    @property
    def ends(self) -> IntArray:
        """Last bar (S,) of each session."""
        return self.starts + self.lengths - 1

    @property
    def bars(self) -> int:
        """Distinct bars of the market that the sessions cover."""
        reach = np.minimum(np.diff(self.starts), self.lengths[:-1])
        return int(reach.sum()) + int(self.lengths[-1:].sum())

    @property
    def overlapping_sessions(self) -> int:
        """Sessions that begin before the one before them has ended: their trades would be counted twice."""
        return int((np.diff(self.starts) < self.lengths[:-1]).sum())

    @cached_property
    def decided(self) -> npt.NDArray[np.bool_]:
        """Whether there was a decision, (S, T)."""
        return np.asarray(np.arange(self.session_bars) < self.lengths[:, None])

    @property
    def pnl_pips(self) -> npt.NDArray[np.float64]:
        """P&L (N,) of each trade."""
        return np.ascontiguousarray(self.trades["pnl_pips"])

    @property
    def session_pnl_pips(self) -> npt.NDArray[np.float64]:
        """P&L (S,) of each session, 0 where nothing was traded."""
        weights = np.asarray(self.trades["pnl_pips"], dtype=np.float64)
        return np.bincount(self.trades["session"], weights, self.sessions).astype(np.float64)

    @property
    def action_counts(self) -> IntArray:
        """How often each action was taken, (A,)."""
        return np.bincount(self.actions[self.decided], minlength=len(self.action_set)).astype(np.int64)

    @cached_property
    def wanted(self) -> npt.NDArray[np.float64]:
        """The exposure that each decision asked for, (S, T); that which was held where it asked to keep it."""
        asked = self.action_set.target_array[self.actions]
        if self.action_set.keep is None:
            return asked
        # Of each decision, the latest one that did not keep; before the first the account is flat.
        latest = np.where(self.actions == self.action_set.keep, -1, np.arange(self.session_bars))
        np.maximum.accumulate(latest, axis=1, out=latest)
        return np.where(latest < 0, 0.0, np.take_along_axis(asked, np.maximum(latest, 0), axis=1))

    @property
    def held(self) -> npt.NDArray[np.float64]:
        """The exposure that was held when each decision was taken, (S, T)."""
        before = np.zeros_like(self.wanted)
        before[:, 1:] = self.wanted[:, :-1]
        return before

    @cached_property
    def in_position(self) -> npt.NDArray[np.bool_]:
        """Whether a position was open when each decision was taken, (S, T)."""
        return self.held != 0.0

    @property
    def excursions(self) -> Excursions:
        """How far each trade moved while it was open, in pips."""
        return Excursions.of_trades(self.trades)

    @property
    def deepest_fall_pips(self) -> float:
        """Largest fall of the equity from its running peak, marked after costs at the close of each bar."""
        return deepest_fall(self.pnl_pips, self.excursions)

    @property
    def exposure(self) -> float:
        """Share of decisions taken with a position open, of whatever size: the bars that the trades were held for, over
        all bars."""
        return float(self.in_position[self.decided].mean()) if self.decisions else 0.0


def rollout(
    market: MarketArrays,
    fills: Fills,
    starts: npt.ArrayLike,
    policy: Policy,
    reward: RewardConfig | None = None,
    *,
    batch: int = 64,
    rules: SessionRules = SessionRules(),
    actions: ActionSet = UNIT4,
    progress: Progress | None = None,
) -> Rollout:
    """Run a policy over every session.

    A session ends by the rule of a live trader (`fx_pipeline.market.live_sessions`): with its `rules.bars`-th bar, or
    sooner, with the bar that follows a gap. The result does not depend on `batch`, as far as the policy's answer to one
    observation does not depend on the others in its batch.

    Parameters
    ----------
    market : MarketArrays
    fills : Fills
        From `build_fills` on the same market.
    starts : (S,) array-like
        First bar of each session, strictly increasing.
    policy : Policy
    reward : RewardConfig, optional
    batch : int
        Sessions in lock-step.
    rules : SessionRules
        How long a session is, and how far an observation looks back.
    actions : ActionSet
    progress : callable, optional
        Called with the fraction done and the figures so far.

    Returns
    -------
    Rollout

    Raises
    ------
    DataError
        If there are no sessions, or starts are not increasing.
    """
    bars = np.asarray(starts, dtype=np.int64)
    if bars.ndim != 1 or not len(bars):
        raise DataError("there are no sessions to run: the window has no valid session, choose a longer span.")
    if (np.diff(bars) <= 0).any():
        raise DataError("session starts must be strictly increasing: sort them and drop duplicates.")
    environment = LockstepEnvironment(market, fills, reward or RewardConfig(), rules, actions)
    session_bars = rules.bars
    lengths = session_lengths(market.time, bars, rules, market.timeframe)
    taken = np.full((len(bars), session_bars), actions.rest, dtype=np.int8)
    trades: list[npt.NDArray[np.void]] = []
    rewards = np.zeros(len(bars))
    closed = 0
    for first in range(0, len(bars), batch):
        rows = slice(first, min(first + batch, len(bars)))
        observation = environment.reset(bars[rows], lengths[rows])
        player = policy
        if isinstance(policy, Foresighted):
            every = bars[rows, None] + np.arange(session_bars)
            player = policy.over(market, every[every < (bars + lengths)[rows, None]])
        carry = player.initial(rows.stop - rows.start)
        for bar in range(int(lengths[rows].max())):
            acted, carry = player.act(observation, carry)
            chosen = np.asarray(acted)
            step = environment.step(chosen)
            taken[rows, bar] = chosen
            rewards[rows] += step.rewards
            observation = step.observation
            if progress is not None and (bar + 1) % PROGRESS_EVERY_BARS == 0:
                done = (first * session_bars + (rows.stop - first) * (bar + 1)) / taken.size
                progress(done, {"sessions": float(rows.stop), "trades": float(closed)})
        part = environment.trades()
        part["session"] += first
        trades.append(part)
        closed += len(part)
    merged = np.concatenate(trades) if trades else np.zeros(0, TRADE_DTYPE)
    return Rollout(bars, taken, merged, float(rewards.sum()), lengths, actions, rules)
