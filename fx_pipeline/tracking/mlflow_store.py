"""MLflow on a local sqlite store: runs, artifacts, the model registry and its `champion` alias.

Only `MlflowClient` is used, never the ambient "active run", so runs of several threads or processes cannot mix.
MLflow takes seconds and much memory to import: it is imported on first use.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fx_pipeline.market.errors import ConfigurationError, FxPipelineError
from fx_pipeline.tracking.delivery import (
    MADE_FROM_TAG,
    close_unfinished,
    cut,
    cut_off,
    deliver,
    find,
    restored,
    start,
)
from fx_pipeline.tracking.relocate import relocate
from fx_pipeline.tracking.run_handle import PENDING, Clock, RunHandle
from fx_pipeline.tracking.spool import Call, Spool, alive, left_over, taken, tidy
from fx_pipeline.tracking.store_file import SQLITE, file_lock, first_line, initialise, is_locked, quiet

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

CHAMPION = "champion"
CHECKPOINT_TAG = "sha256"
#: Longest wait of a call of the registry for a locked store.
PATIENCE_S = 120.0

T = TypeVar("T")
logger = logging.getLogger(__name__)


class TrackingLockedError(FxPipelineError):
    """Another process holds the tracking store."""


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
    weights_sha256 : str
    tags : Mapping
    """

    name: str
    version: str
    source: str
    run_id: str
    weights_sha256: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Folder of the checkpoint, for a `file:` source."""
        from urllib.parse import unquote, urlparse

        return Path(unquote(urlparse(self.source).path))


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
    patience_s : float
        Longest wait of a call of the registry while another process holds the store.
    """

    def __init__(
        self,
        uri: str = "sqlite:///data/mlflow.db",
        artifacts_dir: Path = Path("data/mlartifacts"),
        ui_url: str = "http://127.0.0.1:5000",
        clock: Clock = time.time,
        patience_s: float = PATIENCE_S,
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
        self.patience_s = patience_s
        #: What MLflow has not taken yet, a folder each run.
        self.spools = (self.database or self.artifacts_dir / "mlflow").with_suffix(".spool")
        self._clock = clock
        self._client: MlflowClient | None = None

    @property
    def client(self) -> "MlflowClient":
        """The MLflow client; the store is made first if it does not exist.

        Raises
        ------
        FxPipelineError
            If the store cannot be opened; `TrackingLockedError` if another process holds it.
        """
        if self._client is None:
            quiet()
            from mlflow import MlflowClient

            try:
                # Opening a store writes its default experiment: first use is one at a time.
                with self._lock("init"):
                    if self.database is not None:
                        initialise(self.database)
                        if moved := relocate(self.database, self.artifacts_dir):
                            logger.warning(
                                "the tracking store was in %s: its places are brought here", ", ".join(moved)
                            )
                    client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
                    client.search_experiments(max_results=1)
            except Exception as error:
                if is_locked(error):
                    raise TrackingLockedError(f"the tracking store {self.uri} is held by another process.") from error
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

        MLflow cannot fail it: what it does not take now is kept beside the store, and brought in by the next call that
        can, the next run, or `catch_up`. A process that is killed leaves a run that `catch_up` ends as KILLED. With
        `made_from`, the unfinished run of the same name and inputs is gone on with, and unfinished runs of the same
        name and other inputs are ended as KILLED; the caller sees to it that no other process works under this name.

        Parameters
        ----------
        name, experiment : str
            The experiment is made if it does not exist, and restored if it was deleted.
        params, tags : Mapping, optional
        made_from : str, optional
            Identity of the inputs; kept as a tag.

        Yields
        ------
        RunHandle
        """
        for line in self.catch_up():
            logger.warning(line)
        spool = Spool.make(self.spools, name, experiment, made_from, int(self._clock() * 1_000))
        handle = RunHandle(self, spool, self._clock)
        status = "FAILED"
        try:
            handle.set_tags({**(tags or {}), **({} if made_from is None else {MADE_FROM_TAG: made_from})})
            handle.log_params(params or {})
            yield handle
            status = "FINISHED"
        finally:
            handle.end(status)

    def deliver(self, spool: Spool, calls: Sequence[Call] = ()) -> None:
        """Bring what waits of a run into MLflow, and `calls` after it; a run that was deleted there is restored.

        Raises
        ------
        Exception
            Whatever MLflow raises; then all of it still waits, but for `calls`.
        """
        client = self.client
        if not spool.record.run_id:
            experiment_id = self._experiment(spool.record.experiment)
            spool.started(start(client, spool.record, experiment_id), experiment_id)
        waiting = [*spool.calls(), *calls] if not spool.is_empty else calls
        deliver(client, spool.record, waiting, spool.folder)
        if not spool.is_empty:
            spool.clear()

    def catch_up(self) -> list[str]:
        """Bring in what runs of earlier processes left, and end those that were killed; return what stays, and why."""
        said = []
        tidy(self.spools)
        for folder in left_over(self.spools):
            try:
                with taken(folder) as spool:
                    if spool is None:
                        continue
                    killed = not any(call["kind"] == "end" for call in spool.calls())
                    self.deliver(spool)
                    if killed:
                        cut_off(self.client, spool.record.run_id)
                    spool.clear()
                    spool.close()
            except Exception as error:
                said.append(
                    f"{folder} waits to be brought into MLflow ({first_line(error)}): it is tried again with the next "
                    "run; deleted, what it holds is lost."
                )
                if is_locked(error):
                    # The others would wait as long.
                    break
        return said

    def close_unfinished(self, is_over: Callable[[str], bool]) -> list[str]:
        """End the runs that still stand as running though their Dagster run is over; return their names.

        Parameters
        ----------
        is_over : callable
            Id of a Dagster run to whether it is over. Runs whose process lives are left alone whatever it says.
        """
        return self._patiently(lambda: close_unfinished(self.client, is_over, alive(self.spools)))

    def resolve(self, run_id: str) -> str:
        """Return the id of a run that MLflow did not know yet when the id was written down; empty where it never came.

        Parameters
        ----------
        run_id : str
            As `RunHandle.run_id` told it.
        """
        if not run_id.startswith(PENDING):
            return run_id
        from mlflow.entities import ViewType

        self.catch_up()

        def look() -> str:
            experiments = self.client.search_experiments(view_type=ViewType.ALL)
            ids = [found.experiment_id for found in experiments]
            return find(self.client, run_id.removeprefix(PENDING), ids) or ""

        return self._patiently(look)

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
        texts = _registry_tags(tags or {})
        if not texts.get(CHECKPOINT_TAG):
            raise ConfigurationError(f"a model version needs the tag {CHECKPOINT_TAG!r}, the hash of its checkpoint.")
        return self._patiently(lambda: self._register(name, Path(source_path).resolve().as_uri(), run_id, texts))

    def _register(self, name: str, source: str, run_id: str | None, tags: Mapping[str, str]) -> str:
        from mlflow.exceptions import MlflowException

        client = self.client
        with self._lock("registry"):
            try:
                client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            for version in self.versions(name):
                if version.weights_sha256 == tags[CHECKPOINT_TAG]:
                    return version.version
            return str(client.create_model_version(name, source=source, run_id=run_id, tags=dict(tags)).version)

    def versions(self, name: str) -> list[RegisteredVersion]:
        """All versions of a model, oldest first; empty when there is no such model."""

        def read() -> list[RegisteredVersion]:
            token, found = None, []
            while True:
                page = self.client.search_model_versions(f"name = '{_quoted(name)}'", max_results=200, page_token=token)
                found += [_version(item) for item in page]
                token = page.token
                if not token:
                    return sorted(found, key=lambda version: int(version.version))

        return self._patiently(read)

    def set_champion(self, name: str, version: str) -> None:
        """Move the alias `champion` to a version."""
        self._patiently(lambda: self.client.set_registered_model_alias(name, CHAMPION, version))

    def remove_champion(self, name: str, version: str, tags: Mapping[str, Any]) -> None:
        """Take the alias `champion` from a version, where it has it, and tag the version; repeating it is harmless.

        A version that is not in the store has nothing to lose.
        """

        def act() -> None:
            if all(known.version != version for known in self.versions(name)):
                return
            for key, value in _registry_tags(tags).items():
                self.client.set_model_version_tag(name, version, key, value)
            present = self.champion(name)
            if present is not None and present.version == version:
                self.client.delete_registered_model_alias(name, CHAMPION)

        self._patiently(act)

    def version_url(self, name: str, version: str) -> str:
        """Address of a model version in the MLflow UI."""
        return f"{self.ui_url.rstrip('/')}/#/models/{name}/versions/{version}"

    def tag_run(self, run_id: str, tags: Mapping[str, Any]) -> None:
        """Set tags of a run that has ended; a run that is not in the store, or was deleted there, is left alone."""
        from mlflow.exceptions import MlflowException
        from mlflow.utils.validation import MAX_ENTITY_KEY_LENGTH, MAX_TAG_VAL_LENGTH

        def act() -> None:
            try:
                found = self.client.get_run(run_id)
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return
                raise
            if found.info.lifecycle_stage == "deleted":
                return
            for key, value in tags.items():
                self.client.set_tag(run_id, key[:MAX_ENTITY_KEY_LENGTH], cut(str(value), MAX_TAG_VAL_LENGTH))

        self._patiently(act)

    def champion(self, name: str) -> RegisteredVersion | None:
        """The version that the alias `champion` names; None when there is none."""
        from mlflow.exceptions import MlflowException

        def read() -> RegisteredVersion | None:
            try:
                aliases = self.client.get_registered_model(name).aliases
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise
            # A dict of alias to version.
            version = aliases.get(CHAMPION)
            return None if version is None else _version(self.client.get_model_version(name, version))

        return self._patiently(read)

    def _experiment(self, name: str) -> str:
        client = self.client
        found = client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage == "active":
            return str(found.experiment_id)
        with self._lock("experiments"):
            found = client.get_experiment_by_name(name)
            if found is not None:
                return restored(client, found)
            location = (self.artifacts_dir / name).as_uri() if self.database else None
            return str(client.create_experiment(name, artifact_location=location))

    def _patiently(self, act: Callable[[], T]) -> T:
        """Do what may be repeated, again and again for as long as another process holds the store.

        Raises
        ------
        TrackingLockedError
            If it holds it for too long.
        """
        began_s, pause_s = time.monotonic(), 0.2
        while True:
            try:
                return act()
            except Exception as error:
                if not is_locked(error):
                    raise
                waited_s = time.monotonic() - began_s
                if waited_s > self.patience_s:
                    raise TrackingLockedError(
                        f"the tracking store {self.uri} is held by another process, for {waited_s:.0f} s: close what "
                        "has it open for writing (a database browser, a copy?), and run again."
                    ) from error
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, 5.0)

    @contextlib.contextmanager
    def _lock(self, what: str) -> Iterator[None]:
        # A server has its own transactions; a local file is shared by processes of this machine.
        if self.database is None:
            yield
        else:
            with file_lock(self.database.with_name(f"{self.database.name}.{what}.lock")):
                yield


def _version(found: "MlflowVersion") -> RegisteredVersion:
    tags = dict(found.tags)
    return RegisteredVersion(
        name=found.name,
        version=str(found.version),
        source=str(found.source),
        run_id=str(found.run_id or ""),
        weights_sha256=tags.get(CHECKPOINT_TAG, ""),
        tags=tags,
    )


def _registry_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    from mlflow.utils.validation import MAX_MODEL_REGISTRY_TAG_KEY_LENGTH, MAX_MODEL_REGISTRY_TAG_VALUE_LENGTH

    return {
        key[:MAX_MODEL_REGISTRY_TAG_KEY_LENGTH]: cut(str(value), MAX_MODEL_REGISTRY_TAG_VALUE_LENGTH)
        for key, value in tags.items()
    }


def _quoted(name: str) -> str:
    if "'" in name:
        raise ConfigurationError(f"model name {name!r} must not contain a quote.")
    return name
