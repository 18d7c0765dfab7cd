"""The gate on whole validations: noise is refused, a planted edge is let through."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from fx_pipeline.agents.base import Stateless
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, SELL
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.costs import CostConfig
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.validation.baselines import RandomTrader, Turnover
from fx_pipeline.validation.context import ReportContext, TrialHistory, WindowTrial
from fx_pipeline.validation.validate import validate_policy

SESSION, REGIME, SESSIONS = 60, 20, 300
BARS = 200 + SESSIONS * SESSION + 1
STARTS = 200 + np.arange(SESSIONS) * SESSION


def planted_market(market_of, seed):
    """A market with a hidden drift of 1 pip a bar that changes its direction by chance every 20 bars."""
    market = market_of(BARS, seed=seed)
    rng = np.random.default_rng(seed)
    side = np.repeat(rng.choice((-1.0, 1.0), BARS // REGIME + 1), REGIME)[:BARS]
    path = np.cumsum(side) * market.pip
    before = np.concatenate(([0.0], path[:-1]))
    moved = replace(
        market,
        **{name: getattr(market, name) + path for name in ("close", "bid_close", "ask_close")},
        **{name: getattr(market, name) + before for name in ("open", "bid_open", "ask_open")},
        high=market.high + np.maximum(path, before),
        low=market.low + np.minimum(path, before),
    )
    return moved, side


@dataclass(frozen=True)
class Knowing(Stateless):
    """Knows the drift, and misses some bars by chance: each seed is a policy of its own."""

    side: np.ndarray
    seed: int
    misses: float = 0.3

    def choose(self, observation):
        # The drift of the bars in which the order will be held.
        ahead = self.side[np.minimum(observation.bar + 2, len(self.side) - 1)]
        asleep = np.random.default_rng([self.seed, int(observation.bar[0])]).random(len(ahead)) < self.misses
        held = np.rint(observation.static[:, 0])
        wanted = np.where(held == 0, np.where(ahead > 0, BUY, SELL), np.where(held == ahead, HOLD, CLOSE))
        wanted = np.where(asleep & observation.legal[:, HOLD], HOLD, wanted)
        legal = observation.legal[np.arange(len(wanted)), wanted]
        return np.where(legal, wanted, np.where(observation.legal[:, HOLD], HOLD, CLOSE))


class Trials:
    """A ledger in memory: every policy that is scored joins it."""

    def __init__(self):
        self.window, self.sharpes = [], []

    def recorder(self, configuration):
        def record(score):
            self.window = [replace(trial, this=False) for trial in self.window]
            self.window.append(
                WindowTrial(configuration, score.seed, score.session_pnl_pips, True, trades=score.trades)
            )
            self.sharpes.append(score.sharpe_per_trade or 0.0)
            count = len({trial.configuration for trial in self.window})
            return TrialHistory(len(self.window), tuple(self.sharpes), tuple(self.window), chosen_among=count)

        return record


def validate(market, policy, trials, configuration, seed):
    return validate_policy(
        market,
        STARTS,
        policy,
        costs=CostConfig(fixed_pips=2.0),
        reward=RewardConfig(),
        seed=seed,
        context=ReportContext("GBP_JPY", "w", leaks={"rows computed anew": 0}, holdout_openings=0),
        mc_runs=10_000,
        batch=SESSIONS,
        rules=SessionRules(bars=SESSION),
        record_trial=trials.recorder(configuration),
    )["figures"]


def random_trader(seed):
    return RandomTrader(Turnover(0.05, 0.1, 0.5), seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_noise_is_refused(market_of, seed):
    market, trials = market_of(BARS, seed=100 + seed), Trials()
    verdicts = [validate(market, random_trader(k), trials, "random", k)["verdict"] for k in range(3)]
    assert verdicts == ["rejected"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_planted_edge_is_let_through_once_five_seeds_have_shown_it(market_of, seed):
    (market, side), trials = planted_market(market_of, 200 + seed), Trials()
    validate(market, random_trader(1), trials, "random", 1)
    found = [validate(market, Knowing(side, k), trials, "knowing", k) for k in range(5)]
    assert [figures["verdict"] for figures in found] == ["rejected"] * 4 + ["promoted"], found[-1]["reasons"]
    # Four seeds lack nothing but a fifth.
    assert {c["name"] for c in found[3]["conditions"] if not c["passed"]} == {"worst_seed"}
