"""What goes into a search and what comes out: plain typed arrays, no network and no market."""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]
ChanceSelection = Literal["quota", "sample"]
RootActionSelection = Literal["puct", "gumbel"]
Backup = Literal["mean", "expected"]


@dataclass(frozen=True)
class SearchConfig:
    """Settings of a Stochastic MuZero search; the defaults are those of mctx and of the paper.

    Attributes
    ----------
    simulations
        Simulations of one search. Each expands one node, decision or chance.
    pb_c_init, pb_c_base
        The constants c1 and c2 of pUCT (MuZero, appendix B, https://arxiv.org/abs/1911.08265).
    discount
        Discount of the edge from a chance node to a decision node. Decision to chance has none.
    dirichlet_alpha, dirichlet_fraction
        Concentration and share of the noise that is mixed into the root's prior probabilities.
    chance_selection
        ``"quota"`` descends to the outcome with the greatest p / (n + 1), as mctx does; ``"sample"`` draws the
        outcome from p, as the paper does.
    root_action_selection
        ``"puct"`` chooses actions by pUCT in the whole tree. ``"gumbel"`` chooses them at the root by Gumbel noise and
        sequential halving, below it by completed Q (Danihelka et al. 2022,
        https://openreview.net/forum?id=bERaNdoegnO); it has no use for the settings of pUCT and of Dirichlet noise.
    max_num_considered_actions
        Actions of the root that sequential halving starts with.
    value_scale, maxvisit_init
        Completed Q weighs value_scale * (maxvisit_init + visits of the most visited action) against the logits.
    rescale_values
        Whether completed Q is rescaled to [0, 1] first, at each node by its own least and greatest. Two actions are
        then as far apart as can be, be their difference large or a rounding error.
    backup
        ``"mean"`` makes a node's value the mean of its simulations; ``"expected"`` weighs outcomes by their
        probabilities and actions by the improved policy, which uses ``value_scale`` and what belongs to it.

    Raises
    ------
    ValueError
        If a setting is out of its range; the message names it.
    """

    simulations: int = 25
    pb_c_init: float = 1.25
    pb_c_base: float = 19652.0
    discount: float = 0.997
    dirichlet_alpha: float = 0.3
    dirichlet_fraction: float = 0.25
    chance_selection: ChanceSelection = "quota"
    root_action_selection: RootActionSelection = "puct"
    max_num_considered_actions: int = 16
    value_scale: float = 0.1
    maxvisit_init: float = 50.0
    rescale_values: bool = True
    backup: Backup = "mean"

    def __post_init__(self) -> None:
        if self.simulations < 1:
            raise ValueError(f"simulations must be at least 1, got {self.simulations}")
        if not (math.isfinite(self.pb_c_init) and self.pb_c_init >= 0.0):
            raise ValueError(f"pb_c_init must be finite and not negative, got {self.pb_c_init}")
        if not (math.isfinite(self.pb_c_base) and self.pb_c_base > 0.0):
            raise ValueError(f"pb_c_base must be finite and positive, got {self.pb_c_base}")
        if not 0.0 <= self.discount <= 1.0:
            raise ValueError(f"discount must lie in [0, 1], got {self.discount}")
        if not (math.isfinite(self.dirichlet_alpha) and self.dirichlet_alpha > 0.0):
            raise ValueError(f"dirichlet_alpha must be finite and positive, got {self.dirichlet_alpha}")
        if not 0.0 <= self.dirichlet_fraction <= 1.0:
            raise ValueError(f"dirichlet_fraction must lie in [0, 1], got {self.dirichlet_fraction}")
        if self.chance_selection not in get_args(ChanceSelection):
            raise ValueError(f'chance_selection must be "quota" or "sample", got {self.chance_selection!r}')
        if self.root_action_selection not in get_args(RootActionSelection):
            raise ValueError(f'root_action_selection must be "puct" or "gumbel", got {self.root_action_selection!r}')
        if self.backup not in get_args(Backup):
            raise ValueError(f'backup must be "mean" or "expected", got {self.backup!r}')
        if self.max_num_considered_actions < 1:
            raise ValueError(f"max_num_considered_actions must be at least 1, got {self.max_num_considered_actions}")
        for name in ("value_scale", "maxvisit_init"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise ValueError(f"{name} must be finite and not negative, got {value}")


class RootOutput(NamedTuple):
    """The representation of the observations that the search starts from.

    Attributes
    ----------
    states
        Latent states, (B, H) float32.
    prior_logits
        Policy logits, (B, A), all finite; illegal actions are masked by the search.
    values
        Values of the states, (B,).
    """

    states: npt.NDArray[np.float32]
    prior_logits: FloatArray
    values: FloatArray


class AfterstateOutput(NamedTuple):
    """What follows an action, before the market has answered.

    Attributes
    ----------
    chance_logits
        Logits of the outcomes, (R, C). ``-inf`` is an impossible outcome; one at least must be finite.
    values
        Values of the afterstates, (R,).
    """

    chance_logits: FloatArray
    values: FloatArray


class StateOutput(NamedTuple):
    """The next decision node, after an action and an outcome.

    Attributes
    ----------
    states
        Latent states, (R, H) float32.
    rewards
        Rewards of the step from the parent decision node, (R,).
    prior_logits
        Policy logits, (R, A). ``-inf`` is an action never taken; one at least must be finite.
    values
        Values of the states, (R,).
    """

    states: npt.NDArray[np.float32]
    rewards: FloatArray
    prior_logits: FloatArray
    values: FloatArray


class Evaluator(Protocol):
    """The model, seen by the search: R rows a call, where R varies from call to call and is never 0.

    A row of the output must not depend on the other rows, if results are not to depend on how environments are
    batched.
    """

    def afterstate(self, states: npt.NDArray[np.float32], actions: npt.NDArray[np.int64]) -> AfterstateOutput:
        """Evaluate the afterstates of decision-node ``states`` (R, H) under ``actions`` (R,)."""
        ...

    def dynamics(
        self, states: npt.NDArray[np.float32], actions: npt.NDArray[np.int64], outcomes: npt.NDArray[np.int64]
    ) -> StateOutput:
        """Evaluate the states that follow ``states`` (R, H), ``actions`` (R,) and ``outcomes`` (R,).

        ``states`` are those of the parent decision node, so that no afterstate need be stored. In a search without
        chance nodes every outcome is 0.
        """
        ...


class SearchResult(NamedTuple):
    """What a search found at its roots; the arrays belong to the caller.

    Attributes
    ----------
    visits
        Visit counts of the root's actions, (B, A) int32; each row sums to the number of simulations.
    values
        Search values of the roots, (B,) float64: the mean over the root's own value and every simulation.
    q_values
        Action values, (B, A) float64; 0.0 where ``visits`` is 0, as in mctx.
    prior_probs
        The prior probabilities as the search used them, (B, A) float64: noisy, masked, normalised.
    max_depth
        Edges from the root to the deepest node, (B,) int32; two edges are one bar, one without chance nodes.
    policy
        The policy target, (B, A) float64, rows sum to 1: the shares of the visits under pUCT, softmax(logits +
        completed Q) under Gumbel selection. Illegal actions have 0.
    actions
        The search's own choice, (B,) int64: the most visited action under pUCT, the best of the most visited under
        Gumbel selection; the first of equals. With Gumbel noise it is a draw from the improved policy.
    """

    visits: npt.NDArray[np.int32]
    values: npt.NDArray[np.float64]
    q_values: npt.NDArray[np.float64]
    prior_probs: npt.NDArray[np.float64]
    max_depth: npt.NDArray[np.int32]
    policy: npt.NDArray[np.float64]
    actions: npt.NDArray[np.int64]
