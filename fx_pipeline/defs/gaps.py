"""What people see of gaps: a month's figures, the longest gaps, and a map of all months."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from fx_pipeline.defs.metadata import picture, table
from fx_pipeline.market.timeframe import M1

if TYPE_CHECKING:
    from fx_pipeline.ingest.lake import MonthReport
    from fx_pipeline.ingest.overview import MonthGaps

_LONGEST = 20
#: Each day keeps a table: `fx-pipeline gaps` has all months.
_TABLED_MONTHS = 36
#: A map with more rows has colours alone.
_LETTERED_ROWS = 8
#: The map's scale ends here: a month that lacks more is red like one that is not there.
_SCALE_PERCENT = 10.0


def month_metadata(report: "MonthReport", gaps: Sequence[Mapping[str, Any]], expected: int) -> dict[str, Any]:
    """Return what Dagster shows of a month of the lake.

    Parameters
    ----------
    gaps : sequence of mapping
        The rows of its gap table.
    expected : int
        Bars of the whole month, up to now, that the FX calendar expects: what a month without any bar lacks.
    """
    unit = "minutes" if report.timeframe == M1 else "bars"
    metadata: dict[str, Any] = {
        "dagster/row_count": report.rows,
        "bars added": report.added,
        "bars changed": report.changed,
        "bars removed": report.removed,
        "bars ever revised": report.revisions,
        "file written": report.written,
        f"expected {unit}": report.expected,
        f"present {unit}": report.present,
        f"missing {unit}": report.missing,
        "missing percent": 100.0 * report.missing / max(1, report.expected),
        f"unexpected {unit}": report.unexpected,
        "longest gap minutes": report.longest_gap_minutes,
        "quarantined": sum(report.quarantined.values()),
        "crossed bars mended": report.mended,
        "source": report.source or "none",
        "bid and ask from the cost model": report.quotes_modelled,
    }
    if report.timeframe != M1:
        metadata["made of"] = f"pages of {report.timeframe} bars" if report.made_of == "pages" else "the lake's M1 bars"
    if report.levels:
        metadata["level changes"] = list(report.levels)
    if report.rows:
        metadata |= {"sha256": report.sha256, "dagster/uri": report.path}
    else:
        # A month of which nothing is there has no first and last bar between which minutes could be missing.
        metadata |= {f"expected {unit}": expected, f"missing {unit}": expected}
        metadata["missing percent"] = 100.0 if expected else 0.0
        why = f"{expected} {unit} expected" if expected else "the market has not been open in it yet"
        metadata = {"state": f"no candles: {why}"} | metadata
    if report.quarantined:
        metadata["quarantine"] = table(
            {"reason": reason, "bars": bars} for reason, bars in sorted(report.quarantined.items())
        )
    if gaps:
        longest = sorted(gaps, key=lambda gap: -gap["minutes"])[:_LONGEST]
        metadata["longest gaps"] = table(
            {name: gap[name] if name == "minutes" else str(gap[name]) for name in gap} for gap in longest
        )
        metadata["gaps"] = _day_plot(gaps)
    return metadata


def overview_metadata(found: Mapping[str, Sequence["MonthGaps"]]) -> dict[str, Any]:
    """Return the gaps of instruments as a table of the newest three years and a map of all; nothing where none are."""
    table = gap_table({name: months[-_TABLED_MONTHS:] for name, months in found.items()})
    return {**table, "missing by month": _map(found)} if table else {}


def gap_table(found: Mapping[str, Sequence["MonthGaps"]]) -> dict[str, Any]:
    """Return the gaps of months as a table, the newest first; nothing where there are none."""
    rows = [{"instrument": name} | month.record() for name, months in found.items() for month in months]
    if not rows:
        return {}
    return {"months": table(reversed(rows))}


def _day_plot(gaps: Sequence[Mapping[str, Any]]) -> dg.MetadataValue:
    days: dict[str, Counter[str]] = {"missing": Counter(), "unexpected": Counter()}
    for gap in gaps:
        days[gap["kind"]][str(gap["start"])[:10]] += gap["minutes"]
    names = sorted({day for counts in days.values() for day in counts})

    def draw(axes: Any) -> None:
        axes.bar(range(len(names)), [days["missing"][name] for name in names], color="#3465a4", label="missing")
        axes.bar(range(len(names)), [-days["unexpected"][name] for name in names], color="#c4a000", label="unexpected")
        step = max(1, len(names) // 6)
        axes.set_xticks(range(0, len(names), step), [names[k] for k in range(0, len(names), step)], fontsize=7)
        axes.axhline(0.0, color="#999999", linewidth=0.8)
        axes.set_ylabel("minutes")
        axes.legend(fontsize=6)

    return picture(draw)


def _map(found: Mapping[str, Sequence["MonthGaps"]]) -> dg.MetadataValue:
    """Draw the share of missing minutes: years by months for one instrument, instruments by months for several."""
    if len(found) == 1:
        (months,) = found.values()
        cells = {(month.month[:4], month.month[5:]): month.gaps.missing_percent for month in months}
        columns = [f"{month:02d}" for month in range(1, 13)]
    else:
        cells = {(name, month.month): month.gaps.missing_percent for name, of in found.items() for month in of}
        columns = sorted({column for _, column in cells})
    rows = sorted({row for row, _ in cells})
    grid = [[cells.get((row, column), float("nan")) for column in columns] for row in rows]

    def draw(axes: Any) -> None:
        # The root spreads the small shares, which are the usual ones.
        shown = [[min(value, _SCALE_PERCENT) ** 0.5 for value in line] for line in grid]
        axes.imshow(shown, cmap="RdYlGn_r", vmin=0.0, vmax=_SCALE_PERCENT**0.5, aspect="auto")
        step = max(1, len(columns) // 12)
        axes.set_xticks(range(0, len(columns), step), columns[::step], fontsize=6)
        axes.set_yticks(range(len(rows)), rows, fontsize=6)
        if len(columns) <= 12 and len(rows) <= _LETTERED_ROWS:
            for y, line in enumerate(grid):
                for x, value in enumerate(line):
                    if value == value:
                        axes.text(x, y, f"{value:.2g}", ha="center", va="center", fontsize=6)
        axes.set_title("missing minutes, percent of those expected", fontsize=7)

    return picture(draw, height=0.7 + 0.25 * max(3, len(rows)))
