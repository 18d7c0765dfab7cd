"""Which weights of a training are the best: greedy play of sessions that it never learns from.

They lie at the end of the training window, so that nothing of the validation span is looked at. Where the window is too
short for that, the newest weights are the result.
"""

import logging
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.base import Policy, TrainingData
from fx_pipeline.environment.lockstep import LockstepEnvironment
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.features.registry import feature_set
from fx_pipeline.market.costs import build_fills

#: With fewer sessions the best of several judgements is the luckiest.
MIN_SESSIONS = 8

logger = logging.getLogger(__name__)


class Split(NamedTuple):
    """Session starts (S,) int64 to learn from, and those of the sessions that judge, which may be none."""

    played: npt.NDArray[np.int64]
    judged: npt.NDArray[np.int64]


def split_starts(data: TrainingData, share: float, sessions: int) -> Split:
    """Divide the session starts of a training window.

    The last `share` of the starts begin the selection span. No bar of a session that is learned from is among the bars
    on which an observation of that span depends: between the two lie the observation's window and the features'
    warm-up. The sessions that judge do not overlap; of more than `sessions`, an evenly spread choice is taken.

    Parameters
    ----------
    data : TrainingData
        Its starts are ascending.
    share : float
        0 keeps nothing back.
    sessions : int

    Returns
    -------
    Split
        Without sessions that judge, and with a line in the log, if fewer than eight sessions fit the span, or less than
        half of the starts would be left.
    """
    starts, bars = data.starts, data.rules.bars
    everything = Split(starts, starts[:0])
    if share == 0.0:
        return everything
    warmup_bars = feature_set(data.market.feature_set).warmup_bars(data.market.timeframe)
    span = starts[int(len(starts) * (1.0 - share)) :]
    played = starts[starts + bars <= span[0] - (data.rules.window_bars - 1) - warmup_bars]
    judged = _apart(span, bars)
    if len(judged) < MIN_SESSIONS or 2 * len(played) < len(starts):
        logger.warning(
            "no selection span: of %d session starts, %d would be left to learn from and %d sessions to judge (needed "
            "are half of them, and %d). The newest weights are the result.",
            len(starts), len(played), len(judged), MIN_SESSIONS,
        )  # fmt: skip
        return everything
    if len(judged) > sessions:
        judged = judged[np.linspace(0, len(judged) - 1, sessions).round().astype(np.int64)]
    return Split(played, judged)


def _apart(starts: npt.NDArray[np.int64], bars: int) -> npt.NDArray[np.int64]:
    chosen, place = [], 0
    while place < len(starts):
        chosen.append(starts[place])
        place = int(np.searchsorted(starts, starts[place] + bars))
    return np.array(chosen, dtype=np.int64)


@dataclass(frozen=True)
class Judgement:
    """What weights earned on the selection span.

    Attributes
    ----------
    episode : int
        Episodes of training behind the weights.
    sessions : int
    pips, standard_error_pips : float
        Mean pips of a session after costs, and its standard error.
    trades : float
        Per session.
    score : float
        The mean less some standard errors: the greatest wins.
    """

    episode: int
    sessions: int
    pips: float
    standard_error_pips: float
    trades: float
    score: float

    def metrics(self) -> dict[str, float]:
        """The figures by the names that they have in a history."""
        return {f"selection_{name}": float(value) for name, value in asdict(self).items() if name != "episode"}


class Judged(NamedTuple):
    """A judgement, and what it was made from.

    Attributes
    ----------
    judgement : Judgement
    session_ns : (S,) int64
        First bar of each session.
    session_pnl_pips : (S,) float64
    trade_pnl_pips : (N,) float64
    """

    judgement: Judgement
    session_ns: npt.NDArray[np.int64]
    session_pnl_pips: npt.NDArray[np.float64]
    trade_pnl_pips: npt.NDArray[np.float64]


class Judge:
    """Plays the sessions of the selection span with a greedy policy.

    Parameters
    ----------
    data : TrainingData
    starts : (S,) int64
        Of the sessions.
    standard_errors : float
        Subtracted from the mean pips of a session: of many judgements the best is too good by luck, the more so the
        more its sessions differ.
    """

    def __init__(self, data: TrainingData, starts: npt.NDArray[np.int64], standard_errors: float) -> None:
        self._starts, self._standard_errors = starts, standard_errors
        fills = build_fills(data.market, data.costs)
        self._environment = LockstepEnvironment(data.market, fills, RewardConfig(), data.rules, data.actions)

    def judge(self, policy: Policy, episode: int) -> Judged:
        """Judge a policy that has learned for so many episodes."""
        environment, sessions = self._environment, len(self._starts)
        observation, carry, done = environment.reset(self._starts), policy.initial(sessions), False
        while not done:
            actions, carry = policy.act(observation, carry)
            step = environment.step(actions)
            observation, done = step.observation, step.done
        trades = environment.trades()
        pips = np.bincount(trades["session"], trades["pnl_pips"], sessions).astype(np.float64)
        mean, error = float(pips.mean()), float(pips.std(ddof=1) / np.sqrt(sessions))
        score = mean - self._standard_errors * error
        judgement = Judgement(episode, sessions, mean, error, len(trades) / sessions, score)
        times = environment.market.time[self._starts]
        return Judged(judgement, times, pips, np.ascontiguousarray(trades["pnl_pips"], dtype=np.float64))
