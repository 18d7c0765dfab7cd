"""The gate against luck, cheats and time: what is promoted that must not be, and what is not that should be.

- Noise (`gate_noise`): 200 driftless markets, an adversary with a thousand tries on each, the best of every way of
  trying handed in.
- Routes (`gate_routes`): ways by which something worthless was promoted once, played through the pipeline's jobs.
- Edges (`gate_edge`): configurations with a true t of 3, 4 and 6 a year, promoted within a year of windows or not;
  what becomes of the champions when the edge stays, and when it goes and the costs stay.

Prints `noise_promoted`, `noise_total`, `routes_promoted`, `edge_promoted`, `edge_total`, `good_demoted_share` (of the
windows that good champions live) and `gone_demoted_share` (of the champions whose edge is gone, within three windows),
then all of it by kind, with one-sided 95 % bounds (Clopper-Pearson). Agents that are trained and trade bar by bar are
judged by `benchmarks.gate_agents`.
"""

import argparse
import json
import os
import resource
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

from rich.console import Console
from rich.progress import track

from benchmarks import gate_routes
from benchmarks.gate_edge import GONE_WITHIN, T_VALUES, Life, live
from benchmarks.gate_noise import ROUTES, Hunt, Tries, hunt
from fx_pipeline.validation.chance import upper_bound

MARKETS, EDGES = 200, 60
#: Of `--quick`, which a test runs.
QUICK_TRIES = Tries(windows=20, records=4, seeds=6, names=4, costs=4, copies=4, hopeless=4)
QUICK_MARKETS, QUICK_EDGES = 2, 1


def summarise(
    hunts: Sequence[Hunt], lives: Sequence[Life], routes: Sequence[gate_routes.Played], seconds: float
) -> dict[str, Any]:
    """Reduce what happened to the figures of the benchmark."""
    fooled = sum(bool(one.promoted) for one in hunts)
    champions = [life for life in lives if life.promoted_after]
    figures: dict[str, Any] = {
        "noise_promoted": fooled,
        "noise_total": len(hunts),
        "edge_promoted": len(champions),
        "edge_total": len(lives),
        "routes_promoted": sum(one.promoted for one in routes),
        "good_demoted_share": _share(sum(life.good_demoted for life in champions), windows_of(champions)),
        "gone_demoted_share": _share(sum(is_found(life) for life in champions), len(champions)),
    }
    return figures | {
        "noise_upper_95": round(upper_bound(fooled, len(hunts)), 4) if hunts else None,
        "noise_tries": sum(one.tries for one in hunts),
        "noise_refused_by": {
            way: dict(Counter(name for one in hunts for name in one.failed.get(way, ())).most_common())
            for way in ROUTES
        },
        "noise_largest_deflated_z": {
            way: max((one.deflated_z[way] for one in hunts if way in one.deflated_z), default=None) for way in ROUTES
        },
        "routes": {one.name: one.refused_by for one in routes},
        "edges": {f"{true_t:g}": of_t([life for life in lives if life.true_t == true_t]) for true_t in T_VALUES},
        "still_champion_share": _share(sum(not life.good_demoted for life in champions), len(champions)),
        "seconds": round(seconds, 1),
    }


def of_t(lives: Sequence[Life]) -> dict[str, Any]:
    """Figures of the edges of one true t."""
    champions = [life for life in lives if life.promoted_after]
    demoted = sum(life.good_demoted for life in champions)
    return {
        "promoted": len(champions),
        "total": len(lives),
        "windows_until_promoted": round(sum(one.promoted_after for one in champions) / max(len(champions), 1), 1),
        "refused_by": dict(Counter(name for life in lives for name in life.failed).most_common()),
        "still_champion_share": _share(len(champions) - demoted, len(champions)),
        "good_demoted_share": _share(demoted, windows_of(champions)),
        "gone_demoted_share": _share(sum(is_found(life) for life in champions), len(champions)),
    }


