"""Where Dagster keeps its history: below the data folder, so that two data folders share nothing.

`dagster.yaml` names these classes. A path there could only be fixed, or come from a variable that must be set;
these read the settings, with `.env` and the default, in whichever process loads Dagster's instance.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

from fx_pipeline.settings import load_settings


def _folder() -> Path:
    return load_settings().layout.dagster.resolve()


class DataFolderStorage(DagsterSqliteStorage):
    """Runs, events, schedules and sensors."""

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        """Nothing is configured here."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Open the storage of the data folder."""
        return cls.from_local(str(_folder()), inst_data)


class DataFolderArtifacts(LocalArtifactStorage):
    """Files that Dagster keeps for runs."""

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        """Nothing is configured here."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Name the folder."""
        return cls(str(_folder()), inst_data)


class DataFolderLogs(LocalComputeLogManager):
    """What runs print."""

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        """Nothing is configured here."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Open the logs of the data folder."""
        return cls(str(_folder() / "logs"), inst_data=inst_data)
