"""Seeds of a proof that are done, on disk until the whole proof is: one that was stopped goes on where it was."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, field_validator

from fx_pipeline.agents.registry import ENTRIES
from fx_pipeline.market.atomic import atomic_write_json
from fx_pipeline.market.errors import DataError, NewerVersionError
from fx_pipeline.market.records import Shape, read_record
from fx_pipeline.proofs.peer import PEER
from fx_pipeline.proofs.prove import Proof, SeedResult
from fx_pipeline.provenance.closure import code_digest
from fx_pipeline.provenance.stamps import identity

SCHEMA = 1
#: What trains and judges a seed; the peer is trained beside any agent.
_PROVES = "fx_pipeline.proofs.seeds"

logger = logging.getLogger(__name__)
_SEED = TypeAdapter(SeedResult)


class _Kept(Shape):
    made_from: str
    seeds: dict[str, dict[str, Any]]

    @field_validator("seeds")
    @classmethod
    def _are_seeds(cls, seeds: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for record in seeds.values():
            _SEED.validate_python(record)
        return seeds


def unfinished_path(folder: Path, agent: str, case: str) -> Path:
    """Where finished seeds lie below a folder of proofs until the result stands there."""
    return folder / agent / f"{case}.unfinished.json"


class FinishedSeeds:
    """The finished seeds of a proof; those of another proof, of other code or of another machine count as none.

    A market has one such file: the first seed of another preset, or its result, takes the place of what was there.

    Parameters
    ----------
    path : Path or None
        From `unfinished_path`; None keeps nothing.
    proof : Proof
        The number of seeds may differ: a seed is the same among two or five.
    made_by : Mapping
        From `fx_pipeline.proofs.prove.provenance`.

    Attributes
    ----------
    seconds : float
        Wall time that the seeds took which `of` gave, training and judging, one after another.
    """

    def __init__(self, path: Path | None, proof: Proof, made_by: Mapping[str, Any]) -> None:
        measured = {name: value for name, value in asdict(proof).items() if name != "seeds"}
        # The code of the agent itself is in `made_by`.
        code = code_digest(_PROVES, ENTRIES[PEER])
        self._path, self._identity = path, identity(code, proof=measured, made_by=dict(made_by))
        self.seconds = 0.0
        self._seeds: dict[str, dict[str, Any]] = {}
        if path is not None and path.exists():
            self._seeds = self._read(path)

    def of(self, player: str, seed: int) -> SeedResult | None:
        """What a player made with a seed, None if that is still to be done."""
        record = self._seeds.get(f"{player} {seed}")
        if record is None:
            return None
        self.seconds += record["seconds"] + record["evaluation_seconds"]
        return _SEED.validate_python(record)

    def add(self, player: str, result: SeedResult) -> None:
        """Keep what a player made with a seed."""
        self._seeds[f"{player} {result.seed}"] = asdict(result)
        if self._path is not None:
            atomic_write_json(self._path, {"schema": SCHEMA, "made_from": self._identity, "seeds": self._seeds})

    def _read(self, path: Path) -> dict[str, dict[str, Any]]:
        try:
            kept = read_record(path, _Kept, "its seeds are trained again.", SCHEMA)
            return dict(kept["seeds"]) if kept["made_from"] == self._identity else {}
        except NewerVersionError:
            raise
        except DataError as error:
            # A damaged file vouches for nothing.
            logger.warning("%s", error)
            return {}
