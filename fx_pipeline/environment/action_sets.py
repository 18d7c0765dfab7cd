"""What an agent may do: each action is the exposure that it asks for.

An exposure is the signed share of the allowed position, -1 to 1. Checkpoints depend on the order of the actions.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.errors import ConfigurationError


@dataclass(frozen=True)
class ActionSet:
    """A set of actions.

    Attributes
    ----------
    name : str
    names : tuple of str
        Of the actions, in their order; A of them.
    targets : tuple of float or None
        The exposure that each action asks for; None keeps what is held.
    through_flat : bool
        Whether a position can only be left to flat: an action that would turn or resize it is not legal then, nor is
        one that changes nothing, other than to keep. Otherwise every action is legal at every bar but a session's
        last, and one whose target is held already keeps it.
    """

    name: str
    names: tuple[str, ...]
    targets: tuple[float | None, ...]
    through_flat: bool

    def __post_init__(self) -> None:
        if len(self.names) != len(self.targets) or len(set(self.names)) != len(self.names):
            raise ConfigurationError(f"actions of {self.name} need one name each and one target each.")
        exposures = [target for target in self.targets if target is not None]
        if any(not -1.0 <= target <= 1.0 for target in exposures) or 0.0 not in exposures:
            raise ConfigurationError(f"targets of {self.name} must be exposures of -1 to 1, and one of them flat (0).")
        if len(set(self.targets)) != len(self.targets):
            raise ConfigurationError(f"two actions of {self.name} ask for the same exposure.")
        if self.through_flat and None not in self.targets:
            raise ConfigurationError(f"{self.name} leaves positions to flat alone, and has no action that keeps one.")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def flat(self) -> int:
        """The action that asks for no exposure."""
        return self.targets.index(0.0)

    @property
    def keep(self) -> int | None:
        """The action that keeps what is held, whatever it is; None where targets say it all."""
        return self.targets.index(None) if None in self.targets else None

    @property
    def mirror(self) -> tuple[int, ...] | None:
        """Of each action, its number in a market turned upside down; None where a side is missing."""
        turned = tuple(None if target is None else -target for target in self.targets)
        if set(turned) != set(self.targets):
            return None
        return tuple(self.targets.index(target) for target in turned)

    @cached_property
    def levels(self) -> tuple[float, ...]:
        """The exposures that can be held, from the longest to the shortest; flat is one of them."""
        return tuple(sorted((target for target in self.targets if target is not None), reverse=True))

    @property
    def rest(self) -> int:
        """The action that does nothing on a flat account: to keep, or where there is none to be flat."""
        return self.flat if self.keep is None else self.keep

    @property
    def target_array(self) -> npt.NDArray[np.float64]:
        """The targets (A,), NaN for the action that keeps."""
        return np.array([np.nan if target is None else target for target in self.targets])

    @property
    def legal_table(self) -> npt.NDArray[np.bool_]:
        """Which actions are legal, (2, 2, A): at a session's last bar or before it [0 no, 1 yes], in a position or flat
        [0 flat, 1 in a position]."""
        table = np.zeros((2, 2, len(self)), dtype=np.bool_)
        for action, target in enumerate(self.targets):
            flat, keep = target == 0.0, target is None
            if self.through_flat:
                table[0, 0, action], table[0, 1, action] = not flat, flat or keep
                table[1, 0, action], table[1, 1, action] = keep, flat
            else:
                table[0, :, action] = True
                table[1, 0, action], table[1, 1, action] = flat or keep, flat
        return table

    def playable(self, actions: npt.ArrayLike, legal: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Turn actions that are not legal into the one that keeps, or where a session must end flat into that.

        Parameters
        ----------
        actions : (B,) int
            Each in 0..A - 1.
        legal : (B, A) bool

        Returns
        -------
        (B,) int64
        """
        chosen = np.asarray(actions, dtype=np.int64)
        allowed = legal[np.arange(len(chosen)), chosen]
        return np.where(allowed, chosen, np.where(legal[:, self.rest], self.rest, self.flat))

    def toward(self, wanted: npt.ArrayLike, held: npt.ArrayLike, legal: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Return the legal actions that bring exposures nearest to those that are wanted.

        Parameters
        ----------
        wanted : (B,) float
            Each one of `levels`.
        held : (B,) float
            As of the position features; rounded to float32 or not.
        legal : (B, A) bool

        Returns
        -------
        (B,) int64
        """
        levels = np.array(self.levels)
        want, have = self.level_of(wanted), self.level_of(held)
        reached = np.array([self.targets.index(level) for level in self.levels])
        action = reached[want]
        if self.through_flat:
            action = np.where(levels[have] != 0.0, self.flat, action)
        if self.keep is not None:
            action = np.where(want == have, self.keep, action)
        return self.playable(action, legal)

    def level_of(self, exposure: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return which of `levels` (B,) exposures are nearest to."""
        away = np.abs(np.asarray(exposure, dtype=np.float64)[:, None] - np.array(self.levels))
        return np.asarray(away.argmin(axis=1), dtype=np.int64)


UNIT4 = ActionSet("unit4", ("HOLD", "BUY", "SELL", "CLOSE"), (None, 1.0, -1.0, 0.0), through_flat=True)
LONG_FLAT = ActionSet("long_flat", ("FLAT", "LONG"), (0.0, 1.0), through_flat=False)
LONG_FLAT_SHORT = ActionSet("long_flat_short", ("FLAT", "LONG", "SHORT"), (0.0, 1.0, -1.0), through_flat=False)
LEVERAGE7 = ActionSet(
    "leverage7",
    ("SHORT_3", "SHORT_2", "SHORT_1", "FLAT", "LONG_1", "LONG_2", "LONG_3"),
    (-1.0, -2 / 3, -1 / 3, 0.0, 1 / 3, 2 / 3, 1.0),
    through_flat=False,
)
ACTION_SETS = {found.name: found for found in (UNIT4, LONG_FLAT, LONG_FLAT_SHORT, LEVERAGE7)}


def action_set(name: str) -> ActionSet:
    """Return the action set of that name.

    Raises
    ------
    ConfigurationError
        If there is none.
    """
    found = ACTION_SETS.get(name)
    if found is None:
        raise ConfigurationError(f"action set {name!r} is unknown: use {', '.join(ACTION_SETS)}.")
    return found
