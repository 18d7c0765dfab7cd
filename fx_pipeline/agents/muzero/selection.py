"""Which weights of a training are the best: greedy play of sessions that self-play never sees.

They lie at the end of the training window, so that nothing of the validation span is looked at. Where the window is too
short for that, the newest weights are the result.
"""

import logging
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.base import TrainingData
from fx_pipeline.agents.muzero.config import MuZeroConfig, SelectionConfig
from fx_pipeline.agents.muzero.engine.engine import Engine
from fx_pipeline.agents.muzero.engine.play import Manner, Record
from fx_pipeline.agents.muzero.planner import Planner
from fx_pipeline.environment.actions import NUM_ACTIONS
from fx_pipeline.environment.lockstep import LockstepEnvironment
from fx_pipeline.environment.position import NUM_STATIC
from fx_pipeline.features.temporal9.kernel import WARMUP_BARS
from fx_pipeline.market.costs import build_fills
from fx_pipeline.market.session_rules import SessionRules

#: With fewer sessions the best of several judgements is the luckiest.
MIN_SESSIONS = 8
_GREEDY = Manner(
    noise=0.0,
    best_value=False,
    temperature=0.0,
    epsilon=0.0,
    warmup_steps=0,
    sticky_enter=0.0,
    sticky_close=0.0,
    seed=np.uint64(0),
)

logger = logging.getLogger(__name__)


class Split(NamedTuple):
    """Session starts (S,) int64 for self-play, and those of the sessions that judge, which may be none."""

    played: npt.NDArray[np.int64]
    judged: npt.NDArray[np.int64]


def split_starts(starts: npt.NDArray[np.int64], config: SelectionConfig, session_bars: int, window_bars: int) -> Split:
    """Divide the session starts of a training window.

    The last `share` of the starts begin the selection span. No bar of a session of self-play is among the bars on which
    an observation of that span depends: between the two lie the observation's window and the features' warm-up. The
    sessions that judge do not overlap; of more than `sessions`, an evenly spread choice is taken.

    Parameters
    ----------
    starts : (S,) int64
        Ascending.
    config : SelectionConfig
    session_bars, window_bars : int

    Returns
    -------
    Split
        Without sessions that judge, and with a line in the log, if fewer than eight sessions fit the span, or less than
        half of the starts would be left for self-play.
    """
    everything = Split(starts, starts[:0])
    if config.share == 0.0:
        return everything
    span = starts[int(len(starts) * (1.0 - config.share)) :]
    played = starts[starts + session_bars <= span[0] - (window_bars - 1) - WARMUP_BARS]
    judged = _apart(span, session_bars)
    if len(judged) < MIN_SESSIONS or 2 * len(played) < len(starts):
        logger.warning(
            "no selection span: of %d session starts, %d would be left for self-play and %d sessions to judge (needed "
            "are half of them, and %d). The newest weights are the result.",
            len(starts), len(played), len(judged), MIN_SESSIONS,
        )  # fmt: skip
        return everything
    if len(judged) > config.sessions:
        judged = judged[np.linspace(0, len(judged) - 1, config.sessions).round().astype(np.int64)]
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
        Episodes of self-play behind the weights.
    sessions : int
    pips, standard_error_pips : float
        Mean pips of a session after costs, and its standard error.
    trades : float
        Per session.
    score : float
        The mean less `SelectionConfig.standard_errors` standard errors: the greatest wins.
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
    """Plays the sessions of the selection span, greedily and without noise.

    Parameters
    ----------
    config : MuZeroConfig
    data : TrainingData
    starts : (S,) int64
        Of the sessions.
    """

    def __init__(self, config: MuZeroConfig, data: TrainingData, starts: npt.NDArray[np.int64]) -> None:
        settings = config.selfplay
        self.config = config
        self._starts = starts
        self._environment = LockstepEnvironment(
            data.market,
            build_fills(data.market, data.costs),
            config.reward,
            SessionRules(bars=settings.session_bars, window_bars=settings.window_bars),
        )

    def judge(self, planner: Planner, episode: int) -> Judged:
        """Judge the planner's weights.

        The engine plays in the precision of self-play, as it has the weights at hand; a checkpoint's policy plays the
        same decisions in float32.

        Parameters
        ----------
        planner : Planner
            Refreshed.
        episode : int
            Episodes behind its weights.
        """
        environment, sessions = self._environment, len(self._starts)
        environment.reset(self._starts)
        counters = np.zeros(sessions, dtype=np.uint64)
        if isinstance(planner, Engine):
            planner.play(environment, self._scratch(), _GREEDY, counters, 0, environment.session_bars)
        else:
            while environment.steps_done < environment.session_bars:
                result = planner.plan(environment.observation(), seed=0, counters=counters, noise=0.0)
                environment.step(result.actions)
        trades = environment.trades()
        pips = np.bincount(trades["session"], trades["pnl_pips"], sessions).astype(np.float64)
        mean, error = float(pips.mean()), float(pips.std(ddof=1) / np.sqrt(sessions))
        score = mean - self.config.selection.standard_errors * error
        judgement = Judgement(episode, sessions, mean, error, len(trades) / sessions, score)
        times = environment.market.time[self._starts]
        return Judged(judgement, times, pips, np.ascontiguousarray(trades["pnl_pips"], dtype=np.float64))

    def _scratch(self) -> Record:
        sessions = len(self._starts)
        shape = (sessions, self._environment.session_bars)
        return Record(
            np.arange(sessions),
            np.zeros((*shape, NUM_STATIC), dtype=np.float32),
            np.zeros(shape, dtype=np.int8),
            np.zeros(shape, dtype=np.int8),
            np.zeros(shape, dtype=np.float32),
            np.zeros(shape, dtype=np.float32),
            np.zeros((*shape, NUM_ACTIONS), dtype=np.float32),
        )
