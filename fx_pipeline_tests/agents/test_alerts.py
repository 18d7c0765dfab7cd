"""Each alert speaks when it should, and is silent about a healthy training."""

import pytest

from fx_pipeline.agents.alerts import ALERTS, RECENT_WAVES, recent

HEALTHY = {"expectancy_pips": 1.0, "win_rate": 0.6, "share_hold": 0.9, "search_depth": 3.0, "value_saturation": 0.0}


def history(waves: int = 12, **changes: float) -> list[dict[str, float]]:
    """Two iterations a wave; the second half of the waves has the changes."""
    rows: list[dict[str, float]] = []
    for wave in range(waves):
        figures = {**HEALTHY, **(changes if wave >= waves // 2 else {})}
        ended = {name: figures.pop(name) for name in ("expectancy_pips", "win_rate")} | {"pips_per_episode": 0.0}
        rows += [{"iterations": 2.0 * wave + 1, **figures}, {"iterations": 2.0 * wave + 2, **figures, **ended}]
    return rows


def said(rows: list[dict[str, float]]) -> dict[str, str]:
    return {alert.name: text for alert in ALERTS if (text := alert.find(rows)) is not None}


def test_a_healthy_training_is_left_alone() -> None:
    assert said(history()) == {}
    assert said([]) == {}
    edges = {"expectancy_pips": -10.0, "win_rate": 0.05, "share_hold": 0.99, "value_saturation": 0.01}
    assert said(history(**edges)) == {}


@pytest.mark.parametrize(
    ("changes", "name", "advice"),
    [
        ({"expectancy_pips": -10.1}, "expectancy_is_bearable", "costs"),
        ({"win_rate": 0.04}, "some_trades_win", "selfplay.warmup_bars"),
        ({"share_hold": 0.995}, "agent_still_trades", "search.dirichlet_fraction"),
        ({"value_saturation": 0.02}, "values_fit_their_support", "network.support_pips"),
        ({"loss": float("nan")}, "training_is_finite", "learner.learning_rate"),
    ],
)
def test_what_goes_wrong_is_said_with_what_to_do(changes: dict[str, float], name: str, advice: str) -> None:
    found = said(history(**changes))
    assert found.keys() == {name}
    assert advice in found[name]


def test_only_the_last_waves_count_but_for_what_is_not_finite() -> None:
    bad = history(expectancy_pips=-50.0, share_hold=1.0)
    assert said([*bad, *history(2 * RECENT_WAVES)]) == {}
    assert said([{"loss": float("inf")}, *history()]).keys() == {"training_is_finite"}
    assert len(recent(history(12))) == 2 * RECENT_WAVES


def test_hold_without_search_is_no_collapse() -> None:
    rows = [{name: value for name, value in row.items() if name != "search_depth"} for row in history(share_hold=1.0)]
    assert said(rows) == {}


def test_no_trade_is_no_bad_trade() -> None:
    rows = [{name: row[name] for name in row if name not in ("win_rate", "expectancy_pips")} for row in history()]
    assert said(rows) == {}
