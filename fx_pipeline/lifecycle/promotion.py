"""Promotion and demotion: the decisions carried out, in an order that a kill cannot leave half done for good."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fx_pipeline.agents.record import read_checkpoint, read_run
from fx_pipeline.lifecycle.champions import read_champion, read_demotion, unfinished_demotion
from fx_pipeline.lifecycle.needs import Terms, Tracking, Warehouse
from fx_pipeline.lifecycle.tenure import promise_of, read_standings
from fx_pipeline.lifecycle.verified import (
    StaleError,
    UnverifiedError,
    file_sha256,
    open_ledger,
    refuse_changed,
    refuse_other_candles,
    refuse_other_checkpoint,
    verified_report,
)
from fx_pipeline.market.atomic import atomic_path, atomic_write_json
from fx_pipeline.recipes.names import asset_name
from fx_pipeline.validation.champion import Champion, Demotion
from fx_pipeline.validation.promotion import Decision, decide_promotion
from fx_pipeline.validation.records import REGISTERED_SCHEMA
from fx_pipeline.validation.spans import span_ns
from fx_pipeline.validation.tenure import decide_demotion, later_standings

#: In the folder of a report: the model version that it made.
REGISTERED_NAME = "registered.json"
#: What a model's folder keeps; the record of the checkpoint is the last to be written, and completes it.
_OF_REPORT, _OF_CHECKPOINT = ("report.html", "report.json"), ("run.json", "weights.safetensors", "checkpoint.json")


@dataclass(frozen=True)
class Promotion:
    """What a promotion did.

    Attributes
    ----------
    champion : Champion or None
        The new one.
    demotion : Demotion or None
        Of the one before, if that happened now.
    reason : str
        Of the promotion, or why there was none.
    """

    champion: Champion | None
    demotion: Demotion | None
    reason: str


def decide(settings: Terms, instrument: str, report: Mapping[str, Any]) -> tuple[Demotion | None, Decision]:
    """Decide on the champion and on the candidate of a report, from what is on disk; nothing is changed.

    The report is judged again, and held against the ledger; the candles and the weights are looked at by `promote`.

    Returns
    -------
    Demotion or None
        Where the champion has to go, or where it went and the last step is missing.
    Decision
        On the candidate, as it is after that.
    """
    due, unread = _due_demotion(settings, instrument)
    champion = None if due else read_champion(settings, instrument)
    decision = _decide(settings, report, champion, due or read_demotion(settings, instrument))
    return due, replace(decision, reason=_with(decision.reason, unread))


def _decide(
    settings: Terms,
    report: Mapping[str, Any],
    champion: Champion | None,
    demotion: Demotion | None,
) -> Decision:
    decision = decide_promotion(report, champion, demotion, settings.promotion, settings.gate)
    if not decision.promote:
        return decision
    try:
        refuse_changed(settings, open_ledger(settings), report, Path(report["run"]["report"]).parent)
    except StaleError as error:
        return Decision(False, str(error), missing=error.because)
    except UnverifiedError as error:
        return Decision(False, str(error))
    return decision


def promote(
    settings: Terms,
    warehouse: Warehouse,
    tracking: Tracking,
    agent: str,
    instrument: str,
    window: str,
    run_id: str,
    faults: Sequence[str] = (),
) -> Promotion:
    """Demote the champion if it failed, and make the model of a window the champion if its report allows it.

    Repeating it changes nothing, and completes what a kill left. With `faults`, what is wrong with the trial ledger,
    nothing is promoted: nobody knows what it was chosen among.
    """
    demotion, unread = _due_demotion(settings, instrument)
    if demotion is not None:
        # One that a kill left unfinished keeps the run that began it.
        demotion = replace(demotion, dagster_run_id=demotion.dagster_run_id or run_id)
        atomic_write_json(settings.layout.demotion(instrument), demotion.to_json())
        tags = {"demoted": demotion.reason, "demoted_by_window": demotion.last_window}
        tracking.mlflow().remove_champion(demotion.registered_model, demotion.version, tags)
    if faults:
        champion, reason = None, f"the trial ledger cannot be relied on: {' '.join(faults)}"
    else:
        champion, reason = _promote(settings, warehouse, tracking, agent, instrument, window, run_id)
    if champion is None and demotion is not None:
        # The last step: while this file is there, `unfinished_demotion` names what is left to do.
        settings.layout.champion(instrument).unlink(missing_ok=True)
    return Promotion(champion, demotion, _with(reason, unread))


def _promote(
    settings: Terms,
    warehouse: Warehouse,
    tracking: Tracking,
    agent: str,
    instrument: str,
    window: str,
    run_id: str,
) -> tuple[Champion | None, str]:
    """Make the model of a window the champion, or say why not."""
    from fx_pipeline.validation.report import read_report

    folder = settings.layout.report(instrument, window)
    if not (folder / "report.json").exists():
        return None, f"there is no report in {folder}: materialise {_report(settings)} first."
    champion, demotion = read_champion(settings, instrument), read_demotion(settings, instrument)
    decision = _decide(settings, read_report(folder), champion, demotion)
    if not decision.promote:
        return None, decision.reason
    ledger = tracking.ledger()
    head = ledger.head()
    try:
        # Read again: what is judged is what was verified, and not what lay there a moment ago.
        report = verified_report(settings, ledger, agent, instrument, window)
        decision = _decide(settings, report, champion, demotion)
        if not decision.promote:
            return None, decision.reason
        checkpoint = settings.layout.checkpoint(instrument, window, report["figures"]["seed"])
        missing = [name for name in _OF_CHECKPOINT if not (checkpoint / name).exists()]
        if missing:
            return None, f"{checkpoint} has no {', '.join(missing)} any more: train and validate window {window} again."
        refuse_other_candles(settings, warehouse, ledger, report)
        refuse_other_checkpoint(settings, warehouse, ledger, report, checkpoint)
        model = settings.layout.model(instrument, report["lineage"]["checkpoint_sha256"])
        _freeze(checkpoint, folder, model)
        # And what was frozen is what was verified.
        verified_report(settings, ledger, agent, instrument, window, model)
        refuse_other_checkpoint(settings, warehouse, ledger, report, model)
        _refuse_failed(settings, report, agent, model)
        if (ledger.head().ledger_id, ledger.hash_at(head.rows)) != (head.ledger_id, head.hash):
            raise UnverifiedError(f"{ledger.path} was replaced while the report was verified: promote it again.")
    except UnverifiedError as error:
        return None, str(error)
    made = _register(settings, tracking, report, model, agent, run_id)
    # Paths are relative to the data folder: it may be moved or copied.
    atomic_write_json(settings.layout.champion(instrument), made.to_json(settings.layout.relative))
    return made, decision.reason


def _refuse_failed(settings: Terms, report: Mapping[str, Any], agent: str, model: Path) -> None:
    """Refuse a model that was champion once and failed since: who deletes the record of its demotion undoes nothing.

    Raises
    ------
    UnverifiedError
        Saying what it made.
    """
    figures, lineage = report["figures"], report["lineage"]
    again = Champion(
        instrument=figures["instrument"],
        recipe=settings.recipe.name,
        window=figures["window"],
        agent=agent,
        weights_sha256=lineage["checkpoint_sha256"],
        model=model,
        source=lineage["source"],
        costs=dict(lineage["costs"]),
        registered_model="",
        version="",
        registered_url="",
        valid_end_ns=span_ns(lineage)[1],
    )
    standings = [standing for standing in read_standings(settings, again)[0] if standing.sound]
    reason = decide_demotion(again, standings, promise_of(settings, again), settings.promotion)
    if reason is not None:
        raise UnverifiedError(
            f"the model of window {figures['window']} traded after its record already, and the ledger knows how: "
            f"{reason}"
        )


def _register(
    settings: Terms, tracking: Tracking, report: Mapping[str, Any], model: Path, agent: str, run_id: str
) -> Champion:
    """Register the frozen model with links to all that it came from, and the runs and the report with links to it."""
    figures, lineage, validated = report["figures"], report["lineage"], report["run"]
    instrument, window = figures["instrument"], figures["window"]
    name = f"{instrument}-{settings.recipe.name}"
    trained, record, store = read_run(model), read_checkpoint(model), tracking.mlflow()
    start_ns, end_ns = span_ns(lineage)
    unregistered = Champion(
        instrument=instrument,
        recipe=settings.recipe.name,
        window=window,
        agent=agent,
        weights_sha256=lineage["checkpoint_sha256"],
        model=model,
        source=lineage["source"],
        costs=dict(lineage["costs"]),
        registered_model=name,
        version="",
        registered_url="",
        valid_start_ns=start_ns,
        valid_end_ns=end_ns,
        seed=figures["seed"],
        report_sha256=file_sha256(model / "report.json"),
        # The settings of the search stand in it: other ones make another model of the same weights.
        record_sha256=file_sha256(model / _OF_CHECKPOINT[-1]),
        figures_sha256=report["figures_sha256"],
        market_fingerprint=lineage["data_fingerprint"],
        training_fingerprint=record["data_fingerprint"],
        training_mlflow_run_id=store.resolve(trained["mlflow_run_id"]),
        training_dagster_run_id=trained["dagster_run_id"],
        validation_mlflow_run_id=store.resolve(validated.get("mlflow_run_id", "")),
        validation_dagster_run_id=validated.get("dagster_run_id", ""),
        promotion_dagster_run_id=run_id,
        expectancy_pips=float(figures["expectancy_pips"]),
        gate=asdict(settings.gate),
        promoted=datetime.now(UTC).isoformat(timespec="seconds"),
        paired=figures["paired"],
    )
    trained_by = unregistered.training_mlflow_run_id or None
    version = store.register_model_version(name, model, run_id=trained_by, tags=_tags(unregistered, lineage))
    store.set_champion(name, version)
    made = replace(unregistered, version=version, registered_url=store.version_url(name, version))
    back = {"registered_model": name, "version": version, "registered_url": made.registered_url}
    for run in (made.training_mlflow_run_id, made.validation_mlflow_run_id):
        if run:
            store.tag_run(run, back)
    registered = settings.layout.report(instrument, window) / REGISTERED_NAME
    atomic_write_json(registered, {"schema": REGISTERED_SCHEMA, **back, "weights_sha256": made.weights_sha256})
    return made


def _tags(champion: Champion, lineage: Mapping[str, Any]) -> dict[str, Any]:
    """Tags of the version in MLflow. Their names stay: versions of before are found by them."""
    tags = {
        "instrument": champion.instrument,
        "recipe": champion.recipe,
        "window": champion.window,
        "seed": champion.seed,
        "sha256": champion.weights_sha256,
        "report": str(champion.report),
        "report_sha256": champion.report_sha256,
        "checkpoint_record_sha256": champion.record_sha256,
        "figures_sha256": champion.figures_sha256,
        "data_fingerprint": champion.market_fingerprint,
        "training_data_fingerprint": champion.training_fingerprint,
        "training_mlflow_run_id": champion.training_mlflow_run_id,
        "training_dagster_run_id": champion.training_dagster_run_id,
        "validation_mlflow_run_id": champion.validation_mlflow_run_id,
        "validation_dagster_run_id": champion.validation_dagster_run_id,
        "dagster/run_id": champion.promotion_dagster_run_id,
        "expectancy_pips": f"{champion.expectancy_pips:.4f}",
    }
    # The head of the trial ledger is kept here, too: it tells whether the ledger is still the one that this rests on.
    tags |= {name: value for name, value in lineage.items() if name.startswith("ledger_")}
    if champion.paired is not None:
        tags |= {
            "replaced_sha256": champion.paired["champion_sha256"],
            "paired_p": f"{champion.paired['p_value']:.6g}",
        }
    return tags


def _due_demotion(settings: Terms, instrument: str) -> tuple[Demotion | None, list[str]]:
    """The demotion of the champion, where one is due or not finished; and which standings could not be read."""
    champion = read_champion(settings, instrument)
    if champion is None:
        return unfinished_demotion(settings, instrument), []
    standings, unread = read_standings(settings, champion)
    reason = decide_demotion(champion, standings, promise_of(settings, champion), settings.promotion)
    if reason is None:
        return None, unread
    newest = later_standings(champion, standings)[-1].standing
    due = Demotion(
        instrument=champion.instrument,
        window=champion.window,
        weights_sha256=champion.weights_sha256,
        source=champion.source,
        registered_model=champion.registered_model,
        version=champion.version,
        last_window=newest.window,
        reason=reason,
        agent=champion.agent,
        recipe=champion.recipe,
        registered_url=champion.registered_url,
        last_end_ns=newest.valid_end_ns,
        judged_until_ns=champion.valid_end_ns,
    )
    return due, unread


def _report(settings: Terms) -> str:
    return asset_name(settings.recipe.name, "validation_report")


def _with(reason: str, unread: Sequence[str]) -> str:
    return "; ".join([reason, *(f"left out: {line}" for line in unread)])


def _freeze(checkpoint: Path, report: Path, model: Path) -> None:
    """Copy a checkpoint and its report to a folder of their own, which is either complete or absent."""
    complete = (model / _OF_CHECKPOINT[-1]).exists()
    model.mkdir(parents=True, exist_ok=True)
    # A promotion that was killed may have left the model with a report that has been made again since.
    for folder, names in ((report, _OF_REPORT), (checkpoint, () if complete else _OF_CHECKPOINT)):
        for name in names:
            with atomic_path(model / name) as temporary:
                shutil.copyfile(folder / name, temporary)
