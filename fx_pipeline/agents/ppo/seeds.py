"""What random numbers of a training are for; see `agents.kit.seeds`."""

from enum import IntEnum


class Purpose(IntEnum):
    """What a random number is for."""

    WEIGHTS = 100
    STARTS = 101
    ACTIONS = 102
    BATCHES = 103
