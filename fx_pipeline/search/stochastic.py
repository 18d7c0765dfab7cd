"""Stochastic MuZero search of a batch of environments in lock-step."""

from typing import Any

import numpy as np
import numpy.typing as npt

from fx_pipeline.search import growth
from fx_pipeline.search import tree as trees
from fx_pipeline.search.descent import descend, harvest
from fx_pipeline.search.random import as_counters, as_seed
from fx_pipeline.search.rules import Rules, at_noise, make_rules
from fx_pipeline.search.types import (
    AfterstateOutput,
    BoolArray,
    Evaluator,
    FloatArray,
    IntArray,
    RootOutput,
    SearchConfig,
    SearchResult,
    StateOutput,
)


class StochasticSearch:
    """Search trees of decision and chance nodes, as `mctx.stochastic_muzero_policy` grows them.

    Antonoglou et al. 2022, "Planning in stochastic environments with a learned model"
    (https://openreview.net/forum?id=X6D9bAHhBQ1). A simulation expands one node, decision or chance. Legal actions are
    masked at the root only: inside the tree the model's policy must know them.

    Without outcomes (``num_outcomes`` 0) the tree has no chance nodes: an action leads straight to a decision node, as
    in `mctx.muzero_policy` and `mctx.gumbel_muzero_policy`.

    The trees are kept between calls and grow when a larger batch or a wider state comes; one object therefore serves
    one thread at a time. Kernels release the GIL, so several objects search side by side.

    Parameters
    ----------
    config
        Settings of the search.
    num_actions, num_outcomes
        A and C.

    Raises
    ------
    ValueError
        If ``num_actions`` is less than 1 or ``num_outcomes`` is negative.
    """

    def __init__(self, config: SearchConfig, num_actions: int, num_outcomes: int) -> None:
        self.config = config
        self.num_actions = num_actions
        self.num_outcomes = num_outcomes
        self._rules = make_rules(config, num_actions, num_outcomes)
        self._tree: trees.Tree | None = None
        self._leaves = trees.allocate_leaves(0)

    def run(
        self,
        root: RootOutput,
        legal: BoolArray,
        evaluator: Evaluator,
        *,
        seed: int,
        counters: IntArray | None,
        noise: float,
    ) -> SearchResult:
        """Search from each root.

        Parameters
        ----------
        root
            States (B, H), prior logits (B, A) and values (B,) to start from.
        legal
            Legal actions at the root, (B, A) bool; at least one a row.
        evaluator
            The model.
        seed, counters
            Row ``b``'s random numbers (the root's noise; outcomes under ``chance_selection="sample"``) depend on
            ``(seed, counters[b])`` alone, so a batch gives what its rows give one by one, whatever their order.
            ``counters`` is (B,), distinct for distinct decisions; None counts the rows from 0.
        noise
            Factor of the root's noise: of the share of Dirichlet noise in its prior probabilities, or under Gumbel
            selection of the Gumbel noise on its logits. 0 (validation, live) to 1 (self-play).

        Returns
        -------
        SearchResult
            Visit counts, values, priors, policy targets and choices of the roots.

        Raises
        ------
        ValueError
            On a row without a legal action, wrong shapes or types, or a root or model output that is not finite.
        """
        states, logits, values = self._checked_root(root)
        batch, hidden = states.shape
        allowed = self._checked_legal(legal, batch)
        rules = at_noise(self._rules, noise, as_seed(seed))
        row_counters = as_counters(counters, batch)
        tree, leaves = self._room_for(batch, hidden)

        trees.plant_roots(tree, states, logits, values, allowed, rules, row_counters)
        for simulation in range(rules.simulations):
            split = descend(tree, leaves, allowed, rules, row_counters, simulation)
            if split > 0:
                self._expand_chance(tree, leaves, split, simulation + 1, evaluator, rules)
            if split < batch:
                self._expand_decision(tree, leaves, split, batch, simulation + 1, evaluator, rules)

        result = SearchResult(
            visits=np.empty((batch, self.num_actions), dtype=np.int32),
            values=tree.values[:batch, trees.ROOT].copy(),
            q_values=np.empty((batch, self.num_actions), dtype=np.float64),
            prior_probs=tree.probs[:batch, trees.ROOT, : self.num_actions].copy(),
            max_depth=np.empty(batch, dtype=np.int32),
            policy=np.empty((batch, self.num_actions), dtype=np.float64),
            actions=np.empty(batch, dtype=np.int64),
        )
        harvest(tree, allowed, rules, result.visits, result.q_values, result.max_depth, result.policy, result.actions)
        return result

    def _expand_chance(
        self, tree: trees.Tree, leaves: trees.Leaves, split: int, node: int, evaluator: Evaluator, rules: Rules
    ) -> None:
        parent_states = tree.states[leaves.rows[:split], leaves.decisions[:split]]
        output: AfterstateOutput = evaluator.afterstate(parent_states, leaves.actions[:split].copy())
        logits = _as_float64(output.chance_logits, (split, self.num_outcomes), "evaluator.afterstate chance_logits")
        values = _as_float64(output.values, (split,), "evaluator.afterstate values")
        bad = growth.graft_chance(tree, leaves, 0, node, logits, values, rules)
        if bad >= 0:
            raise ValueError(
                f"evaluator.afterstate gave a value or chance logits that are not finite for root row "
                f"{leaves.rows[bad]} in simulation {node}: chance_logits {logits[bad]}, "
                f"value {values[bad]}; check the model's weights"
            )

    def _expand_decision(
        self,
        tree: trees.Tree,
        leaves: trees.Leaves,
        split: int,
        batch: int,
        node: int,
        evaluator: Evaluator,
        rules: Rules,
    ) -> None:
        count = batch - split
        parent_states = tree.states[leaves.rows[split:batch], leaves.decisions[split:batch]]
        outcomes = leaves.edges[split:batch].copy() if self.num_outcomes > 0 else np.zeros(count, dtype=np.int64)
        output: StateOutput = evaluator.dynamics(parent_states, leaves.actions[split:batch].copy(), outcomes)
        states = np.ascontiguousarray(output.states, dtype=np.float32)
        if states.shape != parent_states.shape:
            raise ValueError(f"evaluator.dynamics states must have shape {parent_states.shape}, got {states.shape}")
        rewards = _as_float64(output.rewards, (count,), "evaluator.dynamics rewards")
        logits = _as_float64(output.prior_logits, (count, self.num_actions), "evaluator.dynamics prior_logits")
        values = _as_float64(output.values, (count,), "evaluator.dynamics values")
        bad = growth.graft_decision(tree, leaves, split, node, states, rewards, logits, values, rules)
        if bad >= 0:
            raise ValueError(
                "evaluator.dynamics gave a state, reward, value or logits that are not finite for root row "
                f"{leaves.rows[split + bad]} in simulation {node}: reward {rewards[bad]}, prior_logits {logits[bad]}, "
                f"value {values[bad]}; check the model's weights"
            )

    def _checked_root(
        self, root: RootOutput
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        states = np.ascontiguousarray(root.states, dtype=np.float32)
        if states.ndim != 2 or states.shape[0] == 0:
            raise ValueError(f"root.states must have shape (B, H) with B at least 1, got {states.shape}")
        batch = states.shape[0]
        logits = _as_float64(root.prior_logits, (batch, self.num_actions), "root.prior_logits")
        values = _as_float64(root.values, (batch,), "root.values")
        _require_finite(states, "root.states")
        _require_finite(logits, "root.prior_logits")
        _require_finite(values, "root.values")
        return states, logits, values

    def _checked_legal(self, legal: BoolArray, batch: int) -> BoolArray:
        allowed = np.asarray(legal)
        if allowed.dtype != np.bool_ or allowed.shape != (batch, self.num_actions):
            raise ValueError(
                f"legal must be bool of shape ({batch}, {self.num_actions}), got {allowed.dtype} of {allowed.shape}"
            )
        stuck = np.flatnonzero(~allowed.any(axis=1))
        if stuck.size:
            raise ValueError(
                f"legal has no legal action in rows {_few(stuck)}: leave such environments out of the batch"
            )
        return np.ascontiguousarray(allowed)

    def _room_for(self, batch: int, hidden: int) -> tuple[trees.Tree, trees.Leaves]:
        if self._tree is None or self._tree.states.shape[0] < batch or self._tree.states.shape[2] != hidden:
            width = max(self.num_actions, self.num_outcomes)
            self._tree = trees.allocate_tree(batch, self.config.simulations + 1, width, hidden)
            self._leaves = trees.allocate_leaves(batch)
        return self._tree, self._leaves


def _as_float64(array: FloatArray, shape: tuple[int, ...], name: str) -> npt.NDArray[np.float64]:
    converted = np.ascontiguousarray(array, dtype=np.float64)
    if converted.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {converted.shape}")
    return converted


def _require_finite(array: npt.NDArray[np.floating[Any]], name: str) -> None:
    finite = np.isfinite(array)
    if not finite.all():
        rows = np.flatnonzero(~finite.reshape(len(array), -1).all(axis=1))
        raise ValueError(f"{name} is not finite in rows {_few(rows)}: check the observation and the model's weights")


def _few(rows: IntArray, limit: int = 10) -> str:
    shown = ", ".join(str(int(row)) for row in rows[:limit])
    return shown if len(rows) <= limit else f"{shown}, ... ({len(rows)} in all)"
