"""Which data folder this is: its own, moved, or a copy of another one, which goes on by itself."""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, with_config
from typing_extensions import TypedDict

from fx_pipeline.market.atomic import atomic_write_json
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.records import read_record

SCHEMA = "fx_pipeline.data_folder/1"
NAME = "data_folder.json"


@with_config(ConfigDict(strict=True))
class _Record(TypedDict):
    id: str
    path: str
    copied_from: str


_RECORD: TypeAdapter[Any] = TypeAdapter(_Record)


@dataclass(frozen=True)
class DataFolder:
    """What a data folder says of itself.

    Attributes
    ----------
    id : str
        Kept when it is moved; a copy gets its own.
    path : str
        Where it is.
    copied_from : str
        Where the folder was that it is a copy of; empty for an original.
    """

    id: str
    path: str
    copied_from: str = ""

    @property
    def said(self) -> str:
        """A sentence on a copy; empty for an original."""
        if not self.copied_from:
            return ""
        return (
            f"this data folder is a copy of {self.copied_from}: champion, trial ledger, tracking and paper account are "
            "its own from there on, and neither knows what the other does. Let only one of them trade an account."
        )


def identify(data_dir: Path) -> DataFolder:
    """Tell which folder this is, and write it down where that is new.

    A folder whose record names another place is a copy if that place still has the same id, and was moved else.

    Raises
    ------
    DataError
        If the record is damaged.
    """
    path = data_dir / NAME
    here = str(data_dir.resolve())
    known = _read(path)
    if known is None:
        folder = DataFolder(uuid.uuid4().hex, here)
    elif known.path == here or _is_same(Path(known.path), data_dir):
        return known
    else:
        original = _other(Path(known.path) / NAME)
        if original is not None and original.id == known.id:
            folder = DataFolder(uuid.uuid4().hex, here, known.path)
        else:
            folder = DataFolder(known.id, here, known.copied_from)
    atomic_write_json(path, {"schema": SCHEMA, "id": folder.id, "path": folder.path, "copied_from": folder.copied_from})
    return folder


def _read(path: Path) -> DataFolder | None:
    try:
        record = read_record(path, _RECORD, "delete it, it is made again.", SCHEMA)
    except FileNotFoundError:
        return None
    return DataFolder(record["id"], record["path"], record["copied_from"])


def _other(path: Path) -> DataFolder | None:
    try:
        return _read(path)
    except DataError:
        # A folder that is not ours tells nothing.
        return None


def _is_same(first: Path, second: Path) -> bool:
    # The same folder under another name: a link, or a mount.
    try:
        return first.samefile(second)
    except OSError:
        return False
