"""Write `fx_pipeline_tests/agents/golden/muzero.json`: what small trainings and searches gave, to the byte.

The test beside it makes them again: a change that shall change nothing (M1, `temporal9`, `unit4`, default sessions)
gives the same hashes. Matrix products differ between processors and libraries, so hashes of weights and visits hold for
the machine that is named in the file; digests of configurations hold everywhere.

    python scripts/make_muzero_golden.py [FILE]

Run it on the commit that is the reference, and only when weights are meant to change.
"""

import hashlib
import json
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from fx_pipeline.agents.base import Budget
from fx_pipeline.agents.kit.torch_settings import torch_settings
from fx_pipeline.agents.muzero.config import load_config, presets
from fx_pipeline.agents.muzero.engine.vectors import HAS_BF16
from fx_pipeline.agents.muzero.networks import build_networks
from fx_pipeline.agents.muzero.planner import make_planner
from fx_pipeline.agents.muzero.trainer import MuZeroTrainer
from fx_pipeline.environment.lockstep import LockstepEnvironment
from fx_pipeline.market.costs import build_fills
from fx_pipeline_tests.agents.conftest import reverting_market

GOLDEN = Path(__file__).resolve().parents[1] / "fx_pipeline_tests" / "agents" / "golden" / "muzero.json"
EPISODES, SEED = 8, 3
_HERE = {"runtime.device": "cpu", "runtime.workers": 1}
#: Trainings by name: a preset and what is changed of it. Between them they pass through every option.
TRAININGS: dict[str, tuple[str, dict[str, Any]]] = {
    "fp32": ("tiny", {"runtime.engine": "fp32"}),
    "torch": ("tiny", {"runtime.engine": "torch", "search.simulations": 2}),
    "options": (
        "tiny",
        {
            "runtime.engine": "fp32",
            "network.value_prefix": True,
            "selfplay.epsilon": 0.1,
            "replay.priority_weight": 0.5,
            "replay.importance": 0.5,
            "replay.success_share": 0.1,
            "replay.evict": "quality",
            "learner.consistency_weight": 1.0,
            "learner.target_ema": 0.9,
            "learner.reanalyze_share": 0.5,
            "selection.share": 0.3,
        },
    ),
    "puct": (
        "tiny",
        {
            "runtime.engine": "fp32",
            "search.root_action_selection": "puct",
            "search.backup": "mean",
            "selfplay.root_value": "mean",
            "learner.mirror": False,
            "replay.share_trade_reward": True,
        },
    ),
}
if HAS_BF16:
    TRAININGS["bf16"] = ("tiny", {"runtime.engine": "bf16", "learner.precision": "bf16"})


def machine() -> dict[str, str]:
    """What the bytes depend on besides the code."""
    try:
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:
        names = []
    found = {"processor": names[0].partition(":")[2].strip() if names else platform.processor()}
    return found | {name: version(name) for name in ("torch", "numpy", "numba")}


def config_digests() -> dict[str, str]:
    """Digest of each preset's configuration."""
    return {preset: load_config(preset).digest() for preset in presets()}


def weights(name: str) -> str:
    """SHA-256 of the weights of one of `TRAININGS`."""
    preset, overrides = TRAININGS[name]
    with tempfile.TemporaryDirectory() as folder:
        trainer = MuZeroTrainer(load_config(preset, _HERE | overrides))
        return trainer.train(reverting_market(1, 14_000), Budget(EPISODES), seed=SEED, folder=Path(folder)).sha256


def searches(engine: str) -> str:
    """SHA-256 of visits, policies and values of searches along sessions, by networks with an opinion."""
    import torch

    config, data = load_config("small", {"search.simulations": 12}), reverting_market(1, 4000)
    networks = build_networks(config.network, 3).eval()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(7)
        for head in (networks.policy_head, networks.value_head, networks.reward_head):
            head.weight.normal_(0.0, 0.3)
    planner = make_planner(engine, networks, config.search, workers=1)  # type: ignore[arg-type]
    environment = LockstepEnvironment(data.market, build_fills(data.market, data.costs), config.reward)
    observation, digest = environment.reset(data.starts[::100][:20]), hashlib.sha256()
    for step in range(10):
        counters = np.arange(20, dtype=np.uint64) + np.uint64(1_000 * step)
        with torch_settings(1):
            result = planner.plan(observation, seed=5, counters=counters, noise=1.0)
        for array in (result.visits, result.policy, result.values, result.actions):
            digest.update(np.ascontiguousarray(array).tobytes())
        observation = environment.step(result.actions).observation
    return digest.hexdigest()


def golden() -> dict[str, Any]:
    """Everything that is compared."""
    return {
        "machine": machine(),
        "config_digests": config_digests(),
        "weights_sha256": {name: weights(name) for name in TRAININGS},
        "searches_sha256": {engine: searches(engine) for engine in ("fp32", "torch")},
    }


def main() -> None:
    """Write the file."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(golden(), indent=2) + "\n")
    print(path)


if __name__ == "__main__":
    main()
