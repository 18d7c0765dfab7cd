"""Markets and candidates for the benchmark of the gate: rules on a signal, and how they are fitted."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.base import Budget, Policy, Stateless, TrainingData
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, SELL, playable
from fx_pipeline.environment.lockstep import LockstepEnvironment, Observation
from fx_pipeline.environment.position import STATIC_FEATURES
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.features.compute import causal_mismatches
from fx_pipeline.features.temporal9.kernel import WARMUP_BARS
from fx_pipeline.market.arrays import SESSION_BARS, MarketArrays
from fx_pipeline.market.costs import CostConfig, build_fills
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.proofs.markets import COSTS, OU_SD_PIPS, MarketName, proof_market
from fx_pipeline.proofs.players import known_state
from fx_pipeline.sessions.index import valid_starts
from fx_pipeline.sessions.table import thin
from fx_pipeline.sessions.windows import MIN_EMBARGO_BARS
from fx_pipeline.validation.baselines import RandomTrader, Turnover

if TYPE_CHECKING:
    from fx_pipeline.agents.muzero.config import MuZeroConfig

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

TRAIN_SESSIONS, VALID_SESSIONS = 64, 128
#: Bars whose features are computed anew on the bars before them, as for every window of the pipeline.
GUARD_BARS = 20
NETWORK_PRESET = "small"
#: Other markets keep the other cores busy.
NETWORK_OVERRIDES = {"selfplay.environments": 64, "runtime.workers": 1}
#: Episodes of self-play on the walk itself, where networks learn to stay flat, and where there is something to learn.
NETWORK_EPISODES, TRANSFER_EPISODES = 128, 768
TRANSFER_MARKET: MarketName = "ou"
# Weekends and holidays leave a session's length unused here and there.
_SPARE_SESSIONS = 24
_SIDE = STATIC_FEATURES.index("position_side")
# The features that follow the price; the others are the clock.
_PRICE_FEATURES = 4


@dataclass(frozen=True)
class World:
    """One market and its two spans.

    Attributes
    ----------
    market : MarketArrays
    train, valid : (S,) int64
        First bars of sessions that do not overlap, before and after the embargo.
    train_end : int
        First bar after the training span.
    costs : CostConfig
    leaks : dict of str to int
        What was searched for knowledge of the future, and how often it was found.
    """

    market: MarketArrays
    train: Int64
    valid: Int64
    train_end: int
    costs: CostConfig
    leaks: dict[str, int]


@dataclass(frozen=True)
class Candidate:
    """A policy that is handed to the validation.

    Attributes
    ----------
    policy : Policy
    configuration : str
        The same for candidates that differ in their seed only.
    seed : int
    digest : str
        Identity of the policy.
    agent : str
    reward : RewardConfig
    ablation : Policy or None
        The policy without its search; None for those that do not search.
    """

    policy: Policy
    configuration: str
    seed: int
    digest: str
    agent: str = "rule"
    reward: RewardConfig = field(default_factory=RewardConfig)
    ablation: Policy | None = None


@dataclass(frozen=True)
class SignalRules(Stateless):
    """Enters with a signal that is strong, and leaves when it has faded; R rules, each for one row of a batch.

    Attributes
    ----------
    signals : (K, T) float64
        Positive where the price should rise, negative where it should fall.
    column : (R,) int64
        Which of the signals.
    enter, leave : (R,) float64
        Enters at or beyond `enter`, on either side; leaves at or below `leave`, seen from the side that is held.
    """

    signals: Float64
    column: Int64
    enter: Float64
    leave: Float64

    def choose(self, observation: Observation) -> Int64:
        """Return the (B,) actions; B is R, or R is 1."""
        signal = self.signals[self.column, observation.bar]
        side = observation.static[:, _SIDE]
        entry = np.select([signal >= self.enter, signal <= -self.enter], [BUY, SELL], HOLD)
        leave = np.where(side * signal <= self.leave, CLOSE, HOLD)
        return playable(np.where(side == 0, entry, leave), observation.legal)

    def one(self, rule: int, signals: Float64) -> "SignalRules":
        """Return one of the rules, on the signals of any market."""
        part = slice(rule, rule + 1)
        return SignalRules(signals, self.column[part], self.enter[part], self.leave[part])


def make_world(name: MarketName, seed: int, costs: CostConfig) -> World:
    """Draw a path, and cut it into training, embargo and validation."""
    bars = WARMUP_BARS + MIN_EMBARGO_BARS + (TRAIN_SESSIONS + VALID_SESSIONS + _SPARE_SESSIONS) * SESSION_BARS
    market = proof_market(name, seed, bars)
    starts = thin(valid_starts(market, stride=SESSION_BARS))
    train = starts[:TRAIN_SESSIONS]
    train_end = int(train[-1]) + SESSION_BARS
    valid = starts[starts >= train_end + MIN_EMBARGO_BARS][:VALID_SESSIONS]
    if len(valid) < VALID_SESSIONS:
        raise ValueError(f"{bars} bars hold {len(valid)} sessions after the embargo: {VALID_SESSIONS} are wanted.")
    wrong = causal_mismatches(market, GUARD_BARS, seed)
    leaks = {
        f"{GUARD_BARS} feature rows computed anew from the warm-up before them and nothing after": len(wrong),
        f"an embargo of {MIN_EMBARGO_BARS} bars": max(MIN_EMBARGO_BARS - (int(valid[0]) - train_end), 0),
    }
    return World(market, train, valid, train_end, costs, leaks)


def digest_of(*parts: object) -> str:
    """Name a policy by what it was made from."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def random_traders(draw: np.random.Generator, configurations: int, seeds: int) -> list[Candidate]:
    """Traders without a reason, of every turnover, holding time and bias; seeds of one configuration share these."""
    found = []
    for number in range(configurations):
        often, long = np.exp(draw.uniform(np.log((0.005, 0.01)), np.log((0.2, 0.5))))
        rates = Turnover(float(often), float(long), float(draw.uniform()))
        for seed in range(seeds):
            key = int(draw.integers(2**63))
            name = f"random {number}"
            found.append(Candidate(RandomTrader(rates, key), name, seed, digest_of(rates, key)))
    return found


