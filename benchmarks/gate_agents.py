"""The gate against luck and against an edge: how often whole validations promote what knows nothing, and what does.

200 random walks, each with agents that cannot know anything: none of them may be promoted. 50 markets with a planted
edge, each with the known good policy: 95 % of them must be. Every market has a ledger of its own, and every candidate
goes through `validate_policy`, at the default thresholds: the environment at costs, Monte Carlo with 10,000 runs, 50
random traders, the cost sweep, the family of the ledger. Nothing on the judging side knows which market it looks at.

The noise comes in five kinds; five seeds each, as the gate wants them:

- `random`: one random trader with a turnover, a holding time and a bias of its own; the last of its seeds is handed in.
- `picked`: several such traders on one market; whichever made most is handed in, so the number of trials matters.
- `fitted`: a training that is the best of many random rules on the features, on the training span of the same walk.
- `network`: trainings of Stochastic MuZero on the same walk, a few seconds each. They learn to stay flat.
- `transferred`: Stochastic MuZero that was trained where there is an edge, and so has learned to trade; the same five
  networks on every one of these walks. They trade there, though seldom.

Of the other kinds a quarter each of the walks costs 1 and 4 pips a trade. The rest is free: there the expectation of
every policy is exactly 0, and nothing but the gate stands between luck and a promotion.

What stands for something that a rule cannot have:

- A seed of a random trader is another random trader of the same turnover. A seed of a fitted rule is another training,
  on other candidates and other sessions. A seed of the known good policy has thresholds fitted on a training path of
  its own; it acts on the state that the best policy of `proofs.optimum` is a function of.
- Only agents that search have an ablation; the gate does not ask for it.
- The good policy comes after a random trader with as many seeds: an edge without earlier failures would be too easy.
- Candidates before the one that is handed in are scored, which writes them into the ledger, and not judged: nobody
  reads their reports.
- The sealed days have been opened for nobody.

Prints `noise_promoted`, `noise_total`, `edge_promoted`, `edge_total`; the one-sided 95 % bounds of both shares
(Clopper-Pearson); `failed`, how often each condition failed, and `alone`, how often nothing else did; the fewest
conditions that failed on noise; the share of the known optimum that the good policy earned; `seconds`, and
`core_seconds` of all processes.
"""

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track
from scipy.stats import beta

from benchmarks.gate_candidates import (
    Candidate,
    World,
    fitted_rules,
    good_rules,
    make_world,
    own_network,
    random_traders,
    trained_networks,
    transferred_network,
)
from fx_pipeline.lifecycle.trials import trial_recorder
from fx_pipeline.market.costs import CostConfig, build_fills
from fx_pipeline.proofs.markets import COSTS, MarketName
from fx_pipeline.proofs.optimum import optimum_pips
from fx_pipeline.tracking.ledger import Ledger
from fx_pipeline.validation.context import SYNTHETIC, RecordTrial, ReportContext
from fx_pipeline.validation.gate import PROMOTED
from fx_pipeline.validation.validate import score_policy, validate_policy

SEEDS = 5
#: Random traders of a market among which the best is picked, and rules among which a training chooses.
PICKED_FROM, FITTED_FROM = 3, 64
NOISE_COSTS_PIPS = (0.0, 1.0, 0.0, 4.0)
EDGES: tuple[MarketName, ...] = ("ou", "regime")
NETWORKS = ("network", "transferred")
Result = TypeVar("Result")
#: Shares of the trained agents that are networks of the walk itself, and of another market.
NETWORK_SHARE, TRANSFERRED_SHARE = 0.1, 0.2
BATCH = 512
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Task:
    """A market to judge a candidate on.

    Attributes
    ----------
    kind : str
        ``"random"``, ``"picked"``, ``"fitted"``, ``"network"``, ``"transferred"`` or ``"edge"``.
    market : str
    seed : int
        Of everything in it.
    cost_pips : float
    """

    kind: str
    market: MarketName
    seed: int
    cost_pips: float


@dataclass(frozen=True)
class Outcome:
    """What the gate said.

    Attributes
    ----------
    task : Task
    promoted : bool
    failed : tuple of str
        Conditions that did.
    trades, trials : int
    pips_per_session : float
    """

    task: Task
    promoted: bool
    failed: tuple[str, ...]
    trades: int
    trials: int
    pips_per_session: float


