"""How a checkpoint trades a span: the report on it, or its score alone. Either leaves a row in the trial ledger."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from fx_pipeline.agents.record import read_checkpoint
from fx_pipeline.lifecycle.checkpoints import SeedCheckpoint
from fx_pipeline.lifecycle.needs import Terms, Tracking, Warehouse
from fx_pipeline.lifecycle.spans import Span
from fx_pipeline.lifecycle.track_records import demanded_windows, record_parts
from fx_pipeline.lifecycle.trials import ledger_lineage, other_trials, own_trial, trial_recorder
from fx_pipeline.lifecycle.verified import load_judged
from fx_pipeline.market.origin import source_of

if TYPE_CHECKING:
    from fx_pipeline.agents.base import Progress
    from fx_pipeline.lifecycle.trials import Tell
    from fx_pipeline.market.costs import CostConfig
    from fx_pipeline.tracking.ledger import Ledger, Trial
    from fx_pipeline.validation.context import ChampionSeries, ReportContext


def report_context(
    settings: Terms,
    warehouse: Warehouse,
    span: Span,
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
        for gap in read_gaps(lake_folder(settings.layout.data_dir), instrument, month).to_pylist()
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


def source_of_span(warehouse: Warehouse, span: Span) -> str:
    """Return where the candles of a validation span came from, as a report says it."""
    query = "SELECT DISTINCT source FROM features WHERE instrument = ? AND epoch_ns(time) >= ? AND epoch_ns(time) < ?"
    with warehouse.get_connection(read_only=True) as connection:
        found = connection.execute(
            query, [span.market.instrument, span.window.valid_start, span.window.valid_end]
        ).fetchall()
    return source_of(name for (name,) in found)


def _quarantined(settings: Terms, instrument: str, start: pd.Timestamp, end: pd.Timestamp) -> int:
    """Count the bars of a span that were set aside, on import or on building the lake."""
    from fx_pipeline.ingest.overview import count_quarantined

    return count_quarantined(settings.layout.data_dir, instrument, start.as_unit("ns").value, end.as_unit("ns").value)


def validate_span(
    settings: Terms,
    warehouse: Warehouse,
    ledger: "Ledger",
    span: Span,
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


def score_seeds(
    settings: Terms,
    warehouse: Warehouse,
    ledger: "Ledger",
    span: Span,
    checkpoints: Sequence[SeedCheckpoint],
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
    settings: Terms,
    warehouse: Warehouse,
    ledger: "Ledger",
    span: Span,
    checkpoint: Path,
    agent_name: str,
    progress: "Progress",
    costs: "CostConfig | None" = None,
) -> None:
    """Let the checkpoint of a folder trade a span; its score joins the ledger, and nothing is judged."""
    from fx_pipeline.agents.registry import agent
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


def validation_identity(
    settings: Terms,
    tracking: Tracking,
    span: Span,
    key: str,
    record: Mapping[str, Any],
    beside: str | None,
    faults: Sequence[str] = (),
) -> str:
    """Hash what the validation report of a checkpoint on the validation span of window `key` is made from.

    `beside` is the champion that it is compared with: a report that had to do without is not the same. `faults` are
    what is wrong with the ledger.
    """
    from fx_pipeline.reuse import identity, report_digest

    ledger, instrument = tracking.ledger(), span.market.instrument
    costs = settings.judged_costs_of(instrument)
    return identity(
        report_digest(),
        checkpoint=record["weights_sha256"],
        data=span.market.fingerprint,
        starts=span.starts.tolist(),
        costs=asdict(costs),
        # The report says where these are below what is judged.
        configured_costs=asdict(settings.costs_of(instrument)),
        mc_runs=settings.mc_runs,
        seed=record["seed"],
        gate=asdict(settings.gate),
        # What it was chosen among changes the deflated Sharpe ratio; another trial of this window, also its family.
        others=other_trials(ledger, span, key, record, costs),
        planned=record_parts(settings, instrument),
        faults=list(faults),
        openings=ledger.holdout_openings(instrument, settings.sealed_from_ns),
        beside=beside,
    )