def feature_signals(market: MarketArrays) -> Float64:
    """Each price feature (8, T), scaled to -1..1, as it is and turned round."""
    scaled = 2.0 * market.features[:, :_PRICE_FEATURES].T.astype(np.float64) - 1.0
    return np.concatenate([scaled, -scaled])


def fitted_rules(world: World, draw: np.random.Generator, rules: int, seeds: int) -> list[Candidate]:
    """The best of many random rules on the features, on the training span; a seed draws rules and sessions anew."""
    signals = feature_signals(world.market)
    found = []
    for seed in range(seeds):
        enter = draw.uniform(0.05, 0.95, rules)
        many = SignalRules(
            signals, draw.integers(len(signals), size=rules), enter, enter * draw.uniform(-0.9, 0.9, rules)
        )
        best = best_rule(world.market, draw.choice(world.train, len(world.train)), many, world.costs)
        chosen = many.one(best, signals)
        found.append(Candidate(chosen, f"best of {rules} rules", seed, _digest(chosen)))
    return found


def own_network(world: World, seed: int, folder: Path) -> Path:
    """Train a network on the walk that it will be judged on; return its folder."""
    return train_network(world, NETWORK_EPISODES, seed, folder)


def transferred_network(seed: int, folder: Path) -> Path:
    """Train a network on a market with an edge, on a path of its own; return its folder."""
    return train_network(make_world(TRANSFER_MARKET, seed, COSTS), TRANSFER_EPISODES, seed, folder)


def train_network(world: World, episodes: int, seed: int, folder: Path) -> Path:
    """Train a network by self-play on the training span of a market, and return its folder."""
    from fx_pipeline.agents.muzero.trainer import MuZeroTrainer

    starts = valid_starts(world.market)
    data = TrainingData(
        world.market.slice(0, world.train_end), starts[starts + SESSION_BARS <= world.train_end], world.costs
    )
    return MuZeroTrainer(network_config()).train(data, Budget(episodes), seed=seed, folder=folder).folder


def trained_networks(folders: Sequence[Path]) -> list[Candidate]:
    """The networks of these folders, as the seeds of one configuration."""
    from fx_pipeline.agents.muzero.policy import MuZeroPolicy

    config = network_config()
    found = []
    for seed, folder in enumerate(folders):
        policy = MuZeroPolicy.from_checkpoint(folder)
        sha256 = json.loads((folder / "checkpoint.json").read_bytes())["weights_sha256"]
        head = policy.without_search()
        found.append(Candidate(policy, config.digest(), seed, sha256, "muzero", config.reward, head))
    return found


def network_config() -> "MuZeroConfig":
    """The settings of the networks."""
    from fx_pipeline.agents.muzero.config import load_config

    return load_config(NETWORK_PRESET, NETWORK_OVERRIDES)


def known_signal(name: MarketName, market: MarketArrays) -> Float64:
    """The state that the best policy of a market is a function of (1, T): above 0 where the price should rise."""
    state = known_state(name, market)
    return (-state / OU_SD_PIPS if name == "ou" else 2.0 * state - 1.0)[None]


def good_rules(name: MarketName, world: World, draw: np.random.Generator, seeds: int) -> list[Candidate]:
    """The known good policy: thresholds on the known state, each seed's fitted on a training path of its own."""
    signals = known_signal(name, world.market)
    found = []
    for seed in range(seeds):
        path = make_world(name, int(draw.integers(2**32)), world.costs)
        own = known_signal(name, path.market)
        strength = np.quantile(np.abs(own), np.linspace(0.2, 0.95, 12))
        enter, share = (grid.ravel() for grid in np.meshgrid(strength, (-0.5, -0.25, 0.0, 0.25, 0.5)))
        many = SignalRules(own, np.zeros(len(enter), dtype=np.int64), enter, enter * share)
        chosen = many.one(best_rule(path.market, path.train, many, world.costs), signals)
        found.append(Candidate(chosen, "known good", seed, _digest(chosen)))
    return found


def best_rule(market: MarketArrays, starts: Int64, rules: SignalRules, costs: CostConfig) -> int:
    """Play every rule on every session, all in lock-step, and return the one that earned most."""
    count = len(rules.enter)
    rows = np.repeat(np.arange(count), len(starts))
    every = SignalRules(rules.signals, rules.column[rows], rules.enter[rows], rules.leave[rows])
    # The rules do not look back: one bar of features is what an observation needs to have.
    environment = LockstepEnvironment(market, build_fills(market, costs), rules=SessionRules(window_bars=1))
    observation, done = environment.reset(np.tile(starts, count)), False
    while not done:
        step = environment.step(every.choose(observation))
        observation, done = step.observation, step.done
    trades = environment.trades()
    earned = np.bincount(trades["session"], trades["pnl_pips"].astype(np.float64), count * len(starts))
    return int(earned.reshape(count, -1).sum(axis=1).argmax())


def _digest(rules: SignalRules) -> str:
    return digest_of(rules.column.tolist(), rules.enter.tolist(), rules.leave.tolist())
