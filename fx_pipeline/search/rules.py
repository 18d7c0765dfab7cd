"""Settings of a search as numbers, in the form that the kernels take."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fx_pipeline.search.types import SearchConfig


class Rules(NamedTuple):
    """What the kernels know of a `SearchConfig`.

    ``exploration`` (simulations + 2,) float64 is pUCT's weight of the prior by a node's visits. ``action_discount`` is
    that of the edges of decision nodes; ``expects`` says whether values are expectations (see `growth`).
    ``considered_visits`` (K + 1, simulations) int64 says, by the number of actions that sequential halving considers,
    what visit count each simulation's action must have. ``noise_fraction`` is the share of Dirichlet noise,
    ``noise_scale`` the factor of Gumbel noise.
    """

    simulations: int
    num_actions: int
    num_outcomes: int
    exploration: npt.NDArray[np.float64]
    discount: float
    action_discount: float
    samples_chance: bool
    expects: bool
    noise_fraction: float
    noise_alpha: float
    uses_gumbel: bool
    noise_scale: float
    considered_visits: npt.NDArray[np.int64]
    value_scale: float
    rescales: bool
    maxvisit_init: float
    seed: np.uint64


def make_rules(config: SearchConfig, num_actions: int, num_outcomes: int) -> Rules:
    """Build the rules of searches with all of the root's noise; `at_noise` gives them a seed.

    Parameters
    ----------
    config
        Settings of the search.
    num_actions, num_outcomes
        A and C; C = 0 is a search without chance nodes.

    Returns
    -------
    Rules

    Raises
    ------
    ValueError
        If ``num_actions`` is less than 1 or ``num_outcomes`` is negative.
    """
    if num_actions < 1 or num_outcomes < 0:
        raise ValueError(
            f"num_actions must be at least 1 and num_outcomes at least 0, got {num_actions} and {num_outcomes}"
        )
    uses_gumbel = config.root_action_selection == "gumbel"
    most_considered = min(config.max_num_considered_actions, num_actions)
    return Rules(
        simulations=config.simulations,
        num_actions=num_actions,
        num_outcomes=num_outcomes,
        exploration=_exploration_weights(config),
        discount=config.discount,
        # The market's answer ends the step: an action that leads to a chance node has not taken time yet.
        action_discount=1.0 if num_outcomes > 0 else config.discount,
        samples_chance=config.chance_selection == "sample",
        expects=config.backup == "expected",
        noise_fraction=0.0 if uses_gumbel else config.dirichlet_fraction,
        noise_alpha=config.dirichlet_alpha,
        uses_gumbel=uses_gumbel,
        noise_scale=1.0 if uses_gumbel else 0.0,
        considered_visits=np.array(
            [considered_visits(count, config.simulations) for count in range(most_considered + 1)], dtype=np.int64
        ),
        value_scale=config.value_scale,
        rescales=config.rescale_values,
        maxvisit_init=config.maxvisit_init,
        seed=np.uint64(0),
    )


def at_noise(rules: Rules, noise: float, seed: np.uint64) -> Rules:
    """Rules with a share, 0 to 1, of the noise of `rules` (Dirichlet under pUCT, Gumbel under Gumbel selection).

    Raises
    ------
    ValueError
        If ``noise`` lies outside [0, 1].
    """
    if not 0.0 <= noise <= 1.0:
        raise ValueError(f"noise must lie in [0, 1], got {noise}")
    return rules._replace(seed=seed, noise_fraction=noise * rules.noise_fraction, noise_scale=noise * rules.noise_scale)


def considered_visits(considered: int, simulations: int) -> list[int]:
    """The schedule of sequential halving.

    Karnin et al. 2013, "Almost optimal exploration in multi-armed bandits", as mctx divides the simulations up.

    Parameters
    ----------
    considered
        Actions considered at first.
    simulations
        Simulations to divide up.

    Returns
    -------
    list of int
        For each simulation, the visit count that its action must have: of the considered actions with that count the
        best is visited.
    """
    if considered <= 1:
        return list(range(simulations))
    phases = math.ceil(math.log2(considered))
    sequence: list[int] = []
    visits = [0] * considered
    remaining = considered
    while len(sequence) < simulations:
        for _ in range(max(1, int(simulations / (phases * remaining)))):
            sequence.extend(visits[:remaining])
            for place in range(remaining):
                visits[place] += 1
        remaining = max(2, remaining // 2)
    return sequence[:simulations]


def _exploration_weights(config: SearchConfig) -> npt.NDArray[np.float64]:
    """sqrt(N) * (c1 + log((N + c2 + 1) / c2)) for N = 0 ... simulations + 1; a node counts itself, so N >= 1 in use."""
    base = config.pb_c_base
    return np.array(
        [
            math.sqrt(max(n, 1)) * (config.pb_c_init + math.log((n + base + 1.0) / base))
            for n in range(config.simulations + 2)
        ]
    )
