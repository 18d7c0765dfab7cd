"""What Dagster shows of checkpoints."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from fx_pipeline.agents.record import read_history, read_run
from fx_pipeline.defs.metadata import curve_plot, table
from fx_pipeline.lifecycle.checkpoints import SeedCheckpoint

_CURVES = ("pips_per_episode", "selection_pips", "trades_per_episode", "loss", "policy_kl")


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
