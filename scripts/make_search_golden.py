"""Re-make the golden trees of the search with mctx: `python scripts/make_search_golden.py [FOLDER]`.

Needs the extra `mctx` (`pip install -e '.[mctx]'`); the tests that replay the files need numpy alone.

Every tree is searched by mctx in float64 over a small table model: a state is a row number, so a model is a handful of
arrays that are stored with the trees and replay exactly anywhere. There is a file for each of these:

- `mctx_stochastic`: `mctx.stochastic_muzero_policy`;
- `mctx_stochastic_gumbel`: the same tree with the choices of `mctx.gumbel_muzero_policy` at its decision nodes, put
  together from mctx's parts, since it has no such policy;
- `mctx_muzero` and `mctx_gumbel`: `mctx.muzero_policy` and `mctx.gumbel_muzero_policy`, where the outcome is always 0
  and an action leads straight to a decision node.

mctx breaks ties between pUCT scores by uniform noise below 1e-7, and rounds differently. To be independent of it, each
tree is grown a second time by the plain Python of `search_reference`, which measures the smallest margin of any choice;
trees with a margin below 1e-6 are left out, and the two must agree on all that remain. Dirichlet noise is drawn by
mctx; the noisy root logits are stored, so that a replay runs without noise. Gumbel noise is drawn by
`fx_pipeline.search.gumbel_noise` and given to mctx, so that a replay draws it again.
"""

import argparse
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import mctx
import numpy as np
from mctx._src import base, policies, search
from search_reference import ACTIONS, OUTCOMES, Model, grow_in_python

from fx_pipeline.search import gumbel_noise

jax.config.update("jax_enable_x64", True)

STATES, ROWS, GUMBEL_SEED = 48, 14, 2022
# HOLD 0, BUY 1, SELL 2, CLOSE 3: flat, in a position, one legal action twice, all.
MASKS = np.array([[1, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1]], dtype=bool)
MIN_ACTION_MARGIN, MIN_OUTCOME_MARGIN = 1e-6, 1e-9
TABLES = ("prior_logits", "values", "chance_logits", "afterstate_values", "rewards", "next_states")
DEFAULT_FOLDER = Path(__file__).parents[1] / "fx_pipeline_tests" / "search" / "golden"


@dataclass(frozen=True)
class Family:
    """A kind of search; ``runs`` are (simulations, Dirichlet fraction or scale of Gumbel noise, actions considered)."""

    name: str
    stochastic: bool
    gumbel: bool
    runs: tuple[tuple[int, float, int], ...]


PUCT_RUNS = ((25, 0.25, 16), (25, 0.0, 16), (50, 0.25, 16), (8, 0.0, 16))
GUMBEL_RUNS = ((25, 1.0, 16), (25, 0.0, 16), (50, 1.0, 2), (8, 1.0, 3), (3, 1.0, 16), (25, 1.0, 1))
FAMILIES = (
    Family("mctx_stochastic", True, False, PUCT_RUNS),
    Family("mctx_stochastic_gumbel", True, True, GUMBEL_RUNS),
    Family("mctx_muzero", False, False, PUCT_RUNS),
    Family("mctx_gumbel", False, True, GUMBEL_RUNS),
)


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
    models["impossible_actions"] = base()
    chosen = rng.integers(0, ACTIONS, STATES)[:, None] == np.arange(ACTIONS)
    models["impossible_actions"]["prior_logits"][~(chosen | (rng.random(chosen.shape) < 0.4))] = -np.inf
    return models


