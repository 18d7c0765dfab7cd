"""A missed bar is named with its figures."""

from typing import Any

import pytest

from fx_pipeline.proofs.bars import (
    BAR_HEADINGS,
    Bar,
    aims_reached,
    bar_rows,
    bars_of,
    milestones_of,
    missed_bars,
    unmeasured,
)


def result(market: str = "ou", **changes: Any) -> dict[str, Any]:
    made = {
        "agent": "muzero",
        "preset": "small",
        "market": market,
        "training_minutes": 5.1,
        "share_worst": 0.80,
        "share_mean": 0.85,
        "pips_per_episode": 180.0,
        "trades_per_episode": 14.0,
        "policy_share_mean": 0.82,
        "learning_share_mean": 0.75,
        "learning_policy_share_mean": 0.73,
        "ppo_share_mean": 0.81,
        "episodes_per_hour": 72_000.0,
        "seeds": [{}] * 5,
        "milestones": [{"episodes": mark} for mark in milestones_of("muzero", "small", "ou")],
    }
    return {**made, **changes}


def test_good_result_misses_nothing() -> None:
    assert missed_bars(result()) == []
    assert aims_reached(result()) == ["not below PPO"]
    assert aims_reached(result(share_worst=0.9, share_mean=0.92)) == [
        "as good as the best one-feature rule",
        "search not behind its head, at the end",
        "not below PPO",
    ]
    assert aims_reached(result(learning_share_mean=0.78))[0] == "search beats its own head, learning"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"share_worst": 0.7799}, "best one-feature rule: share_worst is 0.780, wanted is at least 0.780"),
        (
            {"learning_share_mean": 0.73},
            "search beats its own head, learning: learning_share_mean is 0.730, wanted is more than 0.730",
        ),
        (
            {"policy_share_mean": 0.861},
            "share_mean is 0.850, wanted is at least 0.861, the policy_share_mean, with a tolerance of 0.01",
        ),
        ({"ppo_share_mean": 0.86}, "not below PPO: share_mean is 0.850, wanted is at least 0.860, the ppo_share_mean"),
        ({"training_minutes": 6.0}, "in time: trained for 6.0 minutes, the bars are for 5"),
    ],
)
def test_each_miss_is_named(changes: dict[str, Any], said: str) -> None:
    (missed,) = missed_bars(result(**changes))
    assert said in missed


def test_what_was_not_measured_is_not_called_reached() -> None:
    assert unmeasured(result()) == []
    assert unmeasured(result(ppo_share_mean=None)) == ["not below PPO"]
    assert unmeasured(result(seeds=[{}])) == ["5 seeds (this is 1)"]


def test_milestones_that_a_short_training_did_not_pass_are_named() -> None:
    short = result(milestones=[{"episodes": 512}, {"episodes": 768}, {"episodes": 1024}])
    assert unmeasured(short) == ["the search as it learns, after 2,048, 4,096 episodes"]
    assert unmeasured(result("regime", milestones=[])) == []


def test_aim_is_not_reached_where_the_bar_is_missed() -> None:
    bar = Bar("beats a loser", "share_mean", 1, "policy_share_mean", 1.05, beyond=True)
    loses = result(share_mean=-0.205, policy_share_mean=-0.2)
    assert bar.missed(loses) is not None and not bar.reached(loses)


def test_tolerance_is_on_the_wrong_side_whichever_that_is() -> None:
    few = Bar("few trades", "trades_per_episode", -1, 10.0, 5.0, tolerance=0.5)
    assert few.missed(result(trades_per_episode=10.4)) is None
    assert few.missed(result(trades_per_episode=10.6)) is not None


def test_equal_to_ppo_is_not_below_it() -> None:
    assert missed_bars(result(ppo_share_mean=0.85)) == []
    assert aims_reached(result(ppo_share_mean=0.85)) == []


def test_search_and_head_may_be_level_at_the_end() -> None:
    assert missed_bars(result(policy_share_mean=0.859)) == []


def test_walk_is_judged_by_pips_and_trades() -> None:
    names = ("share_worst", "share_mean", "policy_share_mean", "ppo_share_mean", "learning_share_mean")
    nothing: dict[str, Any] = dict.fromkeys(names)
    quiet = result("walk", **nothing, pips_per_episode=0.0, trades_per_episode=0.0)
    assert missed_bars(quiet) == [] and len(aims_reached(quiet)) == 2
    lossy = result("walk", **nothing, pips_per_episode=-0.6, trades_per_episode=0.06)
    assert [line.split(":")[0] for line in missed_bars(lossy)] == ["loses nothing on noise", "leaves noise alone"]


def test_what_was_not_measured_is_not_judged() -> None:
    assert missed_bars(result(ppo_share_mean=None, policy_share_mean=None, learning_share_mean=None)) == []


def test_presets_that_promise_nothing_are_not_judged() -> None:
    assert bars_of("muzero", "tiny", "ou") == ()
    assert missed_bars(result(preset="tiny", share_worst=-1.0, training_minutes=60.0)) == []


def test_table_says_what_was_wanted_and_what_was_measured() -> None:
    rows = bar_rows(result(share_worst=0.92, policy_share_mean=0.859, ppo_share_mean=None))
    assert [len(row) for row in rows] == [len(BAR_HEADINGS)] * 4
    assert rows == [
        ("ou, small", "as good as the best one-feature rule", "share, worst", "78.0%", "90.0%", "92.0%", "aim reached"),
        (
            "ou, small",
            "search beats its own head, learning",
            "share on the way",
            "> 73.0% head",
            "> 76.6%",
            "75.0%",
            "reached",
        ),
        (
            "ou, small",
            "search not behind its head, at the end",
            "share, mean",
            "85.9% head -1%",
            "> 90.2%",
            "85.0%",
            "reached",
        ),
        ("ou, small", "not below PPO", "share, mean", "", "", "85.0%", "not measured"),
    ]
    quiet = bar_rows(result("walk", pips_per_episode=-0.2, trades_per_episode=0.01))
    assert [row[3:] for row in quiet] == [("-0.50", "0.00", "-0.20", "reached"), ("<= 0.05", "0.00", "0.01", "reached")]


def test_full_size_must_play_while_it_learns() -> None:
    slow = result(preset="full", episodes_per_hour=7_999.0)
    assert missed_bars(slow) == ["plays while it learns: episodes_per_hour is 7999.000, wanted is at least 8000.000"]
    assert bar_rows(slow)[1][2:] == ("episodes/h", "8,000", "15,000", "7,999", "missed")
    assert missed_bars(result(preset="full", episodes_per_hour=None)) == []


def test_nothing_promised_is_no_table() -> None:
    assert bar_rows(result(preset="tiny")) == []
