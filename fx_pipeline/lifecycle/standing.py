"""The champion on the sessions of a newer window: beside its challenger, and by itself."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from fx_pipeline.agents.record import read_checkpoint
from fx_pipeline.lifecycle.champions import rival
from fx_pipeline.lifecycle.needs import Run, Terms, Tracking, Warehouse
from fx_pipeline.lifecycle.scores import score_span, source_of_span, validate_span
from fx_pipeline.lifecycle.spans import Span
from fx_pipeline.lifecycle.tenure import promise_of, read_standings
from fx_pipeline.lifecycle.trials import own_trial
from fx_pipeline.lifecycle.verified import UnverifiedError, refuse_swapped_model
from fx_pipeline.market.atomic import atomic_write_json
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.errors import FxPipelineError
from fx_pipeline.market.warehouse import WarehouseLockedError
from fx_pipeline.validation.records import STANDING_SCHEMA, read_standing_record
from fx_pipeline.validation.same_costs import as_judged

if TYPE_CHECKING:
    from fx_pipeline.market.costs import CostConfig
    from fx_pipeline.tracking.ledger import Ledger
    from fx_pipeline.validation.context import ChampionSeries

#: A full disk, a locked store or too little memory says nothing of a champion, and must not end one.
_NOT_OF_THE_CHAMPION = (OSError, sqlite3.Error, MemoryError, WarehouseLockedError)


def replay_span(span: Span) -> Span:
    """Return a span under the name that a replay has in the trial ledger.

    A model that was chosen before these days is no candidate of them: its score is no trial, and does not join the
    family of the window.
    """
    return Span(replace(span.window, key=f"replay {span.window.key}"), span.market, span.starts, span.leaks)


def champion_beside(
    run: Run,
    settings: Terms,
    warehouse: Warehouse,
    tracking: Tracking,
    span: Span,
    challenger_sha256: str,
) -> "ChampionSeries | None":
    """Return what the champion of the instrument made in the sessions of a span; replay it where that is not known.

    On bars after those that it was promoted for, how it stood there is written down: judged at its own costs, whatever
    the settings are by now, or why it could not be. The comparison with its challenger is at the challenger's costs.

    Returns
    -------
    ChampionSeries or None
        None when there is no champion, when it is the challenger itself, or when it cannot be compared, which the log
        says: it was trained on these days or later, or it or its record cannot be loaded.
    """
    instrument, window = span.market.instrument, span.window
    try:
        champion = rival(settings, instrument, window.key, challenger_sha256, window.valid_end)
    except FxPipelineError as error:
        run.log.warning(f"no comparison with the champion, who is not known: {error}")
        return None
    if champion is None:
        return None
    folder, ledger = Path(champion["model"]), tracking.ledger()
    path = settings.layout.standings(instrument, champion["sha256"]) / f"{window.key}.json"
    later = after_record(span, champion)
    try:
        refuse_swapped_model(champion)
        record = read_checkpoint(folder)
        if pd.Timestamp(record["window"]["train_end"]).value > window.valid_start:
            run.log.warning(
                f"no comparison with the champion: it was trained until {record['window']['train_end']}, which is "
                f"after the start of window {window.key}."
            )
            return None
        if later is not None:
            _stand(run, settings, warehouse, ledger, later, path, champion, record)
        costs = settings.judged_costs_of(instrument)
        if later is None:
            known = _series(ledger, span, record, champion, costs)
            if known is not None:
                return known
        replayed = replay_span(span)
        if _series(ledger, replayed, record, champion, costs) is None:
            stage = run.progress(f"replay the champion on {window.key}")
            score_span(settings, warehouse, ledger, replayed, folder, champion["agent"], stage, costs)
        return _series(ledger, replayed, record, champion, costs)
    except _NOT_OF_THE_CHAMPION:
        # The run is asked for again.
        raise
    except Exception as error:
        # Whatever else it is, without the champion a report is still a report; what cannot be judged, goes.
        run.log.warning(
            f"the champion of window {champion['window']} cannot be replayed, and nothing is compared with it until it "
            f"can ({type(error).__name__}): {error} Restore {folder}, or retire it: delete "
            f"{settings.layout.champion(instrument)}. After {settings.promotion.unjudged_windows} windows in a row "
            "(unjudged_windows) it is demoted."
        )
        if later is not None:
            _not_judged(run, settings, warehouse, later, path, champion, str(error))
        return None


def after_record(span: Span, champion: Mapping[str, Any]) -> Span | None:
    """Return the part of a span on which a champion can be judged anew: bars after those that it was promoted for.

    None where there is none, or where nobody knows any more until when it was judged and the window is its own.
    """
    begin = champion["valid_end_ns"]
    if begin is None:
        return span if span.window.key > champion["window"] else None
    starts = span.starts[span.market.time[span.starts] >= begin]
    return Span(span.window, span.market, starts, span.leaks) if len(starts) else None


def judged_span(span: Span) -> tuple[int, int]:
    """Return the bars of the sessions of a span, UTC nanoseconds, end exclusive."""
    from fx_pipeline.market.arrays import SESSION_BARS

    last = min(int(span.starts[-1]) + SESSION_BARS, len(span.market)) - 1
    return int(span.market.time[span.starts[0]]), int(span.market.time[last]) + MINUTE_NS


def _stand(
    run: Run,
    settings: Terms,
    warehouse: Warehouse,
    ledger: "Ledger",
    span: Span,
    path: Path,
    champion: Mapping[str, Any],
    record: Mapping[str, Any],
) -> None:
    from fx_pipeline.reuse import identity, report_digest
    from fx_pipeline.validation.standing import judge_standing
    from fx_pipeline.validation.tenure import judge_tenure

    replayed, window = replay_span(span), span.window.key
    costs = as_judged(champion["costs"], champion["instrument"])
    made_from = identity(
        report_digest(),
        checkpoint=champion["sha256"],
        data=span.market.fingerprint,
        starts=span.starts.tolist(),
        costs=asdict(costs),
        gate=asdict(settings.gate),
    )
    known = _series(ledger, replayed, record, champion, costs) is not None
    if known and _made_from(path) == made_from:
        return
    folder, links = Path(champion["model"]), {"dagster_run_id": run.run_id}
    stage = run.progress(f"replay the champion on {window}")
    report = validate_span(settings, warehouse, ledger, replayed, folder, champion["agent"], links, stage, costs=costs)
    if report["lineage"]["checkpoint_sha256"] != champion["sha256"]:
        raise UnverifiedError(f"{folder} holds other weights than its record names: restore them.")
    times = span.market.time[span.starts]
    standing = judge_standing(report, window, times, judged_span(span), settings.gate)
    atomic_write_json(path, {"schema": STANDING_SCHEMA, **standing, "made_from": made_from, **links})
    said = f"its replay there cannot be trusted: {' '.join(standing['reasons'])}"
    if standing["sound"]:
        standings, _ = read_standings(settings, champion)
        promised = promise_of(settings, champion)
        try:
            tenure = (
                None if isinstance(promised, str) else judge_tenure(champion, standings, promised, settings.promotion)
            )
            said = promised if isinstance(promised, str) else ""
        except ValueError as error:
            tenure, said = None, str(error)
        if tenure is not None:
            said = (
                f"since its record {tenure.total_pips:+.1f} pips in {tenure.sessions} sessions, promised "
                f"{tenure.promised_pips:+.1f} after the record's own error; evidence that its edge is gone "
                f"{tenure.evidence:.2f}, demoted at {tenure.threshold:.2f}."
            )
    run.log.info(
        f"the champion of window {champion['window']} made {standing['total_pips']:+.1f} pips in {standing['trades']} "
        f"trades on window {window}; {said}"
    )


def _not_judged(
    run: Run,
    settings: Terms,
    warehouse: Warehouse,
    span: Span,
    path: Path,
    champion: Mapping[str, Any],
    reason: str,
) -> None:
    """Write down that a champion could not be judged where others were; a standing that there is stays."""
    from fx_pipeline.validation.standing import unjudged_standing

    try:
        # What was once judged stays judged.
        if read_standing_record(path)["sound"]:
            return
    except FxPipelineError as error:
        run.log.debug(f"a standing is written anew: {error}")
    source = source_of_span(warehouse, span)
    standing = unjudged_standing(champion, span.window.key, source, judged_span(span), reason)
    atomic_write_json(path, {"schema": STANDING_SCHEMA, **standing, "dagster_run_id": run.run_id})


def _series(
    ledger: "Ledger", span: Span, record: Mapping[str, Any], champion: Mapping[str, Any], costs: "CostConfig"
) -> "ChampionSeries | None":
    from fx_pipeline.validation.context import ChampionSeries

    instrument, key = span.market.instrument, span.window.key
    own = own_trial(instrument, key, record, span.market.fingerprint, costs)
    for trial in ledger.scored(instrument, key):
        if trial.key == own:
            return ChampionSeries(champion["sha256"], champion["window"], trial.session_ns, trial.session_pnl_pips)
    return None


def _made_from(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_bytes())["made_from"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # A damaged file vouches for nothing: it is written again.
        return None
