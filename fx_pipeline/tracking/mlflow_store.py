"""MLflow on a local sqlite store: runs, artifacts, the model registry and its `champion` alias.

Only `MlflowClient` is used, never the ambient "active run", so runs of several threads or processes cannot mix.
MLflow takes seconds and much memory to import: it is imported on first use.
"""

import contextlib
import fcntl
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fx_pipeline.market.atomic import TEMPORARY_PREFIX
from fx_pipeline.market.errors import ConfigurationError, FxPipelineError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

CHAMPION = "champion"
CHECKPOINT_TAG = "sha256"
MADE_FROM_TAG = "made_from"
SQLITE = "sqlite:///"
LONG_PARAMS = "long_params.txt"
# Limits of the store (MLflow 3), and of one batch call.
MAX_PARAM, MAX_TAG, MAX_KEY = 500, 5_000, 250
BATCH_PARAMS, BATCH_TAGS, BATCH_METRICS = 100, 100, 1_000

Clock = Callable[[], float]


class Point(NamedTuple):
    """Metrics of one step of a run, and when it was made, in seconds since the epoch."""

    step: int
    at_s: float
    metrics: Mapping[str, float | None]


@dataclass(frozen=True)
class RegisteredVersion:
    """A version in the model registry.

    Attributes
    ----------
    name : str
    version : str
    source : str
        URI of the checkpoint's folder.
    run_id : str
    checkpoint_sha256 : str
    tags : Mapping
    """

    name: str
    version: str
    source: str
    run_id: str
    checkpoint_sha256: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Folder of the checkpoint, for a `file:` source."""
        from urllib.parse import unquote, urlparse

        return Path(unquote(urlparse(self.source).path))


class RunHandle:
    """A running MLflow run.

    Attributes
    ----------
    run_id, experiment_id : str
    url : str
        Of the run in the MLflow UI.
    """

    def __init__(self, client: "MlflowClient", run_id: str, experiment_id: str, ui_url: str, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.url = f"{ui_url.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}"

    def log_metrics(self, metrics: Mapping[str, float | None], step: int = 0) -> None:
        """Log metrics of one step in one call; missing and not finite values are left out."""
        self.log_points([Point(step, self._clock(), metrics)])

    def log_points(self, points: Iterable[Point]) -> None:
        """Log the metrics of many steps in as few calls as possible; see `log_metrics`."""
        from mlflow.entities import Metric

        self._log(
            metrics=[
                Metric(key[:MAX_KEY], float(value), int(point.at_s * 1_000), point.step)
                for point in points
                for key, value in point.metrics.items()
                if value is not None and math.isfinite(value)
            ]
        )

    def latest(self, metric: str) -> float | None:
        """The value of a metric at its highest step; None if it was never logged."""
        value = self._client.get_run(self.run_id).data.metrics.get(metric)
        return None if value is None else float(value)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters; a value over 500 characters is cut, and stands in full in the artifact `long_params.txt`."""
        from mlflow.entities import Param

        texts = {key[:MAX_KEY]: str(value) for key, value in params.items()}
        self._log(params=[Param(key, _cut(text, MAX_PARAM)) for key, text in texts.items()])
        long = {key: text for key, text in texts.items() if len(text) > MAX_PARAM}
        if long:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / LONG_PARAMS
                path.write_text("\n".join(f"{key} = {text}" for key, text in sorted(long.items())) + "\n")
                self.log_artifact(path)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; values over 5,000 characters are cut."""
        from mlflow.entities import RunTag

        self._log(tags=[RunTag(key[:MAX_KEY], _cut(str(value), MAX_TAG)) for key, value in tags.items()])

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or a folder with what is in it, into the run's artifacts."""
        source = Path(path)
        if source.is_dir():
            self._client.log_artifacts(self.run_id, str(source), folder)
        else:
            self._client.log_artifact(self.run_id, str(source), folder)

    def _log(
        self, metrics: list[Any] | None = None, params: list[Any] | None = None, tags: list[Any] | None = None
    ) -> None:
        parts = (
            ("metrics", metrics or [], BATCH_METRICS),
            ("params", params or [], BATCH_PARAMS),
            ("tags", tags or [], BATCH_TAGS),
        )
        for name, rows, size in parts:
            for first in range(0, len(rows), size):
                self._client.log_batch(self.run_id, **{name: rows[first : first + size]}, synchronous=True)


