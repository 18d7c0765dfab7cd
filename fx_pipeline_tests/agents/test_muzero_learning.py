"""The small preset learns what there is to learn: five seeds, judged by the bars of the long proofs.

A training ends after episodes, not minutes, so that a busy machine learns the same: after a tenth to a quarter of what
five minutes of two cores allow.
"""

import datetime as dt
import io
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from rich.console import Console

from fx_pipeline.proofs.bars import SEEDS, bar_rows, bars_of
from fx_pipeline.proofs.certify import prove_market
from fx_pipeline.proofs.markets import MarketName
from fx_pipeline.proofs.prove import Proof, unwatched
from fx_pipeline.prove_command import bar_table

# Minutes of both cores, which other slow tests may want at the same time.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]
#: The hour ends a training only where something is stuck.
STUCK_MINUTES, SESSIONS = 60.0, 256
EPISODES = {"regime": 1728, "ou": 896, "walk": 768}
#: Before the policy head has learned what the search finds.
MILESTONES = (640,)


@pytest.mark.parametrize("market", EPISODES)
def test_five_seeds_reach_every_bar_of_the_table(market: MarketName, measured: Callable[[str], None]) -> None:
    milestones = MILESTONES if market == "ou" else ()
    proof = Proof(
        "muzero", market, "small", STUCK_MINUTES, SEEDS, EPISODES[market], SESSIONS, jobs=2, milestones=milestones
    )
    result = prove_market(proof, ppo=False, watch=unwatched, now=lambda: dt.datetime.now(dt.UTC))
    measured(_table(result))
    bars = bars_of("muzero", "small", market)
    assert bars and len(result["seeds"]) == SEEDS
    # PPO is given the same minutes, not episodes: `fx-pipeline prove` trains it.
    judged = [bar for bar in bars if bar.least != "ppo_share_mean"]
    assert all(result[bar.figure] is not None and bar.other(result) is not None for bar in judged)
    assert [passed["episodes"] for passed in result["milestones"]] == list(milestones)
    assert [said for bar in judged if (said := bar.missed(result)) is not None] == []


def _table(result: Mapping[str, Any]) -> str:
    seeds, text = result["seeds"], io.StringIO()
    text.write(f"{result['market']}, {EPISODES[result['market']]} episodes, {len(seeds)} seeds\n")
    for title, name in (
        ("pips an episode", "pips_per_episode"),
        ("without search", "policy_pips_per_episode"),
        ("trades an episode", "trades_per_episode"),
    ):
        text.write(f"  {title}: {', '.join(f'{seed[name]:.2f}' for seed in seeds)}\n")
    Console(file=text, width=120).print(bar_table(bar_rows(result)))
    return text.getvalue()
