"""What sensors and schedules ask for: partitions that exist, runs that failed again, and nothing that one event stops.

An event may name a partition that is gone, be of another code location, or stand for a file that cannot be read. A
request for a partition that does not exist fails the tick, and every one after it: so each is looked up first, and
what is left out is said. A run that fails has used up its event: so it stays in the cursor until it has succeeded.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._check import CheckError
from dagster._core.storage.tags import RUN_KEY_TAG

from fx_pipeline.defs.events import new_materializations
from fx_pipeline.market.errors import FxPipelineError

#: A sensor begins nothing new after this long: Dagster gives a tick 60 seconds, and then throws all of it away.
SOFT_LIMIT_S = 20.0
#: Pauses between a run that failed and the next attempt: a locked file is free again after one of them.
PAUSES_S = (60.0, 240.0, 960.0, 3_840.0)
_OVER = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_WAITING = (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED)


def exists(instance: dg.DagsterInstance | None, partitions: dg.PartitionsDefinition, partition: str | None) -> bool:
    """Whether a partition is there now; dynamic ones can be removed, configured ones taken out of the settings.

    Without an instance, the context that partitions are loaded in knows.
    """
    if not isinstance(partition, str):
        return False
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        try:
            return partitions.has_partition_key(partition)
        except (dg.DagsterError, CheckError):
            # A key of other dimensions.
            return False


class Tick:
    """What one evaluation of a sensor or schedule asks for and says.

    Parameters
    ----------
    context : SensorEvaluationContext or ScheduleEvaluationContext

    Attributes
    ----------
    requests : list of RunRequest
    said : list of str
    """

    def __init__(self, context: dg.SensorEvaluationContext | dg.ScheduleEvaluationContext) -> None:
        self._context = context
        self._began_s = time.monotonic()
        self.requests: list[dg.RunRequest] = []
        self.said: list[str] = []

    @property
    def instance(self) -> dg.DagsterInstance:
        """Dagster's."""
        return self._context.instance

    @property
    def late(self) -> bool:
        """Whether the rest has to wait for the next tick."""
        return time.monotonic() - self._began_s > SOFT_LIMIT_S

    def say(self, line: str) -> None:
        """Say something, in the log of the tick and where Dagster shows why nothing was asked for."""
        self._context.log.info(line)
        self.said.append(line)

    @contextmanager
    def contained(self, name: str) -> Iterator[None]:
        """Say what goes wrong with one of many: raised, it would come on every tick and hold up the others."""
        try:
            yield
        except FxPipelineError as error:
            self.say(f"{name}: {error}")
        except Exception as error:
            self._context.log.exception(f"{name} could not be looked at")
            self.say(f"{name}: {type(error).__name__}: {error} (the log of this tick has more).")

    def ask(self, partitions: dg.PartitionsDefinition | None, request: dg.RunRequest) -> bool:
        """Ask for a run of a partition; where there is no such partition, say so instead and return False."""
        if partitions is None:
            self.requests.append(request)
            return True
        # A schedule can be evaluated without an instance.
        of_sensor = isinstance(self._context, dg.SensorEvaluationContext)
        instance = self.instance if of_sensor or self._context.instance_ref is not None else None
        if not exists(instance, partitions, request.partition_key):
            self.say(f"{request.partition_key}: left out, there is no such partition (any more).")
            return False
        self.requests.append(request)
        return True

    def ask_until_done(
        self, partitions: dg.PartitionsDefinition | None, request: dg.RunRequest, asked: dict[str, Any], name: str
    ) -> bool:
        """Ask for a run, or once more for one that failed; return whether there is nothing to wait for.

        Parameters
        ----------
        partitions : PartitionsDefinition or None
            None for a job without any.
        request : RunRequest
            With the run key of the first attempt.
        asked : dict
            Part of the cursor: `key`, what it was asked for with, and `count`, how often. Both are brought up to date;
            where the key is another, counting begins anew.
        name : str
            Of what is asked for, in what is said.
        """
        if asked.setdefault("key", request.run_key) != request.run_key:
            asked |= {"key": request.run_key, "count": 0}
        attempt = next_attempt(self.instance, str(request.run_key), int(asked["count"]))
        if attempt.said:
            self.say(f"{name}: {request.job_name}: {attempt.said}")
        if attempt.run_key is None:
            return attempt.over
        asked["count"] = attempt.count
        return not self.ask(partitions, request.with_replaced_attrs(run_key=attempt.run_key))

    def cursor(self, text: str | None, empty: dict[str, Any]) -> dict[str, Any]:
        """Read a cursor that is a JSON object; one that somebody garbled begins anew, as `empty`, and is said to.

        Whatever is asked for again then has the keys of the runs that there are, which Dagster does not run twice.
        """
        if not text:
            return empty
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict) or any(
            type(found.get(name, empty[name])) is not type(empty[name]) for name in empty
        ):
            self.say(f"the cursor {text[:80]!r} is not one of this sensor: it begins anew.")
            return empty
        return {**empty, **{name: found[name] for name in empty if name in found}}

    def result(self, cursor: dict[str, Any], idle: str) -> dg.SensorResult:
        """Return the outcome of a sensor: its requests, or why there are none."""
        said = json.dumps(cursor)
        if self.requests:
            return dg.SensorResult(run_requests=self.requests, cursor=said)
        return dg.SensorResult(skip_reason="; ".join(self.said) or idle, cursor=said)


