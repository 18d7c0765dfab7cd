"""Whether the pipeline of `fx-pipeline ui` is well: a file that it writes, and how others judge it."""

import json
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from fx_pipeline.market.atomic import atomic_write_bytes, process_runs
from fx_pipeline.market.errors import MissingFileError
from fx_pipeline.market.records import read_record

NAME = "health.json"
STARTING, READY, STOPPING, STOPPED, FAILED = "starting", "ready", "stopping", "stopped", "failed"
#: A file that is older was left behind, or its writer hangs; it is written every second.
STALE_S = 20.0


_CONFIG = ConfigDict(strict=True, allow_inf_nan=False)


@with_config(_CONFIG)
class _Addresses(TypedDict):
    dagster: str
    reports: str


@with_config(_CONFIG)
class _Record(TypedDict):
    state: str
    process: Annotated[int, Field(gt=0, lt=2**31)]
    updated_s: float
    addresses: _Addresses
    parts: dict[str, dict[str, Any]]
    last_tick_s: float | None
    tick_limit_s: float | None
    problems: list[str]
    said: list[str]


_RECORD = TypeAdapter(_Record)


@dataclass
class Health:
    """What `fx-pipeline ui` says of itself.

    Attributes
    ----------
    state : str
        "starting", "ready", "stopping", "stopped" or "failed".
    process : int
        Of the command.
    updated_s : float
        Seconds since 1970.
    addresses : dict
        Of the Dagster UI and the reports, without the token.
    parts : dict
        For each process its id, how often it was started, and what is wrong with it ("" while it is well).
    last_tick_s : float or None
        When a sensor began to look last, seconds since 1970.
    tick_limit_s : float or None
        How old that may be; None while no sensor is on.
    problems : list of str
        What is wrong now.
    said : list of str
        The newest lines that the command printed about its processes.
    """

    state: str
    process: int
    updated_s: float
    addresses: dict[str, str] = field(default_factory=dict)
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    last_tick_s: float | None = None
    tick_limit_s: float | None = None
    problems: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def write_health(path: Path, health: Health) -> None:
    """Write the file; it need not outlive a power cut."""
    atomic_write_bytes(path, (json.dumps(asdict(health), indent=1, allow_nan=False) + "\n").encode(), sync=False)


def read_health(path: Path) -> Health | None:
    """Return what was written last, None where nothing was.

    Raises
    ------
    DataError
        If the file holds something else.
    """
    try:
        found = read_record(path, _RECORD, "remove it; fx-pipeline ui writes it again.")
    except MissingFileError:
        return None
    return Health(**{part.name: found[part.name] for part in fields(Health)})


def judge(health: Health | None, now_s: float | None = None) -> tuple[bool, str]:
    """Return whether the pipeline is well, and a line that says so or why not."""
    now = time.time() if now_s is None else now_s
    if health is None:
        return False, "not running: fx-pipeline ui was never started on this data folder"
    if health.state in (STOPPED, FAILED):
        return False, f"not running: {health.state}{_because(health)}"
    if not process_runs(health.process):
        return False, f"not running: process {health.process} of fx-pipeline ui is gone"
    age = now - health.updated_s
    if age > STALE_S:
        return False, f"not responding: process {health.process} of fx-pipeline ui has said nothing for {age:.0f} s"
    if health.state != READY or health.problems:
        return False, f"{health.state}{_because(health)}"
    if health.tick_limit_s is None:
        return True, "ready; no sensor is on"
    if health.last_tick_s is None:
        return True, "ready; no sensor has looked yet"
    return True, f"ready; a sensor looked {max(0.0, now - health.last_tick_s):.0f} s ago"


def _because(health: Health) -> str:
    return f": {'; '.join(health.problems)}" if health.problems else ""
