"""Which report was materialised last: a pointer that survives moving or copying the data folder."""

import os
from pathlib import Path

from fx_pipeline.market.atomic import atomic_write_json
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.records import Shape, read_record

SCHEMA = 1


class _Pointer(Shape):
    folder: str


def write_newest(path: Path, folder: Path) -> None:
    """Note that the report in `folder` was materialised last; it is named relative to the pointer's own folder."""
    atomic_write_json(path, {"schema": SCHEMA, "folder": os.path.relpath(folder.resolve(), path.parent.resolve())})


def read_newest(path: Path) -> Path:
    """Return the folder of the report that was materialised last.

    Raises
    ------
    DataError
        If there is none, or the pointer is damaged.
    """
    none = DataError("there is no validation report yet: run make demo, or materialise validation_report.")
    if not path.exists():
        raise none
    remedy = "materialise validation_report again; the reports themselves are below reports/."
    named = read_record(path, _Pointer, remedy, SCHEMA)["folder"]
    # Pointers of before were relative to the working directory.
    for folder in (path.parent / named, Path(named)):
        if (folder / "report.json").exists():
            return folder
    raise none