def plan(markets: int, edge: int, trained: float, first_seed: int) -> list[Task]:
    """List the markets: `markets` of noise, a share `trained` of them with trained agents, and `edge` with an edge."""
    fitting = round(markets * trained)
    networks, transferred = round(fitting * NETWORK_SHARE), round(fitting * TRANSFERRED_SHARE)
    picked = (markets - fitting) // 2
    kinds = [
        *["network"] * networks,
        *["transferred"] * transferred,
        *["picked"] * picked,
        *["fitted"] * (fitting - networks - transferred),
        *["random"] * (markets - fitting - picked),
    ]
    noise = [
        # What trades a lot without an edge loses at any price: it would put the gate to no test.
        Task(kind, "walk", first_seed + number, 0.0 if kind in NETWORKS else NOISE_COSTS_PIPS[number % 4])
        for number, kind in enumerate(kinds)
    ]
    planted = [
        Task("edge", EDGES[number % len(EDGES)], first_seed + markets + number, COSTS.fixed_pips)
        for number in range(edge)
    ]
    return noise + planted


def candidates(task: Task, world: World, folder: Path, elsewhere: Sequence[Path]) -> list[Candidate]:
    """Make what is tried on a market, in the order in which it is; the last one is handed in, if none is picked."""
    draw = np.random.default_rng([task.seed, 1])
    if task.kind == "random":
        return random_traders(draw, 1, SEEDS)
    if task.kind == "picked":
        return random_traders(draw, PICKED_FROM, SEEDS)
    if task.kind == "fitted":
        return fitted_rules(world, draw, FITTED_FROM, SEEDS)
    if task.kind == "network":
        return trained_networks([own_network(world, task.seed + seed, folder / str(seed)) for seed in range(SEEDS)])
    if task.kind == "transferred":
        return trained_networks(elsewhere)
    return random_traders(draw, 1, SEEDS) + good_rules(task.market, world, draw, SEEDS)


def run(task: Task, elsewhere: Sequence[Path] = ()) -> Outcome:
    """Try everything on a market, hand one candidate in, and return what the gate says.

    `elsewhere` are the folders of the networks that were trained on another market.
    """
    world = make_world(task.market, task.seed, CostConfig(fixed_pips=task.cost_pips))
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        ledger = Ledger(Path(folder) / "ledger.db", who="benchmark")
        tried = candidates(task, world, Path(folder), elsewhere)
        handed_in = tried[-1]
        if task.kind == "picked":
            handed_in = tried[int(np.argmax([score(world, candidate, ledger) for candidate in tried]))]
        else:
            for candidate in tried[:-1]:
                score(world, candidate, ledger)
        figures = validate(world, handed_in, ledger)
    return Outcome(
        task=task,
        promoted=figures["verdict"] == PROMOTED,
        failed=tuple(condition["name"] for condition in figures["conditions"] if not condition["passed"]),
        trades=figures["trades"],
        trials=figures["trials"],
        pips_per_session=figures["total_pips"] / figures["sessions"],
    )


def score(world: World, candidate: Candidate, ledger: Ledger) -> float:
    """Let a candidate trade, record that in the ledger, and return its total in pips; nothing is judged."""
    scored = score_policy(
        world.market,
        build_fills(world.market, world.costs),
        world.valid,
        candidate.policy,
        costs=world.costs,
        reward=candidate.reward,
        seed=candidate.seed,
        context=context_of(world, candidate, ledger),
        batch=BATCH,
        record_trial=recorder_of(candidate, ledger),
    )
    return scored.metrics.total_pips


def validate(world: World, candidate: Candidate, ledger: Ledger) -> dict[str, Any]:
    """Validate a candidate as the pipeline does, and return the figures of its report."""
    report = validate_policy(
        world.market,
        world.valid,
        candidate.policy,
        costs=world.costs,
        reward=candidate.reward,
        seed=candidate.seed,
        context=context_of(world, candidate, ledger),
        batch=BATCH,
        record_trial=recorder_of(candidate, ledger),
        ablation=candidate.ablation,
    )
    figures: dict[str, Any] = report["figures"]
    return figures


def context_of(world: World, candidate: Candidate, ledger: Ledger) -> ReportContext:
    """What the report is told of the candidate and of the searches for leaks, which have been made."""
    return ReportContext(
        world.market.instrument,
        "benchmark",
        agent=candidate.agent,
        source=SYNTHETIC,
        checkpoint_sha256=candidate.digest,
        leaks=world.leaks,
        holdout_openings=ledger.holdout_openings(world.market.instrument, None),
    )


