"""What a run logs, as calls of MLflow; all of them may be repeated, and change nothing then."""

import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fx_pipeline.tracking.spool import Call, RunRecord
from fx_pipeline.tracking.store_file import first_line, is_locked

if TYPE_CHECKING:
    from mlflow import MlflowClient

MADE_FROM_TAG = "made_from"
#: Names a run whose id is not known yet, or was not when it ended.
SPOOL_TAG = "fx/spool"
#: A run that was closed because its process was gone: the same training goes on with it.
CUT_OFF_TAG = "fx/cut_off"
LONG_PARAMS = "long_params.txt"
#: Folder of a run's artifacts, for calls that MLflow refused.
REFUSED = "refused"
_UNFINISHED = ("attributes.status = 'RUNNING'", f"attributes.status = 'KILLED' and tags.`{CUT_OFF_TAG}` = 'true'")

logger = logging.getLogger(__name__)


def start(client: "MlflowClient", record: RunRecord, experiment_id: str) -> str:
    """Start a run and return its id: the one that a kill left of the same inputs, or a new one."""
    if record.made_from is not None:
        left = _left_by_killed(client, experiment_id, record)
        if left is not None:
            client.update_run(left, status="RUNNING")
            client.set_tag(left, CUT_OFF_TAG, "false")
            client.set_tag(left, SPOOL_TAG, record.spool_id)
            return left
    known = find(client, record.spool_id, [experiment_id])
    if known is not None:
        return known
    tags = {SPOOL_TAG: record.spool_id}
    run = client.create_run(experiment_id, start_time=record.began_ms, tags=tags, run_name=record.name)
    return str(run.info.run_id)


def find(client: "MlflowClient", spool_id: str, experiment_ids: Sequence[str]) -> str | None:
    """Return the id of a run by the name of its spool."""
    from mlflow.entities import ViewType

    where = f"tags.`{SPOOL_TAG}` = '{spool_id}'"
    found = client.search_runs(list(experiment_ids), where, run_view_type=ViewType.ALL, max_results=1)
    return str(found[0].info.run_id) if found else None


def deliver(client: "MlflowClient", record: RunRecord, calls: Sequence[Call], folder: Path) -> None:
    """Make calls of a run that was started; it is restored if it was deleted.

    A call that MLflow refuses for what it holds (a parameter that has another value, a name that it does not allow)
    would be refused for ever, and hold up all behind it: it is kept in the run's artifacts, below `refused`.

    Parameters
    ----------
    client : MlflowClient
    record : RunRecord
    calls : sequence of Mapping
    folder : Path
        What relative paths of artifacts begin from.
    """
    for call in calls:
        act = _KINDS[call["kind"]]
        try:
            act(client, record.run_id, call, folder)
        except Exception as error:
            # Asking a locked store would wait as long again.
            if is_locked(error):
                raise
            if revive(client, record):
                act(client, record.run_id, call, folder)
            elif _is_refused(error):
                _keep_refused(client, record, call, error)
            else:
                raise


def _is_refused(error: Exception) -> bool:
    return getattr(error, "error_code", None) == "INVALID_PARAMETER_VALUE" or isinstance(error, FileNotFoundError)


def _keep_refused(client: "MlflowClient", record: RunRecord, call: Call, error: Exception) -> None:
    text = json.dumps({"call": call, "error": first_line(error)}, indent=1, sort_keys=True, default=str)
    with tempfile.TemporaryDirectory() as made:
        # The same call again is the same file.
        path = Path(made) / f"{call['kind']}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
        path.write_text(text + "\n")
        client.log_artifact(record.run_id, str(path), REFUSED)
    logger.warning(
        "MLflow refuses %s of run %r (%s): they are kept in its artifacts, %s/%s",
        call["kind"],
        record.name,
        first_line(error),
        REFUSED,
        path.name,
    )


def revive(client: "MlflowClient", record: RunRecord) -> bool:
    """Bring a run back that was deleted in MLflow, alone or with its experiment; return whether it had been."""
    run = client.get_run(record.run_id)
    if run.info.lifecycle_stage != "deleted":
        return False
    restored(client, client.get_experiment(run.info.experiment_id))
    if client.get_run(record.run_id).info.lifecycle_stage == "deleted":
        client.restore_run(record.run_id)
    logger.warning("run %s (%s) was deleted in MLflow while it logs, and is restored", record.name, record.run_id)
    return True


def restored(client: "MlflowClient", experiment: Any) -> str:
    """Return the id of an experiment; one that was deleted in MLflow keeps its name, and is restored."""
    identity = str(experiment.experiment_id)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(identity)
        logger.warning(
            "the experiment %r was deleted in MLflow, and is restored with its runs "
            "(`mlflow experiments delete --experiment-id %s` deletes it again)",
            experiment.name,
            identity,
        )
    return identity


