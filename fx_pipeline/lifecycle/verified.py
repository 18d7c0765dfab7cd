"""What a report says, held against what the trial ledger, the candles and the weights say: before anything acts on it.

A file on a disk can be edited, restored from a copy, or brought from another machine. So a report's own word decides
nothing, and its figures count only if the ledger's row of that very trial names them, at the present state of what it
was made from. Each difference is a sentence that ends with what to do.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fx_pipeline.agents.record import RECORD_NAME, WEIGHTS_NAME, read_checkpoint
from fx_pipeline.layout import DEFAULT_RECIPE
from fx_pipeline.lifecycle.configuration import configuration
from fx_pipeline.lifecycle.needs import Terms, Warehouse
from fx_pipeline.lifecycle.spans import Span, load_span, rows_not_of_lake, training_data
from fx_pipeline.lifecycle.vouched import vouchers
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.prints import no_days
from fx_pipeline.validation.champion import Champion

if TYPE_CHECKING:
    from fx_pipeline.agents.base import Policy
    from fx_pipeline.tracking.choices import Bars
    from fx_pipeline.tracking.ledger import Ledger, ScoredTrial


class UnverifiedError(DataError):
    """A report is not what was computed, or not of what is there now."""


class StaleError(UnverifiedError):
    """A report was right when it was made, and is no longer: validating its window again makes one that is.

    Parameters
    ----------
    said : str
    because : str
        Of what is there now: the same as long as nothing changes.
    """

    def __init__(self, said: str, because: str) -> None:
        super().__init__(said)
        self.because = because


def open_ledger(settings: Terms) -> "Ledger":
    """Return the trial ledger of the data folder."""
    from fx_pipeline.tracking.ledger import Ledger

    return Ledger(settings.layout.ledger)


def verified_report(
    settings: Terms, ledger: "Ledger", agent: str, instrument: str, window: str, folder: Path | None = None
) -> dict[str, Any]:
    """Read the report of a window, and refuse one that is not what was computed.

    Checked without the candles: the hash of the figures; that the ledger's row of this very trial names that hash and
    what the report was made from; that nothing it counts has been added to since; and that the ledger itself is whole.

    Parameters
    ----------
    settings : Terms
    ledger : Ledger
    agent, instrument, window : str
    folder : Path, optional
        Where it lies; by default where `validation_report` puts it.

    Returns
    -------
    dict
        The report. Its verdict is still its own word: judge the figures.

    Raises
    ------
    UnverifiedError
        Naming what differs.
    DataError
        If there is no report, or it is not one.
    """
    from fx_pipeline.validation.report import read_report

    folder = folder or settings.layout.report(instrument, window)
    report = read_report(folder)
    figures = report["figures"]
    said = (figures["agent"], figures["instrument"], figures["window"])
    if said != (agent, instrument, window):
        raise UnverifiedError(f"the report in {folder} is of {' '.join(said)}: validate window {window} again.")
    # Reports from before there were recipes are of the default one.
    recipe = report["lineage"].get("recipe", DEFAULT_RECIPE)
    if recipe != settings.recipe.name:
        raise UnverifiedError(f"the report in {folder} is of the recipe {recipe}: validate window {window} again.")
    refuse_changed(settings, ledger, report, folder)
    return report


def refuse_changed(settings: Terms, ledger: "Ledger", report: Mapping[str, Any], folder: Path) -> None:
    """Refuse a report whose figures, or what they were made from, are not those that the ledger knows.

    Raises
    ------
    UnverifiedError
    """
    figures, window = report["figures"], report["figures"]["window"]
    again = f"validate window {window} again."
    if figures_sha256(figures) != report["figures_sha256"]:
        raise UnverifiedError(
            f"the figures in {folder} do not have the hash that stands beside them: somebody changed them. {again}"
        )
    row = reported_trial(ledger, report)
    if row is None:
        raise UnverifiedError(
            f"the trial ledger {ledger.path} has no row of this trial of window {window} with these figures and what "
            "they were made from: the report was changed, or belongs to another ledger, or an earlier version made it. "
            f"{again}"
        )
    openings = ledger.holdout_openings(figures["instrument"], settings.sealed_from_ns)
    if openings != figures["holdout_openings"]:
        raise StaleError(
            f"the sealed days were opened for {openings} candidates, and the report of window {window} was made when "
            f"they were for {figures['holdout_openings']}: {again}",
            f"opened {openings}",
        )
    _refuse_stale(ledger, report, row.key)


def _refuse_stale(ledger: "Ledger", report: Mapping[str, Any], key: str, bars: "Bars | None" = None) -> None:
    """Refuse a report that was deflated by less than was chosen among by now."""
    figures = report["figures"]
    window, counted = figures["window"], (figures.get("record") or figures).get("trials") or 0
    looks, days = ledger.looks()
    own = next((look for look in looks if look.key == key), None)
    if own is None:
        return
    chosen = ledger.choices(own, days.get(own.days, no_days()), bars)
    if chosen.total > counted:
        words = ", ".join(f"{count} {what}" for what, count in chosen.words().items())
        raise StaleError(
            f"since the report of window {window} was made, which counts {counted} choices, more was tried on the same "
            f"days: {chosen.total} by now ({words}). Validate window {window} again.",
            f"chosen {chosen.total}",
        )


def reported_trial(ledger: "Ledger", report: Mapping[str, Any]) -> "ScoredTrial | None":
    """Return the ledger's row that a report is of: same weights, candles, costs and seed, and it names these figures.

    None where there is no such row.
    """
    from fx_pipeline.tracking.ledger import lineage_sha256

    figures, lineage = report["figures"], report["lineage"]
    wanted = (lineage["checkpoint_sha256"], lineage["data_fingerprint"], _plain(lineage["costs"]), figures["seed"])
    named = (report["figures_sha256"], lineage_sha256(lineage))
    # The newest first: the same weights may be of two configurations, and the report is of the one of now.
    for trial in reversed(ledger.scored(figures["instrument"], figures["window"])):
        if (trial.checkpoint_hash, trial.data_fingerprint, _plain(trial.costs), trial.seed) == wanted:
            known = [(found.figures_sha256, found.lineage_sha256) for found in ledger.reports(trial.key)]
            if named in known:
                return trial
    return None


def refuse_other_candles(settings: Terms, warehouse: Warehouse, ledger: "Ledger", report: Mapping[str, Any]) -> None:
    """Refuse a report whose window, or the candles of it, are not what there is now, or that more was tried on since.

    Raises
    ------
    UnverifiedError
        Naming the difference.
    """
    from fx_pipeline.validation.score import judged_bars

    figures, lineage = report["figures"], report["lineage"]
    instrument, window = figures["instrument"], figures["window"]
    span = _present(settings, warehouse, instrument, window, "valid")
    spans = span.window.spans()
    moved = [f"{name} {lineage[name]} and now {spans[name]}" for name in spans if lineage[name] != spans[name]]
    if moved:
        raise UnverifiedError(
            f"window {window} has other spans than at its validation ({', '.join(moved)}): train and validate it again."
        )
    if span.market.fingerprint != lineage["data_fingerprint"]:
        raise UnverifiedError(
            f"the candles of window {window} are not those that it was validated on ({_difference(span, lineage)}): "
            "materialise feature_table if they were replaced, and validate the window again."
        )
    _refuse_other_rows(settings, warehouse, span, "valid")
    row = reported_trial(ledger, report)
    if row is not None:
        # With the candles themselves also what was tried under another clock is found.
        _refuse_stale(ledger, report, row.key, judged_bars(span.market, span.starts, span.rules)[3])


def refuse_other_checkpoint(
    settings: Terms, warehouse: Warehouse, ledger: "Ledger", report: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """Refuse a checkpoint that is not the one that was judged, or not made from what there is now; return its record.

    Raises
    ------
    UnverifiedError
        Naming what differs.
    """
    figures, sha256 = report["figures"], report["lineage"]["checkpoint_sha256"]
    instrument, window = figures["instrument"], figures["window"]
    record = read_checkpoint(folder)
    if record["weights_sha256"] != sha256:
        raise UnverifiedError(
            f"the checkpoint of window {window} was trained again after its report: validate it before promoting it."
        )
    if file_sha256(folder / WEIGHTS_NAME) != sha256:
        raise UnverifiedError(f"the weights in {folder} are not those that were validated: train the window again.")
    row, train = reported_trial(ledger, report), f"the record {folder / RECORD_NAME} was changed: train it again."
    if row is None or configuration(record, settings.recipe) != row.config_hash or record["seed"] != row.seed:
        raise UnverifiedError(f"settings, code or seed of window {window} are not those that the ledger knows: {train}")
    span = _present(settings, warehouse, instrument, window, "train")
    if record["window"] != {"key": window, **span.window.spans()}:
        raise UnverifiedError(f"the checkpoint of window {window} was trained on other spans than it has: {train}")
    if record["data_fingerprint"] != _trained_on(settings, span, record):
        raise UnverifiedError(
            f"the candles that window {window} was trained on are not those that there are now: train it again, as "
            "what it has seen is not known."
        )
    _refuse_other_rows(settings, warehouse, span, "train")
    if doubt := vouchers(ledger).doubt(instrument, window, folder, record):
        raise UnverifiedError(doubt)
    return record


def load_judged(agent_name: str, folder: Path, sha256: str) -> "Policy":
    """Load the policy of a checkpoint that was judged: what was loaded has this hash, or it is refused.

    Parameters
    ----------
    agent_name : str
    folder : Path
    sha256 : str
        Of the weights that were judged.

    Raises
    ------
    UnverifiedError
        Naming both hashes.
    """
    from fx_pipeline.agents.registry import agent

    policy = agent(agent_name).load_policy(folder)
    # Of the very bytes that were loaded: the file may be another one a moment later.
    loaded = getattr(policy, "weights_sha256", None) or file_sha256(folder / WEIGHTS_NAME)
    if loaded != sha256:
        raise UnverifiedError(
            f"{folder} holds the weights {loaded[:12]}, and those that were judged are {sha256[:12]}: restore them."
        )
    return policy


def refuse_swapped_model(champion: Champion) -> None:
    """Refuse the folder of a champion that holds other weights, or another record of them, than were promoted.

    Raises
    ------
    UnverifiedError
        Naming the file.
    """
    model = champion.model
    recorded = champion.record_sha256
    for name, wanted in ((WEIGHTS_NAME, champion.weights_sha256), (RECORD_NAME, recorded)):
        # Champions of earlier versions have no hash of the record: their weights are held against it on loading.
        if wanted is None:
            continue
        if not (model / name).exists():
            raise UnverifiedError(f"{model / name} of the champion is missing: restore it.")
        found = file_sha256(model / name)
        if found != wanted:
            raise UnverifiedError(
                f"{model / name} has the hash {found[:12]}, and {wanted[:12]} was promoted: restore the file."
            )


def refuse_unpromoted(settings: Terms, ledger: "Ledger", champion: Champion) -> None:
    """Refuse the record of a champion that no promotion can have written: who writes files can write that one, too.

    Raises
    ------
    UnverifiedError
        If the report beside its model is none that the ledger knows, is of another model, or does not pass the gate.
    """
    from fx_pipeline.validation.conditions import CONDITIONS
    from fx_pipeline.validation.gate import judge
    from fx_pipeline.validation.report import read_report

    folder = champion.model
    report = read_report(folder)
    figures, lineage = report["figures"], report["lineage"]
    said = (lineage["checkpoint_sha256"], lineage["source"], _plain(lineage["costs"]), figures["instrument"])
    if said != (champion.weights_sha256, champion.source, _plain(champion.costs), champion.instrument):
        raise UnverifiedError(f"the report in {folder} says other things than the record: promote the model again.")
    known = figures_sha256(figures) == report["figures_sha256"] and reported_trial(ledger, report) is not None
    if not known:
        raise UnverifiedError(f"the trial ledger does not know the report in {folder}: promote the model again.")
    verdict = judge(figures, settings.gate, CONDITIONS)
    if not verdict.promoted:
        raise UnverifiedError(
            f"the gate of now rejects the report in {folder}: {'; '.join(verdict.reasons)} Validate its window and "
            "promote it again, or set FX_GATE as it was."
        )


def figures_sha256(figures: Mapping[str, Any]) -> str:
    """Hash the figures of a report, as `validation.report` does when it makes one."""
    return hashlib.sha256(json.dumps(figures, sort_keys=True, allow_nan=False).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _present(settings: Terms, warehouse: Warehouse, instrument: str, window: str, part: str) -> Span:
    span = load_span(settings, warehouse, instrument, window, part, against_lake=False)
    if isinstance(span, str):
        raise UnverifiedError(f"nothing can be compared with the report of window {window}: {span}")
    return span


def _refuse_other_rows(settings: Terms, warehouse: Warehouse, span: Span, part: str) -> None:
    """Refuse a span whose rows of the feature table are not those that the lake gives."""
    start, end = [getattr(span.window, f"{part}_{edge}") for edge in ("start", "end")]
    with warehouse.get_connection(read_only=True) as connection:
        differing = rows_not_of_lake(settings, connection, span.market, start, end)
    if differing:
        raise UnverifiedError(
            f"{differing:,} rows of the feature table, of the {part} span of window {span.window.key}, are not those "
            f"that the candles of the lake give: materialise {settings.recipe.sessions_table.features.asset} again; if "
            f"that mends nothing, remove {settings.layout.warehouse} before."
        )


def _trained_on(settings: Terms, span: Span, record: Mapping[str, Any]) -> str:
    from fx_pipeline.agents.fingerprint import data_fingerprint
    from fx_pipeline.market.costs import recorded_costs

    data = training_data(settings, span)
    # At its own costs: those of the settings may be others by now, which says nothing of the candles.
    return data_fingerprint(replace(data, costs=recorded_costs(record.get("costs")) or data.costs))


def _difference(span: Span, lineage: Mapping[str, Any]) -> str:
    """Say in a few words how the candles of a window differ from those that were judged."""
    window, market = span.window, span.market
    bars = int(((market.time >= window.valid_start) & (market.time < window.valid_end)).sum())
    judged = lineage.get("market_bars")
    if judged is not None and judged != bars:
        return f"{judged:,} bars then, {bars:,} now"
    return f"fingerprint {lineage['data_fingerprint'][:12]} then, {market.fingerprint[:12]} now, with as many bars"


def _plain(costs: Mapping[str, Any]) -> str:
    # What the ledger and the report keep has been through JSON, each in its own way.
    return json.dumps(dict(costs), sort_keys=True, default=str)
