"""Records: small JSON files that other processes read again. One reader for all of them, which names what is wrong."""

import json
import re
from pathlib import Path
from typing import Any, NoReturn

from pydantic import TypeAdapter, ValidationError

from fx_pipeline.market.errors import DataError

_VERSION = re.compile(r"(?P<name>.+)/(?P<version>\d{1,6})")
#: Problems of a record that its error lists; who mends one sees the next.
_SHOWN = 3


def read_record(
    path: Path,
    kind: TypeAdapter[Any],
    *,
    what: str,
    schema: str,
    remedy: str,
    oldest: int | None = None,
    unmarked: bool = False,
) -> dict[str, Any]:
    """Read a record and hold it against its type; what it has beyond that is kept.

    Parameters
    ----------
    path : Path
    kind : TypeAdapter
        Of a typed dict: the keys that readers rely on, and their types.
    what : str
        What the file should be, for errors: "a validation report".
    schema : str
        Name and version that this program writes: ``name/version``.
    remedy : str
        The end of an error's sentence: what to do.
    oldest : int, optional
        Oldest version that can still be read; by default the present one alone.
    unmarked : bool
        Whether a record without a schema counts as one of the oldest version.

    Raises
    ------
    FileNotFoundError
    DataError
        If it cannot be read, is of another or a newer version, or lacks what its type asks for.
    """

    def refuse(reason: str, cause: Exception | None = None) -> NoReturn:
        raise DataError(f"{path} is not {what} ({reason}): {remedy}") from cause

    try:
        record = json.loads(path.read_bytes(), parse_constant=_no_number)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): make it readable, or {remedy}") from error
    except (ValueError, RecursionError) as error:
        refuse(str(error) or type(error).__name__, error)
    if not isinstance(record, dict):
        refuse(f"it holds a {type(record).__name__}")
    _require_schema(path, record.get("schema"), what, schema, remedy, oldest, unmarked)
    try:
        kind.validate_python(record, strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        told = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg'].lower()}" for item in found[:_SHOWN]]
        more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        refuse("; ".join(told) + more, error)
    return record


def _require_schema(
    path: Path, found: Any, what: str, schema: str, remedy: str, oldest: int | None, unmarked: bool
) -> None:
    if found is None and unmarked:
        return
    wanted, said = _VERSION.fullmatch(schema), _VERSION.fullmatch(found) if isinstance(found, str) else None
    if wanted is None:
        raise ValueError(f"a schema is name/version, and not {schema!r}.")
    newest = int(wanted["version"])
    if said is not None and said["name"] == wanted["name"]:
        version = int(said["version"])
        if version > newest:
            raise DataError(
                f"{path} was written by a newer version of fx_pipeline ({found}; this one knows {schema}): update "
                "fx_pipeline, or use the data folder with the version that wrote it."
            )
        if version >= (newest if oldest is None else oldest):
            return
    raise DataError(f"{path} does not have the schema {schema} of {what}: {remedy}")


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")
