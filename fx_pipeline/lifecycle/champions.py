"""Who trades an instrument: the records of champions and of demotions, read together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fx_pipeline.lifecycle.needs import Terms
from fx_pipeline.market.errors import DataError, FxPipelineError
from fx_pipeline.validation.records import read_champion_record, read_demotion_record
from fx_pipeline.validation.spans import span_ns


def read_champion(settings: Terms, instrument: str) -> dict[str, Any] | None:
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
    settings: Terms, instrument: str, window: str, sha256: str, valid_end_ns: int | None = None
) -> dict[str, Any] | None:
    """Return the champion that a model validated on a window is compared with: another one, and not of newer bars.

    Parameters
    ----------
    settings : Terms
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


def champions(settings: Terms) -> tuple[list[str], list[str]]:
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


def read_demotion(settings: Terms, instrument: str) -> dict[str, Any] | None:
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


def unfinished_demotion(settings: Terms, instrument: str) -> dict[str, Any] | None:
    """Return the record of a demotion that a kill, or an error after it, left without its last step; or None.

    Raises
    ------
    DataError
        If a record cannot be read.
    """
    record, demotion = _recorded(settings, instrument), read_demotion(settings, instrument)
    return demotion if record and demotion and demotion["sha256"] == record["sha256"] else None


def _recorded(settings: Terms, instrument: str) -> dict[str, Any] | None:
    path = settings.layout.champion(instrument)
    try:
        record = _of(instrument, read_champion_record(path), path)
    except FileNotFoundError:
        return None
    # A model lies where its hash says. Earlier versions wrote whole paths, which of a copy lead to the original.
    model = settings.layout.model(instrument, record["sha256"])
    return record | {"model": str(model), "report": str(model / "report.json")} | _judged_span(settings, record, model)


def _judged_span(settings: Terms, record: Mapping[str, Any], model: Path) -> dict[str, int | None]:
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
