"""Resources: the only places where assets touch the world."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_duckdb import DuckDBResource

from fx_pipeline.market.warehouse import LOCK_WAIT_S, open_warehouse
from fx_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from fx_pipeline.broker.client import OandaClient
    from fx_pipeline.tracking.ledger import Ledger
    from fx_pipeline.tracking.mlflow_store import Tracking as MlflowTracking


class Warehouse(DuckDBResource):
    """The DuckDB file. One writer at a time (the pool `duckdb_writer`), short connections, closed whatever happens."""

    lock_wait_s: float = LOCK_WAIT_S

    @contextmanager
    def get_connection(self, read_only: bool = False) -> Iterator[Any]:
        """Open the file as of `fx_pipeline.market.warehouse.open_warehouse`."""
        with open_warehouse(Path(self.database), read_only, self.lock_wait_s) as connection:
            yield connection


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
