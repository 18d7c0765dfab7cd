"""Records: JSON files of the data folder, each with a version of its shape, read in one way.

A record without a version is of version 1: some files were written before there was one. What a record has beyond its
shape is kept.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from fx_pipeline.market.disk import read_stored
from fx_pipeline.market.errors import DataError, NewerVersionError, OlderVersionError

_NAMED = re.compile(r"(?P<name>.+)/(?P<version>\d{1,6})")


#: Brings a record of an older version up to date.
Upgrade = Callable[[dict[str, Any], int], dict[str, Any]]


class Shape(BaseModel):
    """Base of the shapes: what keys a record must have, and of what type. Nothing is converted."""

    model_config = ConfigDict(extra="allow", strict=True)


def read_record(
    path: Path,
    shape: type[BaseModel] | TypeAdapter[Any],
    remedy: str,
    schema: int | str = 1,
    version_key: str = "schema",
    oldest: int | None = None,
    upgrade: Upgrade | None = None,
) -> dict[str, Any]:
    """Read a record and check it.

    Parameters
    ----------
    path : Path
    shape : type of BaseModel, or TypeAdapter of a typed dict
        The keys that readers rely on, and their types.
    remedy : str
        What to do when it cannot be used, as the end of a sentence.
    schema : int or str
        The version that this program writes; or name and version: ``name/version``.
    version_key : str
        Where it stands.
    oldest : int, optional
        Oldest version that can still be read; by default the present one alone.
    upgrade : callable, optional
        From a record of an older version, and the version, to one of the present shape, which is then checked.

    Returns
    -------
    dict
        All of the record.

    Raises
    ------
    DataError
        If it is not there, not JSON, lacks a key, has a value of another type, or is of another version; the message
        names the file and ends with `remedy`. `MissingFileError`, `NewerVersionError` and `OlderVersionError` are kinds
        of it.
    StorageError
        If it may not be read.
    """
    return check_record(read_stored(path, remedy), path, shape, remedy, schema, version_key, oldest, upgrade)


def check_record(
    data: bytes,
    path: Path,
    shape: type[BaseModel] | TypeAdapter[Any],
    remedy: str,
    schema: int | str = 1,
    version_key: str = "schema",
    oldest: int | None = None,
    upgrade: Upgrade | None = None,
) -> dict[str, Any]:
    """Return the record that the bytes of a file are; the rest is as of `read_record`."""
    try:
        document = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({_not_json(data, error)}): {remedy}") from error
    if not isinstance(document, dict):
        raise DataError(f"{path} is damaged (it is JSON, but no record): {remedy}")
    said = document.get(version_key, 1)
    version, newest = _version(said, schema), _version(schema, schema)
    if version is None or newest is None:
        raise DataError(f"{path} is damaged (its {version_key} is {said!r}, not {schema!r}): {remedy}")
    if version > newest:
        raise NewerVersionError(
            f"{path} was written by a newer version of fx-pipeline ({version_key} {said}, this one reads {schema}): "
            f"update the code. To go on with this version, move the file away and {remedy}"
        )
    if version < (newest if oldest is None else oldest):
        raise OlderVersionError(
            f"{path} was written by an older version of fx-pipeline ({version_key} {said}, this one reads {schema}):"
            f" {remedy}"
        )
    if upgrade is not None and version < newest:
        document = upgrade(document, version)
    try:
        if isinstance(shape, TypeAdapter):
            shape.validate_python(document, strict=True)
        else:
            shape.model_validate(document)
    except ValidationError as error:
        raise DataError(f"{path} is damaged ({what_is_wrong(error)}): {remedy}") from error
    return document


def what_is_wrong(error: ValidationError) -> str:
    """Say in a few words what is wrong first, and how much else is."""
    found = error.errors(include_url=False, include_context=False)
    first = found[0]
    place = ".".join(str(part) for part in first["loc"]) or "it"
    message = first["msg"].removeprefix("Value error, ")
    said = f"it lacks the key {place}" if first["type"] == "missing" else f"{place}: {message[0].lower()}{message[1:]}"
    return said + (f", and {len(found) - 1} more" if len(found) > 1 else "")


def _version(said: Any, schema: int | str) -> int | None:
    # None of what is no version of that schema.
    if isinstance(said, int) and not isinstance(said, bool) and said > 0:
        # What has no name was written before there were versions.
        return said if isinstance(schema, int) or said == 1 else None
    if not isinstance(said, str) or not isinstance(schema, str):
        return None
    found, known = _NAMED.fullmatch(said), _NAMED.fullmatch(schema)
    return int(found["version"]) if found and known and found["name"] == known["name"] else None


def _not_json(data: bytes, error: Exception) -> str:
    if not data:
        return "it is empty"
    if not data.strip(b"\0"):
        return "it holds nothing but zeros"
    return "it nests too deeply" if isinstance(error, RecursionError) else f"it is not JSON: {error}"


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")