def recorder_of(candidate: Candidate, ledger: Ledger) -> RecordTrial:
    """The pipeline's own way into the ledger; seeds of a configuration share its record."""
    return trial_recorder(
        ledger, {"config_digest": candidate.configuration, "code_version": "", "counters": {"episodes": 0}}
    )


def summarise(outcomes: Sequence[Outcome], seconds: float) -> dict[str, Any]:
    """Reduce the outcomes to the figures of the benchmark."""
    noise = [outcome for outcome in outcomes if outcome.task.kind != "edge"]
    edge = [outcome for outcome in outcomes if outcome.task.kind == "edge"]
    noise_promoted, edge_promoted = (sum(one.promoted for one in group) for group in (noise, edge))
    shares = [one.pips_per_session / optimum_pips(one.task.market) for one in edge]
    return {
        "noise_promoted": noise_promoted,
        "noise_total": len(noise),
        "noise_upper_95": round(upper_bound(noise_promoted, len(noise)), 4),
        "edge_promoted": edge_promoted,
        "edge_total": len(edge),
        "edge_lower_95": round(1.0 - upper_bound(len(edge) - edge_promoted, len(edge)), 4),
        "failed": {
            kind: count(one.failed for one in outcomes if one.task.kind == kind)
            for kind in dict.fromkeys(one.task.kind for one in outcomes)
        },
        "alone": {
            name: count(one.failed for one in group if len(one.failed) == 1)
            for name, group in (("noise", noise), ("edge", edge))
        },
        "markets": dict(Counter(one.task.kind for one in outcomes)),
        "noise_without_trades": sum(not one.trades for one in noise),
        "noise_fewest_failed": min((len(one.failed) for one in noise), default=None),
        "edge_share_of_optimum": round(statistics.median(shares), 3) if shares else None,
        "seconds": round(seconds, 1),
    }


def upper_bound(hits: int, total: int) -> float:
    """One-sided 95 % Clopper-Pearson bound of a share, of which `hits` of `total` were seen; 1 without any."""
    return 1.0 if hits >= total else float(beta.ppf(CONFIDENCE, hits + 1, total - hits))


def count(names: Iterable[Iterable[str]]) -> dict[str, int]:
    """Count names, the most frequent first."""
    return dict(Counter(name for group in names for name in group).most_common())


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate_agents", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the figures alone, as one JSON object")
    parser.add_argument("--markets", type=int, default=200, help="random walks (default: %(default)s)")
    parser.add_argument("--edge", type=int, default=50, help="markets with an edge (default: %(default)s)")
    parser.add_argument("--trained", type=float, default=0.5, help="share of the walks with trained agents")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    parser.add_argument("--seed", type=int, default=10_000, help="of the first market")
    arguments = parser.parse_args()
    tasks = plan(arguments.markets, arguments.edge, arguments.trained, arguments.seed)
    # A process a market keeps the cores busy: threads beside them would only contend.
    os.environ |= {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="gate-networks-") as folder,
        ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool,
    ):
        trainings = []
        if any(task.kind == "transferred" for task in tasks):
            seeds = range(arguments.seed, arguments.seed + SEEDS)
            trainings = [pool.submit(transferred_network, seed, Path(folder) / str(seed)) for seed in seeds]
        elsewhere = [future.result() for future in shown(trainings, trainings, "training")]
        pending = [pool.submit(run, task, elsewhere) for task in tasks]
        outcomes = (future.result() for future in shown(as_completed(pending), pending, "judging"))
        done = {outcome.task: outcome for outcome in outcomes}
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = summarise([done[task] for task in tasks], time.perf_counter() - began)
    figures["core_seconds"] = round(used.ru_utime + used.ru_stime, 1)
    if not arguments.json:
        show(figures)
    print(json.dumps(figures))


def shown(futures: Iterable[Future[Result]], all_of_them: Sequence[object], title: str) -> Iterable[Future[Result]]:
    """Pass futures on, with a progress bar."""
    return track(futures, title, len(all_of_them), console=Console(stderr=True), transient=True)


def show(figures: dict[str, Any]) -> None:
    """Print how often each condition failed."""
    kinds = figures["markets"]
    print(f"{'condition failed':<24}" + "".join(f"{f'{kind} ({number})':>16}" for kind, number in kinds.items()))
    names = dict.fromkeys(name for failed in figures["failed"].values() for name in failed)
    for name in names:
        print(f"{name:<24}" + "".join(f"{figures['failed'][kind].get(name, 0):>16}" for kind in kinds))


if __name__ == "__main__":
    main()