class Tracking:
    """The tracking store and model registry.

    Parameters
    ----------
    uri : str
        ``sqlite:///<path>`` for a local store, which is made on first use, or the URL of an MLflow server.
    artifacts_dir : Path
        Where artifacts of local runs go.
    ui_url : str
        Where the MLflow UI is served, for links.
    clock : callable
        Seconds since the epoch, for the times of metrics.
    """

    def __init__(
        self,
        uri: str = "sqlite:///data/mlflow.db",
        artifacts_dir: Path = Path("data/mlartifacts"),
        ui_url: str = "http://127.0.0.1:5000",
        clock: Clock = time.time,
    ) -> None:
        if not uri.startswith((SQLITE, "http://", "https://")):
            raise ConfigurationError(
                f"tracking URI {uri!r} is not supported: use sqlite:///path/to/mlflow.db or an MLflow server's URL."
            )
        # An absolute path keeps a store in its place when a process changes its folder.
        self.database = Path(uri.removeprefix(SQLITE)).resolve() if uri.startswith(SQLITE) else None
        self.uri = f"{SQLITE}{self.database}" if self.database else uri
        self.artifacts_dir = Path(artifacts_dir).resolve()
        self.ui_url = ui_url
        self._clock = clock
        self._client: MlflowClient | None = None

    @property
    def client(self) -> "MlflowClient":
        """The MLflow client; the store is made first if it does not exist.

        Raises
        ------
        FxPipelineError
            If the store cannot be opened.
        """
        if self._client is None:
            _quiet()
            from mlflow import MlflowClient

            try:
                # Opening a store writes its default experiment: first use is one at a time.
                with self._lock("init"):
                    if self.database is not None:
                        _initialise(self.database)
                    client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
                    client.search_experiments(max_results=1)
            except Exception as error:
                raise FxPipelineError(
                    f"the tracking store {self.uri} cannot be opened ({error}): is it a file of another program, or of "
                    f"another MLflow version? Move it away, or run `mlflow db upgrade {self.uri}`."
                ) from error
            self._client = client
        return self._client

    @contextlib.contextmanager
    def run(
        self,
        name: str,
        experiment: str,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        made_from: str | None = None,
    ) -> Iterator[RunHandle]:
        """Start a run; it ends as FINISHED, or as FAILED when the body raises.

        A process that is killed leaves a run that never ends. With `made_from`, the unfinished run of the same name and
        inputs is gone on with, and unfinished runs of the same name and other inputs are ended as KILLED; the caller
        sees to it that no other process works under this name.

        Parameters
        ----------
        name, experiment : str
            The experiment is made if it does not exist.
        params, tags : Mapping, optional
        made_from : str, optional
            Identity of the inputs; kept as a tag.

        Yields
        ------
        RunHandle
        """
        client = self.client
        experiment_id = self._experiment(experiment)
        run_id = None if made_from is None else self._left_by_killed(experiment_id, name, made_from)
        if run_id is None:
            run_id = client.create_run(experiment_id, run_name=name).info.run_id
        handle = RunHandle(client, run_id, experiment_id, self.ui_url, self._clock)
        status = "FAILED"
        try:
            handle.set_tags({**(tags or {}), **({} if made_from is None else {MADE_FROM_TAG: made_from})})
            handle.log_params(params or {})
            yield handle
            status = "FINISHED"
        finally:
            client.set_terminated(handle.run_id, status)

    def register_model_version(
        self, name: str, source_path: Path, run_id: str | None = None, tags: Mapping[str, Any] | None = None
    ) -> str:
        """Register a checkpoint as a version of a model; the same checkpoint is registered once.

        Parameters
        ----------
        name : str
            Of the registered model, made if it does not exist.
        source_path : Path
            Folder of the checkpoint.
        run_id : str, optional
            The run that trained it.
        tags : Mapping
            `sha256`, the hash of the checkpoint, is its identity; the rest is free.

        Returns
        -------
        str
            The new version, or the one that already has this hash.

        Raises
        ------
        ConfigurationError
            If the hash is missing.
        """
        from mlflow.exceptions import MlflowException

        texts = {key[:MAX_KEY]: _cut(str(value), MAX_TAG) for key, value in (tags or {}).items()}
        if not texts.get(CHECKPOINT_TAG):
            raise ConfigurationError(f"a model version needs the tag {CHECKPOINT_TAG!r}, the hash of its checkpoint.")
        client = self.client
        with self._lock("registry"):
            try:
                client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            for version in self.versions(name):
                if version.checkpoint_sha256 == texts[CHECKPOINT_TAG]:
                    return version.version
            source = Path(source_path).resolve().as_uri()
            return str(client.create_model_version(name, source=source, run_id=run_id, tags=texts).version)

    def versions(self, name: str) -> list[RegisteredVersion]:
        """All versions of a model, oldest first; empty when there is no such model."""
        client, token = self.client, None
        found: list[RegisteredVersion] = []
        while True:
            page = client.search_model_versions(f"name = '{_quoted(name)}'", max_results=200, page_token=token)
            found += [_version(item) for item in page]
            token = page.token
            if not token:
                return sorted(found, key=lambda version: int(version.version))

    def set_champion(self, name: str, version: str) -> None:
        """Move the alias `champion` to a version."""
        self.client.set_registered_model_alias(name, CHAMPION, version)

    def remove_champion(self, name: str, version: str, tags: Mapping[str, Any]) -> None:
        """Take the alias `champion` from a version, where it has it, and tag the version; repeating it is harmless.

        A version that is not in the store has nothing to lose.
        """
        if all(known.version != version for known in self.versions(name)):
            return
        for key, value in tags.items():
            self.client.set_model_version_tag(name, version, key[:MAX_KEY], _cut(str(value), MAX_TAG))
        present = self.champion(name)
        if present is not None and present.version == version:
            self.client.delete_registered_model_alias(name, CHAMPION)

    def version_url(self, name: str, version: str) -> str:
        """Address of a model version in the MLflow UI."""
        return f"{self.ui_url.rstrip('/')}/#/models/{name}/versions/{version}"

    def tag_run(self, run_id: str, tags: Mapping[str, Any]) -> None:
        """Set tags of a run that has ended; a run that is not in the store is left alone."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return
            raise
        for key, value in tags.items():
            self.client.set_tag(run_id, key[:MAX_KEY], _cut(str(value), MAX_TAG))

    def champion(self, name: str) -> RegisteredVersion | None:
        """The version that the alias `champion` names; None when there is none."""
        from mlflow.exceptions import MlflowException

        try:
            aliases = self.client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        # A dict of alias to version.
        version = aliases.get(CHAMPION)
        return None if version is None else _version(self.client.get_model_version(name, version))

    def _left_by_killed(self, experiment_id: str, name: str, made_from: str) -> str | None:
        # The name is compared here: a filter would need it quoted.
        unfinished = self.client.search_runs([experiment_id], "attributes.status = 'RUNNING'", max_results=1_000)
        found = None
        for run in unfinished:
            if run.info.run_name != name:
                continue
            if found is None and run.data.tags.get(MADE_FROM_TAG) == made_from:
                found = str(run.info.run_id)
            else:
                self.client.set_terminated(run.info.run_id, "KILLED")
        return found

    def _experiment(self, name: str) -> str:
        client = self.client
        found = client.get_experiment_by_name(name)
        if found is None:
            with self._lock("experiments"):
                found = client.get_experiment_by_name(name)
                if found is None:
                    location = (self.artifacts_dir / name).as_uri() if self.database else None
                    return str(client.create_experiment(name, artifact_location=location))
        return str(found.experiment_id)

    @contextlib.contextmanager
    def _lock(self, what: str) -> Iterator[None]:
        # A server has its own transactions; a local file is shared by processes of this machine.
        if self.database is None:
            yield
        else:
            with _file_lock(self.database.with_name(f"{self.database.name}.{what}.lock")):
                yield


def _initialise(database: Path) -> None:
    """Make a fresh store if there is none; the caller holds the lock.

    The migrations run on a temporary file that is renamed into place when they are done: a process killed half-way
    leaves no half-made store behind.
    """
    if database.exists():
        return
    from mlflow.store.db.utils import _initialize_tables
    from sqlalchemy import create_engine

    # Named as `market.atomic` names its files. What others left here is of killed processes: the lock is ours.
    for leftover in database.parent.glob(f"{TEMPORARY_PREFIX}*-{database.name}*"):
        leftover.unlink(missing_ok=True)
    temporary = database.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{database.name}")
    engine = create_engine(f"{SQLITE}{temporary}")
    try:
        _initialize_tables(engine)
    finally:
        engine.dispose()
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, database)


@contextlib.contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The kernel drops the lock when its holder dies, however it dies.
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _quiet() -> None:
    # MLflow 3 sends usage data unless told not to, and logs its migrations.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import logging

    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)


def _version(found: "MlflowVersion") -> RegisteredVersion:
    tags = dict(found.tags)
    return RegisteredVersion(
        name=found.name,
        version=str(found.version),
        source=str(found.source),
        run_id=str(found.run_id or ""),
        checkpoint_sha256=tags.get(CHECKPOINT_TAG, ""),
        tags=tags,
    )


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _quoted(name: str) -> str:
    if "'" in name:
        raise ConfigurationError(f"model name {name!r} must not contain a quote.")
    return name