def windows_of(champions: Iterable[Life]) -> int:
    """Windows that champions lived whose edge stayed."""
    return sum(life.good_windows for life in champions)


def is_found(life: Life) -> bool:
    """Whether a champion whose edge is gone was demoted soon enough."""
    return 0 < life.gone_after <= GONE_WITHIN


def _share(hits: int, total: int) -> float | None:
    return round(hits / total, 4) if total else None


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the figures alone, as one JSON object")
    parser.add_argument("--quick", action="store_true", help="a few markets and edges, with fewer tries")
    parser.add_argument("--markets", type=int, help=f"driftless markets (default: {MARKETS})")
    parser.add_argument("--edges", type=int, help=f"edges of each true t (default: {EDGES})")
    parser.add_argument("--no-routes", action="store_true", help="leave the routes out")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    parser.add_argument("--seed", type=int, default=20_000, help="of the first market")
    arguments = parser.parse_args()
    markets = arguments.markets if arguments.markets is not None else (QUICK_MARKETS if arguments.quick else MARKETS)
    edges = arguments.edges if arguments.edges is not None else (QUICK_EDGES if arguments.quick else EDGES)
    # A process a market keeps the cores busy: threads beside them would only contend.
    os.environ |= {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    began = time.perf_counter()
    figures = summarise(
        *play(markets, edges, QUICK_TRIES if arguments.quick else Tries(), arguments.seed, arguments.jobs),
        [] if arguments.no_routes else gate_routes.play_all(),
        0.0,
    )
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = resource.getrusage(resource.RUSAGE_SELF)
    figures["seconds"] = round(time.perf_counter() - began, 1)
    figures["core_seconds"] = round(used.ru_utime + used.ru_stime + own.ru_utime + own.ru_stime, 1)
    if not arguments.json:
        show(figures)
    print(json.dumps(figures))


def play(markets: int, edges: int, tries: Tries, seed: int, jobs: int) -> tuple[list[Hunt], list[Life]]:
    """Let adversaries hunt and edges live, in processes of their own."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        hunts = [pool.submit(hunt, seed + number, tries) for number in range(markets)]
        lives = [
            pool.submit(live, true_t, _seed(seed, true_t, number)) for number in range(edges) for true_t in T_VALUES
        ]
        pending = [*hunts, *lives]
        for future in track(
            as_completed(pending), "judging", len(pending), console=Console(stderr=True), transient=True
        ):
            future.result()
        return [future.result() for future in hunts], [future.result() for future in lives]


def _seed(seed: int, true_t: float, number: int) -> int:
    return seed + 100_000 * int(10 * true_t) + number


def show(figures: dict[str, Any]) -> None:
    """Print the table."""
    rows: list[tuple[str, str]] = [
        (
            f"noise: promoted, of {figures['noise_total']} markets and {figures['noise_tries']:,} tries",
            f"{figures['noise_promoted']} (at most {figures['noise_upper_95'] or 0:.1%})",
        ),
        (f"routes: promoted, of {len(figures['routes'])}", f"{figures['routes_promoted']}"),
        ("edges: promoted within a year", f"{figures['edge_promoted']} of {figures['edge_total']}"),
        ("good champions: still so a year later", _percent(figures["still_champion_share"])),
        ("good champions: demoted by chance, of their windows", _percent(figures["good_demoted_share"])),
        (f"edge gone: demoted within {GONE_WITHIN} windows", _percent(figures["gone_demoted_share"])),
    ]
    for true_t, one in figures["edges"].items():
        rows.append(
            (
                f"  true t of {true_t}",
                f"{one['promoted']} of {one['total']} promoted after {one['windows_until_promoted']} windows, "
                f"{_percent(one['still_champion_share'])} stay, {_percent(one['good_demoted_share'])} of windows by "
                f"chance, {_percent(one['gone_demoted_share'])} found",
            )
        )
    rows += [(f"  route: {name}", f"refused by {by}") for name, by in figures["routes"].items()]
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


if __name__ == "__main__":
    main()
