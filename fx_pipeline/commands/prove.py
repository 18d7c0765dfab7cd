"""The command `fx-pipeline prove`."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fx_pipeline.commands.console import clear_errors, console, errors


def prove(
    agent: Annotated[str, typer.Argument(help="Name of the agent, such as muzero.")],
    market: Annotated[
        str,
        typer.Option(
            help="ou (a price that returns to its mean), regime (a hidden trend), walk (nothing to earn), or all."
        ),
    ] = "all",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings, each with a path of its own.")] = 5,
    minutes: Annotated[float, typer.Option(min=0.001, help="Wall time of each training.")] = 5.0,
    preset: Annotated[str, typer.Option(help="Size and hyper-parameters of the agent.")] = "small",
    jobs: Annotated[
        int, typer.Option(min=1, help="Trainings at once. One training uses two cores: more share them.")
    ] = 1,
    ppo: Annotated[
        bool, typer.Option("--ppo/--no-ppo", help="Train PPO of stable-baselines3 for as long, and compare.")
    ] = True,
    fail: Annotated[bool, typer.Option("--fail/--no-fail", help="Leave with status 1 when a bar is missed.")] = True,
    action_set: Annotated[
        str, typer.Option(help="What the agent may do, such as leverage7; PPO is compared with unit4 alone.")
    ] = "unit4",
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object a market.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the results; absent: proofs/ in the data folder.")
    ] = None,
) -> None:
    """Prove that an agent learns, on synthetic markets whose best policy is known.

    Each seed trains on one path and is judged, greedily, on 512 sessions of another one. Shares are of what the best
    policy earns; the walk has nothing to earn, there an agent must learn not to trade. For the preset small on ou, the
    weights of some moments of the training are judged as well, with and without search. The result and its learning
    curves are written to proofs/AGENT/MARKET.json and .html. Stopped in the middle of a market, the same command goes
    on with the seed that was not finished (MARKET.unfinished.json has the others; remove it to start anew).

    --json prints an object with market, share_worst, share_mean, pips_per_episode (worst seed), trades_per_episode
    (greatest of any seed), policy_share_mean (without search), ppo_share_mean, seconds, missed, milestones
    (mean shares with and without search after so many episodes), their means learning_share_mean and
    learning_policy_share_mean, and the seeds.
    """
    with clear_errors():
        from fx_pipeline.proofs.result import without_curves
        from fx_pipeline.prove_command import ProveOptions, run_proofs
        from fx_pipeline.settings import load_settings

        def done(result: Mapping[str, Any]) -> None:
            if json_:
                sys.stdout.write(json.dumps(without_curves(result), allow_nan=False) + "\n")
                sys.stdout.flush()

        missed = run_proofs(
            ProveOptions(
                agent, market, seeds, minutes, preset, jobs, ppo, output or load_settings().layout.proofs, action_set
            ),
            errors if json_ else console,
            done,
        )
    if missed and fail:
        raise typer.Exit(1)
