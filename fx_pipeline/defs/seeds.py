"""The seeds of a window: each has a checkpoint of its own, all are validated, and one of them is the candidate."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from fx_pipeline.agents.record import (
    HISTORY_NAME,
    RECORD_NAME,
    RUN_NAME,
    WEIGHTS_NAME,
    read_checkpoint,
    read_history,
    read_run,
)
from fx_pipeline.defs.metadata import curve_plot, table
from fx_pipeline.defs.progress import reporter
from fx_pipeline.defs.reporting import configuration, selection_recorder
from fx_pipeline.defs.resources import Tracking
from fx_pipeline.defs.spans import Span
from fx_pipeline.settings import Settings

if TYPE_CHECKING:
    from fx_pipeline.agents.base import TrainingData

_FILES = (WEIGHTS_NAME, RECORD_NAME, HISTORY_NAME, RUN_NAME)
_CURVES = ("pips_per_episode", "selection_pips", "trades_per_episode", "loss", "policy_kl")


@dataclass(frozen=True)
class SeedCheckpoint:
    """A checkpoint of a window.

    Attributes
    ----------
    folder : Path
    record : Mapping
        Its `checkpoint.json`.
    """

    folder: Path
    record: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """Of its training."""
        return int(self.record["seed"])

    @property
    def sha256(self) -> str:
        """Of its weights."""
        return str(self.record["weights_sha256"])


def seed_checkpoints(settings: Settings, agent: str, instrument: str, window: str) -> list[SeedCheckpoint]:
    """Read the checkpoints of a window, by seed. A training that has not ended has none yet.

    Raises
    ------
    DataError
        If a record is damaged.
    """
    paths = settings.layout.trainings(agent, instrument, window).glob("seed-*/checkpoint.json")
    found = [SeedCheckpoint(path.parent, read_checkpoint(path.parent)) for path in paths]
    return sorted(found, key=lambda checkpoint: checkpoint.seed)


def candidate(checkpoints: Sequence[SeedCheckpoint]) -> SeedCheckpoint:
    """Choose the checkpoint that is judged for promotion, by nothing that the validation shows.

    It is of the configuration with the most seeds, and of these the one that training itself found best on its
    selection span, which lies before the validation: the best of the validated seeds would be the luckiest one.
    Those trained on other data or costs than most were selected by a score that says nothing beside the others.
    """
    seeds = Counter(configuration(checkpoint.record) for checkpoint in checkpoints)
    alike = Counter((configuration(found.record), found.record["data_fingerprint"]) for found in checkpoints)

    def merit(checkpoint: SeedCheckpoint) -> tuple[int, int, float, int]:
        of, selection = configuration(checkpoint.record), checkpoint.record["selection"]
        score = -math.inf if selection is None else float(selection["score"])
        return seeds[of], alike[of, checkpoint.record["data_fingerprint"]], score, -checkpoint.seed

    return max(checkpoints, key=merit)


def train_seed(
    context: dg.AssetExecutionContext,
    settings: Settings,
    tracking: Tracking,
    agent_name: str,
    span: Span,
    *,
    preset: str,
    episodes: int,
    seed: int,
    force: bool,
    stage: str,
) -> bool:
    """Train one seed of a window; return whether its checkpoint stood already.

    An interrupted training goes on where it was. Every score by which it chooses its weights joins the ledger.
    """
    from fx_pipeline.agents.base import Budget
    from fx_pipeline.agents.progress_file import ProgressFile
    from fx_pipeline.agents.registry import agent
    from fx_pipeline.market.atomic import atomic_write_json
    from fx_pipeline.market.disk import clear_disk_errors
    from fx_pipeline.reuse import identity, stamp, stands, training_digest
    from fx_pipeline.tracking.batched import BatchedMetrics

    instrument, key = span.market.instrument, span.window.key
    costs = settings.costs_of(instrument)
    made_from = identity(
        training_digest(),
        agent=agent_name,
        preset=preset,
        episodes=episodes,
        seed=seed,
        data=span.market.fingerprint,
        starts=span.starts.tolist(),
        costs=asdict(costs),
        window=span.window.spans(),
    )
    folder = settings.layout.checkpoint(agent_name, instrument, key, seed)
    if stands(folder, made_from, *_FILES) and not force:
        context.log.info(f"{folder} stands: the same data, settings, seed and code made it.")
        reporter(context, f"{stage} (stands)")(1.0, {})
        return True
    parameters = {"preset": preset, "episodes": episodes, "seed": seed, "starts": len(span.starts)}
    tags = {"dagster/run_id": context.run.run_id, "instrument": instrument, "window": key, "code": training_digest()}
    name = f"train {instrument} {key} seed {seed}"
    with (
        clear_disk_errors(folder),
        tracking.mlflow().run(name, "training", params=parameters, tags=tags, made_from=made_from) as run,
        ProgressFile(folder, made_from, {"instrument": instrument, "window": key, **parameters}) as shown,
        BatchedMetrics(run, "iterations") as metrics,
    ):
        said = reporter(context, stage)

        def progress(fraction: float, figures: Mapping[str, float]) -> None:
            said(fraction, figures)
            shown.report(fraction, figures)
            metrics.add(figures)

        checkpoint = (
            agent(agent_name)
            .trainer(preset)
            .train(
                training_data(settings, span),
                Budget(episodes),
                seed=seed,
                folder=folder,
                progress=progress,
                on_score=selection_recorder(tracking.ledger(), span, agent_name, costs, episodes, seed),
            )
        )
        metrics.complete(checkpoint.history)
        atomic_write_json(folder / "history.json", [dict(row) for row in checkpoint.history])
        links = {"mlflow_run_id": run.run_id, "mlflow_url": run.url, "dagster_run_id": context.run.run_id}
        atomic_write_json(folder / RUN_NAME, links)
        run.log_artifact(folder / "checkpoint.json")
        run.log_artifact(folder / "weights.safetensors")
    stamp(folder, made_from, *_FILES)
    return False


def training_data(settings: Settings, span: Span) -> "TrainingData":
    """Return what a seed of a window learns from."""
    from fx_pipeline.agents.base import TrainingData

    window = {"key": span.window.key, **span.window.spans()}
    return TrainingData(span.market, span.starts, settings.costs_of(span.market.instrument), window)


def checkpoint_metadata(
    checkpoints: Sequence[SeedCheckpoint], mlflow_uri: str, reused: Mapping[int, bool]
) -> dict[str, Any]:
    """Return what Dagster shows of the seeds that a run went through: a table, and figures as means over them."""
    first = checkpoints[0].record
    runs = {checkpoint.seed: read_run(checkpoint.folder) for checkpoint in checkpoints}
    metadata: dict[str, Any] = {
        "sha256": ", ".join(checkpoint.sha256 for checkpoint in checkpoints),
        "seeds": ", ".join(str(checkpoint.seed) for checkpoint in checkpoints),
        "preset": first["preset"],
        "data fingerprint": first["data_fingerprint"],
        "code": first["code_version"],
        "dagster/uri": str(checkpoints[0].folder.parent),
        "kept as it stood": all(reused.values()),
        "mlflow store": mlflow_uri,
        "mlflow run": dg.MetadataValue.text(", ".join(run["mlflow_run_id"] for run in runs.values())),
        "checkpoints": table(
            {
                "seed": checkpoint.seed,
                "sha256": checkpoint.sha256,
                "kept as it stood": reused[checkpoint.seed],
                "pips a session, selection": _selected(checkpoint.record),
                "mlflow run": runs[checkpoint.seed]["mlflow_url"],
                "dagster run": runs[checkpoint.seed]["dagster_run_id"],
                "folder": str(checkpoint.folder),
            }
            for checkpoint in checkpoints
        ),
    }
    known = set.intersection(*(set(checkpoint.record["metrics"]) for checkpoint in checkpoints))
    for name in sorted(known):
        values = [float(checkpoint.record["metrics"][name]) for checkpoint in checkpoints]
        metadata[name] = sum(values) / len(values)
    for checkpoint in checkpoints:
        history = read_history(checkpoint.folder)
        if history:
            name = "curves" if len(checkpoints) == 1 else f"curves of seed {checkpoint.seed}"
            metadata[name] = curve_plot(history, _CURVES)
    if len(checkpoints) == 1 and first["selection"] is not None:
        metadata |= {f"selected: {name}": value for name, value in first["selection"].items()}
    return metadata


def _selected(record: Mapping[str, Any]) -> str:
    return "not judged" if record["selection"] is None else f"{record['selection']['pips']:.3f}"
