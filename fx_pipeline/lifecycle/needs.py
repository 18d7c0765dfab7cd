"""What a step of the lifecycle is handed: terms, stores, and the run that it belongs to.

These are protocols, so that the settings and the resources of the outer layer serve as they are, and a test or a recipe
may hand over something smaller.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from fx_pipeline.agents.base import Progress
    from fx_pipeline.layout import Layout
    from fx_pipeline.market.costs import CostConfig
    from fx_pipeline.tracking.ledger import Ledger
    from fx_pipeline.tracking.mlflow_store import Tracking as MlflowStore
    from fx_pipeline.validation.gate import GateConfig
    from fx_pipeline.validation.promotion_config import PromotionConfig


class Terms(Protocol):
    """On which terms models are trained, judged and promoted; the settings have all of them."""

    @property
    def layout(self) -> "Layout":
        """Where each kind of file lives."""

    @property
    def seed(self) -> int:
        """Of what is drawn to look for leaks."""

    @property
    def mc_runs(self) -> int:
        """Monte Carlo runs of a validation report."""

    @property
    def gate(self) -> "GateConfig":
        """Thresholds of the gate."""

    @property
    def promotion(self) -> "PromotionConfig":
        """When a champion is replaced or demoted."""

    @property
    def holdout_start(self) -> date | None:
        """First trading day that is sealed."""

    @property
    def sealed_from_ns(self) -> int | None:
        """Start of the sealed days, UTC nanoseconds; None when nothing is sealed."""

    @property
    def sealed_span(self) -> str:
        """Name of the sealed days in the trial ledger and in reports."""

    def costs_of(self, instrument: str) -> "CostConfig":
        """Of training."""

    def judged_costs_of(self, instrument: str) -> "CostConfig":
        """Of every score that is validated."""


class Warehouse(Protocol):
    """The DuckDB file."""

    def get_connection(self, read_only: bool = False) -> AbstractContextManager[Any]:
        """Open it for a short while."""


class Tracking(Protocol):
    """MLflow and the trial ledger."""

    def mlflow(self) -> "MlflowStore":
        """Return the MLflow store."""

    def ledger(self) -> "Ledger":
        """Return the trial ledger."""


@dataclass(frozen=True)
class Run:
    """The run that a step belongs to.

    Attributes
    ----------
    run_id : str
        By which records name it.
    log : Logger
    progress : callable
        From the name of a stage to the callback that hears how far it is.
    """

    run_id: str
    log: logging.Logger
    progress: "Callable[[str], Progress]"
