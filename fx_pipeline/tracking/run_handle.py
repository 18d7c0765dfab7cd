"""A run while it logs: what MLflow does not take is kept, and no call fails for it."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from fx_pipeline.tracking.spool import Call, Spool
from fx_pipeline.tracking.store_file import first_line

#: Before the name of a run that MLflow has no id for yet.
PENDING = "pending-"
#: Pauses of a run before it tries a store again that did not take what it logged: doubled up to the longest.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 30.0, 600.0

Clock = Callable[[], float]

logger = logging.getLogger(__name__)


class Point(NamedTuple):
    """Metrics of one step of a run, and when it was made, in seconds since the epoch."""

    step: int
    at_s: float
    metrics: Mapping[str, float | None]


class Store(Protocol):
    """Where runs are brought in (`mlflow_store.Tracking`)."""

    ui_url: str

    @property
    def client(self) -> Any:
        """MLflow's client."""

    def deliver(self, spool: Spool, calls: Sequence[Call]) -> None:
        """Bring in what waits in a spool, and then the calls."""


class RunHandle:
    """A run that logs to MLflow. What MLflow does not take is kept and brought in later: no call of it fails.

    Attributes
    ----------
    spool : Spool
        What waits.
    """

    def __init__(self, tracking: Store, spool: Spool, clock: Clock) -> None:
        self._tracking = tracking
        self._clock = clock
        self.spool = spool
        self._pause_s = _FIRST_PAUSE_S
        self._again_s = -math.inf
        self._deliver(())

    @property
    def run_id(self) -> str:
        """Id of the run; while MLflow could not be asked for one, a name that `Tracking.resolve` knows later."""
        return self.spool.record.run_id or f"{PENDING}{self.spool.record.spool_id}"

    @property
    def experiment_id(self) -> str:
        """Id of the experiment; empty before the run is known to MLflow."""
        return self.spool.record.experiment_id

    @property
    def url(self) -> str:
        """Address of the run in the MLflow UI; empty before it is known to MLflow."""
        record = self.spool.record
        place = f"{self._tracking.ui_url.rstrip('/')}/#/experiments/{record.experiment_id}/runs/{record.run_id}"
        return place if record.run_id else ""

    def log_metrics(self, metrics: Mapping[str, float | None], step: int = 0) -> None:
        """Log metrics of one step in one call; missing and not finite values are left out."""
        self.log_points([Point(step, self._clock(), metrics)])

    def log_points(self, points: Iterable[Point]) -> None:
        """Log the metrics of many steps in as few calls as possible; see `log_metrics`."""
        rows = [
            (
                point.step,
                int(point.at_s * 1_000),
                {
                    key: float(value)
                    for key, value in point.metrics.items()
                    if value is not None and math.isfinite(value)
                },
            )
            for point in points
        ]
        self._log({"kind": "metrics", "points": rows})

    def latest(self, metric: str) -> float | None:
        """The value of a metric at its highest step; None if it was never logged, or MLflow cannot be asked now."""
        if not self.spool.is_empty or not self.spool.record.run_id:
            return None
        try:
            value = self._tracking.client.get_run(self.run_id).data.metrics.get(metric)
        except Exception as error:
            self._keep(error)
            return None
        return None if value is None else float(value)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters; a value over MLflow's limit is cut, and stands in full in the artifact `long_params.txt`."""
        self._log({"kind": "params", "params": {key: str(value) for key, value in params.items()}})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; values over MLflow's limit are cut."""
        self._log({"kind": "tags", "tags": {key: str(value) for key, value in tags.items()}})

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or a folder with what is in it, into the run's artifacts."""
        self._log({"kind": "artifact", "path": str(Path(path).resolve()), "folder": folder})

    def end(self, status: str) -> None:
        """End the run, and try once more to bring in what waits."""
        self._again_s = -math.inf
        self._log({"kind": "end", "status": status, "at_ms": int(self._clock() * 1_000)})
        self.spool.close()

    def _log(self, call: Call) -> None:
        if not self.spool.is_empty or not self.spool.record.run_id:
            # In the order in which they came.
            self.spool.append(call)
            self._deliver(())
        elif not self._deliver((call,)):
            self.spool.append(call)

    def _deliver(self, calls: Sequence[Call]) -> bool:
        if time.monotonic() < self._again_s:
            return False
        try:
            self._tracking.deliver(self.spool, calls)
        except Exception as error:
            self._keep(error)
            return False
        self._pause_s = _FIRST_PAUSE_S
        return True

    def _keep(self, error: Exception) -> None:
        # A locked file lets each call wait: what is logged meanwhile must not wait with it.
        self._again_s = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        logger.warning(
            "MLflow does not take what run %r logs (%s): it is kept in %s, and brought in when that can be done",
            self.spool.record.name,
            first_line(error),
            self.spool.folder,
        )
