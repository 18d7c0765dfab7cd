"""What a validation report is told of its data and of the trials before it, and the rows that it leaves."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from fx_pipeline.agents.record import read_checkpoint
from fx_pipeline.defs.resources import Warehouse
from fx_pipeline.defs.track_records import demanded_windows, walk_forward_record
from fx_pipeline.market.origin import source_of
from fx_pipeline.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from fx_pipeline.agents.base import OnScore, Progress, SelectionScore
    from fx_pipeline.defs.seeds import SeedCheckpoint
    from fx_pipeline.market.costs import CostConfig
    from fx_pipeline.tracking.choices import Bars
    from fx_pipeline.tracking.ledger import Ledger, ScoredTrial, Trial
    from fx_pipeline.validation.context import ChampionSeries, ReportContext, TrialHistory, TrialScore
    from fx_pipeline.validation.track_record import Planned

    #: Hears what stands for the rows of the ledger.
    Tell = Callable[[Mapping[str, Any]], None]


def report_context(
    settings: Settings,
    warehouse: Warehouse,
    span: Any,
    record: Mapping[str, Any],
    agent: str,
    ledger: "Ledger",
    run_links: Mapping[str, Any],
) -> "ReportContext":
    """Gather the lineage of a validation: spans, source, gaps, quarantine, checkpoint, and what was seen before."""
    from fx_pipeline.ingest.gaps import read_gaps
    from fx_pipeline.ingest.layout import lake_folder
    from fx_pipeline.market.months import months_between
    from fx_pipeline.tracking.ledger import selection_window
    from fx_pipeline.validation.context import ReportContext

    instrument, window = span.market.instrument, span.window
    inside = "instrument = ? AND epoch_ns(time) >= ? AND epoch_ns(time) < ?"
    parameters = [instrument, window.valid_start, window.valid_end]
    with warehouse.get_connection(read_only=True) as connection:
        bars, modelled, sources = connection.execute(
            "SELECT count(*), avg(CAST(quotes_modelled AS DOUBLE)), list(DISTINCT source) FROM features "
            f"WHERE {inside}",
            parameters,
        ).fetchone()
    start, end = pd.Timestamp(window.valid_start, tz="UTC"), pd.Timestamp(window.valid_end, tz="UTC")
    gaps = [
        {"start": str(gap["start"]), "end": str(gap["end"]), "minutes": int(gap["minutes"])}
        for month in months_between(window.valid_start, window.valid_end)
        for gap in read_gaps(lake_folder(settings.data_dir), instrument, month).to_pylist()
        if gap["kind"] == "missing" and gap["start"] < end and gap["end"] > start
    ]
    return ReportContext(
        instrument=instrument,
        window=window.key,
        agent=agent,
        episodes=int(record["counters"]["episodes"]),
        source=source_of(sources),
        quotes_modelled=float(modelled),
        **window.spans(),
        embargo_bars=window.embargo_bars,
        market_bars=int(bars),
        gaps=gaps,
        quarantined_bars=_quarantined(settings, instrument, start, end),
        data_fingerprint=span.market.fingerprint,
        checkpoint_sha256=record["weights_sha256"],
        code_version=record["code_version"],
        settings={"preset": record["preset"], "config_digest": record["config_digest"], "seed": record["seed"]},
        configured_costs=asdict(settings.costs_of(instrument)),
        trained_costs=record.get("costs"),
        leaks=span.leaks,
        holdout_openings=ledger.holdout_openings(instrument, settings.sealed_from_ns),
        selection_scores=ledger.count(instrument, selection_window(record["window"]["key"])),
        sealed=settings.sealed_span if window.key == settings.sealed_span else "",
        run={**run_links, "validated": pd.Timestamp.now("UTC").isoformat(timespec="seconds")},
    )


def source_of_span(warehouse: Warehouse, span: Any) -> str:
    """Return where the candles of a validation span came from, as a report says it."""
    query = "SELECT DISTINCT source FROM features WHERE instrument = ? AND epoch_ns(time) >= ? AND epoch_ns(time) < ?"
    with warehouse.get_connection(read_only=True) as connection:
        found = connection.execute(
            query, [span.market.instrument, span.window.valid_start, span.window.valid_end]
        ).fetchall()
    return source_of(name for (name,) in found)


def _quarantined(settings: Settings, instrument: str, start: pd.Timestamp, end: pd.Timestamp) -> int:
    """Count the bars of a span that were set aside, on import or on building the lake."""
    from fx_pipeline.ingest.overview import count_quarantined

    return count_quarantined(settings.data_dir, instrument, start.as_unit("ns").value, end.as_unit("ns").value)


def validate_span(
    settings: Settings,
    warehouse: Warehouse,
    ledger: "Ledger",
    span: Any,
    checkpoint: Path,
    agent_name: str,
    run_links: Mapping[str, Any],
    progress: "Progress",
    champion: "ChampionSeries | None" = None,
    faults: Sequence[str] = (),
    tell: "Tell | None" = None,
    costs: "CostConfig | None" = None,
) -> dict[str, Any]:
    """Validate the checkpoint of a folder on a span, with its ablation; its score joins the ledger, and its report.

    With a `champion` the report has the paired test against it, if it was judged on the same sessions. A champion is
    judged at `costs` of its own, others at those of the settings. `faults` are what is wrong with the ledger, a
    sentence each; `tell` hears of its head as soon as the score is a row.
    """
    from fx_pipeline.agents.registry import agent
    from fx_pipeline.defs.verified import load_judged
    from fx_pipeline.tracking.ledger import lineage_sha256
    from fx_pipeline.validation.validate import validate_policy

    record = read_checkpoint(checkpoint)
    kind, costs = agent(agent_name), costs or settings.judged_costs_of(span.market.instrument)
    policy = load_judged(agent_name, checkpoint, record["weights_sha256"])
    recorded: list[Trial] = []
    report = validate_policy(
        span.market,
        span.starts,
        policy,
        costs=costs,
        reward=kind.reward(record["preset"]),
        seed=record["seed"],
        context=report_context(settings, warehouse, span, record, agent_name, ledger, run_links),
        mc_runs=settings.mc_runs,
        gate=settings.gate,
        record_trial=trial_recorder(
            ledger,
            record,
            champion,
            faults=faults,
            judged=True,
            recorded=recorded,
            planned=demanded_windows(settings, warehouse, ledger, span.market.instrument, span.window.valid_end),
            tell=tell,
        ),
        ablation=kind.without_search(policy) if kind.without_search else None,
        progress=progress,
    )
    # Before anyone sees it: a report that the ledger does not know is none.
    ledger.attach_report(recorded[-1], report["figures_sha256"], lineage_sha256(report["lineage"]))
    report["lineage"] |= ledger_lineage(ledger)
    return report


def ledger_lineage(ledger: "Ledger") -> dict[str, Any]:
    """Return what stands for the rows of the ledger: written down elsewhere, it tells whether they are all there."""
    head = ledger.head()
    return {
        "ledger_id": head.ledger_id,
        "ledger_head": head.hash,
        "ledger_rows": head.rows,
        "ledger_trials": ledger.count(),
    }


def score_seeds(
    settings: Settings,
    warehouse: Warehouse,
    ledger: "Ledger",
    span: Any,
    checkpoints: "Sequence[SeedCheckpoint]",
    agent_name: str,
    progress: "Callable[[str], Progress]",
    tell: "Tell | None" = None,
) -> None:
    """Let each checkpoint trade a span, where the ledger does not know yet what it makes there; `progress` by stage.

    `tell` hears of the ledger's head after each.
    """
    instrument, window = span.market.instrument, span.window.key
    costs = settings.judged_costs_of(instrument)
    known = {trial.key for trial in ledger.scored(instrument, window)}
    for number, checkpoint in enumerate(checkpoints, 1):
        own = own_trial(instrument, window, checkpoint.record, span.market.fingerprint, costs)
        if own not in known:
            stage = f"score {window}, seed {checkpoint.seed} ({number} of {len(checkpoints)})"
            score_span(settings, warehouse, ledger, span, checkpoint.folder, agent_name, progress(stage))
            if tell is not None:
                tell(ledger_lineage(ledger))


def score_span(
    settings: Settings,
    warehouse: Warehouse,
    ledger: "Ledger",
    span: Any,
    checkpoint: Path,
    agent_name: str,
    progress: "Progress",
    costs: "CostConfig | None" = None,
) -> None:
    """Let the checkpoint of a folder trade a span; its score joins the ledger, and nothing is judged."""
    from fx_pipeline.agents.registry import agent
    from fx_pipeline.defs.verified import load_judged
    from fx_pipeline.market.costs import build_fills
    from fx_pipeline.validation.validate import score_policy

    record = read_checkpoint(checkpoint)
    kind, costs = agent(agent_name), costs or settings.judged_costs_of(span.market.instrument)
    score_policy(
        span.market,
        build_fills(span.market, costs),
        span.starts,
        load_judged(agent_name, checkpoint, record["weights_sha256"]),
        costs=costs,
        reward=kind.reward(record["preset"]),
        seed=record["seed"],
        context=report_context(settings, warehouse, span, record, agent_name, ledger, {}),
        record_trial=trial_recorder(ledger, record),
        progress=progress,
    )


def trial_recorder(
    ledger: "Ledger",
    record: Mapping[str, Any],
    champion: "ChampionSeries | None" = None,
    *,
    faults: Sequence[str] = (),
    judged: bool = False,
    recorded: "list[Trial] | None" = None,
    planned: "Sequence[Planned]" = (),
    tell: "Tell | None" = None,
) -> "Callable[[TrialScore], TrialHistory]":
    """Return the callback that makes every score a row of the trial ledger, and answers with its company.

    Parameters
    ----------
    ledger : Ledger
    record : Mapping
        Of the checkpoint.
    champion : ChampionSeries, optional
        Beside which the score is shown.
    faults : sequence of str
        What is wrong with the ledger.
    judged : bool
        Whether a report is made of the score: its checkpoint is a candidate, and no seed that is scored beside one.
    recorded : list of Trial, optional
        Takes what was recorded.
    planned : sequence of Planned
        The walk-forward plan: what the record of the configuration should have.
    tell : callable, optional
        Hears what stands for the rows of the ledger before anything is judged.
    """
    import numpy as np

    from fx_pipeline.reuse import evaluation_digest
    from fx_pipeline.tracking.ledger import Trial

    def write(score: "TrialScore") -> "TrialHistory":
        trial = Trial(
            instrument=score.context.instrument,
            window=score.context.window,
            agent=score.context.agent,
            config_hash=configuration(record),
            seed=score.seed,
            checkpoint_hash=score.context.checkpoint_sha256,
            data_fingerprint=score.data_fingerprint,
            costs=dict(score.costs),
            trades=score.trades,
            expectancy_pips=score.expectancy_pips,
            sharpe_per_trade=score.sharpe_per_trade,
            session_ns=score.session_ns,
            session_pnl_pips=score.session_pnl_pips,
            evaluation_code=evaluation_digest(),
            valid_start_ns=score.valid_start_ns,
            valid_end_ns=score.valid_end_ns,
            days=score.days,
            evidence=score.evidence,
            trained_seed_sha=trained_seed_sha(record),
        )
        ledger.record(trial, judged)
        if tell is not None:
            tell(ledger_lineage(ledger))
        if recorded is not None:
            recorded.append(trial)
        # Seeds beside a candidate are not judged by it: how it looks under other clocks is searched once.
        history = trial_history(ledger, trial, faults, score.bars if judged else None)
        history = replace(history, record=walk_forward_record(ledger, trial, planned))
        if champion is None or not np.array_equal(champion.session_ns, trial.session_ns):
            return history
        return replace(history, champion=champion)

    return write


def trained_seed_sha(record: Mapping[str, Any]) -> str:
    """Hash what a training began with, by its own record: seed, settings, code, data and window.

    Weights that are equal have another of these only where somebody rewrote a record.
    """
    names = ("seed", "config_digest", "code_version", "data_fingerprint", "window")
    return hashlib.sha256(json.dumps([record.get(name) for name in names], sort_keys=True).encode()).hexdigest()


def selection_recorder(
    ledger: "Ledger", span: Any, agent_name: str, costs: "CostConfig", episodes: int, seed: int
) -> "OnScore":
    """Return the callback that makes every score by which a training chooses its weights a row of the trial ledger.

    Parameters
    ----------
    ledger : Ledger
    span : Span
        Of the training.
    agent_name : str
    costs : CostConfig
    episodes, seed : int
        Of the training.
    """
    from fx_pipeline.reuse import evaluation_digest
    from fx_pipeline.tracking.ledger import Trial, selection_window
    from fx_pipeline.validation.metrics import trade_metrics

    def write(score: "SelectionScore") -> None:
        metrics = trade_metrics(score.trade_pnl_pips)
        training = {
            "config_digest": score.config_digest,
            "code_version": score.code_version,
            "counters": {"episodes": episodes},
        }
        trial = Trial(
            instrument=span.market.instrument,
            window=selection_window(span.window.key),
            agent=agent_name,
            config_hash=configuration(training),
            seed=seed,
            checkpoint_hash=score.checkpoint_sha256,
            data_fingerprint=span.market.fingerprint,
            # The agent's settings choose the sessions, and the search that plays them.
            costs={**asdict(costs), "config_digest": score.config_digest},
            trades=metrics.trades,
            expectancy_pips=metrics.expectancy_pips,
            sharpe_per_trade=metrics.sharpe_per_trade,
            session_ns=score.session_ns,
            session_pnl_pips=score.session_pnl_pips,
            evaluation_code=evaluation_digest(),
        )
        ledger.record(trial)

    return write


def configuration(record: Mapping[str, Any]) -> str:
    """Hash what two checkpoints share that differ in their seed only: settings, code and length of the training.

    The length is in episodes: no training that joins the ledger ends by the clock, after which each seed would be a
    configuration of its own.
    """
    parts = [record["config_digest"], record["code_version"], int(record["counters"]["episodes"])]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def trial_history(
    ledger: "Ledger", trial: "Trial", faults: Sequence[str] = (), bars: "Bars | None" = None
) -> "TrialHistory":
    """Read the trials of a recorded one's instrument, and with their series those of its window judged as it was.

    What it was chosen among is counted by the bars, under whatever name they were judged. Only the same data and costs,
    by the same code, make company: a score at other costs is no choice that there was, and would decide whether this
    one looks overfitted.
    """
    from fx_pipeline.validation.context import TrialHistory, WindowTrial

    company, left_out = [], set()
    for other in ledger.scored(trial.instrument, trial.window):
        this = other.key == trial.key
        # Its own sessions are those that were scored now: an earlier row of it may know others.
        pnl = trial.session_pnl_pips if this else _on_sessions_of(trial, other)
        if pnl is not None:
            checkpoint, trades = other.checkpoint_hash, trial.trades if this else other.trades
            company.append(WindowTrial(other.config_hash, other.seed, pnl, this, checkpoint, trades))
        elif other.config_hash == trial.config_hash:
            left_out.add(other.seed)
    here = {found.seed for found in company if found.configuration == trial.config_hash}
    choices, head = ledger.choices(trial.look, trial.days, bars), ledger.head()
    return TrialHistory(
        chosen_among=choices.total,
        chosen=choices.words(),
        ledger_faults=tuple(faults),
        ledger_id=head.ledger_id,
        ledger_head=head.hash,
        ledger_rows=head.rows,
        count=ledger.count(instrument=trial.instrument),
        sharpes=ledger.sharpes(instrument=trial.instrument),
        window=tuple(company),
        left_out=ledger.count(trial.instrument, trial.window) - len(company),
        seeds_left_out=tuple(sorted(left_out - here)),
    )


def _on_sessions_of(trial: "Trial", other: "ScoredTrial") -> "npt.NDArray[np.float64] | None":
    import numpy as np

    if _judged_by(other) != _judged_by(trial) or not len(other.session_ns):
        return None
    rows = np.searchsorted(other.session_ns, trial.session_ns).clip(max=len(other.session_ns) - 1)
    return other.session_pnl_pips[rows] if np.array_equal(other.session_ns[rows], trial.session_ns) else None


def _judged_by(trial: "Trial | ScoredTrial") -> str:
    # What the ledger keeps of the costs has been through JSON.
    return json.dumps([trial.data_fingerprint, trial.evaluation_code, trial.costs], sort_keys=True, default=str)


def other_trials(
    ledger: "Ledger",
    span: Any,
    window: str,
    record: Mapping[str, Any],
    costs: "CostConfig",
) -> dict[str, Any]:
    """Return what a report takes of the ledger beside its own trial: another of these is another report.

    The trials of the same window and of the configuration's record, by key, as its family and its seeds; and what it
    was chosen among. Neither trainings and replays on other days nor their seeds are of it.

    Parameters
    ----------
    ledger : Ledger
    span : Span
        Of the validation.
    window : str
    record : Mapping
        Of the checkpoint.
    costs : CostConfig
    """
    from fx_pipeline.tracking.choices import Look, record_start_ns
    from fx_pipeline.tracking.trials import is_choice
    from fx_pipeline.validation.validate import judged_bars

    instrument, data_fingerprint = span.market.instrument, span.market.fingerprint
    start_ns, end_ns, days, bars = judged_bars(span.market, span.starts)
    own = Look(
        key=own_trial(instrument, window, record, data_fingerprint, costs),
        instrument=instrument,
        window=window,
        config_hash=configuration(record),
        checkpoint_hash=record["weights_sha256"],
        data_fingerprint=data_fingerprint,
        start_ns=start_ns,
        end_ns=end_ns,
        days=" own",
        reported=True,
        choice=is_choice(window),
    )
    looks, _ = ledger.looks()
    begins_ns = record_start_ns(own, looks)

    def is_company(look: Look) -> bool:
        inside = look.config_hash == own.config_hash and begins_ns <= look.start_ns and look.end_ns <= own.end_ns
        return look.instrument == instrument and look.choice and (look.window == window or inside)

    return {
        "trials": sorted((look.key, look.reported) for look in looks if look.key != own.key and is_company(look)),
        "chosen": ledger.choices(own, days, bars).words(),
    }


def own_trial(
    instrument: str, window: str, record: Mapping[str, Any], data_fingerprint: str, costs: "CostConfig"
) -> str:
    """Return the key of the trial that validating a checkpoint on a window makes."""
    from fx_pipeline.reuse import evaluation_digest
    from fx_pipeline.tracking.ledger import trial_key

    return trial_key(
        {
            "instrument": instrument,
            "window": window,
            "config_hash": configuration(record),
            "checkpoint_hash": record["weights_sha256"],
            "data_fingerprint": data_fingerprint,
            "costs": asdict(costs),
            "seed": record["seed"],
            "evaluation_code": evaluation_digest(),
        }
    )
