"""The command `fx-pipeline clean`: removes what the pipeline made in the data folder, and nothing else."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.settings import Settings

#: What is made again from imported candles, or downloaded again.
REMADE = (
    "raw lake quarantine windows checkpoints reports proofs dagster ci ui newest_report.json warehouse.duckdb "
    "warehouse.duckdb.wal demo.lock"
).split()
#: What is not.
KEPT = (
    "paper desk models champion standings live mlartifacts mlflow.spool mlflow.db mlflow.db-journal mlflow.db-wal "
    "mlflow.db-shm mlflow.db.experiments.lock mlflow.db.init.lock ledger.db ledger.db-journal ledger.db-wal "
    "ledger.db-shm ledger.db.version-1 ledger.db.version-2 ledger.db.version-3 ledger.db.version-4 data_folder.json"
).split()
_LOCKS = {"ui/lock": "fx-pipeline ui", "demo.lock": "a demo", "live/account.lock": "live trading"}


def clean_folder(settings: Settings, project: Path, everything: bool = False) -> list[str]:
    """Remove what the pipeline made, by name, and return lines that say what was removed and what stays.

    Raises
    ------
    ConfigurationError
        If the folder is no data folder of its own, or something runs on it.
    """
    folder = settings.data_dir.resolve()
    project = project.resolve()
    if folder in (Path.home().resolve(), project) or project.is_relative_to(folder):
        raise ConfigurationError(
            f"FX_DATA_DIR={settings.data_dir} is not a folder of the pipeline's own: nothing was removed."
        )
    if not folder.is_dir():
        return [f"{folder} is not there"]
    wanted = {*REMADE, *(KEPT if everything else ())}
    removed = []
    with _nothing_runs(folder):
        for path in sorted(folder.iterdir()):
            if path.name not in wanted:
                continue
            # A link goes, and what it leads to stays.
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
            removed.append(path.name)
    stays = sorted(path.name for path in folder.iterdir() if path.name != "README.md")
    lines = [f"{folder}: removed {', '.join(removed) or 'nothing'}"]
    return lines + ([f"it keeps {', '.join(stays)}"] if stays else [])


@contextmanager
def _nothing_runs(folder: Path) -> Iterator[None]:
    with ExitStack() as stack:
        for name, holder in _LOCKS.items():
            path = folder / name
            if not path.exists():
                continue
            handle = stack.enter_context(path.open("r+"))
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ConfigurationError(f"{holder} runs on {folder}: end it first.") from error
        yield
