"""Validation of one year: `python -m benchmarks.validation [--json] [--sessions N] [--rollout-only]`.

A year of M1 bars of a synthetic market, about 1,000 sessions of 360 bars that do not overlap, `full` networks with
random weights read from a checkpoint, 25 simulations, all cores that this process may use. What is timed is what the
asset `validation_report` does once it has its data: load the checkpoint, search every decision, record the score in the
trial ledger, run the agent without its search and the baselines, sweep the costs, resample 10,000 times, test the
family, judge, and write the report with its page. The ledger holds nine other trials on the same sessions, so that
there is a family to test.

Prints `seconds` and `sessions_per_s`, with `cpu_s` (of all threads: on cores that others use it says more than the wall
time), `stages` (share of the wall time and CPU seconds of each part), and `share_of_limit`: the time that the searches
alone take all cores from known states (networks and trees, measured here on one core), over `seconds`.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fx_pipeline.agents.base import TrainingData
from fx_pipeline.market.arrays import SESSION_BARS, MarketArrays
from fx_pipeline.market.costs import CostConfig

SESSIONS, YEAR_BARS, SIMULATIONS = 1_000, 384_000, 25
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
#: Other trials of the window in the ledger: seeds of two configurations, as after two weeks of training.
OTHER_CONFIGURATIONS, SEEDS = 2, 5
AGENT = "muzero"
WINDOW = {"key": "2020"}


class Stages:
    """Wall and CPU seconds of named parts. A part inside another one counts there too."""

    def __init__(self) -> None:
        self.wall_s: dict[str, float] = {}
        self.cpu_s: dict[str, float] = {}

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the time of a block to a part."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall_s[name] = self.wall_s.get(name, 0.0) + time.perf_counter() - wall
            self.cpu_s[name] = self.cpu_s.get(name, 0.0) + time.process_time() - cpu

    @contextlib.contextmanager
    def watching(self, module: Any, function: str, name: str) -> Iterator[None]:
        """Time every call of a function that a module calls by its name."""
        original = getattr(module, function)

        def watched(*arguments: Any, **options: Any) -> Any:
            with self.timed(name):
                return original(*arguments, **options)

        setattr(module, function, watched)
        try:
            yield
        finally:
            setattr(module, function, original)


def year(sessions: int) -> tuple[MarketArrays, np.ndarray]:
    """A random walk in the minutes of the FX calendar, and sessions of it that do not overlap, (S,)."""
    from fx_pipeline.proofs.markets import proof_market
    from fx_pipeline.sessions.index import valid_starts

    bars = min(YEAR_BARS, 6_000 + 400 * sessions)
    market = proof_market("walk", 1, bars)
    starts = valid_starts(market, stride=SESSION_BARS)[:sessions]
    if len(starts) < sessions:
        raise SystemExit(f"{bars:,} bars have {len(starts)} sessions, fewer than {sessions}.")
    return market, starts


def write_random_checkpoint(folder: Path, market: MarketArrays) -> dict[str, Any]:
    """Write `full` networks whose heads are not zero, and return the record of the checkpoint."""
    import torch

    from fx_pipeline.agents.muzero.checkpoint import read_record, write_checkpoint
    from fx_pipeline.agents.muzero.config import load_config
    from fx_pipeline.agents.muzero.networks import build_networks

    config = load_config("full", {"decision.simulations": SIMULATIONS})
    networks = build_networks(config.network, 0).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in networks.named_parameters():
            if "head" in name:
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    data = TrainingData(market, np.zeros(1, dtype=np.int64), CostConfig(), WINDOW)
    write_checkpoint(
        folder, networks, config, data, seed=0, device="cpu", counters={"episodes": 20_000, "steps": 0}, metrics={}
    )
    return read_record(folder)


def fill_ledger(path: Path, market: MarketArrays, starts: np.ndarray, costs: CostConfig, own: str) -> Any:
    """A ledger with the other seeds of the configuration `own`, and all seeds of others, on these sessions."""
    from fx_pipeline.reuse import evaluation_digest
    from fx_pipeline.tracking.ledger import Ledger, Trial

    ledger, draw = Ledger(path, who="benchmark"), np.random.default_rng(2)
    names = [own, *(f"configuration {number}" for number in range(1, OTHER_CONFIGURATIONS))]
    for name in names:
        for seed in range(SEEDS):
            if name == own and seed == 0:
                continue
            ledger.record(
                Trial(
                    instrument=market.instrument,
                    window=WINDOW["key"],
                    agent=AGENT,
                    config_hash=name,
                    seed=seed,
                    checkpoint_hash=f"{name} {seed}",
                    data_fingerprint=market.fingerprint,
                    costs=dataclasses.asdict(costs),
                    trades=len(starts),
                    expectancy_pips=-1.0,
                    sharpe_per_trade=float(draw.normal(-0.05, 0.02)),
                    session_ns=market.time[starts],
                    session_pnl_pips=draw.normal(-4.0, 40.0, len(starts)),
                    evaluation_code=evaluation_digest(),
                )
            )
    return ledger


def searches_alone_s(checkpoint: Path, rounds: int = 15) -> float:
    """Seconds of one core that a search takes from a known state; the least of several."""
    from benchmarks.search_contenders import observations
    from benchmarks.search_tree import search_time
    from fx_pipeline.agents.muzero.checkpoint import load_checkpoint
    from fx_pipeline.agents.muzero.engine.engine import GROUP_ROWS, Engine

    loaded = load_checkpoint(checkpoint)
    search = dataclasses.replace(loaded.config.search, simulations=SIMULATIONS)
    engine = Engine(loaded.networks, search, "fp32", workers=1)
    return search_time(engine, observations(GROUP_ROWS), rounds) / GROUP_ROWS


def validate_year(
    folder: Path, market: MarketArrays, starts: np.ndarray, record: dict[str, Any], stages: Stages
) -> dict[str, Any]:
    """Validate the checkpoint of `folder` as the asset does, and return the report."""
    from fx_pipeline.agents.registry import agent
    from fx_pipeline.lifecycle.configuration import configuration
    from fx_pipeline.lifecycle.trials import trial_recorder
    from fx_pipeline.validation import record_figures, validate
    from fx_pipeline.validation import report as reports
    from fx_pipeline.validation.context import ReportContext

    costs, kind = CostConfig(), agent(AGENT)
    ledger = fill_ledger(folder / "ledger.db", market, starts, costs, configuration(record))
    context = ReportContext(
        instrument=market.instrument,
        window=WINDOW["key"],
        agent=AGENT,
        episodes=record["counters"]["episodes"],
        source="synthetic",
        quotes_modelled=1.0,
        data_fingerprint=market.fingerprint,
        checkpoint_sha256=record["weights_sha256"],
        code_version=record["code_version"],
        leaks={"feature rows": 0},
        holdout_openings=0,
    )
    parts = (
        (validate, "rollout", "rollout with search"),
        (validate, "compare_with_baselines", "baselines and ablation"),
        (validate, "sweep_costs", "cost sweep"),
        (validate, "build_report", "report"),
        (reports, "simulated", "report: Monte Carlo"),
        (record_figures, "judge_family", "report: family"),
        (reports, "account_risk", "report: safe-f"),
    )
    with contextlib.ExitStack() as watches:
        for module, function, name in parts:
            watches.enter_context(stages.watching(module, function, name))
        with stages.timed("whole"):
            with stages.timed("load"):
                policy = kind.load_policy(folder)
                ablation = kind.without_search(policy) if kind.without_search else None
            report = validate.validate_policy(
                market,
                starts,
                policy,
                costs=costs,
                reward=kind.reward(record["preset"]),
                seed=record["seed"],
                context=context,
                record_trial=trial_recorder(ledger, record),
                ablation=ablation,
            )
            with stages.timed("page"):
                reports.write_report(report, folder / "report")
    return report


def roll_out_year(
    folder: Path, market: MarketArrays, starts: np.ndarray, record: dict[str, Any], stages: Stages
) -> int:
    """Search every decision of the year and nothing else; return the number of trades."""
    from fx_pipeline.agents.registry import agent
    from fx_pipeline.market.costs import build_fills
    from fx_pipeline.validation.rollout import rollout

    kind = agent(AGENT)
    policy = kind.load_policy(folder)
    with stages.timed("whole"), stages.timed("rollout with search"):
        done = rollout(market, build_fills(market, CostConfig()), starts, policy, kind.reward(record["preset"]))
    return len(done.trades)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.validation", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the figures alone, as one JSON object")
    parser.add_argument("--sessions", type=int, default=SESSIONS, help="fewer are quicker, and say less")
    parser.add_argument("--rollout-only", action="store_true", help="time the searched decisions alone")
    arguments = parser.parse_args()
    stages = Stages()
    market, starts = year(arguments.sessions)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        record = write_random_checkpoint(folder, market)
        if arguments.rollout_only:
            facts: dict[str, Any] = {"trades": roll_out_year(folder, market, starts, record, stages)}
        else:
            report = validate_year(folder, market, starts, record, stages)
            facts = {
                "trades": report["figures"]["trades"],
                "verdict": report["figures"]["verdict"],
                "page_bytes": (folder / "report" / "report.html").stat().st_size,
            }
        searches_s = searches_alone_s(folder) * len(starts) * SESSION_BARS / CORES
    seconds = stages.wall_s["whole"]
    figures = {
        "seconds": round(seconds, 2),
        "sessions_per_s": round(len(starts) / seconds, 2),
        "cpu_s": round(stages.cpu_s["whole"], 2),
        "share_of_limit": round(searches_s / seconds, 3),
        "sessions": len(starts),
        "decisions": len(starts) * SESSION_BARS,
        "simulations": SIMULATIONS,
        "engine": "fp32",
        "cores": CORES,
        "stages": {
            part: {"share": round(wall / seconds, 4), "cpu_s": round(stages.cpu_s[part], 2)}
            for part, wall in stages.wall_s.items()
            if part != "whole"
        },
        **facts,
    }
    if not arguments.json:
        print(f"{len(starts):,} sessions, {figures['decisions']:,} decisions, {CORES} cores: {seconds:.1f} s")
        for part, wall in stages.wall_s.items():
            print(f"  {part:<28} {wall:8.2f} s   {stages.cpu_s[part]:8.2f} s of CPU")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
