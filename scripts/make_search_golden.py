"""Re-make the golden trees of the search with mctx: `python scripts/make_search_golden.py [OUTPUT]`.

Needs the extra `mctx` (`pip install -e '.[mctx]'`); the tests that replay the file need numpy alone.

Every tree is searched by `mctx.stochastic_muzero_policy` in float64 over a small table model: a state is a row number,
so a model is a handful of arrays that are stored with the trees and replay exactly anywhere. mctx breaks ties between
actions by uniform noise below 1e-7. To be independent of it, each tree is grown a second time by the plain Python
below, which has no noise and measures the smallest margin of any choice; trees with a margin below 1e-6 are left out,
and the two must agree on all that remain. Dirichlet noise is drawn by mctx; the noisy root logits are stored, so that a
replay runs without noise.
"""

import argparse
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mctx
import numpy as np

jax.config.update("jax_enable_x64", True)

STATES, ACTIONS, OUTCOMES = 48, 4, 3
ROWS = 14
PB_C_INIT, PB_C_BASE = 1.25, 19652.0
# (simulations, Dirichlet fraction); alpha is 0.3 throughout.
RUNS = ((25, 0.25), (25, 0.0), (50, 0.25), (8, 0.0))
# HOLD 0, BUY 1, SELL 2, CLOSE 3: flat, in a position, one legal action twice, all.
MASKS = np.array([[1, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1]], dtype=bool)
MIN_ACTION_MARGIN, MIN_OUTCOME_MARGIN = 1e-6, 1e-9
TABLES = ("prior_logits", "values", "chance_logits", "afterstate_values", "rewards", "next_states")
DEFAULT_OUTPUT = Path(__file__).parents[1] / "fx_pipeline_tests" / "search" / "golden" / "mctx_stochastic.npz"

Model = dict[str, Any]


def make_models(rng: np.random.Generator) -> dict[str, Model]:
    """Table models by name; `S` states: prior_logits (S, A), values (S,), the rest (S, A[, C])."""

    def base(logit_scale: float = 1.0, value_scale: float = 1.0, reward_scale: float = 0.3) -> Model:
        shape = (STATES, ACTIONS, OUTCOMES)
        return {
            "prior_logits": rng.normal(0, logit_scale, shape[:2]).astype(np.float32),
            "values": rng.normal(0, value_scale, STATES).astype(np.float32),
            "chance_logits": rng.normal(0, 1, shape).astype(np.float32),
            "afterstate_values": rng.normal(0, value_scale, shape[:2]).astype(np.float32),
            "rewards": rng.normal(0, reward_scale, shape).astype(np.float32),
            "next_states": rng.integers(0, STATES, shape).astype(np.int16),
            "discount": 0.997,
        }

    models = {
        "plain": base(),
        "pips": base(value_scale=100.0, reward_scale=30.0),
        "sharp_prior": base(logit_scale=4.0),
        "impossible_outcomes": base(),
        "certain_outcome": base(),
        "all_zero": base(value_scale=0.0, reward_scale=0.0),
        "all_equal": base(),
    }
    possible = rng.integers(0, OUTCOMES, (STATES, ACTIONS))[..., None] == np.arange(OUTCOMES)
    sometimes = possible | (rng.random(possible.shape) < 0.4)
    models["certain_outcome"]["chance_logits"][~possible] = -np.inf
    models["impossible_outcomes"]["chance_logits"][~sometimes] = -np.inf
    # 1 + 0.5 * 2 = 2 without rounding: every value in the tree is equal to the bit, though rewards are not zero.
    equal = models["all_equal"]
    equal["values"][:], equal["afterstate_values"][:], equal["rewards"][:], equal["discount"] = 2.0, 2.0, 1.0, 0.5
    return models


def search_with_mctx(
    model: Model, roots: np.ndarray, legal: np.ndarray, simulations: int, fraction: float, key: int
) -> dict[str, np.ndarray]:
    """Run mctx from ``roots`` (B,) and read what the tests compare."""
    tables = {name: jnp.asarray(model[name], jnp.int32 if name == "next_states" else jnp.float64) for name in TABLES}

    def decision_fn(params: Any, rng: Any, action: Any, state: Any) -> Any:
        output = mctx.DecisionRecurrentFnOutput(
            chance_logits=tables["chance_logits"][state, action],
            afterstate_value=tables["afterstate_values"][state, action],
        )
        return output, jnp.stack([state, action], axis=-1)

    def chance_fn(params: Any, rng: Any, outcome: Any, afterstate: Any) -> Any:
        state, action = afterstate[:, 0], afterstate[:, 1]
        following = tables["next_states"][state, action, outcome]
        output = mctx.ChanceRecurrentFnOutput(
            action_logits=tables["prior_logits"][following],
            value=tables["values"][following],
            reward=tables["rewards"][state, action, outcome],
            discount=jnp.full(state.shape, model["discount"], jnp.float64),
        )
        return output, following

    start = jnp.asarray(roots, jnp.int32)
    root = mctx.RootFnOutput(prior_logits=tables["prior_logits"][start], value=tables["values"][start], embedding=start)
    tree = mctx.stochastic_muzero_policy(
        params=(),
        rng_key=jax.random.PRNGKey(key),
        root=root,
        decision_recurrent_fn=decision_fn,
        chance_recurrent_fn=chance_fn,
        num_simulations=simulations,
        invalid_actions=jnp.asarray(~legal),
        dirichlet_fraction=fraction,
        dirichlet_alpha=0.3,
        pb_c_init=PB_C_INIT,
        pb_c_base=PB_C_BASE,
    ).search_tree
    summary = tree.summary()
    parents = np.asarray(tree.parents)
    depths = np.zeros_like(parents)
    for node in range(1, parents.shape[1]):
        depths[:, node] = depths[np.arange(len(depths)), parents[:, node]] + 1
    return {
        "root_logits": np.where(legal, np.asarray(tree.children_prior_logits[:, 0]), 0.0),
        "visits": np.asarray(summary.visit_counts).astype(np.int16),
        "root_values": np.asarray(summary.value),
        "q_values": np.asarray(summary.qvalues),
        "max_depth": depths.max(axis=1).astype(np.int16),
    }


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


