"""What an agent may do: each action is the exposure that it asks for.

An exposure is the signed share of the allowed position, -1 to 1. Checkpoints depend on the order of the actions.
"""

from dataclasses import dataclass

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
