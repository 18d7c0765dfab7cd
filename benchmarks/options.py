"""The options of the learner one by one: what each brings against the default, on a market whose optimum is known.

A line is a change of the preset `small`. A seed trains it for a number of episodes (not of minutes, so that a busy
machine changes nothing but the wait) and plays other sessions of the same market greedily, with its search and by its
policy head alone. The difference to the default is paired by seed. Every finished training is a line of the output
file, and what stands there is not run again: an interrupted table goes on where it stopped.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import numpy as np

from fx_pipeline.proofs.markets import MarketName
from fx_pipeline.proofs.optimum import optimum_pips
from fx_pipeline.proofs.prove import Proof, evaluation_sessions, training_data

_PUCT = {
    "search.root_action_selection": "puct",
    "search.backup": "mean",
    "search.rescale_values": True,
    "search.value_scale": 0.1,
    "selfplay.noise_end": 0.2,
    "selfplay.temperature_end": 0.25,
}
_OLDER_REPLAY = {
    "replay.priority_weight": 1.0,
    "replay.evict": "quality",
    "replay.success_share": 0.1,
    "replay.share_trade_reward": True,
}
LINES: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "pUCT, mean backup": _PUCT,
    "Q rescaled as in mctx": {"search.rescale_values": True, "search.value_scale": 0.1},
    "backup: mean": {"search.backup": "mean"},
    "decisions of 100 simulations": {"decision.simulations": 100},
    "discount 0.99": {"search.discount": 0.99},
    "discount 0.97": {"search.discount": 0.97},
    "value of the root: mean": {"selfplay.root_value": "mean"},
    "returns not cut at exploration": {"learner.exploration_cut": 0.0},
    "no random actions": {"selfplay.epsilon": 0.0},
    "batches not mirrored": {"learner.mirror": False},
    "n = 5": {"learner.td_steps": 5},
    "n = 20": {"learner.td_steps": 20},
    "n falls by two a wave (off-policy correction)": {"learner.td_steps_decay_waves": 0.5},
    "reanalyze, every step once": {"learner.reanalyze_share": 1.0},
    "consistency loss": {"learner.consistency_weight": 1.0},
    "value prefix": {"network.value_prefix": True},
    "averaged weights (0.99)": {"learner.target_ema": 0.99},
    "both: reanalyze and averaged weights": {"learner.reanalyze_share": 1.0, "learner.target_ema": 0.99},
    "no quota of steps in trade": {"replay.in_trade_share": 0.0},
    "sampling by quality and TD error": {"replay.priority_weight": 1.0},
    "eviction of the worst 2 %": {"replay.evict": "quality"},
    "success memory": {"replay.success_share": 0.1},
    "reward shared over a trade": {"replay.share_trade_reward": True},
    "the older replay, all four": _OLDER_REPLAY,
    "reward amddp1": {"reward.kind": "amddp1"},
    "legacy": {"preset": "legacy"},
}


def train_one(line: str, market: MarketName, seed: int, episodes: int, sessions: int) -> dict[str, Any]:
    """Train one seed of one line and judge it; the figures of an output line."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from fx_pipeline.agents.base import Budget
    from fx_pipeline.agents.muzero.config import load_config
    from fx_pipeline.agents.muzero.policy import MuZeroPolicy
    from fx_pipeline.agents.muzero.trainer import MuZeroTrainer
    from fx_pipeline.proofs.play import play

    overrides = dict(LINES[line])
    config = load_config(str(overrides.pop("preset", "small")), {**overrides, "runtime.workers": 1})
    proof = Proof("muzero", market, sessions=sessions)
    optimum = optimum_pips(market) if market != "walk" else 1.0
    with tempfile.TemporaryDirectory(prefix="fx-options-") as name:
        folder = Path(name)
        trained = MuZeroTrainer(config).train(
            training_data(proof, seed), Budget(episodes), seed=seed, folder=folder, resume=False
        )
        path, starts = evaluation_sessions(proof, seed)
        policy = MuZeroPolicy.from_checkpoint(folder)
        searched, alone = play(path, starts, policy), play(path, starts, policy.without_search())
    return {
        "share": searched.pips_per_episode / optimum,
        "head": alone.pips_per_episode / optimum,
        "trades": searched.trades_per_episode,
        "updates": trained.metrics["updates"],
    }


