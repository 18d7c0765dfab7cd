"""Runs of several partitions: what fails does not take with it what does not."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from fx_pipeline.market.errors import BrokerError

_BROKER_IS_DOWN = 3


class Partitions:
    """The partitions of a run, of which some may fail: the others are finished, and then the run fails and names them.

    Parameters
    ----------
    context : AssetExecutionContext
    max_retries : int
        Of the asset's retry policy. Failures of the broker are left to it; any other would come again.
    """

    def __init__(self, context: dg.AssetExecutionContext, max_retries: int = 0) -> None:
        self._context = context
        self._max_retries = max_retries
        self._made: dict[str, Mapping[str, Any]] = {}
        self._failed: dict[str, Exception] = {}
        self._untried: list[str] = []
        self._in_a_row = 0

    def made(self, key: str, metadata: Mapping[str, Any]) -> None:
        """Note what was made of a partition."""
        self._made[key] = metadata
        self._in_a_row = 0
        self._context.add_asset_metadata(metadata, partition_key=key)

    def failed(self, key: str, error: Exception) -> None:
        """Note that a partition failed."""
        self._failed[key] = error
        self._in_a_row = self._in_a_row + 1 if isinstance(error, BrokerError) else 0
        self._context.log.error(f"{key}: {error}")

    def untried(self, key: str) -> None:
        """Note that a partition was not tried because those before it failed."""
        self._untried.append(key)

    @property
    def broker_is_down(self) -> bool:
        """Whether the broker failed several partitions one after the other: the rest would only wait for nothing."""
        return self._in_a_row >= _BROKER_IS_DOWN

    def finish(self) -> None:
        """Do nothing if all is well.

        Raises
        ------
        BrokerError
            If the broker failed and the retry policy may try again.
        Failure
            If anything else failed, or for the last time. What was made is then materialised all the same.
        """
        if not self._failed:
            return
        total = len(self._made) + len(self._failed) + len(self._untried)
        said = f"{len(self._failed)} of {total} failed: " if total > 1 else ""
        said += "; ".join(f"{key}: {error}" if total > 1 else str(error) for key, error in self._failed.items())
        said = said.removesuffix(".") + "."
        if self._untried:
            said += f" Not tried after that: {', '.join(self._untried)}."
        if self._made:
            said += f" The other {len(self._made)} are there; a further run does not make them again."
        of_broker = any(isinstance(error, BrokerError) for error in self._failed.values())
        if of_broker and self._context.retry_number < self._max_retries:
            raise BrokerError(said)
        for key, metadata in self._made.items():
            # A step that fails materialises nothing by itself.
            self._context.log_event(
                dg.AssetMaterialization(self._context.asset_key, partition=key, metadata=dict(metadata))
            )
        raise dg.Failure(said, allow_retries=False)
