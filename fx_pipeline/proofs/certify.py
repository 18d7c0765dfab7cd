"""A market from training to result, and whether a result still speaks for the agent as it is now."""

import datetime as dt
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fx_pipeline.agents.registry import agent as find_agent
from fx_pipeline.proofs.markets import MARKETS
from fx_pipeline.proofs.peer import compared
from fx_pipeline.proofs.prove import Proof, Watch, provenance
from fx_pipeline.proofs.result import summary
from fx_pipeline.proofs.seeds import prove_peer, prove_seeds
from fx_pipeline.proofs.unfinished import FinishedSeeds, unfinished_path


def prove_market(
    proof: Proof,
    *,
    ppo: bool,
    watch: Watch,
    now: Callable[[], dt.datetime],
    folder: Path | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Prove an agent on one market, and PPO beside it where there is something to earn.

    Parameters
    ----------
    proof : Proof
    ppo : bool
        Whether to train PPO as well.
    watch : callable
    now : callable
        The time, for the record.
    folder : Path, optional
        Of the proofs. Finished seeds are kept there until `fx_pipeline.proofs.result.write_result` has written what
        is returned: the same proof by the same code then goes on where it was stopped.
    clock : callable
        Seconds.

    Returns
    -------
    dict
        From `fx_pipeline.proofs.result.summary`.
    """
    # Before the training: the code that trains is the code that was loaded, whatever is edited meanwhile.
    made_by, began = provenance(proof), clock()
    path = None if folder is None else unfinished_path(folder, proof.agent, proof.case)
    finished = FinishedSeeds(path, proof, made_by)
    results = prove_seeds(proof, watch, finished)
    peers = prove_peer(proof, watch, finished) if ppo and compared(proof.agent, proof.market) else []
    date = now().isoformat(timespec="seconds")
    return summary(proof, results, peers, made_by=made_by, seconds=finished.seconds + clock() - began, date=date)


def outdated(results: Mapping[str, Mapping[str, Any]], agent: str) -> list[str]:
    """List in words the markets on which the agent, as its code and configuration are now, is not proved.

    Parameters
    ----------
    results : Mapping
        Market to result, from `fx_pipeline.proofs.result.read_results`.
    agent : str
    """
    found, problems = find_agent(agent), []
    for market in MARKETS:
        result = results.get(market)
        if result is None:
            problems.append(f"{market}: {agent} was never proved on it, or by code that is too old to be read")
        elif result["code_version"] != found.code_version():
            problems.append(
                f"{market}: the proof of {result['date']} is of code {result['code_version']}, "
                f"the code is {found.code_version()} now"
            )
        elif result["config_digest"] != found.config_digest(result["preset"]):
            problems.append(f"{market}: the preset {result['preset']} has changed since the proof of {result['date']}")
    return problems
