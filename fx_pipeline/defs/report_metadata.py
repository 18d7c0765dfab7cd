"""What Dagster shows of a validation report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from fx_pipeline.defs.metadata import link
from fx_pipeline.lifecycle.promotion import REGISTERED_NAME
from fx_pipeline.lifecycle.validations import followed
from fx_pipeline.market.errors import DataError
from fx_pipeline.settings import Settings, load_settings
from fx_pipeline.validation.records import read_registered_record


def report_metadata(report: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return what Dagster shows: the verdict first, then its conditions and the figures that plot over partitions."""
    figures, lineage = report["figures"], report["lineage"]
    page = folder / "report.html"
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
                        "wanted": _wanted(condition),
                        "passed": condition["passed"],
                        "for a pass": condition["remedy"],
                    }
                )
                for condition in figures["conditions"]
            ]
        ),
        "report page": dg.MetadataValue.url(page_url(load_settings(), page)),
        "dagster/uri": str(page),
        "source": lineage["source"],
        "checkpoint sha256": lineage["checkpoint_sha256"],
        "figures sha256": report["figures_sha256"],
        "seed": figures["seed"],
        "sessions": figures["sessions"],
        "trades": figures["trades"],
        "trials in the ledger": figures["trials"],
        **ledger_metadata(lineage),
        "scores of checkpoints while training": lineage["selection_scores"],
        "seeds of this configuration": figures["seeds"],
    }
    metadata |= paired_metadata(figures["paired"]) | _registered(folder, lineage["checkpoint_sha256"])
    # Dagster plots them over the partitions.
    metadata |= followed(figures)
    simulation = figures["monte_carlo"]
    if simulation:
        metadata["equity fan"] = _fan_plot(simulation)
    return metadata


def ledger_metadata(lineage: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Dagster shows of the ledger that a report names."""
    return {name.replace("_", " "): value for name, value in lineage.items() if name.startswith("ledger_")}


def page_url(settings: Settings, page: Path) -> str:
    """Return where `fx-pipeline ui` serves a page of the reports: browsers follow no link from a page to a file."""
    return f"{settings.reports_url}/{page.relative_to(settings.layout.reports).as_posix()}"


def _registered(folder: Path, sha256: str) -> dict[str, Any]:
    """The model version that a report made; nothing where it made none, or where another checkpoint's report did."""
    try:
        found = read_registered_record(folder / REGISTERED_NAME)
    except FileNotFoundError:
        return {}
    except DataError as error:
        return {"registered model": str(error)}
    if found["sha256"] != sha256:
        return {}
    return {
        "registered model": f"{found['registered_model']} v{found['version']}",
        "registered_url": link(found["registered_url"]),
    }


def paired_metadata(paired: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what Dagster shows of the paired test against the champion; nothing where there is none."""
    if paired is None:
        return {}
    low, high = paired["interval_pips"]
    return {
        "beside the champion of window": paired["champion_window"],
        "champion sha256": paired["champion_sha256"],
        "paired difference pips a session": float(paired["mean_difference_pips"]),
        "paired difference 95% interval": f"{low:+.3f} to {high:+.3f}",
        "paired p": float(paired["p_value"]),
        "paired sessions": int(paired["sessions"]),
    }


def _wanted(condition: Mapping[str, Any]) -> str:
    if condition["threshold"] is None:
        return f"{condition['comparison']} a figure that does not exist"
    return f"{condition['comparison']} {condition['threshold']:g} {condition['unit']}"


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