def summary(results: Sequence[Mapping[str, Any]], line: str) -> dict[str, Any] | None:
    """Mean, worst and standard error of a line, and its paired difference to the default; None before two seeds."""
    ours = {entry["seed"]: entry for entry in results if entry["line"] == line}
    base = {entry["seed"]: entry for entry in results if entry["line"] == "default"}
    common = sorted(set(ours) & set(base))
    if len(common) < 2:
        return None
    shares = np.array([ours[seed]["share"] for seed in common])
    difference = shares - np.array([base[seed]["share"] for seed in common])
    return {
        "line": line,
        "seeds": len(common),
        "share": float(shares.mean()),
        "worst": float(shares.min()),
        "head": float(np.mean([ours[seed]["head"] for seed in common])),
        "trades": float(np.mean([ours[seed]["trades"] for seed in common])),
        "against_default": float(difference.mean()),
        "standard_error": float(difference.std(ddof=1) / np.sqrt(len(common))),
    }


def read_results(output: Path, identity: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lines of the output file that were measured in the same way by the same code."""
    if not output.exists():
        return []
    entries = (json.loads(text) for text in output.read_text(encoding="utf-8").splitlines() if text.endswith("}"))
    return [entry for entry in entries if all(entry.get(name) == value for name, value in identity.items())]


def table(summaries: Iterable[dict[str, Any]]) -> str:
    """The summaries as a Markdown table."""
    rows = ["| change | share | worst | head | trades | against the default |", "|---|---|---|---|---|---|"]
    for row in summaries:
        difference = f"{row['against_default']:+.3f} ± {row['standard_error']:.3f}" if row["line"] != "default" else "-"
        rows.append(
            f"| {row['line']} | {row['share']:.3f} | {row['worst']:.3f} | {row['head']:.3f} | {row['trades']:.1f} "
            f"| {difference} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Run what is missing of the table and print it."""
    from fx_pipeline.agents.muzero.identity import code_version

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--market", choices=get_args(MarketName), default="ou")
    parser.add_argument("--seeds", type=int, default=5, help="trainings a line (default 5)")
    parser.add_argument("--episodes", type=int, default=768, help="episodes of self-play of a training (default 768)")
    parser.add_argument("--sessions", type=int, default=256, help="sessions that judge (default 256)")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once (default 2)")
    parser.add_argument("--lines", nargs="*", choices=LINES, default=list(LINES), help="lines to run (default all)")
    parser.add_argument("--output", type=Path, default=Path("data/options.jsonl"), help="file of results, appended to")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    options = parser.parse_args()
    identity = {
        "market": options.market,
        "episodes": options.episodes,
        "sessions": options.sessions,
        "code": code_version(),
    }
    results = read_results(options.output, identity)
    done = {(entry["line"], entry["seed"]) for entry in results}
    wanted = [(line, seed) for line in options.lines for seed in range(options.seeds) if (line, seed) not in done]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        pending = {
            pool.submit(train_one, line, options.market, seed, options.episodes, options.sessions): (line, seed)
            for line, seed in wanted
        }
        for number, future in enumerate(as_completed(pending), 1):
            line, seed = pending[future]
            results.append({**identity, "line": line, "seed": seed, **future.result()})
            with options.output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(results[-1]) + "\n")
            print(
                f"{number}/{len(pending)} {line}, seed {seed}: {results[-1]['share']:.3f}", file=sys.stderr, flush=True
            )
    summaries = [found for line in options.lines if (found := summary(results, line)) is not None]
    print(json.dumps(summaries) if options.json else table(summaries))


if __name__ == "__main__":
    main()
