"""The leaderboard: every validation report on one page, over recipes, instruments and windows.

It orders nothing by luck alone: what passed the gate comes first, then the newest window. Any column sorts.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fx_pipeline.market.atomic import atomic_write_bytes
from fx_pipeline.market.errors import DataError
from fx_pipeline.validation.context import SYNTHETIC
from fx_pipeline.validation.gate import PROMOTED
from fx_pipeline.validation.numbers import number
from fx_pipeline.validation.records import LINE
from fx_pipeline.validation.report import REPORT_JSON, REPORT_PAGE, read_report
from fx_pipeline.validation.report_charts import GAIN, GRID, LOSS, MUTED, chart_layout
from fx_pipeline.validation.report_page import packed_plotly, page_environment

#: Of a report that says it passed, and is not what was computed.
UNVERIFIED = "not verified"
#: Of the resampled totals by trades, which the interval of the expectancy is made of: 90 %.
_LOW, _HIGH = "5", "95"


@dataclass(frozen=True)
class Entry:
    """A validation report in a line.

    Attributes
    ----------
    instrument, window, recipe, agent, verdict : str
    champion : bool
        Whether its model trades the instrument now.
    sealed, synthetic : bool
        Whether it is of sealed days, and whether the market was generated.
    failed : int
        Conditions of the gate that failed.
    seeds : int
        Seeds of the configuration that were scored.
    seed : int
        Of the model.
    expectancy_pips : float or None
        A trade, after costs.
    interval_pips : tuple of float, optional
        90 % interval of the expectancy, trades resampled in blocks.
    psr, deflated_sharpe : float or None
    trades : int
    max_drawdown_pips, break_even_spread_pips : float or None
    worst_seed_pips : float or None
    holdout_openings : int or None
    paired_p : float or None
        Of the paired test against the champion of its time.
    sha256 : str
    link : str
        Path of the report's page, from the leaderboard's folder.
    """

    instrument: str
    window: str
    recipe: str
    agent: str
    verdict: str
    champion: bool
    sealed: bool
    synthetic: bool
    failed: int
    seeds: int
    seed: int
    expectancy_pips: float | None
    interval_pips: tuple[float, float] | None
    psr: float | None
    deflated_sharpe: float | None
    trades: int
    max_drawdown_pips: float | None
    break_even_spread_pips: float | None
    worst_seed_pips: float | None
    holdout_openings: int | None
    paired_p: float | None
    sha256: str
    link: str

    @property
    def promoted(self) -> bool:
        """Whether it passed the gate."""
        return self.verdict == PROMOTED


#: Columns of the table: field, heading, style of the number, and what it says.
COLUMNS = (
    ("verdict", "Verdict", "", "Passed every condition of the gate, or how many failed."),
    ("instrument", "Instrument", "", ""),
    ("window", "Window", "", "First trading day of the validation."),
    ("recipe", "Recipe", "", "What was trained: fx-pipeline recipes show NAME."),
    ("agent", "Agent", "", ""),
    ("seeds", "Seeds", "count", "Seeds of the configuration that were scored; the gate looks at the worst."),
    ("expectancy_pips", "A trade", "pips", "Expectancy after costs, with a 90% interval: trades resampled in blocks."),
    ("psr", "PSR", "percent", "Probability that the true Sharpe ratio is above 0."),
    ("deflated_sharpe", "DSR", "percent", "The same against the best of as many worthless trials as were made."),
    ("trades", "Trades", "count", ""),
    ("max_drawdown_pips", "Drawdown", "size", "Largest fall of the cumulative result from its peak."),
    ("break_even_spread_pips", "Break-even", "pips", "Spread at which nothing is left."),
    ("worst_seed_pips", "Worst seed", "pips", "Total of the worst seed."),
    ("paired_p", "Beside champion", "probability", "p-value of the paired test against the champion of its time."),
    ("holdout_openings", "Hold-out", "count", "Candidates that have seen the sealed days of the instrument."),
)


def entry(report: Mapping[str, Any], link: str, champions: Sequence[str] = ()) -> Entry:
    """Reduce a report to its line.

    Parameters
    ----------
    report : Mapping
    link : str
        To its page.
    champions : sequence of str
        Hashes of the models that trade now.

    Returns
    -------
    Entry
    """
    figures, lineage, simulation = report["figures"], report["lineage"], report["figures"]["monte_carlo"]
    interval = None
    if simulation:
        totals, trades = simulation["terminal_pips"], simulation["trades"]
        interval = (totals[_LOW] / trades, totals[_HIGH] / trades)
    return Entry(
        instrument=figures["instrument"],
        window=figures["window"],
        recipe=lineage.get("recipe", figures["agent"]),
        agent=figures["agent"],
        verdict=figures["verdict"],
        champion=lineage["checkpoint_sha256"] in champions,
        sealed=bool(figures["sealed"]),
        synthetic=lineage["source"] == SYNTHETIC,
        failed=sum(not condition["passed"] for condition in figures["conditions"]),
        seeds=figures["seeds"],
        seed=figures["seed"],
        expectancy_pips=figures["expectancy_pips"],
        interval_pips=interval,
        psr=figures["significance"]["psr"],
        deflated_sharpe=figures["deflated_sharpe"],
        trades=figures["trades"],
        max_drawdown_pips=figures["metrics"]["max_drawdown_pips"],
        break_even_spread_pips=figures["break_even_spread_pips"],
        worst_seed_pips=figures["worst_seed_pips"],
        holdout_openings=figures["holdout_openings"],
        paired_p=figures["paired"] and figures["paired"]["p_value"],
        sha256=lineage["checkpoint_sha256"],
        link=link,
    )


def gather(
    reports: Path, champions: Sequence[str] = (), doubt: Callable[[Path], str] | None = None
) -> tuple[list[Entry], list[str]]:
    """Read every report below a folder.

    Parameters
    ----------
    reports : Path
    champions : sequence of str
        Hashes of the models that trade now.
    doubt : callable, optional
        Folder of a report that says it passed the gate to why that is not believed; an empty text where it is.

    Returns
    -------
    list of Entry
        What passed comes first, then the newest window, then by instrument and recipe.
    list of str
        Why a report could not be read, each.
    """
    found, unread = [], []
    for path in sorted(reports.rglob(REPORT_JSON)):
        try:
            report = read_report(path.parent, LINE)
        except DataError as error:
            unread.append(str(error))
            continue
        line = entry(report, (path.parent / REPORT_PAGE).relative_to(reports).as_posix(), champions)
        if line.promoted and doubt is not None and (why := doubt(path.parent)):
            line = replace(line, verdict=UNVERIFIED)
            unread.append(why)
        found.append(line)
    found.sort(key=lambda row: (row.instrument, row.recipe))
    found.sort(key=lambda row: row.window, reverse=True)
    found.sort(key=lambda row: (row.promoted, row.champion), reverse=True)
    return found, unread


def strip_plot(entries: Sequence[Entry]) -> dict[str, Any]:
    """Draw the expectancy of every report with its interval, by window; what passed is filled.

    Returns
    -------
    dict
        A plotly figure: `data` and `layout`.
    """
    told = [row for row in entries if row.expectancy_pips is not None]
    data = []
    for name, chosen, colour, symbol in (
        ("passed the gate", [row for row in told if row.promoted], GAIN, "circle"),
        ("rejected", [row for row in told if not row.promoted], LOSS, "circle-open"),
    ):
        intervals = [row.interval_pips or (row.expectancy_pips, row.expectancy_pips) for row in chosen]
        values = [float(row.expectancy_pips or 0.0) for row in chosen]
        if chosen:
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": [row.window for row in chosen],
                    "y": [round(value, 3) for value in values],
                    "error_y": {
                        "type": "data",
                        "symmetric": False,
                        "array": [
                            round(float(high or 0.0) - y, 3) for (_, high), y in zip(intervals, values, strict=True)
                        ],
                        "arrayminus": [
                            round(y - float(low or 0.0), 3) for (low, _), y in zip(intervals, values, strict=True)
                        ],
                        "thickness": 1,
                        "width": 3,
                        "color": colour,
                    },
                    "marker": {"color": colour, "size": 9, "symbol": symbol, "line": {"width": 2}},
                    "text": [f"{row.instrument} {row.recipe}, {row.trades} trades" for row in chosen],
                    "hovertemplate": "%{text}<br>%{x}: %{y:.2f} pips a trade<extra></extra>",
                }
            )
    layout = chart_layout("window", "pips a trade, after costs", height=340)
    layout["xaxis"] |= {"type": "category", "categoryorder": "category ascending"}
    layout["shapes"] = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 0, "y1": 0, "line": {"color": MUTED, "width": 1}}
    ]
    layout["yaxis"]["gridcolor"] = GRID
    return {"data": data, "layout": layout}


def render_leaderboard(entries: Sequence[Entry], unread: Sequence[str] = ()) -> str:
    """Render the page.

    Parameters
    ----------
    entries : sequence of Entry
        In the order in which they are shown first.
    unread : sequence of str
        Why reports are missing.

    Returns
    -------
    str
        HTML without any outside reference but the links to the reports beside it.
    """
    return (
        page_environment()
        .get_template("leaderboard.html.j2")
        .render(
            entries=entries,
            rows=[_cells(row) for row in entries],
            columns=COLUMNS,
            unread=unread,
            promoted=sum(row.promoted for row in entries),
            instruments=len({row.instrument for row in entries}),
            windows=len({(row.instrument, row.window) for row in entries}),
            synthetic=any(row.synthetic for row in entries),
            charts={"strip": strip_plot(entries)},
            plotly=packed_plotly(),
        )
    )


def write_leaderboard(
    reports: Path,
    page: Path,
    champions: Sequence[str] = (),
    unknown: Sequence[str] = (),
    doubt: Callable[[Path], str] | None = None,
) -> tuple[list[Entry], list[str]]:
    """Gather the reports of a folder and write the page and, beside it, the same as JSON; return what was gathered.

    Parameters
    ----------
    reports : Path
        Folder of the reports, which the page's links are relative to.
    page : Path
        Directly in that folder.
    champions : sequence of str
        Hashes of the models that trade now.
    unknown : sequence of str
        Why the champion of an instrument is not known, each.
    doubt : callable, optional
        As in `gather`.

    Returns
    -------
    list of Entry, list of str
        As from `gather`; `unknown` joins what could not be read.
    """
    entries, unread = gather(reports, champions, doubt)
    unread += unknown
    text = json.dumps([asdict(row) for row in entries], indent=1, allow_nan=False) + "\n"
    made = {page.with_suffix(".json"): text.encode(), page: render_leaderboard(entries, unread).encode()}
    for path, content in made.items():
        # A page that says the same already stands.
        if not path.exists() or path.read_bytes() != content:
            atomic_write_bytes(path, content)
    return entries, unread


def _cells(row: Entry) -> list[dict[str, Any]]:
    """The cells of a line: text, a second line, and the value that sorts it."""
    cells = []
    for name, heading, style, _ in COLUMNS:
        value, small = getattr(row, name), ""
        text = number(value, style) if style else str(value)
        order = value
        if name == "verdict":
            text, order = ("promoted", 0) if row.promoted else (row.verdict, row.failed)
            small = "" if row.promoted or row.verdict == UNVERIFIED else f"{row.failed} failed"
        elif name == "expectancy_pips" and row.interval_pips is not None:
            small = f"{row.interval_pips[0]:+,.2f} to {row.interval_pips[1]:+,.2f}"
        elif name == "seeds":
            small = f"seed {row.seed}"
        cells.append(
            {"name": name, "heading": heading, "text": text, "small": small, "order": order, "number": bool(style)}
        )
    return cells