def close_unfinished(client: "MlflowClient", is_over: Callable[[str], bool], alive: Collection[str]) -> list[str]:
    """End the runs that still stand as running though their Dagster run is over; return their names.

    Parameters
    ----------
    client : MlflowClient
    is_over : callable
        Id of a Dagster run to whether it is over.
    alive : collection of str
        Ids of runs whose process is known to live, whatever Dagster it belongs to.
    """
    closed = []
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id], _UNFINISHED[0], max_results=1_000):
            dagster_run = run.data.tags.get("dagster/run_id")
            if dagster_run is not None and run.info.run_id not in alive and is_over(dagster_run):
                cut_off(client, run.info.run_id)
                closed.append(str(run.info.run_name))
    return closed


def cut_off(client: "MlflowClient", run_id: str) -> None:
    """End a run whose process is gone, so that the same training can go on with it."""
    client.set_tag(run_id, CUT_OFF_TAG, "true")
    client.set_terminated(run_id, "KILLED")


def cut(text: str, limit: int) -> str:
    """Shorten a text to a limit of the store."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _left_by_killed(client: "MlflowClient", experiment_id: str, record: RunRecord) -> str | None:
    # The name is compared here: a filter would need it quoted.
    found = None
    for where in _UNFINISHED:
        for run in client.search_runs([experiment_id], where, max_results=1_000):
            if run.info.run_name != record.name:
                continue
            if found is None and run.data.tags.get(MADE_FROM_TAG) == record.made_from:
                found = str(run.info.run_id)
                continue
            if run.info.status == "RUNNING":
                client.set_terminated(run.info.run_id, "KILLED")
            client.set_tag(run.info.run_id, CUT_OFF_TAG, "false")
    return found


def _metrics(client: "MlflowClient", run_id: str, call: Call, _: Path) -> None:
    from mlflow.entities import Metric
    from mlflow.utils.validation import MAX_ENTITY_KEY_LENGTH, MAX_METRICS_PER_BATCH

    rows = [
        Metric(key[:MAX_ENTITY_KEY_LENGTH], value, at_ms, step)
        for step, at_ms, metrics in call["points"]
        for key, value in metrics.items()
    ]
    for first in range(0, len(rows), MAX_METRICS_PER_BATCH):
        client.log_batch(run_id, metrics=rows[first : first + MAX_METRICS_PER_BATCH], synchronous=True)


def _params(client: "MlflowClient", run_id: str, call: Call, _: Path) -> None:
    from mlflow.entities import Param
    from mlflow.utils.validation import MAX_ENTITY_KEY_LENGTH, MAX_PARAM_VAL_LENGTH, MAX_PARAMS_TAGS_PER_BATCH

    texts = {key[:MAX_ENTITY_KEY_LENGTH]: text for key, text in call["params"].items()}
    rows = [Param(key, cut(text, MAX_PARAM_VAL_LENGTH)) for key, text in texts.items()]
    for first in range(0, len(rows), MAX_PARAMS_TAGS_PER_BATCH):
        client.log_batch(run_id, params=rows[first : first + MAX_PARAMS_TAGS_PER_BATCH], synchronous=True)
    long = {key: text for key, text in texts.items() if len(text) > MAX_PARAM_VAL_LENGTH}
    if long:
        with tempfile.TemporaryDirectory() as made:
            path = Path(made) / LONG_PARAMS
            path.write_text("\n".join(f"{key} = {text}" for key, text in sorted(long.items())) + "\n")
            client.log_artifact(run_id, str(path))


def _tags(client: "MlflowClient", run_id: str, call: Call, _: Path) -> None:
    from mlflow.entities import RunTag
    from mlflow.utils.validation import MAX_ENTITY_KEY_LENGTH, MAX_PARAMS_TAGS_PER_BATCH, MAX_TAG_VAL_LENGTH

    rows = [RunTag(key[:MAX_ENTITY_KEY_LENGTH], cut(text, MAX_TAG_VAL_LENGTH)) for key, text in call["tags"].items()]
    for first in range(0, len(rows), MAX_PARAMS_TAGS_PER_BATCH):
        client.log_batch(run_id, tags=rows[first : first + MAX_PARAMS_TAGS_PER_BATCH], synchronous=True)


def _artifact(client: "MlflowClient", run_id: str, call: Call, folder: Path) -> None:
    source = folder / call["path"]
    if source.is_dir():
        client.log_artifacts(run_id, str(source), call["folder"])
    else:
        client.log_artifact(run_id, str(source), call["folder"])


def _end(client: "MlflowClient", run_id: str, call: Call, _: Path) -> None:
    client.set_terminated(run_id, call["status"], call["at_ms"])


_KINDS = {"metrics": _metrics, "params": _params, "tags": _tags, "artifact": _artifact, "end": _end}
