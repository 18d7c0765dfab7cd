"""Promotion: copy the model to where it never changes, register it, move the alias, write the champion's record."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fx_pipeline.defs.resources import Tracking
from fx_pipeline.market.atomic import atomic_write_json
from fx_pipeline.market.errors import DataError
from fx_pipeline.settings import Settings


@dataclass(frozen=True)
class Promotion:
    """What a promotion did: the metadata of the new champion, or why there is none."""

    champion: dict[str, Any] | None
    reason: str


def read_champion(settings: Settings, instrument: str) -> dict[str, Any] | None:
    """Return the record of an instrument's champion, or None.

    Raises
    ------
    DataError
        If the record cannot be read.
    """
    path = settings.layout.champion(instrument)
    if not path.exists():
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(
            f"{path} is not the record of a champion ({error}): delete it, and promote the window again."
        ) from error
    return record


def promote(settings: Settings, tracking: Tracking, agent: str, instrument: str, window: str, run_id: str) -> Promotion:
    """Make the model of a window the champion if its report allows it; repeating it changes nothing."""
    from fx_pipeline.validation.promotion import decide_promotion
    from fx_pipeline.validation.report import read_report

    folder = settings.layout.report(agent, instrument, window)
    if not (folder / "report.json").exists():
        return Promotion(None, f"there is no report in {folder}: materialise validation_report first.")
    report = read_report(folder)
    decision = decide_promotion(report, read_champion(settings, instrument))
    if not decision.promote:
        return Promotion(None, decision.reason)
    checkpoint = settings.layout.checkpoint(agent, instrument, window)
    record = json.loads((checkpoint / "checkpoint.json").read_text())
    sha256 = report["lineage"]["checkpoint_sha256"]
    if record["weights_sha256"] != sha256:
        return Promotion(
            None,
            f"the checkpoint of window {window} was trained again after its report: validate it before promoting it.",
        )
    if hashlib.sha256((checkpoint / "weights.safetensors").read_bytes()).hexdigest() != sha256:
        return Promotion(
            None, f"the weights in {checkpoint} are not those that were validated: train the window again."
        )
    model = settings.layout.model(instrument, sha256)
    _freeze(checkpoint, model)
    name = f"{instrument}-{agent}"
    store = tracking.mlflow()
    version = store.register_model_version(
        name,
        model,
        tags={
            "instrument": instrument,
            "window": window,
            "sha256": sha256,
            "figures_sha256": report["figures_sha256"],
            "expectancy_pips": f"{report['figures']['expectancy_pips']:.4f}",
            "data_fingerprint": report["lineage"]["data_fingerprint"],
            "dagster/run_id": run_id,
        },
    )
    store.set_champion(name, version)
    champion = {
        "instrument": instrument,
        "agent": agent,
        "window": window,
        "sha256": sha256,
        "model": str(model),
        "registered_model": name,
        "version": str(version),
        "expectancy_pips": float(report["figures"]["expectancy_pips"]),
        "source": report["lineage"]["source"],
        "costs": dict(report["lineage"]["costs"]),
        "figures_sha256": report["figures_sha256"],
        "report": str(folder / "report.html"),
    }
    atomic_write_json(settings.layout.champion(instrument), champion)
    return Promotion(champion | {"reason": decision.reason}, decision.reason)


def _freeze(checkpoint: Path, model: Path) -> None:
    """Copy a checkpoint to a folder of its own, which is either complete or absent."""
    if (model / "checkpoint.json").exists():
        return
    model.mkdir(parents=True, exist_ok=True)
    from fx_pipeline.market.atomic import atomic_path

    # The record is the last to be written: a folder without it is not a model.
    for name in ("weights.safetensors", "checkpoint.json"):
        with atomic_path(model / name) as temporary:
            shutil.copyfile(checkpoint / name, temporary)
