"""The ways by which something worthless was promoted once, played through the jobs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Played:
    """How a route ended.

    Attributes
    ----------
    name : str
    promoted : bool
    refused_by : str
        In words; empty when it was promoted.
    """

    name: str
    promoted: bool
    refused_by: str


def play_all() -> list[Played]:
    return []
