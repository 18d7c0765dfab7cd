"""Which training left a checkpoint: the trial ledger knows, so that none can be put in its place.

A checkpoint is a folder of files. Who copies the weights of a later window into it, whose training saw the days that
are judged, or writes another score of selection, seed or settings into its record, has a checkpoint that fits in all
that it says of itself. So a training writes down what it left, in the chain, and what nobody wrote down is left out.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fx_pipeline.agents.record import RECORD_NAME, read_checkpoint
from fx_pipeline.lifecycle.configuration import configuration

if TYPE_CHECKING:
    from fx_pipeline.tracking.ledger import Ledger, ScoredTrial

#: Events in the ledger: what a training left, and from where on every training is written down.
TRAINED, KEPT = "trained", "trainings are kept"


@dataclass(frozen=True)
class Vouchers:
    """What the ledger knows of trainings, read once.

    Attributes
    ----------
    records : set of (str, str, str)
        Instrument, window, and hash of the record that a training left there.
    weights : set of (str, str, str)
        Instrument, window, and hash of the weights.
    earlier : set of tuple
        Instrument, window, weights, configuration and seed of what was scored before trainings were written down.
    """

    records: frozenset[tuple[str, str, str]]
    weights: frozenset[tuple[str, str, str]]
    earlier: frozenset[tuple[str, str, str, str, int]]

    def knows(self, row: "ScoredTrial") -> bool:
        """Whether a training left the weights that were scored, as far as the ledger can know."""
        scored = (row.instrument, row.window, row.checkpoint_hash)
        return scored in self.weights or (*scored, row.config_hash, row.seed) in self.earlier

    def doubt(self, instrument: str, window: str, folder: Path, record: Mapping[str, Any]) -> str:
        """Say why a checkpoint is not taken for what a training left; empty where the ledger vouches for it."""
        if (instrument, window, _sha256_of(folder)) in self.records:
            return ""
        scored = (instrument, window, record["weights_sha256"], configuration(record), int(record["seed"]))
        if scored in self.earlier:
            return ""
        return (
            f"the trial ledger knows of no training that left the checkpoint in {folder} as it is: its weights or "
            "their record were changed, or they were made elsewhere or by an earlier version. Materialise the "
            "checkpoint again: the same data, settings, seed and code give the same bytes."
        )


def keep_trainings(ledger: "Ledger") -> None:
    """Write down, once, that trainings are from here on: what was scored before is of an earlier version.

    In a new ledger it is the first row. So a ledger that was deleted vouches for nothing of before.
    """
    if not ledger.events(KEPT):
        ledger.note(KEPT, {})


def note_training(ledger: "Ledger", instrument: str, window: str, folder: Path) -> None:
    """Write down what a training left in a folder."""
    record = read_checkpoint(folder)
    ledger.note(
        TRAINED,
        {
            "instrument": instrument,
            "window": window,
            "seed": record["seed"],
            "config_hash": configuration(record),
            "checkpoint_hash": record["weights_sha256"],
            "record_sha256": _sha256_of(folder),
        },
    )


def vouchers(ledger: "Ledger") -> Vouchers:
    """Read what the ledger knows of trainings."""
    events = ledger.events(TRAINED)
    earlier = ledger.scored_before(KEPT)
    return Vouchers(
        frozenset((event["instrument"], event["window"], event["record_sha256"]) for event in events),
        frozenset((event["instrument"], event["window"], event["checkpoint_hash"]) for event in events),
        frozenset(earlier),
    )


def _sha256_of(folder: Path) -> str:
    # Of the record alone: it names the weights by their hash, which whoever loads them holds against it.
    return hashlib.sha256((folder / RECORD_NAME).read_bytes()).hexdigest()
