"""Records: JSON files of the data folder, each with a version of its shape, read in one way.

A record without a version is of version 1: the files were written before there was one. What a record has beyond its
shape is kept.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fx_pipeline.market.disk import read_stored
from fx_pipeline.market.errors import DataError, NewerVersionError, OlderVersionError


class Shape(BaseModel):
    """Base of the shapes: what keys a record must have, and of what type. Nothing is converted."""

    model_config = ConfigDict(extra="allow", strict=True)


def read_record(
    path: Path, shape: type[BaseModel], remedy: str, schema: int = 1, version_key: str = "schema"
) -> dict[str, Any]:
    """Read a record and check it.

    Parameters
    ----------
    path : Path
    shape : type of BaseModel
    remedy : str
        What to do when it cannot be used, as the end of a sentence.
    schema : int
        The version that is read.
    version_key : str
        Where it stands.

    Returns
    -------
    dict
        All of the record.

    Raises
    ------
    DataError
        If it is not there, not JSON, lacks a key, has a value of another type, or is of another version; the message
        names the file and ends with `remedy`. `NewerVersionError` and `OlderVersionError` are kinds of it.
    StorageError
        If it may not be read.
    """
    return check_record(read_stored(path, remedy), path, shape, remedy, schema, version_key)


def check_record(
    data: bytes, path: Path, shape: type[BaseModel], remedy: str, schema: int = 1, version_key: str = "schema"
) -> dict[str, Any]:
    """Return the record that the bytes of a file are; the rest is as of `read_record`."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({_not_json(data, error)}): {remedy}") from error
    if not isinstance(document, dict):
        raise DataError(f"{path} is damaged (it is JSON, but no record): {remedy}")
    version = document.get(version_key, 1)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise DataError(f"{path} is damaged (its {version_key} is {version!r}): {remedy}")
    if version > schema:
        raise NewerVersionError(
            f"{path} was written by a newer version of fx-pipeline ({version_key} {version}, this one reads {schema}): "
            f"update the code. To go on with this version, move the file away and {remedy}"
        )
    if version < schema:
        raise OlderVersionError(
            f"{path} was written by an older version of fx-pipeline ({version_key} {version}, this one reads {schema}):"
            f" {remedy}"
        )
    try:
        shape.model_validate(document)
    except ValidationError as error:
        raise DataError(f"{path} is damaged ({what_is_wrong(error)}): {remedy}") from error
    return document


def what_is_wrong(error: ValidationError) -> str:
    """Say in a few words what is wrong first."""
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "it"
    if first["type"] == "missing":
        return f"it lacks the key {place}"
    message = first["msg"]
    return f"{place}: {message[0].lower()}{message[1:]}"


def _not_json(data: bytes, error: Exception) -> str:
    if not data:
        return "it is empty"
    if not data.strip(b"\0"):
        return "it holds nothing but zeros"
    return "it nests too deeply" if isinstance(error, RecursionError) else f"it is not JSON: {error}"
