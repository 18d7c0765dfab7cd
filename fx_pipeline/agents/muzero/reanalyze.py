"""Reanalyse: targets of episodes in the replay are searched again with the present weights (MuZero, appendix H).

An episode that is searched again has the policy and value targets that the agent would give it now; its actions,
rewards and outcomes stay what they were. A step searched again costs what a step of self-play costs.
"""

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.muzero.planner import Planner, root_values
from fx_pipeline.agents.muzero.replay import Replay
from fx_pipeline.agents.muzero.seeds import Purpose, derived_seed
from fx_pipeline.environment.action_sets import UNIT4, ActionSet
from fx_pipeline.environment.lockstep import Observation
from fx_pipeline.market.arrays import MarketArrays

#: Episodes of one search: their windows and trees are in memory together.
EPISODES_AT_ONCE = 8


class Reanalyzer:
    """Keeps the search's targets in the replay fresh, those first that were searched longest ago.

    What it has done is counted in the replay's arrays, so there is nothing else to save.

    Parameters
    ----------
    replay : Replay
    market : MarketArrays
        The one that the replay's starts index.
    window_bars : int
    share : float
        Steps to search again for each step collected.
    seed : int
    best_value : bool
        See `planner.root_values`.
    actions : ActionSet
    """

    def __init__(
        self,
        replay: Replay,
        market: MarketArrays,
        window_bars: int,
        share: float,
        seed: int,
        best_value: bool,
        actions: ActionSet = UNIT4,
    ) -> None:
        self.replay = replay
        self.market = market
        self.window_bars = window_bars
        self.share = share
        self.best_value = best_value
        self._legal_table = actions.legal_table
        self._seed = derived_seed(seed, Purpose.REANALYZE)

    def refresh(self, planner: Planner, steps_collected: int) -> int:
        """Search again as many whole, finished episodes as are due.

        Parameters
        ----------
        planner : Planner
            With the present weights, and used by nobody else meanwhile.
        steps_collected : int
            Since the training began.

        Returns
        -------
        int
            Steps searched again. An episode is searched again at most once a wave, so it may be fewer than are due.
        """
        arrays, session = self.replay.arrays, self.replay.session_bars
        due = int(steps_collected * self.share - arrays["reanalyzed"][0]) // session
        if due <= 0:
            return 0
        stale = np.flatnonzero((arrays["lengths"] == session) & (arrays["refreshed"] < self.replay.wave))
        order = np.lexsort((arrays["serials"][stale], arrays["refreshed"][stale]))
        rows = stale[order[:due]]
        for first in range(0, len(rows), EPISODES_AT_ONCE):
            self._search(planner, rows[first : first + EPISODES_AT_ONCE])
        # What is due beyond the episodes that can be refreshed is forgone, not owed for ever.
        arrays["reanalyzed"][0] += due * session
        return len(rows) * session

    def _search(self, planner: Planner, rows: npt.NDArray[np.int64]) -> None:
        arrays, session, wave = self.replay.arrays, self.replay.session_bars, self.replay.wave
        places = arrays["serials"][rows, None] * session + np.arange(session)
        bars = (arrays["starts"][rows, None] + np.arange(session)).ravel()
        static = arrays["static"][rows].reshape(len(bars), -1)
        observation = Observation(
            self.market.windows(bars, self.window_bars), static, self._legal(static, session), bars
        )
        # The wave sets a search apart from the earlier ones of the same step.
        result = planner.plan(observation, seed=self._seed + wave, counters=places.ravel().astype(np.uint64), noise=0.0)
        arrays["policies"][rows] = result.policy.reshape(len(rows), session, -1)
        arrays["root_values"][rows] = root_values(result, self.best_value).reshape(len(rows), session)
        arrays["refreshed"][rows] = wave

    def _legal(self, static: npt.NDArray[np.float32], session: int) -> npt.NDArray[np.bool_]:
        in_position = static[:, 0] != 0.0
        last = np.arange(len(static)) % session == session - 1
        return self._legal_table[last.astype(np.int64), in_position.astype(np.int64)]
