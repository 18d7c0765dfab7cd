"""The leaderboard: a page over all reports, made again whenever one of them is."""

from typing import Any

import dagster as dg

from fx_pipeline.defs.metadata import OWNERS, plain
from fx_pipeline.defs.models import champion, validation_report
from fx_pipeline.defs.report_metadata import page_url
from fx_pipeline.lifecycle.leaderboard import gathered
from fx_pipeline.settings import Settings, load_settings

#: Lines that Dagster shows; the page has all.
_SHOWN = 20


@dg.asset(
    deps=[validation_report, champion],
    group_name="models",
    kinds={"plotly"},
    owners=OWNERS,
    pool="registry",
    code_version="1",
)
def leaderboard(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """All validation reports on one page, over instruments, windows and agents, to be sorted by any column."""
    metadata, unread = make_leaderboard(load_settings())
    for reason in unread:
        context.log.warning(f"left out: {reason}")
    return dg.MaterializeResult(metadata=plain(metadata))


def make_leaderboard(settings: Settings) -> tuple[dict[str, Any], list[str]]:
    """Write the page; return what Dagster shows of it, and why reports and champions are missing."""
    from fx_pipeline.validation.numbers import number

    layout = settings.layout
    entries, unread = gathered(settings)
    rows = [
        dg.TableRecord(
            {
                "verdict": f"{row.verdict}{', champion' if row.champion else ''}",
                "instrument": row.instrument,
                "window": row.window,
                "agent": row.agent,
                "seeds": row.seeds,
                "a trade": number(row.expectancy_pips, "pips"),
                "deflated Sharpe": number(row.deflated_sharpe, "percent"),
                "trades": row.trades,
                "report": f"{settings.reports_url}/{row.link}",
            }
        )
        for row in entries[:_SHOWN]
    ]
    metadata = {
        "page": dg.MetadataValue.url(page_url(settings, layout.leaderboard)),
        "dagster/uri": str(layout.leaderboard),
        "reports": len(entries),
        "passed the gate": sum(row.promoted for row in entries),
        "not readable": len(unread),
        "first of them": dg.MetadataValue.table(
            rows, schema=dg.TableSchema([dg.TableColumn(name) for name in _COLUMNS])
        ),
    }
    return metadata, unread


_COLUMNS = ("verdict", "instrument", "window", "agent", "seeds", "a trade", "deflated Sharpe", "trades", "report")
