"""MLflow writes down whole paths: in a data folder that was moved or copied, they lead to where it was.

Of a copy, new runs would then lay their artifacts into the original, and a registered model would be the original's.
"""

import contextlib
import sqlite3
from pathlib import Path

#: Columns that hold places of files; a version of MLflow that has not all of them keeps what it has.
_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)


def relocate(database: Path, artifacts_dir: Path) -> list[str]:
    """Let the places in a store begin with its own folder; return the folders that they began with.

    Parameters
    ----------
    database : Path
        Of MLflow. The folder that it lies in is the data folder.
    artifacts_dir : Path
        Directly in that folder. An experiment whose artifacts lie in a folder of that name tells where it was.
    """
    here = f"{database.parent.as_uri()}/"
    name = artifacts_dir.name
    with contextlib.closing(sqlite3.connect(database, timeout=20.0, isolation_level=None)) as connection:
        found = connection.execute(
            "SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE ? ESCAPE '!'",
            (f"file:///%/{_literal(name)}/%",),
        ).fetchall()
        places = {location[: location.rindex(f"/{name}/") + 1] for (location,) in found}
        elsewhere = sorted(place for place in places if place != here)
        if not elsewhere:
            return []
        connection.execute("BEGIN IMMEDIATE")
        for table, column in _PLACES:
            if column not in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}:
                continue
            for place in elsewhere:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                    (here, len(place) + 1, len(place), place),
                )
        connection.execute("COMMIT")
    return elsewhere


def _literal(name: str) -> str:
    return name.replace("!", "!!").replace("%", "!%").replace("_", "!_")
