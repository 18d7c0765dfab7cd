"""The champion on the sessions of a newer window: beside its challenger, and by itself."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from fx_pipeline.defs.promotion import rival
from fx_pipeline.defs.reporting import own_trial, score_span, validate_span
from fx_pipeline.defs.resources import Tracking, Warehouse
from fx_pipeline.defs.seeds import read_checkpoint
from fx_pipeline.defs.spans import Span
from fx_pipeline.market.atomic import atomic_write_json
from fx_pipeline.market.errors import FxPipelineError
from fx_pipeline.settings import Settings
from fx_pipeline.validation.records import STANDING_SCHEMA, read_standing_record

if TYPE_CHECKING:
    from fx_pipeline.agents.base import Progress
    from fx_pipeline.tracking.ledger import Ledger
    from fx_pipeline.validation.context import ChampionSeries


def replay_span(span: Span) -> Span:
    """Return a span under the name that a replay has in the trial ledger.

    A model that was chosen before these days is no candidate of them: its score counts as a trial of the instrument,
    and does not join the family of the window.
    """
    return Span(replace(span.window, key=f"replay {span.window.key}"), span.market, span.starts, span.leaks)


def champion_beside(
    context: dg.AssetExecutionContext,
    settings: Settings,
    warehouse: Warehouse,
    tracking: Tracking,
    span: Span,
    challenger_sha256: str,
    progress: "Callable[[str], Progress]",
) -> "ChampionSeries | None":
    """Return what the champion of the instrument made in the sessions of a span; replay it where that is not known.

    On a window newer than the one that it was promoted on, how it stood there is written down.

    Returns
    -------
    ChampionSeries or None
        None when there is no champion, when it is the challenger itself, or when it cannot be compared, which the log
        says: it was trained on these days or later, or it or its record cannot be loaded.
    """
    instrument, window = span.market.instrument, span.window
    try:
        champion = rival(settings, instrument, window.key, challenger_sha256)
    except FxPipelineError as error:
        context.log.warning(f"no comparison with the champion, who is not known: {error}")
        return None
    if champion is None:
        return None
    folder = Path(champion["model"])
    try:
        record = read_checkpoint(folder)
        if pd.Timestamp(record["window"]["train_end"]).value > window.valid_start:
            context.log.warning(
                f"no comparison with the champion: it was trained until {record['window']['train_end']}, which is "
                f"after the start of window {window.key}."
            )
            return None
        ledger = tracking.ledger()
        if window.key == champion["window"]:
            known = _series(ledger, span, record, champion, settings)
            if known is not None:
                return known
        replayed = replay_span(span)
        if window.key == champion["window"]:
            if _series(ledger, replayed, record, champion, settings) is None:
                stage = progress(f"replay the champion on {window.key}")
                score_span(settings, warehouse, ledger, replayed, folder, champion["agent"], stage)
        else:
            _stand(context, settings, warehouse, ledger, replayed, window.key, champion, record, progress)
        return _series(ledger, replayed, record, champion, settings)
    except FxPipelineError as error:
        # Without the champion a report is still a report; only its promotion has to wait.
        context.log.warning(
            f"the champion of window {champion['window']} cannot be replayed, and nothing replaces it until it can: "
            f"{error} Restore {folder}, or retire it: delete {settings.layout.champion(instrument)}."
        )
        return None


def read_standings(settings: Settings, champion: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Read how a champion did on newer windows, as far as these replays can be trusted.

    Returns
    -------
    list of dict
        Standings.
    list of str
        Why a file is left out, each: it is damaged.
    """
    folder = settings.layout.standings(champion["instrument"], champion["sha256"])
    found, unread = [], []
    # A name that begins with a dot is a file that is being written, or that a kill left half written.
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            standing = read_standing_record(path)
        except FileNotFoundError:
            # Removed since it was listed.
            continue
        except FxPipelineError as error:
            unread.append(str(error))
            continue
        if standing["sound"]:
            found.append(standing)
    return found, unread


def _stand(
    context: dg.AssetExecutionContext,
    settings: Settings,
    warehouse: Warehouse,
    ledger: "Ledger",
    replayed: Span,
    window: str,
    champion: Mapping[str, Any],
    record: Mapping[str, Any],
    progress: "Callable[[str], Progress]",
) -> None:
    from fx_pipeline.reuse import identity, report_digest
    from fx_pipeline.validation.report import read_report
    from fx_pipeline.validation.standing import judge_standing

    made_from = identity(
        report_digest(),
        checkpoint=champion["sha256"],
        data=replayed.market.fingerprint,
        starts=replayed.starts.tolist(),
        costs=asdict(settings.judged_costs_of(champion["instrument"])),
        mc_runs=settings.mc_runs,
        gate=asdict(settings.gate),
        percentile=settings.promotion.drawdown_percentile,
    )
    path = settings.layout.standings(replayed.market.instrument, champion["sha256"]) / f"{window}.json"
    known = _series(ledger, replayed, record, champion, settings) is not None
    if known and _made_from(path) == made_from:
        return
    folder = Path(champion["model"])
    promoted_on = read_report(folder)["figures"]["trade_list"]["pnl_pips"]
    links = {"dagster_run_id": context.run.run_id}
    stage = progress(f"replay the champion on {window}")
    report = validate_span(settings, warehouse, ledger, replayed, folder, champion["agent"], links, stage)
    standing = judge_standing(
        report,
        window,
        promoted_on,
        gate=settings.gate,
        percentile=settings.promotion.drawdown_percentile,
        runs=settings.mc_runs,
        seed=int(record["seed"]),
    )
    atomic_write_json(path, {"schema": STANDING_SCHEMA, **standing, "made_from": made_from, **links})
    outcome = f"{'stands' if standing['passed'] else 'fails'} on window {window}: {' '.join(standing['reasons'])}"
    if standing["trades"] < settings.promotion.telling_trades:
        outcome += (
            f" With {standing['trades']} trades, fewer than {settings.promotion.telling_trades} (telling_trades), it "
            "is passed over: of this window, only the drawdown can demote it."
        )
    context.log.info(f"the champion of window {champion['window']} {outcome}")


def _series(
    ledger: "Ledger", span: Span, record: Mapping[str, Any], champion: Mapping[str, Any], settings: Settings
) -> "ChampionSeries | None":
    from fx_pipeline.validation.context import ChampionSeries

    instrument, key = span.market.instrument, span.window.key
    own = own_trial(instrument, key, record, span.market.fingerprint, settings.judged_costs_of(instrument))
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
