"""The seeds of a window: each has a checkpoint of its own, all are validated, and one of them is the candidate."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fx_pipeline.agents.record import read_checkpoint
from fx_pipeline.lifecycle.configuration import configuration
from fx_pipeline.lifecycle.needs import Terms


@dataclass(frozen=True)
class SeedCheckpoint:
    """A checkpoint of a window.

    Attributes
    ----------
    folder : Path
    record : Mapping
        Its `checkpoint.json`.
    """

    folder: Path
    record: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """Of its training."""
        return int(self.record["seed"])

    @property
    def sha256(self) -> str:
        """Of its weights."""
        return str(self.record["weights_sha256"])


def seed_checkpoints(settings: Terms, agent: str, instrument: str, window: str) -> list[SeedCheckpoint]:
    """Read the checkpoints of a window, by seed. A training that has not ended has none yet.

    Raises
    ------
    DataError
        If a record is damaged.
    """
    paths = settings.layout.trainings(agent, instrument, window).glob("seed-*/checkpoint.json")
    found = [SeedCheckpoint(path.parent, read_checkpoint(path.parent)) for path in paths]
    return sorted(found, key=lambda checkpoint: checkpoint.seed)


def candidate(checkpoints: Sequence[SeedCheckpoint]) -> SeedCheckpoint:
    """Choose the checkpoint that is judged for promotion, by nothing that the validation shows.

    It is of the configuration with the most seeds, and of these the one that training itself found best on its
    selection span, which lies before the validation: the best of the validated seeds would be the luckiest one.
    Those trained on other data or costs than most were selected by a score that says nothing beside the others.
    """
    seeds = Counter(configuration(checkpoint.record) for checkpoint in checkpoints)
    alike = Counter((configuration(found.record), found.record["data_fingerprint"]) for found in checkpoints)

    def merit(checkpoint: SeedCheckpoint) -> tuple[int, int, float, int]:
        of, selection = configuration(checkpoint.record), checkpoint.record["selection"]
        score = -math.inf if selection is None else float(selection["score"])
        return seeds[of], alike[of, checkpoint.record["data_fingerprint"]], score, -checkpoint.seed

    return max(checkpoints, key=merit)
