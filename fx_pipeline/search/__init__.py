"""Batched Stochastic MuZero search; it knows no network and no market.

A search looks ahead from B latent states at once. Its tree has two kinds of node: at a *decision* node the agent
chooses an action (pUCT; or Gumbel noise, sequential halving and completed Q), at a *chance* node the market answers
with an outcome (in proportion to the predicted probabilities). One *simulation* walks from the root to an edge that
leads nowhere yet, asks the model for the node behind it - decision or chance, one node - and carries its value back to
the root. After 25 of them the visit counts of the root's actions (or, under Gumbel selection, their completed Q) make
the improved policy, and the root's mean value is the bootstrap of the value target.

Use
---
>>> search = StochasticSearch(SearchConfig(simulations=25), num_actions=4, num_outcomes=3)          # doctest: +SKIP
>>> result = search.run(root, legal, evaluator, seed=7, counters=decisions, noise=1.0)    # doctest: +SKIP
>>> actions = select_actions(result.visits, 1.0, seed=7, counters=decisions)                   # doctest: +SKIP
>>> target = result.policy                                                                     # doctest: +SKIP

Under Gumbel selection the action to take is ``result.actions``: its noise is the exploration, and a temperature has no
meaning.

The model comes in as an `Evaluator`: ``afterstate`` for new chance nodes, ``dynamics`` for new decision nodes, each
called at most once a simulation with the rows of the batch that need it.

What holds
----------
- Given the same priors, values, rewards and chance probabilities, visit counts, values and depth are those of
  `mctx.stochastic_muzero_policy`; without chance nodes those of `mctx.muzero_policy` and, given the same Gumbel noise,
  actions and policy targets too, of `mctx.gumbel_muzero_policy` (golden trees in the tests, with ``backup="mean"``).
  The one difference: mctx breaks ties between pUCT scores by noise below 1e-7, here the first of equal actions wins.
- Row ``b`` depends on its root, its mask and ``(seed, counters[b])`` only: a batch of 64 gives, bit for bit, what 64
  single searches give, if the evaluator's rows do not depend on one another. (Matrix products of BLAS and torch may
  round differently for different row counts; that is the evaluator's guarantee to give, not the search's.)
- Illegal actions of the root are never visited. A number that is not finite is an error, never a choice.

Where it stops: legal actions are known at the root only, there is one discount for all steps, and no terminal node.

Files: `types` (what goes in and out), `random` (counter-based numbers), `rules` (settings as the kernels take them),
`tree` (arrays, roots), `gumbel` and `descent` (choices at nodes, the way to a leaf), `growth` (new nodes and what they
tell those above), `stochastic` (the search), `actions` (visit counts to actions).
"""

from fx_pipeline.search.actions import select_actions
from fx_pipeline.search.random import dirichlet_noise, gumbel_noise
from fx_pipeline.search.stochastic import StochasticSearch
from fx_pipeline.search.types import (
    AfterstateOutput,
    Evaluator,
    RootOutput,
    SearchConfig,
    SearchResult,
    StateOutput,
)

__all__ = [
    "AfterstateOutput",
    "Evaluator",
    "RootOutput",
    "SearchConfig",
    "SearchResult",
    "StateOutput",
    "StochasticSearch",
    "dirichlet_noise",
    "gumbel_noise",
    "select_actions",
]
