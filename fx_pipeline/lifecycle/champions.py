"""Who trades an instrument: the records of champions and of demotions, read together."""

from dataclasses import replace
from pathlib import Path

from fx_pipeline.lifecycle.needs import Terms
from fx_pipeline.market.errors import DataError, FxPipelineError
from fx_pipeline.validation.champion import Champion, Demotion
from fx_pipeline.validation.records import read_champion_record, read_demotion_record
from fx_pipeline.validation.spans import span_ns


def read_champion(settings: Terms, instrument: str) -> Champion | None:
    """Return the record of an instrument's champion, or None. One that was demoted is none.

    Raises
    ------
    DataError
        If a record cannot be read.
    """
    record = _recorded(settings, instrument)
    demotion = read_demotion(settings, instrument)
    # The demotion is written first: from then on nothing trades the model, wherever a kill may have hit.
    return None if record is None or (demotion and demotion.weights_sha256 == record.weights_sha256) else record


def rival(
    settings: Terms, instrument: str, window: str, sha256: str, valid_end_ns: int | None = None
) -> Champion | None:
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
    if champion is None or champion.weights_sha256 == sha256:
        return None
    until = champion.valid_end_ns
    newer = window < champion.window if until is None or valid_end_ns is None else valid_end_ns < until
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
            found.append(record.weights_sha256)
    return found, unread


def read_demotion(settings: Terms, instrument: str) -> Demotion | None:
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
    _refuse_other(instrument, record, settings.layout.demotion(instrument))
    return record


def unfinished_demotion(settings: Terms, instrument: str) -> Demotion | None:
    """Return the record of a demotion that a kill, or an error after it, left without its last step; or None.

    Raises
    ------
    DataError
        If a record cannot be read.
    """
    record, demotion = _recorded(settings, instrument), read_demotion(settings, instrument)
    return demotion if record and demotion and demotion.weights_sha256 == record.weights_sha256 else None


def _recorded(settings: Terms, instrument: str) -> Champion | None:
    path = settings.layout.champion(instrument)
    try:
        record = read_champion_record(path, lambda sha256: settings.layout.model(instrument, sha256))
    except FileNotFoundError:
        return None
    _refuse_other(instrument, record, path)
    start_ns, end_ns = _judged_span(settings, record)
    return replace(record, valid_start_ns=start_ns, valid_end_ns=end_ns)


def _judged_span(settings: Terms, record: Champion) -> tuple[int | None, int | None]:
    """The bars that a champion was promoted for, by its record, its report, or the plan; None where none knows."""
    from fx_pipeline.sessions.table import read_plan
    from fx_pipeline.validation.report import read_report

    if record.valid_end_ns is not None:
        return record.valid_start_ns, record.valid_end_ns
    try:
        return span_ns(read_report(record.model)["lineage"])
    except (FxPipelineError, KeyError, ValueError):
        try:
            planned = read_plan(settings.layout.windows(record.instrument)).window(record.window)
        except FxPipelineError:
            planned = None
        return (None, None) if planned is None else (planned.valid_start, planned.valid_end)


def _refuse_other(instrument: str, record: Champion | Demotion, path: Path) -> None:
    if record.instrument != instrument:
        raise DataError(f"{path} is of {record.instrument}, and not of {instrument}: put it back in its place.")
