"""Runs of several partitions: what fails does not take with it what does not, and what was asked for is accounted for.

Dagster's own events of a run give all partitions one data version, and those of a job's backfill are of its first cell
only. So each partition's materialisation is made here, with a data version of its own, as soon as it is there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION as NO_OWN_EVENTS

from fx_pipeline.defs.events import SKIPPED
from fx_pipeline.defs.lineage import Inputs, version_tags
from fx_pipeline.defs.metadata import plain
from fx_pipeline.defs.partitions import asked_keys, cell, key
from fx_pipeline.market.errors import BrokerError

_BROKER_IS_DOWN = 3
#: Partitions that a message names.
_NAMED = 20


class Partitions:
    """The partitions of a run, of which some may fail: the others are finished, and then the run fails and names them.

    Parameters
    ----------
    context : AssetExecutionContext
    definition : MultiPartitionsDefinition
        Of the asset.
    max_retries : int
        Of the asset's retry policy. Failures of the broker are left to it; any other would come again.

    Attributes
    ----------
    asked : sequence of str
        What the run was asked for.
    left : sequence of str
        Those of them that no earlier attempt of the run has made.
    """

    def __init__(
        self, context: dg.AssetExecutionContext, definition: dg.MultiPartitionsDefinition, max_retries: int = 0
    ) -> None:
        self._context = context
        self._max_retries = max_retries
        self._failed: dict[str, Exception] = {}
        self._untried: list[str] = []
        self._in_a_row = 0
        self.asked: Sequence[str] = asked_keys(context, definition)
        self._made = _materialized(context) if context.retry_number else set()
        self.left: Sequence[str] = [asked for asked in self.asked if asked not in self._made]

    def made(
        self, partition: str, metadata: Mapping[str, Any], version: str, inputs: Inputs | None = None
    ) -> dg.AssetMaterialization:
        """Note what was made of a partition, and return its event: yield it at once, so that a kill does not take it.

        Parameters
        ----------
        version : str
            The data version: equal if and only if the data are.
        inputs : Inputs, optional
            What it was made of.
        """
        self._made.add(partition)
        self._in_a_row = 0
        named = key(*cell(partition))
        tags = version_tags(self._context, version, inputs or {})
        dimensions = {f"dagster/partition/{name}": value for name, value in named.keys_by_dimension.items()}
        return dg.AssetMaterialization(
            self._context.asset_key, partition=named, metadata=plain(metadata), tags=tags | dimensions
        )

    def failed(self, partition: str, error: Exception) -> None:
        """Note that a partition failed."""
        self._failed[partition] = error
        self._in_a_row = self._in_a_row + 1 if isinstance(error, BrokerError) else 0
        self._context.log.error(f"{partition}: {error}")

    def untried(self, partition: str) -> None:
        """Note that a partition was not tried because those before it failed."""
        self._untried.append(partition)

    @property
    def broker_is_down(self) -> bool:
        """Whether the broker failed several partitions one after the other: the rest would only wait for nothing."""
        return self._in_a_row >= _BROKER_IS_DOWN

    def finish(self) -> dg.MaterializeResult:
        """Return the result of the run, which says nothing more of the partitions; yield it last.

        Raises
        ------
        BrokerError
            If the broker failed and the retry policy may try again.
        Failure
            If anything else failed, or for the last time; if a partition that was asked for was not made, or none was
            asked for.
        """
        if self._failed:
            self._fail()
        name = self._context.asset_key.to_user_string()
        if not self.asked:
            raise dg.Failure(
                f"{name} is made partition by partition, and this run names none, or a range that holds none.",
                allow_retries=False,
            )
        missing = [asked for asked in self.asked if asked not in self._made]
        if missing:
            raise dg.Failure(
                f"the run was asked for {len(self.asked)} partitions of {name} and made {len(self._made)}. Not made: "
                f"{_listed(missing)}. Launch them again.",
                allow_retries=False,
            )
        return dg.MaterializeResult(metadata={NO_OWN_EVENTS: True})

    def _fail(self) -> None:
        total = len(self.asked)
        said = f"{len(self._failed)} of {total} failed: " if total > 1 else ""
        said += "; ".join(f"{key}: {error}" if total > 1 else str(error) for key, error in self._failed.items())
        said = said.removesuffix(".") + "."
        if self._untried:
            said += f" Not tried after that: {_listed(self._untried)}."
        if self._made:
            said += f" The other {len(self._made)} are there; a further run does not make them again."
        of_broker = any(isinstance(error, BrokerError) for error in self._failed.values())
        if of_broker and self._context.retry_number < self._max_retries:
            raise BrokerError(said)
        raise dg.Failure(said, allow_retries=False)


def skipped(context: dg.AssetExecutionContext, reason: str) -> dg.MaterializeResult:
    """Say that a partition was skipped, and why.

    A skip is an answer: a backfill counts its run and its cell alike, as done. Without any event Dagster would call the
    cell failed beside a run that succeeded. Sensors pass over it (`events.new_materializations`), and a check of the
    asset shows it.
    """
    context.log.warning(f"{SKIPPED}: {reason}")
    return dg.MaterializeResult(metadata=plain({SKIPPED: reason}), data_version=dg.DataVersion(SKIPPED))


def _materialized(context: dg.AssetExecutionContext) -> set[str]:
    records = context.instance.get_records_for_run(
        context.run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
    ).records
    events = [record.event_log_entry.dagster_event for record in records]
    return {str(event.partition) for event in events if event and event.asset_key == context.asset_key}


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
