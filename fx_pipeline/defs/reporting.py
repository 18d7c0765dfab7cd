"""What a validation report is told of its data, and what Dagster shows of it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from fx_pipeline.defs.resources import Warehouse
from fx_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from fx_pipeline.tracking.ledger import Ledger
    from fx_pipeline.validation.context import ReportContext, TrialHistory, TrialScore


def report_context(
    settings: Settings,
    warehouse: Warehouse,
    span: Any,
    record: Mapping[str, Any],
    agent: str,
    run_links: Mapping[str, Any],
) -> "ReportContext":
    """Gather the lineage of a validation: spans, source, gaps, quarantine, checkpoint."""
    from fx_pipeline.ingest.gaps import read_gaps
    from fx_pipeline.ingest.layout import lake_folder
    from fx_pipeline.market.months import months_between
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
        # A window that mixes sources is as good as its weakest one.
        source="synthetic" if "synthetic" in sources else "+".join(sorted(sources)),
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
        run={**run_links, "validated": pd.Timestamp.now("UTC").isoformat(timespec="seconds")},
    )


def _quarantined(settings: Settings, instrument: str, start: pd.Timestamp, end: pd.Timestamp) -> int:
    """Count the bars of a span that were set aside, on import or on building the lake."""
    import pyarrow.parquet as pq

    from fx_pipeline.ingest.layout import quarantine_path

    folder = quarantine_path(settings.data_dir, instrument, "x").parent
    count = 0
    for path in sorted(folder.glob("*.parquet")):
        times = pq.read_table(path, columns=["time"])["time"].to_pandas()
        count += int(((times >= start) & (times < end)).sum())
    return count


def trial_recorder(ledger: "Ledger", record: Mapping[str, Any]) -> "Callable[[TrialScore], TrialHistory]":
    """Return the callback that makes every score a row of the trial ledger."""
    from fx_pipeline.tracking.ledger import Trial
    from fx_pipeline.validation.context import TrialHistory

    def write(score: "TrialScore") -> "TrialHistory":
        ledger.record(
            Trial(
                instrument=score.context.instrument,
                window=score.context.window,
                agent=score.context.agent,
                config_hash=record["config_digest"],
                seed=score.seed,
                checkpoint_hash=score.context.checkpoint_sha256,
                data_fingerprint=score.data_fingerprint,
                costs=dict(score.costs),
                trades=score.trades,
                expectancy_pips=score.expectancy_pips,
                sharpe_per_trade=score.sharpe_per_trade,
            )
        )
        instrument = score.context.instrument
        return TrialHistory(ledger.count(instrument=instrument), tuple(ledger.sharpes(instrument=instrument)))

    return write


def report_metadata(report: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return what Dagster shows: the verdict first, then its conditions and the figures that plot over partitions."""
    figures, lineage = report["figures"], report["lineage"]
    settings = load_settings()
    page = folder / "report.html"
    # A browser does not follow links from a page to a file, so `fx-pipeline ui` serves the reports.
    link = f"{settings.reports_url}/{page.relative_to(settings.layout.reports).as_posix()}"
    metadata: dict[str, Any] = {
        "verdict": figures["verdict"],
        "reasons": dg.MetadataValue.md(
            "\n".join(f"- {reason}" for reason in figures["reasons"]) or "every condition holds"
        ),
        "conditions": dg.MetadataValue.table(
            [
                dg.TableRecord(
                    {
                        "condition": condition["title"],
                        "figure": "none" if condition["figure"] is None else f"{condition['figure']:.4g}",
                        "wanted": f"{condition['comparison']} {condition['threshold']:g} {condition['unit']}".strip(),
                        "passed": condition["passed"],
                    }
                )
                for condition in figures["conditions"]
            ]
        ),
        "report page": dg.MetadataValue.url(link),
        "dagster/uri": str(page),
        "source": lineage["source"],
        "checkpoint sha256": lineage["checkpoint_sha256"],
        "figures sha256": report["figures_sha256"],
        "seed": figures["seed"],
        "sessions": figures["sessions"],
        "trades": figures["trades"],
    }
    for name in ("expectancy_pips", "total_pips", "exposure"):
        if figures[name] is not None:
            metadata[name] = float(figures[name])
    simulation = figures["monte_carlo"]
    if simulation:
        metadata["equity fan"] = _fan_plot(simulation)
    return metadata


def _fan_plot(simulation: Mapping[str, Any]) -> dg.MetadataValue:
    from fx_pipeline.defs.metadata import picture

    fan = simulation["fan_pips"]

    def draw(axes: Any) -> None:
        grid = simulation["fan_grid"]
        names = list(fan)
        axes.fill_between(grid, fan[names[0]], fan[names[-1]], color="#9fc5e8", label=f"{names[0]} to {names[-1]}")
        axes.plot(grid, fan[names[len(names) // 2]], color="#0b5394", label=names[len(names) // 2])
        axes.axhline(0.0, color="#999999", linewidth=0.8)
        axes.set_xlabel("trades", fontsize=7)
        axes.set_ylabel("pips", fontsize=7)
        axes.legend(fontsize=6)

    return picture(draw)
