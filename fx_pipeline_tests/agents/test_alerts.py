"""Each alert speaks when it should, and is silent about a healthy training."""

from typing import Any

import numpy as np
import pytest

from fx_pipeline.agents.alerts import RECENT_WAVES, recent
from fx_pipeline.agents.base import TrainingData
from fx_pipeline.agents.muzero.alerts import ALERTS
from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.replay import Replay
from fx_pipeline.agents.muzero.selection import Judge
from fx_pipeline.agents.muzero.selfplay import SelfPlay
from fx_pipeline.environment.actions import CLOSE, HOLD, NUM_ACTIONS
from fx_pipeline.environment.lockstep import Observation
from fx_pipeline.search import SearchResult

HEALTHY = {
    "expectancy_pips": 1.0,
    "win_rate": 0.6,
    "selection_trades": 2.0,
    "search_depth": 3.0,
    "value_saturation": 0.0,
}


class Holder:
    """A planner that wants nothing but HOLD; the last bar closes what is open."""

    def refresh(self) -> None:
        pass

    def plan(self, observation: Observation, **_: Any) -> SearchResult:
        rows = len(observation.static)
        holds = np.zeros((rows, NUM_ACTIONS))
        holds[:, HOLD] = 1.0
        return SearchResult(
            visits=holds.astype(np.int32),
            values=np.zeros(rows),
            q_values=np.zeros_like(holds),
            prior_probs=holds,
            max_depth=np.ones(rows, dtype=np.int32),
            policy=holds,
            actions=np.where(observation.legal[:, HOLD], HOLD, CLOSE),
        )


def history(waves: int = 12, **changes: float) -> list[dict[str, float]]:
    """Two iterations a wave; the second half of the waves has the changes."""
    rows: list[dict[str, float]] = []
    for wave in range(waves):
        figures = {**HEALTHY, **(changes if wave >= waves // 2 else {})}
        ended = {name: figures.pop(name) for name in ("expectancy_pips", "win_rate", "selection_trades")} | {
            "pips_per_episode": 0.0
        }
        rows += [{"iterations": 2.0 * wave + 1, **figures}, {"iterations": 2.0 * wave + 2, **figures, **ended}]
    return rows


def said(rows: list[dict[str, float]]) -> dict[str, str]:
    return {alert.name: text for alert in ALERTS if (text := alert.find(rows)) is not None}


def test_a_healthy_training_is_left_alone() -> None:
    assert said(history()) == {}
    assert said([]) == {}
    edges = {"expectancy_pips": -10.0, "win_rate": 0.05, "selection_trades": 0.05, "value_saturation": 0.01}
    assert said(history(**edges)) == {}


@pytest.mark.parametrize(
    ("changes", "name", "advice"),
    [
        ({"expectancy_pips": -10.1}, "expectancy_is_bearable", "costs"),
        ({"win_rate": 0.04}, "some_trades_win", "selfplay.warmup_bars"),
        ({"selection_trades": 0.04}, "agent_still_trades", "selfplay.epsilon"),
        ({"value_saturation": 0.02}, "values_fit_their_support", "network.support_pips"),
        ({"loss": float("nan")}, "training_is_finite", "learner.learning_rate"),
    ],
)
def test_what_goes_wrong_is_said_with_what_to_do(changes: dict[str, float], name: str, advice: str) -> None:
    found = said(history(**changes))
    assert found.keys() == {name}
    assert advice in found[name]


def test_only_the_last_waves_count_but_for_what_is_not_finite() -> None:
    bad = history(expectancy_pips=-50.0, selection_trades=0.0)
    assert said([*bad, *history(2 * RECENT_WAVES)]) == {}
    assert said([{"loss": float("inf")}, *history()]).keys() == {"training_is_finite"}
    assert len(recent(history(12))) == 2 * RECENT_WAVES


def test_hold_without_search_is_no_collapse() -> None:
    rows = [{n: row[n] for n in row if n != "search_depth"} for row in history(selection_trades=0.0)]
    assert said(rows) == {}


@pytest.mark.parametrize("judged", [True, False])
def test_a_policy_that_only_holds_is_found_by_its_judgement(small_market: TrainingData, judged: bool) -> None:
    config = load_config("tiny", {"selfplay.epsilon": 0.05, "selfplay.warmup_bars": 0})
    selfplay = SelfPlay(config, small_market, Replay(config.replay, small_market.rules.bars), seed=0)
    selfplay.begin(0, 4, 0.0)
    rows: list[dict[str, float]] = []
    while selfplay.in_wave:
        rows.append(selfplay.collect(Holder()))
        selfplay.commit()
    if judged:
        rows[-1] |= Judge(config, small_market, small_market.starts[::360][:6]).judge(Holder(), 4).judgement.metrics()
        assert rows[-1]["selection_trades"] == 0.0
    assert all(row["share_hold"] < 0.99 for row in rows), "exploration trades whatever the policy wants"
    assert ("agent_still_trades" in said(rows)) == judged


def test_no_trade_is_no_bad_trade() -> None:
    rows = [{name: row[name] for name in row if name not in ("win_rate", "expectancy_pips")} for row in history()]
    assert said(rows) == {}