class Node:
    """A node of the plain Python tree; ``key`` is the state, or (state, action) at a chance node."""

    def __init__(self, key: Any, probs: np.ndarray, value: float, reward: float, discount: float) -> None:
        self.key, self.probs, self.value = key, probs, value
        self.reward, self.discount = reward, discount
        self.visits = 1
        self.children: dict[int, Node] = {}


def search_in_python(
    model: Model, state: int, logits: np.ndarray, legal: np.ndarray, simulations: int
) -> tuple[np.ndarray, float, float]:
    """Visit counts (A,), the least margin between actions, and that between outcomes, of one search without noise."""
    root = Node(state, softmax(np.where(legal, logits, -np.inf)), float(model["values"][state]), 0.0, 1.0)
    margins = {True: math.inf, False: math.inf}
    for _ in range(simulations):
        path = [root]
        while True:
            node = path[-1]
            is_chance = isinstance(node.key, tuple)
            counts = np.array([node.children[i].visits if i in node.children else 0 for i in range(len(node.probs))])
            scores = node.probs / (counts + 1)
            if not is_chance:
                q = {i: child.reward + child.discount * child.value for i, child in node.children.items()}
                low, high = min([node.value, *q.values()]), max([node.value, *q.values()])
                scores *= math.sqrt(node.visits) * (PB_C_INIT + math.log((node.visits + PB_C_BASE + 1) / PB_C_BASE))
                for i, value in q.items():
                    scores[i] += (value - low) / max(high - low, 1e-8)
                if node is root:
                    scores = np.where(legal, scores, -np.inf)
            edge = int(np.argmax(scores))
            runner_up = np.delete(scores, edge).max()
            margins[is_chance] = min(margins[is_chance], float(scores[edge] - runner_up))
            if edge not in node.children:
                break
            path.append(node.children[edge])
        if is_chance:
            before, action = node.key
            after = int(model["next_states"][before, action, edge])
            probs, value = softmax(model["prior_logits"][after].astype(np.float64)), float(model["values"][after])
            reward = float(model["rewards"][before, action, edge])
            child = Node(after, probs, value, reward, model["discount"])
        else:
            probs = softmax(model["chance_logits"][node.key, edge].astype(np.float64))
            child = Node((node.key, edge), probs, float(model["afterstate_values"][node.key, edge]), 0.0, 1.0)
        node.children[edge] = child
        backed_up = child.value
        for lower, upper in zip([child, *reversed(path[1:])], reversed(path), strict=True):
            backed_up = lower.reward + lower.discount * backed_up
            upper.value = (upper.value * upper.visits + backed_up) / (upper.visits + 1)
            upper.visits += 1
    visits = np.array([root.children[i].visits if i in root.children else 0 for i in range(ACTIONS)])
    return visits, margins[False], margins[True]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", nargs="?", type=Path, default=DEFAULT_OUTPUT)
    output: Path = parser.parse_args().output
    rng = np.random.default_rng(20220401)
    models = make_models(rng)
    rows: dict[str, list[Any]] = {}
    dropped = 0
    for number, (name, model) in enumerate(models.items()):
        for run, (simulations, fraction) in enumerate(RUNS):
            roots = rng.integers(0, STATES, ROWS)
            legal = MASKS[(np.arange(ROWS) + run) % len(MASKS)]
            found = search_with_mctx(model, roots, legal, simulations, fraction, key=1000 * number + run)
            for i in range(ROWS):
                visits, action_margin, outcome_margin = search_in_python(
                    model, int(roots[i]), found["root_logits"][i], legal[i], simulations
                )
                if action_margin < MIN_ACTION_MARGIN or outcome_margin < MIN_OUTCOME_MARGIN:
                    dropped += 1
                    continue
                if not np.array_equal(visits, found["visits"][i]):
                    raise RuntimeError(
                        f"mctx and plain Python disagree on a tree without a tie: {name}, run {run}, row {i}"
                    )
                entry = {
                    "model": np.int16(number),
                    "simulations": np.int16(simulations),
                    "noisy": fraction > 0.0,
                    "root_states": np.int16(roots[i]),
                    "legal": legal[i],
                    **{key: value[i] for key, value in found.items()},
                }
                for key, value in entry.items():
                    rows.setdefault(key, []).append(value)
    arrays = {f"rows_{key}": np.array(value) for key, value in rows.items()}
    for table in (*TABLES, "discount"):
        arrays[f"model_{table}"] = np.array([model[table] for model in models.values()])
    arrays["model_names"] = np.array(list(models))
    output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(output, **arrays)
    print(
        f"{len(rows['model'])} trees kept, {dropped} with a near-tie left out, {output.stat().st_size} bytes: {output}"
    )


if __name__ == "__main__":
    main()
