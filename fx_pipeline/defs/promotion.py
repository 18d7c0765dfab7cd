"""Promotion and demotion: the decisions carried out, in an order that a kill cannot leave half done for good."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fx_pipeline.agents.record import read_checkpoint, read_run
from fx_pipeline.defs.resources import Tracking, Warehouse
from fx_pipeline.defs.verified import (
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
from fx_pipeline.market.errors import DataError, FxPipelineError
from fx_pipeline.market.origin import candle_origin
from fx_pipeline.settings import Settings
from fx_pipeline.validation.promotion import Decision, decide_promotion
from fx_pipeline.validation.records import (
    CHAMPION_SCHEMA,
    DEMOTION_SCHEMA,
    REGISTERED_SCHEMA,
    read_champion_record,
    read_demotion_record,
)
from fx_pipeline.validation.spans import span_ns
from fx_pipeline.validation.tenure import decide_demotion, later_standings

#: In the folder of a report: the model version that it made.
REGISTERED_NAME = "registered.json"
#: Paths in a champion's record, which are relative to the data folder there: it may be moved or copied.
_PATHS = ("model", "report")
#: What a model's folder keeps; the record of the checkpoint is the last to be written, and completes it.
_OF_REPORT, _OF_CHECKPOINT = ("report.html", "report.json"), ("run.json", "weights.safetensors", "checkpoint.json")


@dataclass(frozen=True)
class Promotion:
    """What a promotion did.

    Attributes
    ----------
    champion : dict or None
        Record of the new champion.
    demotion : dict or None
        Record of the demotion of the one before, if that happened now.
    reason : str
        Of the promotion, or why there was none.
    """

    champion: dict[str, Any] | None
    demotion: dict[str, Any] | None
    reason: str


def read_champion(settings: Settings, instrument: str) -> dict[str, Any] | None:
    """Return the record of an instrument's champion, or None. One that was demoted is none.

    Raises
    ------
    DataError
        If a record cannot be read.
    """
    record = _recorded(settings, instrument)
    demotion = read_demotion(settings, instrument)
    # The demotion is written first: from then on nothing trades the model, wherever a kill may have hit.
    return None if record is None or (demotion and demotion["sha256"] == record["sha256"]) else record


def rival(
    settings: Settings, instrument: str, window: str, sha256: str, valid_end_ns: int | None = None
) -> dict[str, Any] | None:
    """Return the champion that a model validated on a window is compared with: another one, and not of newer bars.

    Parameters
    ----------
    settings : Settings
    instrument, window : str
    sha256 : str
        Of the model.
    valid_end_ns : int, optional
        End of the bars of the window; windows are compared by name where it, or that of the champion, is not known.

    Raises
    ------
    DataError
        If its record cannot be read.
    """
    champion = read_champion(settings, instrument)
    if champion is None or champion["sha256"] == sha256:
        return None
    until = champion["valid_end_ns"]
    newer = window < champion["window"] if until is None or valid_end_ns is None else valid_end_ns < until
    return None if newer else champion


def champions(settings: Settings) -> tuple[list[str], list[str]]:
    """Return the hashes of the models that trade now, of all instruments.

    Returns
    -------
    list of str
        Hashes.
    list of str
        Why the champion of an instrument is not known, each: its record cannot be read.
    """
    folder = settings.layout.champion("x").parent
    found, unread = [], []
    # A name that begins with a dot is a file that is being written, or that a kill left half written.
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            record = read_champion(settings, path.stem)
        except FxPipelineError as error:
            unread.append(str(error))
            continue
        if record is not None:
            found.append(record["sha256"])
    return found, unread


def read_demotion(settings: Settings, instrument: str) -> dict[str, Any] | None:
    """Return the record of an instrument's last demotion, or None.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    try:
        record = read_demotion_record(settings.layout.demotion(instrument))
    except FileNotFoundError:
        return None
    return _of(instrument, record, settings.layout.demotion(instrument))


def unfinished_demotion(settings: Settings, instrument: str) -> dict[str, Any] | None:
    """Return the record of a demotion that a kill, or an error after it, left without its last step; or None.

    Raises
    ------
    DataError
        If a record cannot be read.
    """
    record, demotion = _recorded(settings, instrument), read_demotion(settings, instrument)
    return demotion if record and demotion and demotion["sha256"] == record["sha256"] else None


