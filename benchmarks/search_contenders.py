"""One contender of `benchmarks.search` in a process of its own: `python -m benchmarks.search_contenders NAME CORES`.

It pins itself to CORES (such as 0 or 0,1), makes ready, prints {"ready": ...}, and then answers each line of its
input with one round: {"decisions": n, "wall_s": s, "cpu_s": s, "flop": n}.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

NAMES = ("engine_kept", "engine_windowed", "engine_fp32", "mctx", "gemm")
PRESET = "full"
SESSIONS, STEPS = 96, 360
#: Rows of one call of the contenders that search single observations.
ROWS = 96
#: The peer's best batch on this kind of machine.
PEER_ROWS = 128
WEEK_BARS = 7_200


def pin(cores: str) -> int:
    """Use these cores only, before any library starts threads; return how many."""
    chosen = {int(core) for core in cores.split(",")}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, chosen)
    os.environ["OMP_NUM_THREADS"] = str(len(chosen))
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return len(chosen)


#: What the peer searches with: pUCT under Dirichlet noise, from the first bar on.
PEER_SEARCH = {"root_action_selection": "puct", "discount": 0.997}
PEER_PLAY = {"environments": SESSIONS, "segment_bars": 60, "warmup_bars": 0}


def lively_networks() -> tuple[Any, Any]:
    """The `full` configuration, and networks whose heads are not zero: the trees are as deep as after a training."""
    import torch

    from fx_pipeline.agents.muzero.config import load_config
    from fx_pipeline.agents.muzero.networks import build_networks

    capacity = {"replay.capacity_steps": SESSIONS * STEPS}
    config = load_config(PRESET, {"search": PEER_SEARCH, "selfplay": PEER_PLAY, **capacity})
    networks = build_networks(config.network, 0).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in networks.named_parameters():
            if "head" in name:
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    return config, networks


def observations(rows: int) -> Any:
    """Random windows; half of the rows flat, half in a position."""
    import numpy as np

    from fx_pipeline.environment.lockstep import Observation

    draw = np.random.default_rng(0)
    legal = np.zeros((rows, 4), dtype=np.bool_)
    legal[::2, :3] = True
    legal[1::2, [0, 3]] = True
    static = draw.standard_normal((rows, 6)).astype(np.float32)
    static[::2] = 0.0
    return Observation(draw.standard_normal((rows, 32, 9)).astype(np.float32), static, legal, np.arange(rows))


def flop_per_decision(config: Any, networks: Any) -> float:
    """Multiplications and additions of one decision's matrix products: one window, and the nodes that it expands.

    How many of the nodes are chance nodes, and how many need a policy, is counted in searches by the oracle. Padding,
    zeros before a window, norms, softmax and the tree are not counted: they are what the engine pays beside.
    """
    import numpy as np
    from torch import nn

    from fx_pipeline.agents.muzero.evaluator import TorchEvaluator
    from fx_pipeline.environment.actions import NUM_OUTCOMES
    from fx_pipeline.search import StochasticSearch

    bars = networks.spec.window_bars

    def flop(*parts: nn.Module) -> float:
        layers = [layer for part in parts for layer in part.modules()]
        total = sum(2.0 * layer.weight.numel() for layer in layers if isinstance(layer, nn.Linear))
        for layer in layers:
            if isinstance(layer, nn.Conv1d):
                taps = range(layer.kernel_size[0])
                reads = sum(max(0, bars - tap * layer.dilation[0]) for tap in taps)
                total += 2.0 * reads * layer.weight.numel() / len(taps)
        return total

    class Counting(TorchEvaluator):
        def __init__(self) -> None:
            super().__init__(networks)
            self.rows = {"afterstate": 0, "dynamics": 0}
            self.acted: set[bytes] = set()

        def afterstate(self, states: Any, actions: Any) -> Any:
            self.rows["afterstate"] += len(states)
            self.acted.update(state.tobytes() for state in states)
            return super().afterstate(states, actions)

        def dynamics(self, states: Any, actions: Any, outcomes: Any) -> Any:
            self.rows["dynamics"] += len(states)
            return super().dynamics(states, actions, outcomes)

    seen, oracle = observations(ROWS), Counting()
    StochasticSearch(config.search, networks.spec.actions, NUM_OUTCOMES).run(
        oracle.root(seen), seen.legal, oracle, seed=0, counters=np.arange(ROWS), noise=1.0
    )
    value = flop(networks.value_blocks, networks.value_head)
    policy = flop(networks.policy_blocks, networks.policy_head)
    after = flop(networks.afterstate_input, networks.afterstate_blocks, networks.chance_head)
    after += flop(networks.afterstate_value_head)
    step = flop(networks.dynamics_input, networks.dynamics_blocks, networks.reward_head) + value
    # An action is chosen in the root and in nodes that are visited again; no other needs a policy.
    nodes = oracle.rows["afterstate"] * after + oracle.rows["dynamics"] * step + len(oracle.acted) * policy
    return flop(networks.temporal.blocks, networks.static) + value + nodes / ROWS


def kept(workers: int) -> Callable[[], dict[str, float]]:
    """Whole episodes of self-play over one trading week of bars; each bar is encoded once a round, and counted."""
    from benchmarks.search_market import random_walk_week
    from fx_pipeline.agents.muzero.engine.engine import Engine, best_precision
    from fx_pipeline.agents.muzero.replay import Replay
    from fx_pipeline.agents.muzero.selfplay import SelfPlay

    config, networks = lively_networks()
    engine = Engine(networks, config.search, best_precision(), workers)
    selfplay = SelfPlay(config, random_walk_week(WEEK_BARS, STEPS), Replay(config.replay, STEPS), 1)
    rounds = iter(range(10_000))

    def run() -> dict[str, float]:
        # As after learning: nothing of the last round's codes is left.
        engine.refresh()
        selfplay.begin(next(rounds) * SESSIONS, SESSIONS, 0.0)
        while selfplay.in_wave:
            selfplay.collect(engine)
            selfplay.commit()
        return {"decisions": SESSIONS * STEPS}

    return run


def windowed(precision: str, workers: int) -> Callable[[], dict[str, float]]:
    """Searches from observations, each with its own window: what the peer does."""
    import numpy as np

    from fx_pipeline.agents.muzero.engine.engine import Engine

    config, networks = lively_networks()
    engine = Engine(networks, config.search, "bf16" if precision == "bf16" else "fp32", workers)
    seen, counters = observations(ROWS), np.arange(ROWS, dtype=np.uint64)
    flop = flop_per_decision(config, networks)
    calls = 12

    def run() -> dict[str, float]:
        for call in range(calls):
            engine.plan(seen, seed=call, counters=counters, noise=1.0)
        return {"decisions": calls * ROWS, "flop": calls * ROWS * flop}

    return run


def peer() -> Callable[[], dict[str, float]]:
    """mctx in float32, on one core."""
    import jax
    import numpy as np

    from benchmarks import mctx_peer

    config, networks = lively_networks()
    params, seen = mctx_peer.parameters(networks), observations(PEER_ROWS)
    difference = mctx_peer.check(networks, params, seen.temporal[:8], seen.static[:8])
    if difference > 1e-3:
        raise SystemExit(f"the peer's networks differ from torch's by {difference}")
    search = mctx_peer.make_search(config.search)
    keys = iter(range(10_000))

    def run() -> dict[str, float]:
        for _ in range(2):
            key = jax.random.PRNGKey(next(keys))
            _, visits = search(params, key, seen.temporal, seen.static, ~seen.legal)
            np.asarray(visits)
        return {"decisions": 2 * PEER_ROWS}

    return run


def gemm() -> Callable[[], dict[str, float]]:
    """A large bfloat16 (or float32) matrix product by torch, one core: what the arithmetic can give."""
    import torch

    from fx_pipeline.agents.muzero.engine.vectors import HAS_BF16

    torch.set_num_threads(1)
    size = 2048
    kind = torch.bfloat16 if HAS_BF16 else torch.float32
    a, b = torch.randn(size, size).to(kind), torch.randn(size, size).to(kind)

    def run() -> dict[str, float]:
        for _ in range(8):
            torch.mm(a, b)
        return {"decisions": 0, "flop": 8 * 2.0 * size**3}

    return run


def main() -> None:
    name, cores = sys.argv[1:]
    workers = pin(cores)
    if name == "mctx":
        run = peer()
    elif name == "gemm":
        run = gemm()
    elif name == "engine_kept":
        run = kept(workers)
    else:
        from fx_pipeline.agents.muzero.engine.engine import best_precision

        run = windowed("fp32" if name == "engine_fp32" else best_precision(), workers)
    run()
    print(json.dumps({"ready": name}), flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        done = run()
        done |= {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
