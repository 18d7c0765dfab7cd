"""Render a validation report as one self-contained page that works offline."""

import base64
import gzip
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fx_pipeline.market.links import is_web_link
from fx_pipeline.market.origin import candle_origin
from fx_pipeline.validation.numbers import number
from fx_pipeline.validation.report_charts import charted_trades, charts
from fx_pipeline.validation.report_tables import account_rows, significance_rows

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
LISTED_TRADES = 1_000
LISTED_GAPS = 12

#: Metrics in the order of the table: key, title, format, definition.
METRICS = (
    (
        "expectancy_pips",
        "Expectancy",
        "pips",
        "Mean result of a trade after costs: win rate x average win less loss rate x average loss.",
    ),
    ("total_pips", "Total", "pips", "Sum of all results after costs."),
    ("median_pips", "Median trade", "pips", "Half of the trades did better."),
    ("win_rate", "Win rate", "percent", "Share of trades that ended above 0 pips after costs."),
    ("avg_win_pips", "Average win", "pips", "Mean result of the winners."),
    ("avg_loss_pips", "Average loss", "size", "Mean size of the losers, as a positive number."),
    ("payoff", "Payoff", "number", "Average win over average loss."),
    ("profit_factor", "Profit factor", "number", "Gross profit over gross loss; above 1 makes money."),
    (
        "trading_quality",
        "Trading quality",
        "number",
        "expectancy x 5 + mean result x 0.5 + win rate x min(trades, 10) x 2 + min(trades x 0.1, 1).",
    ),
    (
        "sharpe_per_trade",
        "Sharpe ratio per trade",
        "number3",
        "Mean over standard deviation (ddof 1) of a trade's result; not annualised.",
    ),
    (
        "sqn",
        "SQN",
        "number",
        "Van Tharp's system quality number: square root of min(trades, 100) x Sharpe per trade. Below 1.6 "
        "is poor, 2.5 good.",
    ),
    ("t_stat", "t statistic", "number", "The same without the cap at 100 trades. It supposes independent trades."),
    (
        "p_value",
        "p-value",
        "number3",
        "Chance of such a t statistic or a larger one if the true mean were 0, one-sided.",
    ),
    ("std_pips", "Standard deviation", "size", "Of a trade's result."),
    ("best_pips", "Best trade", "pips", ""),
    ("worst_pips", "Worst trade", "pips", ""),
    ("max_drawdown_pips", "Largest drawdown", "size", "Deepest fall of the cumulative result from its running peak."),
    ("longest_drawdown_trades", "Longest drawdown", "trades", "Most trades in a row spent below the running peak."),
    (
        "trades_needed",
        "Trades needed",
        "trades",
        "Trades at which this Sharpe ratio would be significant at 95%, one-sided.",
    ),
)

COST_GROUPS = (
    ("spread", "Spread"),
    ("slippage", "Slippage, at the spread as judged"),
    ("latency", "Late orders, at the costs as judged"),
    ("financing", "Financing of long and short, at the spread as judged"),
)

FLAGS = {
    "no_trades": "no trade was closed",
    "one_trade": "a single trade has no spread",
    "few_trades": "fewer than 30 trades",
    "no_wins": "no trade won",
    "no_losses": "no trade lost, so ratios to losses do not exist",
    "zero_variance": "all trades are equal, so ratios to their spread do not exist",
}


