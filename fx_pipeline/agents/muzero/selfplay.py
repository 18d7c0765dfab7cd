"""Lock-step self-play: B sessions, one search a bar for all of them."""

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.base import TrainingData
from fx_pipeline.agents.muzero.config import MuZeroConfig
from fx_pipeline.agents.muzero.engine.engine import Engine
from fx_pipeline.agents.muzero.engine.play import Manner, Record
from fx_pipeline.agents.muzero.exploration import explore, sticky
from fx_pipeline.agents.muzero.planner import Planner, root_values
from fx_pipeline.agents.muzero.replay import Replay
from fx_pipeline.agents.muzero.seeds import Purpose, derived_seed, generator
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, NUM_ACTIONS, SELL
from fx_pipeline.environment.lockstep import LockstepEnvironment
from fx_pipeline.market.costs import build_fills
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.search import select_actions


class SelfPlay:
    """Plays waves of episodes, a segment at a time, into the replay.

    Parameters
    ----------
    config : MuZeroConfig
    data : TrainingData
    replay : Replay
    seed : int
    """

    def __init__(self, config: MuZeroConfig, data: TrainingData, replay: Replay, seed: int) -> None:
        self.config = config
        self.replay = replay
        self.seed = seed
        self._starts = np.asarray(data.starts, dtype=np.int64)
        self._environment = LockstepEnvironment(
            data.market,
            build_fills(data.market, data.costs),
            config.reward,
            SessionRules(bars=config.selfplay.session_bars, window_bars=config.selfplay.window_bars),
        )
        self._search_seed = derived_seed(seed, Purpose.SEARCH)
        self._exploration_seed = derived_seed(seed, Purpose.EXPLORATION)
        self._first_episode = 0
        self._annealed = 0.0
        self._rows = np.zeros(0, dtype=np.int64)
        self._under_way = False
        self._played = 0

    @property
    def in_wave(self) -> bool:
        """Whether a wave of episodes is under way."""
        return self._under_way

    @property
    def wave_size(self) -> int:
        """Episodes of the present or the latest wave."""
        return len(self._rows)

    @property
    def annealed(self) -> float:
        """Share of the way that exploration has come in the present wave."""
        return self._annealed

    def begin(self, first_episode: int, episodes: int, annealed: float) -> None:
        """Start a wave: episodes number `first_episode` to `first_episode + episodes - 1`.

        `annealed` is the share of the way that exploration has come; see `SelfPlayConfig`.
        """
        draw = generator(self.seed, Purpose.STARTS, first_episode)
        starts = self._starts[draw.integers(len(self._starts), size=episodes)]
        self._first_episode, self._annealed = first_episode, annealed
        self._rows = self.replay.begin(starts)
        self._environment.reset(starts)
        self._under_way = True

    def restore(self, first_episode: int, episodes: int, annealed: float) -> None:
        """Take up the wave that the replay holds as its newest: the recorded actions are played again."""
        rows = self.replay.newest(episodes)
        steps = int(self.replay.arrays["lengths"][rows[0]])
        self._first_episode, self._rows, self._annealed = first_episode, rows, annealed
        self._environment.reset(self.replay.arrays["starts"][rows])
        self._under_way = True
        for step in range(steps):
            actions = self.replay.arrays["actions"][rows, step].astype(np.int64)
            self._environment.step(actions)

    def collect(self, planner: Planner) -> dict[str, float]:
        """Play one segment of every episode of the wave; `commit` makes it part of the replay.

        Until then it may be learned from the replay at the same time: this writes beyond the recorded lengths only.

        Parameters
        ----------
        planner : Planner
            An `Engine` plays the whole segment in compiled code; any other is asked bar by bar.

        Returns
        -------
        dict
            `reward_per_step`, `share_<action>`, `trade_ratio` (share of actions that are not HOLD), `search_depth` and
            `policy_entropy` (nats; both absent in the warm-up), and at the end of the wave `pips_per_episode`,
            `trades_per_episode`, and, if there were trades, `win_rate` and `expectancy_pips`, the mean pips of a trade;
            all of play with exploration.
        """
        if not self.in_wave:
            raise RuntimeError("no wave is under way: call begin.")
        first, steps = self._environment.steps_done, self.config.selfplay.segment_bars
        searched = max(0, first + steps - max(first, self._warmup_steps))
        if isinstance(planner, Engine):
            depths = planner.play(
                self._environment, self._record(), self._manner(), self._counters(0), self._search_seed, steps
            )
        else:
            depths = sum(self._step(planner) for _ in range(steps))
        self._played = steps
        self._under_way = self._environment.steps_done < self._environment.session_bars
        return self._metrics(first, steps, searched, depths)

    def commit(self) -> None:
        """Count the segment that `collect` has played as recorded."""
        self.replay.advance(self._rows, self._played)
        self._played = 0

    @property
    def _warmup_steps(self) -> int:
        """Step of this wave's sessions from which on the search plays."""
        settings = self.config.selfplay
        # Bars that one environment has played before: the waves follow one another in the same environments.
        return settings.warmup_bars - self._first_episode // settings.environments * settings.session_bars

    def _record(self) -> Record:
        arrays = self.replay.arrays
        return Record(self._rows, *(arrays[name] for name in Record._fields[1:]))

    def _manner(self) -> Manner:
        settings = self.config.selfplay
        return Manner(
            settings.noise(self._annealed),
            settings.root_value == "best",
            settings.temperature(self._annealed),
            settings.epsilon,
            self._warmup_steps,
            settings.sticky_enter,
            settings.sticky_close,
            np.uint64(self._exploration_seed),
        )

    def _counters(self, step: int) -> npt.NDArray[np.uint64]:
        episodes = np.arange(self._first_episode, self._first_episode + len(self._rows), dtype=np.uint64)
        return episodes * np.uint64(self.config.selfplay.session_bars) + np.uint64(step)

    def _step(self, planner: Planner) -> int:
        """One bar, as the engine's `play` plays it; return the sum of the search depths."""
        manner, step = self._manner(), self._environment.steps_done
        observation, counters = self._environment.observation(), self._counters(step)
        batch, depths = len(self._rows), 0
        actions = np.zeros(batch, dtype=np.int64)
        policies, values = np.zeros((batch, NUM_ACTIONS)), np.zeros(batch)
        if step < manner.warmup_steps:
            sticky(actions, observation.static, observation.legal, manner.sticky_enter, manner.sticky_close,
                   manner.seed, counters)  # fmt: skip
        else:
            result = planner.plan(observation, seed=self._search_seed, counters=counters, noise=manner.noise)
            actions = result.actions
            if self.config.search.root_action_selection == "puct":
                actions = select_actions(result.visits, manner.temperature, seed=self._search_seed, counters=counters)
            explore(actions, observation.legal, manner.epsilon, manner.seed, counters)
            policies, depths = result.policy, int(result.max_depth.sum())
            values = root_values(result, manner.best_value)
        moved = self._environment.step(actions)
        record, rows = self._record(), self._rows
        record.static[rows, step] = observation.static
        record.actions[rows, step] = actions
        record.outcomes[rows, step] = moved.outcomes
        record.rewards[rows, step] = moved.rewards
        record.root_values[rows, step] = values
        record.policies[rows, step] = policies
        return depths

    def _metrics(self, first: int, steps: int, searched: int, depths: int) -> dict[str, float]:
        arrays, played = self.replay.arrays, slice(first, first + steps)
        metrics = {"reward_per_step": float(arrays["rewards"][self._rows, played].mean(dtype=np.float64))}
        counts = np.bincount(arrays["actions"][self._rows, played].ravel(), minlength=NUM_ACTIONS)
        for name, action in (("hold", HOLD), ("buy", BUY), ("sell", SELL), ("close", CLOSE)):
            metrics[f"share_{name}"] = float(counts[action] / counts.sum())
        metrics["trade_ratio"] = 1.0 - metrics["share_hold"]
        if searched:
            policies = arrays["policies"][self._rows, first + steps - searched : first + steps].astype(np.float64)
            metrics["search_depth"] = depths / (searched * len(self._rows))
            metrics["policy_entropy"] = float(-(policies * np.log(np.maximum(policies, 1e-12))).sum(axis=-1).mean())
        if not self.in_wave:
            trades = self._environment.trades()
            metrics["pips_per_episode"] = float(trades["pnl_pips"].sum() / len(self._rows))
            metrics["trades_per_episode"] = len(trades) / len(self._rows)
            if len(trades):
                metrics["win_rate"] = float((trades["pnl_pips"] > 0).mean())
                metrics["expectancy_pips"] = float(trades["pnl_pips"].mean())
        return metrics
