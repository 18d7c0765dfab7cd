"""All the seeds of a proof, one after another or some at once; those that are finished are not trained again."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context

from fx_pipeline.agents.base import Progress
from fx_pipeline.proofs.peer import PEER, PEER_NAME, PEER_PRESET
from fx_pipeline.proofs.prove import Proof, SeedResult, Watch, outcome, prove_seed, unwatched
from fx_pipeline.proofs.unfinished import FinishedSeeds


def prove_seeds(proof: Proof, watch: Watch = unwatched, finished: FinishedSeeds | None = None) -> list[SeedResult]:
    """Train and judge every seed of a proof, one after another, or `proof.jobs` at once.

    Parameters
    ----------
    proof : Proof
    watch : callable
    finished : FinishedSeeds, optional
        Those that need not be trained again; it is told of each that ends.

    Returns
    -------
    list of SeedResult
        By seed.
    """
    finished = finished or FinishedSeeds(None, proof, {})
    if proof.jobs == 1:
        return _in_turn(proof.agent, prove_seed, proof, watch, finished)
    done = {seed: known for seed in range(proof.seeds) if (known := finished.of(proof.agent, seed)) is not None}
    with (
        watch(f"{proof.agent} on {proof.market}, {proof.seeds} seeds, {proof.jobs} at once") as progress,
        ProcessPoolExecutor(proof.jobs, mp_context=get_context("spawn")) as pool,
    ):
        for known in done.values():
            progress(len(done) / proof.seeds, outcome(known))
        pending = [pool.submit(prove_seed, proof, seed) for seed in range(proof.seeds) if seed not in done]
        for future in as_completed(pending):
            result = future.result()
            finished.add(proof.agent, result)
            done[result.seed] = result
            progress(len(done) / proof.seeds, outcome(result))
    return [done[seed] for seed in range(proof.seeds)]


def prove_peer(proof: Proof, watch: Watch, finished: FinishedSeeds) -> list[SeedResult]:
    """Train and judge the peer with the seeds, paths and minutes of a proof, one after another; as `prove_seeds`."""
    other = replace(proof, agent=PEER, preset=PEER_PRESET, milestones=())
    return _in_turn(PEER_NAME, prove_seed, other, watch, finished)


def _in_turn(
    player: str,
    prove: Callable[[Proof, int, Progress], SeedResult],
    proof: Proof,
    watch: Watch,
    finished: FinishedSeeds,
) -> list[SeedResult]:
    results = []
    for seed in range(proof.seeds):
        known, title = finished.of(player, seed), f"{player} on {proof.market}, seed {seed}"
        with watch(title if known is None else f"{title}, of a run that was stopped") as progress:
            if known is None:
                results.append(prove(proof, seed, progress))
                finished.add(player, results[-1])
            else:
                results.append(known)
                progress(1.0, outcome(known))
    return results