def verdict_text(figures: Mapping[str, Any]) -> str:
    """Say the verdict and what it rests on in two sentences."""
    failed = [condition for condition in figures["conditions"] if not condition["passed"]]
    total = len(figures["conditions"])
    scope = f"Over {figures['sessions']:,} unseen sessions"
    record = figures.get("record") or {}
    windows = record.get("windows") or ()
    if len(windows) > 1:
        made = "no trade" if not record["trades"] else f"{record['trades']:,} trades"
        kept = "" if not record["trades"] else f" that {_made(record['expectancy_pips'])} each"
        scope = (
            f"Judged is its configuration on the {len(windows)} windows of the last year: {made}{kept} in "
            f"{record['sessions']:,} unseen sessions of {record['days']:,} trading days. On the newest window"
        )
    if figures["trades"]:
        traded = f"it closed {figures['trades']:,} trades and {_made(figures['expectancy_pips'])} a trade after costs"
    else:
        traded = "it closed no trade at all"
    if figures["sealed"]:
        outcome = "did not hold what it promised" if failed else "held what it promised"
        count = f"{len(failed)} of {total} conditions failed" if failed else f"all {total} conditions hold"
        return f"On days that were sealed until now, this model {outcome}. {scope} {traded}; {count}."
    if failed:
        count = f"{len(failed)} of {total} conditions failed"
        return f"This model has not earned the right to trade. {scope} {traded}; {count}."
    return f"This model passed every condition of the gate. {scope} {traded}."


def render_page(report: Mapping[str, Any]) -> str:
    """Render the page.

    Parameters
    ----------
    report : Mapping
        From `build_report`, as `write_report` completes it.

    Returns
    -------
    str
        HTML without any outside reference.
    """
    figures = report["figures"]
    return (
        page_environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            figures=figures,
            lineage=report["lineage"],
            run={"mlflow_url": None, "dagster_run_id": None, "validated": None, **report["run"]},
            verdict_text=verdict_text(figures),
            metrics=METRICS,
            significance=significance_rows(figures),
            record=figures.get("record"),
            origin=candle_origin(report["lineage"]["source"]),
            account=account_rows(figures),
            remedies=_remedies(figures),
            cost_groups=_cost_groups(figures),
            flags=[FLAGS[flag] for flag in figures["metrics"]["flags"]],
            actions=_actions(figures),
            baselines=_baselines(figures),
            trades=_trades(figures),
            listed_trades=LISTED_TRADES,
            charted_trades=charted_trades(figures["trades"]),
            gaps=sorted(report["lineage"]["gaps"], key=lambda gap: -gap["minutes"])[:LISTED_GAPS],
            charts=charts(figures),
            plotly=packed_plotly(),
        )
    )


def _remedies(figures: Mapping[str, Any]) -> dict[str, list[str]]:
    """What would have to change -> the failed conditions that it would mend."""
    found: dict[str, list[str]] = {}
    for condition in figures["conditions"]:
        if not condition["passed"]:
            found.setdefault(condition["remedy"], []).append(condition["title"])
    return found


def moment(text: str) -> str:
    """An ISO time in UTC, to the minute, as people write it."""
    return text[:16].replace("T", " ")


def _made(expectancy: float) -> str:
    return f"{'made' if expectancy > 0 else 'lost'} {abs(expectancy):.2f} pips"


def _actions(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    total = max(figures["decisions"], 1)
    return [{"name": name, "count": count, "share": count / total} for name, count in figures["action_counts"].items()]


def _baselines(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    table = figures["baselines"]
    rows = [table["model"], *table["baselines"]]
    rows += [row for row in (table["ablation"], table["random"] and table["random"]["mean"]) if row is not None]
    scale = max((abs(row["total_pips"]) for row in rows), default=0.0) or 1.0
    best = table["model"]["total_pips"]
    return [{**row, "width": abs(row["total_pips"]) / scale, "beaten": best > row["total_pips"]} for row in rows]


def _cost_groups(figures: Mapping[str, Any]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    lines = figures["cost_sweep"]["lines"]
    return [(title, [line for line in lines if line["group"] == group]) for group, title in COST_GROUPS]


def _trades(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    columns = figures["trade_list"]
    count = min(len(columns["pnl_pips"]), LISTED_TRADES)
    return [{name: values[row] for name, values in columns.items()} for row in range(count)]


def page_environment() -> "Environment":
    """Return the environment of the pages' templates: the filters `number` and `moment`, the test `web_link`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["moment"] = moment
    environment.tests["web_link"] = is_web_link
    return environment


@cache
def packed_plotly() -> str:
    """Return plotly's library for a page, compressed and in base64."""
    from plotly.offline import get_plotlyjs

    # Compressed without a time stamp, so that one report gives one page; the browser inflates it.
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
