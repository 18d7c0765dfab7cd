"""What lies beside an agent's weights: the record that every agent writes, the training's history, and its runs."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fx_pipeline.market.disk import read_stored
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.records import Shape, read_record, what_is_wrong

#: Of `checkpoint.json`.
SCHEMA = 3
RECORD_NAME, WEIGHTS_NAME = "checkpoint.json", "weights.safetensors"
HISTORY_NAME = "history.json"
#: Which runs trained a checkpoint: it changes with every training, where the checkpoint's own record does not.
RUN_NAME = "run.json"


class _Record(Shape):
    agent: str
    preset: str
    config: dict[str, Any]
    config_digest: str
    instrument: str
    pip: float
    window: dict[str, str]
    # What the networks see, and the sessions of their training; checkpoints of earlier versions mean the first kind.
    observation: dict[str, int | str] | None = None
    session_rules: dict[str, int | float | bool] | None = None
    data_fingerprint: str
    # Of the training; checkpoints of earlier versions do not say.
    costs: dict[str, float | str] | None = None
    code_version: str
    seed: int
    device: str
    counters: dict[str, int]
    metrics: dict[str, float]
    selection: dict[str, float] | None
    probe: list[float]
    weights_sha256: str


class _Run(Shape):
    mlflow_run_id: str
    mlflow_url: str
    dagster_run_id: str


_HISTORY = TypeAdapter(list[dict[str, float]])


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """Read the record of a checkpoint.

    Raises
    ------
    DataError
        If it is missing, damaged, or of another version.
    """
    return read_record(folder / RECORD_NAME, _Record, _again(folder), SCHEMA)


def read_run(folder: Path) -> dict[str, str]:
    """Read which runs trained the checkpoint of a folder; errors as of `read_checkpoint`."""
    return read_record(folder / RUN_NAME, _Run, _again(folder))


def read_history(folder: Path) -> list[dict[str, float]]:
    """Read the metrics of each training iteration; empty where nothing was trained, errors as of `read_checkpoint`."""
    path = folder / HISTORY_NAME
    if not path.exists():
        return []
    data = read_stored(path, _again(folder))
    try:
        return _HISTORY.validate_python(json.loads(data))
    except ValidationError as error:
        raise DataError(f"{path} is damaged ({what_is_wrong(error)}): {_again(folder)}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({error}): {_again(folder)}") from error


def _again(folder: Path) -> str:
    # A registered model is no training's folder: it is named by its hash.
    if folder.parent.parent.name == "models":
        return f"train and validate a window of {folder.parent.name} again, or restore the folder from a copy."
    return "materialise muzero_checkpoint of its window again."
