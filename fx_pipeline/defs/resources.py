"""Resources: the only places where assets touch the world."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource

from fx_pipeline.market.errors import DataError, FxPipelineError
from fx_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from fx_pipeline.broker.client import OandaClient
    from fx_pipeline.tracking.ledger import Ledger
    from fx_pipeline.tracking.mlflow_store import Tracking as MlflowTracking

#: Longest wait for another process to let go of the DuckDB file.
LOCK_WAIT_S = 30.0


class WarehouseLockedError(FxPipelineError):
    """Another process holds the DuckDB file."""


class Warehouse(DuckDBResource):
    """The DuckDB file. One writer at a time (the pool `duckdb_writer`), short connections, closed whatever happens."""

    lock_wait_s: float = LOCK_WAIT_S

    @contextmanager
    def get_connection(self, read_only: bool = False) -> Iterator[Any]:
        """Open the file, waiting for another process's lock, and close it at the end.

        Raises
        ------
        DataError
            If it is to be read and does not exist, or is not a DuckDB file.
        WarehouseLockedError
            If the lock is not free in time; the message names the process that holds it.
        """
        path = Path(self.database)
        if read_only and not path.exists():
            raise DataError(f"{path} does not exist: materialise feature_table first.")
        path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + self.lock_wait_s
        # The jitter only spreads processes over time; no result depends on it.
        jitter = random.Random(time.monotonic_ns())
        while True:
            try:
                connection = duckdb.connect(self.database, read_only=read_only)
                break
            except duckdb.IOException as error:
                if "Could not set lock" not in str(error):
                    raise DataError(
                        f"{path} cannot be opened: move it away and materialise feature_table and valid_sessions, all "
                        f"of it is made again from the lake. DuckDB says: {str(error).splitlines()[0]}"
                    ) from error
                if time.monotonic() > deadline:
                    raise WarehouseLockedError(
                        f"{path} is held by another process for {self.lock_wait_s:.0f} s: close it (a DuckDB "
                        f"shell or a notebook?) and run again. DuckDB says: {str(error).splitlines()[0]}"
                    ) from error
                time.sleep(jitter.uniform(0.05, 0.3))
        try:
            yield connection
        finally:
            connection.close()


class Broker(dg.ConfigurableResource):
    """Where candles come from. Credentials are read from the environment and never enter Dagster's storage."""

    @contextmanager
    def client(self) -> Iterator["OandaClient"]:
        """Connect; for `paper` without a URL a server is started on loopback for as long as this lasts."""
        from fx_pipeline.broker.client import connection

        settings = load_settings()
        token = settings.paper_token if settings.oanda_environment == "paper" else settings.oanda_token
        with connection(
            settings.oanda_environment,
            token=token.get_secret_value() if token else "",
            account=settings.oanda_account or "",
            paper_url=settings.paper_url,
            paper_store=settings.layout.paper_store,
        ) as client:
            yield client


class Tracking(dg.ConfigurableResource):
    """MLflow and the trial ledger, below the data folder."""

    def mlflow(self) -> "MlflowTracking":
        """Return the MLflow store."""
        from fx_pipeline.tracking.mlflow_store import Tracking as Store

        layout = load_settings().layout
        return Store(uri=layout.mlflow_uri, artifacts_dir=layout.mlflow_artifacts)

    def ledger(self) -> "Ledger":
        """Return the trial ledger."""
        from fx_pipeline.tracking.ledger import Ledger

        return Ledger(load_settings().layout.ledger)


def build_resources(settings: Settings) -> dict[str, Any]:
    """Return the resources of the code location."""
    return {"warehouse": Warehouse(database=str(settings.layout.warehouse)), "broker": Broker(), "tracking": Tracking()}
