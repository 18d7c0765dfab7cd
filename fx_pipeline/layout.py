"""Where everything that the pipeline makes lives, below one data folder."""

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths below the data folder; `ingest.layout` adds those of raw pages and the lake.

    Attributes
    ----------
    data_dir : Path
    """

    data_dir: Path

    def relative(self, path: Path) -> str:
        """Return a path below the data folder as records have it: without the folder, which may be moved or copied."""
        return path.resolve().relative_to(self.data_dir.resolve()).as_posix()

    @property
    def paper_store(self) -> Path:
        """Imported candles that the paper server serves."""
        return self.data_dir / "paper"

    @property
    def warehouse(self) -> Path:
        """The DuckDB file: features, sessions, windows. All of it can be rebuilt from the lake."""
        return self.data_dir / "warehouse.duckdb"

    @property
    def mlflow_uri(self) -> str:
        """MLflow's store."""
        return f"sqlite:///{self.mlflow_database.resolve()}"

    @property
    def mlflow_database(self) -> Path:
        """The file of MLflow's store."""
        return self.data_dir / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        """Files logged to MLflow."""
        return self.data_dir / "mlartifacts"

    @property
    def dagster(self) -> Path:
        """Dagster's runs, events, ticks and logs."""
        return self.data_dir / "dagster"

    @property
    def ui(self) -> Path:
        """What `fx-pipeline ui` keeps: its lock, its health, and the token of its start address."""
        return self.data_dir / "ui"

    @property
    def ledger(self) -> Path:
        """The trial ledger: every configuration that was ever scored."""
        return self.data_dir / "ledger.db"

    @property
    def live_lock(self) -> Path:
        """Held by the one process that trades the account."""
        return self.data_dir / "live" / "account.lock"

    @property
    def reports(self) -> Path:
        """All validation reports."""
        return self.data_dir / "reports"

    @property
    def leaderboard(self) -> Path:
        """The page that compares all validation reports."""
        return self.reports / "leaderboard.html"

    @property
    def newest_report(self) -> Path:
        """Which report was materialised last."""
        return self.data_dir / "newest_report.json"

    @property
    def proofs(self) -> Path:
        """Results of learning proofs."""
        return self.data_dir / "proofs"

    def desk(self, candles: Path) -> Path:
        """State of the paper broker's account on candles of that path: other candles are another account.

        Candles in the data folder are known by their place in it: a moved or copied folder has its account with it.
        """
        place, data = candles.resolve(), self.data_dir.resolve()
        desks = self.data_dir / "desk"
        # Earlier versions named all by their whole path.
        whole = desks / hashlib.sha256(str(place).encode()).hexdigest()[:16]
        if whole.exists() or not place.is_relative_to(data):
            return whole
        return desks / hashlib.sha256(place.relative_to(data).as_posix().encode()).hexdigest()[:16]

    def windows(self, instrument: str, sessions: str = "valid_sessions") -> Path:
        """The walk-forward plan of an instrument on the sessions of that asset."""
        folder = self.data_dir / "windows"
        return (folder if sessions == "valid_sessions" else folder / sessions) / f"{instrument}.json"

    def trainings(self, agent: str, instrument: str, window: str) -> Path:
        """Folder of the trainings of a window."""
        return self.data_dir / "checkpoints" / agent / instrument / window

    def checkpoint(self, agent: str, instrument: str, window: str, seed: int) -> Path:
        """Folder of the newest checkpoint of a window with that seed: no seed replaces another."""
        return self.trainings(agent, instrument, window) / f"seed-{seed}"

    def report(self, agent: str, instrument: str, window: str) -> Path:
        """Folder of the newest validation report of a window."""
        return self.reports / agent / instrument / window

    def validated(self, agent: str, instrument: str) -> list[Path]:
        """Folders of the reports that there are, oldest window first."""
        return sorted(path.parent for path in (self.reports / agent / instrument).glob("*/report.json"))

    def model(self, instrument: str, sha256: str) -> Path:
        """Folder of a registered model: a checkpoint that never changes again."""
        return self.data_dir / "models" / instrument / sha256[:16]

    def champion(self, instrument: str) -> Path:
        """The record of an instrument's champion."""
        return self.data_dir / "champion" / f"{instrument}.json"

    def demotion(self, instrument: str) -> Path:
        """Why an instrument lost its last champion."""
        return self.data_dir / "champion" / "demoted" / f"{instrument}.json"

    def standings(self, instrument: str, sha256: str) -> Path:
        """Folder of how a champion did on newer windows, a file each."""
        return self.data_dir / "standings" / instrument / sha256[:16]

    def live_decision(self, instrument: str) -> Path:
        """The newest decision of the live job."""
        return self.data_dir / "live" / f"{instrument}.json"