@functools.partial(jax.jit, static_argnames=("family", "run"))
def run_mctx(
    tables: dict[str, Any],
    start: Any,
    legal: Any,
    gumbel: Any,
    key: Any,
    *,
    family: Family,
    run: tuple[int, float, int],
) -> Any:
    """The `mctx.PolicyOutput` of a search from the states ``start`` (B,)."""
    simulations, noise, considered = run

    def follow(state: Any, action: Any, outcome: Any) -> tuple[dict[str, Any], Any]:
        following = tables["next_states"][state, action, outcome]
        output = {
            "value": tables["values"][following],
            "reward": tables["rewards"][state, action, outcome],
            "discount": jnp.full(state.shape, tables["discount"]),
        }
        return output, following

    def recurrent_fn(params: Any, rng: Any, action: Any, state: Any) -> Any:
        output, following = follow(state, action, jnp.zeros_like(action))
        return mctx.RecurrentFnOutput(prior_logits=tables["prior_logits"][following], **output), following

    def decision_fn(params: Any, rng: Any, action: Any, state: Any) -> Any:
        output = mctx.DecisionRecurrentFnOutput(
            chance_logits=tables["chance_logits"][state, action],
            afterstate_value=tables["afterstate_values"][state, action],
        )
        return output, jnp.stack([state, action], axis=-1)

    def chance_fn(params: Any, rng: Any, outcome: Any, afterstate: Any) -> Any:
        output, following = follow(afterstate[:, 0], afterstate[:, 1], outcome)
        return mctx.ChanceRecurrentFnOutput(action_logits=tables["prior_logits"][following], **output), following

    arguments: dict[str, Any] = {
        "params": (),
        "rng_key": key,
        "root": mctx.RootFnOutput(
            prior_logits=tables["prior_logits"][start], value=tables["values"][start], embedding=start
        ),
        "num_simulations": simulations,
        "invalid_actions": ~legal,
    }
    if family.gumbel:
        arguments |= {"max_num_considered_actions": considered, "gumbel_scale": noise}
    else:
        arguments |= {"dirichlet_fraction": noise, "dirichlet_alpha": 0.3, "pb_c_init": 1.25, "pb_c_base": 19652.0}
    over_chance_nodes = family.stochastic and family.gumbel
    policy = mctx.gumbel_muzero_policy if family.gumbel else mctx.muzero_policy
    if over_chance_nodes:
        arguments |= {"recurrent_fn": (decision_fn, chance_fn)}
    elif family.stochastic:
        arguments |= {"decision_recurrent_fn": decision_fn, "chance_recurrent_fn": chance_fn}
        policy = mctx.stochastic_muzero_policy
    else:
        arguments |= {"recurrent_fn": recurrent_fn}
    with (
        mock.patch.object(jax.random, "gumbel", lambda *_, **__: gumbel),
        mock.patch.object(search, "search", search_over_chance_nodes if over_chance_nodes else search.search),
    ):
        return policy(**arguments)


def search_with_mctx(
    family: Family, model: Model, roots: np.ndarray, legal: np.ndarray, run: tuple[int, float, int], key: int
) -> dict[str, np.ndarray]:
    """Run mctx from ``roots`` (B,) and read what the tests compare."""
    tables = {name: jnp.asarray(model[name], jnp.int32 if name == "next_states" else jnp.float64) for name in TABLES}
    tables["discount"] = jnp.asarray(model["discount"], jnp.float64)
    counters = 1_000_000 * key + np.arange(len(roots))
    gumbel = gumbel_noise(ACTIONS, seed=GUMBEL_SEED, counters=counters)
    start = jnp.asarray(roots, jnp.int32)
    output = run_mctx(
        tables, start, jnp.asarray(legal), jnp.asarray(gumbel), jax.random.PRNGKey(key), family=family, run=run
    )
    tree = output.search_tree
    summary = tree.summary()
    parents = np.asarray(tree.parents)
    depths = np.zeros_like(parents)
    for node in range(1, parents.shape[1]):
        depths[:, node] = depths[np.arange(len(depths)), parents[:, node]] + 1
    return {
        "root_logits": np.where(legal, np.asarray(tree.children_prior_logits[:, 0]), 0.0),
        "counters": counters,
        "gumbel": run[1] * gumbel,
        "visits": np.asarray(summary.visit_counts).astype(np.int16),
        "root_values": np.asarray(summary.value),
        "q_values": np.asarray(summary.qvalues),
        "max_depth": depths.max(axis=1).astype(np.int16),
        "policy": np.asarray(output.action_weights),
        # Without Gumbel noise mctx draws the action; the most visited is what a search prefers.
        "actions": np.asarray(output.action if family.gumbel else summary.visit_counts.argmax(axis=1)).astype(np.int16),
    }


_plain_search = search.search


