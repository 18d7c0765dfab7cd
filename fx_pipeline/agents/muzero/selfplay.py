"""Lock-step self-play: B sessions, one search a bar for all of them."""

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.base import TrainingData
from fx_pipeline.agents.muzero.config import MuZeroConfig
from fx_pipeline.agents.muzero.evaluator import TorchEvaluator
from fx_pipeline.agents.muzero.replay import Replay
from fx_pipeline.agents.muzero.seeds import Purpose, derived_seed, generator
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, NUM_ACTIONS, SELL
from fx_pipeline.environment.lockstep import LockstepEnvironment, Observation
from fx_pipeline.market.costs import build_fills
from fx_pipeline.search import StochasticSearch, select_actions, visit_policy


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
            config.selfplay.session_bars,
            config.selfplay.window_bars,
        )
        self._search = StochasticSearch(config.search)
        self._search_seed = derived_seed(seed, Purpose.SEARCH)
        self._first_episode = 0
        self._rows = np.zeros(0, dtype=np.int64)
        self._observation: Observation | None = None

    @property
    def in_wave(self) -> bool:
        """Whether a wave of episodes is under way."""
        return self._observation is not None

    @property
    def wave_size(self) -> int:
        """Episodes of the present or the latest wave."""
        return len(self._rows)

    def begin(self, first_episode: int, episodes: int) -> None:
        """Start a wave: episodes number `first_episode` to `first_episode + episodes - 1`."""
        draw = generator(self.seed, Purpose.STARTS, first_episode)
        starts = self._starts[draw.integers(len(self._starts), size=episodes)]
        self._first_episode = first_episode
        self._rows = self.replay.begin(starts)
        self._observation = self._environment.reset(starts)

    def restore(self, first_episode: int, episodes: int) -> None:
        """Take up the wave that the replay holds as its newest: the recorded actions are played again."""
        rows = (self.replay.written - episodes + np.arange(episodes)) % self.replay.capacity
        steps = int(self.replay.arrays["lengths"][rows[0]])
        self._first_episode, self._rows = first_episode, rows
        self._observation = self._environment.reset(self.replay.arrays["starts"][rows])
        for step in range(steps):
            actions = self.replay.arrays["actions"][rows, step].astype(np.int64)
            self._observation = self._environment.step(actions).observation

    def collect(self, evaluator: TorchEvaluator) -> dict[str, float]:
        """Play one segment of every episode of the wave.

        Returns
        -------
        dict
            `reward_per_step`, `share_<action>`, `search_depth` and `policy_entropy` (nats; both absent in the
            warm-up), and at the end of the wave `pips_per_episode`, `trades_per_episode`, `win_rate`, all of play with
            exploration.
        """
        settings = self.config.selfplay
        counts = np.zeros(NUM_ACTIONS)
        rewards, depths, entropies = [], [], []
        for _ in range(settings.segment_bars):
            observation = self._observation
            if observation is None:
                raise RuntimeError("no wave is under way: call begin.")
            step = self._environment.steps_done
            # Bars that one environment has played before: the waves follow one another in the same environments.
            played = self._first_episode // settings.environments * settings.session_bars + step
            if played < settings.warmup_bars:
                actions = self._sticky(observation, step)
                policies = np.zeros((len(actions), NUM_ACTIONS))
                values = np.zeros(len(actions))
            else:
                actions, policies, values, depth = self._searched(observation, evaluator, step)
                depths.append(depth)
                entropies.append(-(policies * np.log(np.maximum(policies, 1e-12))).sum(axis=1).mean())
            moved = self._environment.step(actions)
            self.replay.append(
                self._rows,
                static=observation.static,
                actions=actions,
                rewards=moved.rewards,
                outcomes=moved.outcomes,
                policies=policies,
                root_values=values,
            )
            counts += np.bincount(actions, minlength=NUM_ACTIONS)
            rewards.append(moved.rewards.mean())
            self._observation = None if moved.done else moved.observation
        metrics = {"reward_per_step": float(np.mean(rewards))}
        shares = counts / counts.sum()
        for name, action in (("hold", HOLD), ("buy", BUY), ("sell", SELL), ("close", CLOSE)):
            metrics[f"share_{name}"] = float(shares[action])
        if depths:
            metrics["search_depth"] = float(np.mean(depths))
            metrics["policy_entropy"] = float(np.mean(entropies))
        if not self.in_wave:
            trades = self._environment.trades()
            metrics["pips_per_episode"] = float(trades["pnl_pips"].sum() / len(self._rows))
            metrics["trades_per_episode"] = len(trades) / len(self._rows)
            metrics["win_rate"] = float((trades["pnl_pips"] > 0).mean()) if len(trades) else 0.0
        return metrics

    def _counters(self, step: int) -> npt.NDArray[np.uint64]:
        episodes = np.arange(self._first_episode, self._first_episode + len(self._rows), dtype=np.uint64)
        return episodes * np.uint64(self.config.selfplay.session_bars) + np.uint64(step)

    def _searched(
        self, observation: Observation, evaluator: TorchEvaluator, step: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
        settings = self.config.selfplay
        counters = self._counters(step)
        result = self._search.run(
            evaluator.root(observation),
            observation.legal,
            evaluator,
            seed=self._search_seed,
            counters=counters,
            add_noise=True,
        )
        temperature = settings.temperature(self._first_episode)
        actions = select_actions(result.visits, temperature, seed=self._search_seed, counters=counters)
        if settings.epsilon > 0.0:
            draw = generator(self.seed, Purpose.EPSILON, int(counters[0]))
            explores = draw.random(len(actions)) < settings.epsilon
            actions = np.where(explores, _random_legal(observation.legal, draw), actions)
        return actions, visit_policy(result.visits), result.values, float(result.max_depth.mean())

    def _sticky(self, observation: Observation, step: int) -> npt.NDArray[np.int64]:
        settings = self.config.selfplay
        draw = generator(self.seed, Purpose.WARMUP, int(self._counters(step)[0]))
        entry, close, side = draw.random((3, len(observation.static)))
        entering = np.where(entry < settings.sticky_enter, np.where(side < 0.5, BUY, SELL), HOLD)
        closing = np.where(close < settings.sticky_close, CLOSE, HOLD)
        wanted = np.where(observation.static[:, 0] == 0.0, entering, closing)
        allowed = observation.legal[np.arange(len(wanted)), wanted]
        return np.where(allowed, wanted, observation.legal.argmax(axis=1)).astype(np.int64)


def _random_legal(legal: npt.NDArray[np.bool_], draw: np.random.Generator) -> npt.NDArray[np.int64]:
    """One uniformly random legal action (B,) of each row of `legal` (B, A)."""
    return np.where(legal, draw.random(legal.shape), -1.0).argmax(axis=1)