def since(tick: Tick, asset: dg.AssetsDefinition, after: int) -> Iterator[dg.EventLogRecord]:
    """Yield the materialisations of an asset after a storage id, oldest first, until the tick is late."""
    while not tick.late:
        records = new_materializations(tick.instance, asset, after)
        yield from records
        if not records:
            return
        after = records[-1].storage_id


@dataclass(frozen=True)
class Attempt:
    """What comes next for something that was asked for `count` times.

    Attributes
    ----------
    run_key : str or None
        To ask with now; None when it is not to be asked for now.
    count : int
        Attempts, with this one.
    over : bool
        Whether its run succeeded, or was removed: there is nothing to wait for.
    said : str
        Why it is not asked for, or why again.
    """

    run_key: str | None
    count: int
    over: bool
    said: str


def next_attempt(instance: dg.DagsterInstance, key: str, count: int, now_s: float | None = None) -> Attempt:
    """Tell what comes next for something that was asked for `count` times with the run key `key`.

    A run that failed is asked for again after a pause, which grows, and so often; then it is left to a person. One that
    was canceled was canceled by one.
    """
    if not count:
        return Attempt(key, 1, over=False, said="")
    records = instance.get_run_records(dg.RunsFilter(tags={RUN_KEY_TAG: _numbered(key, count)}), limit=1)
    if not records:
        return Attempt(None, count, over=True, said="")
    run, ended_s = records[0].dagster_run, records[0].end_time or 0.0
    short = run.run_id[:8]
    if run.status == dg.DagsterRunStatus.SUCCESS:
        return Attempt(None, count, over=True, said="")
    if run.status not in _OVER:
        return Attempt(None, count, over=False, said=f"run {short} is under way.")
    if run.status == dg.DagsterRunStatus.CANCELED:
        return Attempt(None, count, over=True, said=f"run {short} was canceled: launch {run.job_name} by hand.")
    if count > len(PAUSES_S):
        said = f"{count} runs failed, the last is {short}: see its log, and launch {run.job_name} by hand."
        return Attempt(None, count, over=False, said=said)
    left_s = ended_s + PAUSES_S[count - 1] - (time.time() if now_s is None else now_s)
    if left_s > 0.0:
        said = f"run {short} failed; it is asked for again in {left_s:.0f} s ({count} of {len(PAUSES_S) + 1} attempts)."
        return Attempt(None, count, over=False, said=said)
    return Attempt(_numbered(key, count + 1), count + 1, over=False, said=f"run {short} failed: once more.")


def is_queued(instance: dg.DagsterInstance, key: str, count: int) -> bool:
    """Whether the run of an attempt has not begun: it will see whatever is there by then."""
    runs = instance.get_runs(dg.RunsFilter(tags={RUN_KEY_TAG: _numbered(key, count)}), limit=1) if count else ()
    return bool(runs) and runs[0].status in _WAITING


def _numbered(key: str, count: int) -> str:
    return key if count == 1 else f"{key}|attempt {count}"