def search_over_chance_nodes(*, root: Any, recurrent_fn: Any, **arguments: Any) -> Any:
    """mctx's search with chance nodes after actions, put there as in `mctx.stochastic_muzero_policy`."""
    decision_fn, chance_fn = recurrent_fn
    batch = root.value.shape[0]
    _, afterstates = decision_fn((), None, jnp.zeros(batch, jnp.int32), root.embedding)
    root_fn = arguments["root_action_selection_fn"]
    wrapped = {
        "root": root.replace(
            prior_logits=jnp.concatenate([root.prior_logits, jnp.full((batch, OUTCOMES), -jnp.inf)], axis=-1),
            embedding=base.StochasticRecurrentState(
                state_embedding=root.embedding,
                afterstate_embedding=afterstates,
                is_decision_node=jnp.ones(batch, dtype=bool),
            ),
        ),
        "recurrent_fn": policies._make_stochastic_recurrent_fn(decision_fn, chance_fn, ACTIONS, OUTCOMES),
        "root_action_selection_fn": lambda key, tree, node: root_fn(
            key, policies._mask_tree(tree, ACTIONS, "decision"), node
        ),
        "interior_action_selection_fn": policies._make_stochastic_action_selection_fn(
            arguments["interior_action_selection_fn"], ACTIONS
        ),
    }
    return policies._mask_tree(_plain_search(**(arguments | wrapped)), ACTIONS, "decision")


def make_file(folder: Path, number: int, family: Family, models: dict[str, Model]) -> None:
    """Search all models and write the trees whose choices have a margin."""
    rng = np.random.default_rng([20220401, number])
    rows: dict[str, list[Any]] = {}
    dropped = 0
    for which, (name, model) in enumerate(models.items()):
        for turn, run in enumerate(family.runs):
            simulations, noise, considered = run
            roots = rng.integers(0, STATES, ROWS)
            possible = np.isfinite(model["prior_logits"][roots])
            # At the root an impossible action is an illegal one.
            legal = MASKS[(np.arange(ROWS) + turn) % len(MASKS)] & possible
            legal[~legal.any(axis=1)] = possible[~legal.any(axis=1)]
            found = search_with_mctx(family, model, roots, legal, run, key=1000 * which + turn)
            for i in range(ROWS):
                grown = grow_in_python(
                    model,
                    int(roots[i]),
                    found["root_logits"][i],
                    legal[i],
                    simulations,
                    stochastic=family.stochastic,
                    gumbel=found["gumbel"][i] if family.gumbel else None,
                    considered=considered,
                )
                if grown.action_margin < MIN_ACTION_MARGIN or grown.outcome_margin < MIN_OUTCOME_MARGIN:
                    dropped += 1
                    continue
                same = np.array_equal(grown.visits, found["visits"][i]) and grown.action == found["actions"][i]
                if not (same and np.allclose(grown.policy, found["policy"][i], rtol=0.0, atol=1e-6)):
                    raise RuntimeError(
                        f"mctx and plain Python disagree on a tree without a tie: {family.name}, {name}, {run}, row {i}"
                    )
                entry = {
                    "model": np.int16(which),
                    "simulations": np.int16(simulations),
                    "noisy": noise > 0.0,
                    "considered": np.int16(considered),
                    "root_states": np.int16(roots[i]),
                    "legal": legal[i],
                    **{key: value[i] for key, value in found.items()},
                }
                for key, value in entry.items():
                    rows.setdefault(key, []).append(value)
    arrays = {f"rows_{key}": np.array(value) for key, value in rows.items()}
    for table in (*TABLES, "discount"):
        arrays[f"model_{table}"] = np.array([model[table] for model in models.values()])
    output = folder / f"{family.name}.npz"
    np.savez_compressed(
        output,
        model_names=np.array(list(models)),
        stochastic=np.array(family.stochastic),
        uses_gumbel=np.array(family.gumbel),
        gumbel_seed=np.array(GUMBEL_SEED),
        **arrays,
    )
    kept = len(rows["model"])
    print(f"{kept} trees kept, {dropped} with a near-tie left out, {output.stat().st_size} bytes: {output}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT_FOLDER)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    models = make_models(np.random.default_rng(20220401))
    for number, family in enumerate(FAMILIES):
        make_file(folder, number, family, models)


if __name__ == "__main__":
    main()