def decide(settings: Settings, instrument: str, report: Mapping[str, Any]) -> tuple[dict[str, Any] | None, Decision]:
    """Decide on the champion and on the candidate of a report, from what is on disk; nothing is changed.

    The report is judged again, and held against the ledger; the candles and the weights are looked at by `promote`.

    Returns
    -------
    dict or None
        Record of the demotion, where the champion has to go, or where it went and the last step is missing.
    Decision
        On the candidate, as it is after that.
    """
    due, unread = _due_demotion(settings, instrument)
    champion = None if due else read_champion(settings, instrument)
    decision = _decide(settings, report, champion, due or read_demotion(settings, instrument))
    return due, replace(decision, reason=_with(decision.reason, unread))


def _decide(
    settings: Settings,
    report: Mapping[str, Any],
    champion: Mapping[str, Any] | None,
    demotion: Mapping[str, Any] | None,
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
    settings: Settings,
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
        demotion = {"dagster_run_id": run_id} | demotion | {"schema": DEMOTION_SCHEMA}
        atomic_write_json(settings.layout.demotion(instrument), demotion)
        tags = {"demoted": demotion["reason"], "demoted_by_window": demotion["last_window"]}
        tracking.mlflow().remove_champion(demotion["registered_model"], demotion["version"], tags)
    if faults:
        champion, reason = None, f"the trial ledger cannot be relied on: {' '.join(faults)}"
    else:
        champion, reason = _promote(settings, warehouse, tracking, agent, instrument, window, run_id)
    if champion is None and demotion is not None:
        # The last step: while this file is there, `unfinished_demotion` names what is left to do.
        settings.layout.champion(instrument).unlink(missing_ok=True)
    return Promotion(champion, demotion, _with(reason, unread))


def _promote(
    settings: Settings,
    warehouse: Warehouse,
    tracking: Tracking,
    agent: str,
    instrument: str,
    window: str,
    run_id: str,
) -> tuple[dict[str, Any] | None, str]:
    """Make the model of a window the champion, or say why not."""
    from fx_pipeline.validation.report import read_report

    folder = settings.layout.report(agent, instrument, window)
    if not (folder / "report.json").exists():
        return None, f"there is no report in {folder}: materialise validation_report first."
    champion, demotion = read_champion(settings, instrument), read_demotion(settings, instrument)
    decision = _decide(settings, read_report(folder), champion, demotion)
    if not decision.promote:
        return None, decision.reason
    ledger = tracking.ledger()
    try:
        # Read again: what is judged is what was verified, and not what lay there a moment ago.
        report = verified_report(settings, ledger, agent, instrument, window)
        decision = _decide(settings, report, champion, demotion)
        if not decision.promote:
            return None, decision.reason
        checkpoint = settings.layout.checkpoint(agent, instrument, window, report["figures"]["seed"])
        missing = [name for name in _OF_CHECKPOINT if not (checkpoint / name).exists()]
        if missing:
            return None, f"{checkpoint} has no {', '.join(missing)} any more: train and validate window {window} again."
        refuse_other_candles(warehouse, ledger, report)
        refuse_other_checkpoint(settings, warehouse, ledger, report, checkpoint)
        model = settings.layout.model(instrument, report["lineage"]["checkpoint_sha256"])
        _freeze(checkpoint, folder, model)
        # And what was frozen is what was verified.
        verified_report(settings, ledger, agent, instrument, window, model)
        refuse_other_checkpoint(settings, warehouse, ledger, report, model)
    except UnverifiedError as error:
        return None, str(error)
    made = _register(settings, tracking, report, model, agent, run_id)
    paths = {name: settings.layout.relative(Path(made[name])) for name in _PATHS}
    atomic_write_json(settings.layout.champion(instrument), {**made, **paths})
    return made, decision.reason


def _register(
    settings: Settings, tracking: Tracking, report: Mapping[str, Any], model: Path, agent: str, run_id: str
) -> dict[str, Any]:
    """Register the frozen model with links to all that it came from, and the runs and the report with links to it."""
    figures, lineage, validated = report["figures"], report["lineage"], report["run"]
    instrument, window, name = figures["instrument"], figures["window"], f"{figures['instrument']}-{agent}"
    trained, record, store = read_run(model), read_checkpoint(model), tracking.mlflow()
    links = {
        "instrument": instrument,
        "window": window,
        "seed": figures["seed"],
        "sha256": lineage["checkpoint_sha256"],
        "report": str(model / "report.json"),
        "report_sha256": file_sha256(model / "report.json"),
        # The settings of the search stand in it: other ones make another model of the same weights.
        "checkpoint_record_sha256": file_sha256(model / _OF_CHECKPOINT[-1]),
        "figures_sha256": report["figures_sha256"],
        "data_fingerprint": lineage["data_fingerprint"],
        "training_data_fingerprint": record["data_fingerprint"],
        "training_mlflow_run_id": store.resolve(trained["mlflow_run_id"]),
        "training_dagster_run_id": trained["dagster_run_id"],
        "validation_mlflow_run_id": store.resolve(validated.get("mlflow_run_id", "")),
        "validation_dagster_run_id": validated.get("dagster_run_id", ""),
        "dagster/run_id": run_id,
    }
    tags = links | {"expectancy_pips": f"{figures['expectancy_pips']:.4f}"}
    # The head of the trial ledger is kept here, too: it tells whether the ledger is still the one that this rests on.
    tags |= {name: value for name, value in lineage.items() if name.startswith("ledger_")}
    if figures["paired"] is not None:
        paired = figures["paired"]
        tags |= {"replaced_sha256": paired["champion_sha256"], "paired_p": f"{paired['p_value']:.6g}"}
    trained_by = links["training_mlflow_run_id"] or None
    version = store.register_model_version(name, model, run_id=trained_by, tags=tags)
    store.set_champion(name, version)
    back = {
        "registered_model": name,
        "version": version,
        "registered_url": store.version_url(name, version),
        "sha256": links["sha256"],
    }
    for run in (links["training_mlflow_run_id"], links["validation_mlflow_run_id"]):
        if run:
            store.tag_run(run, {key: value for key, value in back.items() if key != "sha256"})
    start_ns, end_ns = span_ns(lineage)
    registered = settings.layout.report(agent, instrument, window) / REGISTERED_NAME
    atomic_write_json(registered, {"schema": REGISTERED_SCHEMA, **back})
    return {
        "schema": CHAMPION_SCHEMA,
        **links,
        **back,
        "agent": agent,
        "model": str(model),
        "expectancy_pips": float(figures["expectancy_pips"]),
        "source": lineage["source"],
        "origin": candle_origin(lineage["source"]),
        "costs": dict(lineage["costs"]),
        "gate": asdict(settings.gate),
        "valid_start_ns": start_ns,
        "valid_end_ns": end_ns,
        "promoted": datetime.now(UTC).isoformat(timespec="seconds"),
        "paired": figures["paired"],
    }


def _due_demotion(settings: Settings, instrument: str) -> tuple[dict[str, Any] | None, list[str]]:
    """The demotion of the champion, where one is due or not finished; and which standings could not be read."""
    from fx_pipeline.defs.tenure import promise_of, read_standings

    champion = read_champion(settings, instrument)
    if champion is None:
        return unfinished_demotion(settings, instrument), []
    standings, unread = read_standings(settings, champion)
    reason = decide_demotion(champion, standings, promise_of(settings, champion), settings.promotion)
    if reason is None:
        return None, unread
    kept = ("instrument", "agent", "window", "sha256", "source", "registered_model", "version", "registered_url")
    newest = later_standings(champion, standings)[-1]
    due = {name: champion[name] for name in kept} | {
        "last_window": newest["window"],
        "last_end_ns": newest["valid_end_ns"],
        "judged_until_ns": champion["valid_end_ns"],
        "reason": reason,
    }
    return due, unread


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


def _recorded(settings: Settings, instrument: str) -> dict[str, Any] | None:
    path = settings.layout.champion(instrument)
    try:
        record = _of(instrument, read_champion_record(path), path)
    except FileNotFoundError:
        return None
    # A model lies where its hash says. Earlier versions wrote whole paths, which of a copy lead to the original.
    model = settings.layout.model(instrument, record["sha256"])
    return record | {"model": str(model), "report": str(model / "report.json")} | _judged_span(settings, record, model)


def _judged_span(settings: Settings, record: Mapping[str, Any], model: Path) -> dict[str, int | None]:
    """The bars that a champion was promoted for, by its record, its report, or the plan; None where none knows."""
    from fx_pipeline.sessions.table import read_plan
    from fx_pipeline.validation.report import read_report

    if record.get("valid_end_ns") is not None:
        return {name: record[name] for name in ("valid_start_ns", "valid_end_ns")}
    try:
        start_ns, end_ns = span_ns(read_report(model)["lineage"])
    except (FxPipelineError, KeyError, ValueError):
        try:
            planned = read_plan(settings.layout.windows(record["instrument"])).window(record["window"])
        except FxPipelineError:
            planned = None
        if planned is None:
            return {"valid_start_ns": None, "valid_end_ns": None}
        start_ns, end_ns = planned.valid_start, planned.valid_end
    return {"valid_start_ns": start_ns, "valid_end_ns": end_ns}


def _of(instrument: str, record: dict[str, Any], path: Path) -> dict[str, Any]:
    if record["instrument"] != instrument:
        raise DataError(f"{path} is of {record['instrument']}, and not of {instrument}: put it back in its place.")
    return record
