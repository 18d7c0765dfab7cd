"""The stationary bootstrap of equity and drawdown against arch: 10,000 runs of 5,000 trades.

arch resamples on one core, as it does; numpy accumulates. Because the kernel uses all cores, arch is also given a
process a core. Both must find the same distribution before anything is timed.

Prints `vs_arch` (times faster than arch as it comes, at the automatic block length), `vs_arch_processes` (than arch on
all cores), `vs_arch_worst` (than arch as it comes, at the block length that suits the kernel least), `seconds`,
`elements_per_s` and `share_of_limit`: the time that the four operations of an element (add, compare, subtract,
compare) take for all elements, in vector registers, without any drawing or look-up, over the time of the kernel.
"""

import os
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numba
import numpy as np
from arch.bootstrap import StationaryBootstrap

from benchmarks.measure import interleaved, report, wants_json
from fx_pipeline.validation.bootstrap import EquityPaths, equity_paths, optimal_block
from fx_pipeline.validation.montecarlo import simulate_equity

RUNS, TRADES, ROUNDS, LANES = 10_000, 5_000, 5, 64
BLOCKS = (1.0, 1.5, 2.0, 5.0, 20.0)
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def made_up_trades() -> np.ndarray:
    """P&L in pips with the dependence that changing volatility and a short trend leave; (5000,)."""
    generator = np.random.default_rng(0)
    shocks = generator.standard_t(5, TRADES) * 8.0
    pnl = shocks.copy()
    for trade in range(1, TRADES):
        pnl[trade] += 0.2 * pnl[trade - 1]
    return pnl + 0.3


def with_arch(pnl: np.ndarray, block: float, runs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Totals and largest drawdowns, by arch's resampling and numpy."""
    totals, drawdowns = np.empty(runs), np.empty(runs)
    for run, ((path,), _) in enumerate(StationaryBootstrap(block, pnl, seed=seed).bootstrap(runs)):
        equity = np.cumsum(path)
        peak = np.maximum(np.maximum.accumulate(equity), 0.0)
        totals[run], drawdowns[run] = equity[-1], (peak - equity).max()
    return totals, drawdowns


@numba.njit(nogil=True)
def _operations(values: np.ndarray, steps: int, terminal: np.ndarray, worst: np.ndarray) -> None:
    equity, peak, deepest = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    for first in range(0, len(terminal), LANES):
        equity[:], peak[:], deepest[:] = 0.0, 0.0, 0.0
        for step in range(steps):
            for lane in range(LANES):
                now = equity[lane] + values[step & 7, lane]
                top = now if now > peak[lane] else peak[lane]
                fall = top - now
                deepest[lane] = fall if fall > deepest[lane] else deepest[lane]
                equity[lane], peak[lane] = now, top
        count = min(LANES, len(terminal) - first)
        terminal[first : first + count], worst[first : first + count] = equity[:count], deepest[:count]


def operations_alone() -> None:
    """The additions and comparisons of all elements on all cores, on values that lie in the first-level cache."""
    values = np.random.default_rng(1).normal(size=(8, LANES))
    parts = np.array_split(np.empty((2, RUNS)), CORES, axis=1)
    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(lambda part: _operations(values, TRADES, part[0], part[1]), parts))


def check_same_distribution(ours: EquityPaths, peer: tuple[np.ndarray, np.ndarray]) -> None:
    """Compare the quartiles and tails; a percentile of 10,000 runs is known to a fraction of one standard deviation."""
    for mine, theirs in zip((ours.terminal_pips, ours.max_drawdown_pips), peer, strict=True):
        for rank in (5, 25, 50, 75, 95):
            difference = abs(np.percentile(mine, rank) - np.percentile(theirs, rank))
            # Standard errors of a 5 % percentile of a normal: 2.1 sd / sqrt(runs), here for two sets of paths.
            if difference > 5 * 2.1 * np.sqrt(2 / RUNS) * theirs.std():
                raise SystemExit(f"the {rank}th percentiles differ by {difference:.1f} pips: not the same bootstrap.")


def main() -> None:
    """Run the benchmark."""
    as_json = wants_json()
    pnl = made_up_trades()
    automatic = optimal_block(pnl)
    check_same_distribution(equity_paths(pnl, RUNS, automatic, 1), with_arch(pnl, automatic, RUNS, 2))

    def kernel(block: float) -> Callable[[], EquityPaths]:
        return lambda: equity_paths(pnl, RUNS, block, 1)

    share = [len(part) for part in np.array_split(np.arange(RUNS), CORES)]
    with ProcessPoolExecutor(CORES) as pool:

        def all_cores() -> None:
            list(pool.map(with_arch, [pnl] * CORES, [automatic] * CORES, share, range(CORES)))

        times = interleaved(
            {
                "arch": lambda: with_arch(pnl, automatic, RUNS, 1),
                f"arch, {CORES} processes": all_cores,
                "kernel": kernel(automatic),
                "operations alone": operations_alone,
                **{f"kernel, block {block:g}": kernel(block) for block in BLOCKS},
                "whole simulation": lambda: simulate_equity(pnl, RUNS, seed=1),
            },
            ROUNDS,
        )
    median = {name: statistics.median(values) for name, values in times.items()}
    worst = max(median[f"kernel, block {block:g}"] for block in BLOCKS)
    report(
        f"{RUNS:,} runs of {TRADES:,} trades, mean block {automatic:.2f}",
        times,
        {
            "vs_arch": round(median["arch"] / median["kernel"], 1),
            "vs_arch_processes": round(median[f"arch, {CORES} processes"] / median["kernel"], 1),
            "vs_arch_worst": round(median["arch"] / worst, 1),
            "seconds": round(median["kernel"], 4),
            "elements_per_s": round(RUNS * TRADES / median["kernel"]),
            "share_of_limit": round(median["operations alone"] / median["kernel"], 3),
            "block_length": round(automatic, 2),
            "cores": CORES,
        },
        as_json,
    )


if __name__ == "__main__":
    main()
