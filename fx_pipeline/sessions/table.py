"""The session index in DuckDB, and the walk-forward plan as JSON beside it."""

from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt

from fx_pipeline.features.names import FeatureTable
from fx_pipeline.market.arrays import SESSION_BARS, MarketArrays
from fx_pipeline.market.atomic import atomic_write_json
from fx_pipeline.market.errors import DataError, NewerVersionError
from fx_pipeline.market.records import Shape, read_record
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.sessions.names import SessionTable
from fx_pipeline.sessions.windows import WalkForwardConfig, WalkForwardWindow

#: Of the plan.
PLAN_SCHEMA = 1


def session_schema(table: SessionTable) -> str:
    """Return the statement that makes a table of sessions if there is none."""
    return f"""
CREATE TABLE IF NOT EXISTS {table.name} (
    instrument VARCHAR NOT NULL, start_time TIMESTAMP NOT NULL, last_time TIMESTAMP NOT NULL,
    range_pips DOUBLE NOT NULL,
    PRIMARY KEY (instrument, start_time)
);
"""


@dataclass(frozen=True)
class Plan:
    """The walk-forward plan of an instrument: the windows, and what they were planned from.

    Attributes
    ----------
    days : int
        Trading days of the newest stretch without a long hole.
    train_days, validation_days : int
        Spans of a window that is planned now.
    windows : tuple of WalkForwardWindow
        Oldest first.
    asked : WalkForwardConfig, optional
        What the settings said; plans of earlier versions do not tell.
    """

    instrument: str
    days: int
    train_days: int
    validation_days: int
    windows: tuple[WalkForwardWindow, ...]
    asked: WalkForwardConfig | None = None

    def window(self, key: str) -> WalkForwardWindow | None:
        """Return the window of that key, or None."""
        return next((window for window in self.windows if window.key == key), None)


def read_starts(
    connection: duckdb.DuckDBPyConnection, market: MarketArrays, rules: SessionRules = SessionRules()
) -> npt.NDArray[np.int64]:
    """Return the bar indices, in `market`, of the valid sessions that lie wholly inside it, (S,) int64.

    Raises
    ------
    DataError
        If there is no index, or it names a bar that the market does not have: it was made from other candles.
    """
    table = SessionTable(FeatureTable(market.feature_set, market.timeframe), rules)
    query = f"SELECT epoch_ns(start_time) AS start_ns FROM {table.name} WHERE instrument = ? ORDER BY start_time"
    try:
        rows = connection.execute(query, [market.instrument]).fetchnumpy()["start_ns"]
    except duckdb.CatalogException as error:
        raise DataError(
            f"there is no session index yet: materialise {table.asset} of {market.instrument} first."
        ) from error
    times = np.asarray(rows, dtype=np.int64)
    bars = np.searchsorted(market.time, times)
    inside = (times >= market.time[0]) & (bars + rules.bars <= len(market))
    bars, times = bars[inside].astype(np.int64), times[inside]
    if not np.array_equal(market.time[bars], times):
        raise DataError(
            f"the session index of {market.instrument} does not fit its features: materialise {table.asset} again."
        )
    return bars


def thin(starts: npt.NDArray[np.int64], stride: int = SESSION_BARS) -> npt.NDArray[np.int64]:
    """Keep every start at least `stride` bars after the one kept before: sessions that do not overlap."""
    kept: list[int] = []
    for start in starts.tolist():
        if not kept or start >= kept[-1] + stride:
            kept.append(start)
    return np.asarray(kept, dtype=np.int64)


def write_plan(path: Path, plan: Plan) -> None:
    """Write the plan as JSON, atomically, with ISO times beside the nanoseconds."""
    record = {"schema": PLAN_SCHEMA, **asdict(plan)}
    record["windows"] = [asdict(window) | {"spans": window.spans()} for window in plan.windows]
    atomic_write_json(path, record)


class _WindowShape(Shape):
    key: str
    train_start: int
    train_end: int
    valid_start: int
    valid_end: int
    embargo_bars: int


class _AskedShape(Shape):
    train_days: int | None
    validation_days: int | None
    embargo_bars: int


class _PlanShape(Shape):
    instrument: str
    days: int
    train_days: int
    validation_days: int
    windows: list[_WindowShape]
    asked: _AskedShape | None = None


def read_plan(path: Path, asset: str = "valid_sessions") -> Plan:
    """Read a plan.

    Parameters
    ----------
    path : Path
    asset : str
        The asset that plans (`SessionTable.asset`).

    Raises
    ------
    DataError
        If there is none yet, or it cannot be used.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist: materialise {asset} of {path.stem} first.")
    record = read_record(path, _PlanShape, f"materialise {asset} of {path.stem} again.", PLAN_SCHEMA)
    asked = record.get("asked")
    return Plan(
        **{name: record[name] for name in ("instrument", "days", "train_days", "validation_days")},
        windows=tuple(
            WalkForwardWindow(**{name: window[name] for name in _WindowShape.model_fields})
            for window in record["windows"]
        ),
        asked=WalkForwardConfig(**{name: asked[name] for name in _AskedShape.model_fields}, least_bars=1)
        if asked
        else None,
    )


def standing_plan(path: Path, asset: str = "valid_sessions") -> tuple[Plan | None, str]:
    """Return the plan that stands, or None and, where there is one that cannot be read, what is wrong with it.

    Parameters
    ----------
    path : Path
    asset : str
        As of `read_plan`.

    Raises
    ------
    NewerVersionError
        If a newer version wrote it: planning over it would lose what it holds.
    """
    try:
        return read_plan(path, asset), ""
    except NewerVersionError:
        raise
    except DataError as error:
        return None, str(error) if path.exists() else ""
