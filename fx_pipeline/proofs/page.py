"""The learning curves of a proof, as a page that works offline."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from fx_pipeline.proofs.bars import BAR_HEADINGS, bar_rows

_COLOURS = ("#2457c5", "#0f8a5f", "#b7791f", "#8b3fb0", "#c2413a", "#3a8ea5", "#66727f")
_PEER, _GRID = "#9aa6b2", "#e7ebef"


def curve_figure(result: Mapping[str, Any]) -> dict[str, Any]:
    """Build the chart: pips per episode over the minutes of training, and what the greedy policy makes at the end.

    Returns
    -------
    dict
        A plotly figure: `data` and `layout`.
    """
    data: list[dict[str, Any]] = []
    for label, seeds, colours, dash in (
        (result["agent"], result["seeds"], _COLOURS, "solid"),
        ("PPO", result["ppo"], (_PEER,), "dot"),
    ):
        for number, seed in enumerate(seeds):
            colour, name = colours[number % len(colours)], f"{label}, seed {seed['seed']}"
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": name,
                    "legendgroup": name,
                    "x": [round(at / 60, 4) for at, _ in seed["curve"]],
                    "y": [round(pips, 2) for _, pips in seed["curve"]],
                    "line": {"color": colour, "width": 1.5, "dash": dash},
                    "hovertemplate": "%{x:.2f} minutes: %{y:.1f} pips while exploring<extra></extra>",
                }
            )
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "legendgroup": name,
                    "showlegend": False,
                    "x": [round(seed["seconds"] / 60, 4)],
                    "y": [round(seed["pips_per_episode"], 2)],
                    "error_y": {"array": [round(2 * seed["standard_error_pips"], 2)], "color": colour},
                    "marker": {"color": colour, "size": 10, "symbol": "diamond"},
                    "hovertemplate": "greedy: %{y:.1f} pips an episode<extra></extra>",
                }
            )
    best = result["optimum_pips"]
    layout = {
        "height": 480,
        "plot_bgcolor": "white",
        "font": {"family": "system-ui, sans-serif", "color": "#1d2733", "size": 12},
        "xaxis": {"title": {"text": "minutes of training"}, "rangemode": "tozero", "gridcolor": _GRID},
        "yaxis": {"title": {"text": "pips an episode, after costs"}, "gridcolor": _GRID},
        "shapes": [
            {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": {"width": 1, "dash": "dash"}}
            for y in (0.0, best)
        ],
        "annotations": [
            {"xref": "paper", "x": 0, "y": best, "text": f"optimum {best:.1f}", "showarrow": False, "yanchor": "bottom"}
        ],
    }
    return {"data": data, "layout": layout}


def milestone_figure(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Build the chart of what the weights make as they learn, by search and by the policy head alone.

    Returns
    -------
    dict or None
        A plotly figure: share of the optimum over episodes, of each seed and their mean, by the weights of that moment
        (those chosen at the end may be of another); None where no milestone was judged with and without search.
    """
    best, seeds, marks = result["optimum_pips"], result["seeds"], [one["episodes"] for one in result["milestones"]]
    if not result["milestones"] or result["learning_policy_share_mean"] is None:
        return None
    data: list[dict[str, Any]] = []
    for name, key, mean, colour in (
        ("search", "pips_per_episode", "share_mean", _COLOURS[0]),
        ("policy head alone", "policy_pips_per_episode", "policy_share_mean", _COLOURS[2]),
    ):
        lines = [[(one["episodes"], one[key] / best) for one in seed["milestones"]] for seed in seeds]
        lines.append([(one["episodes"], one[mean]) for one in result["milestones"]])
        for number, line in enumerate(lines):
            of_all = number == len(seeds)
            label = "mean of seeds" if of_all else f"seed {seeds[number]['seed']}"
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": f"{name}, {label}",
                    "showlegend": of_all,
                    "x": [at for at, _ in line],
                    "y": [round(share, 4) for _, share in line],
                    "line": {"color": colour, "width": 3 if of_all else 1},
                    "opacity": 1.0 if of_all else 0.35,
                    "hovertemplate": "%{x:,.0f} episodes: %{y:.1%}",
                }
            )
    layout = {
        "height": 360,
        "plot_bgcolor": "white",
        "font": {"family": "system-ui, sans-serif", "color": "#1d2733", "size": 12},
        "xaxis": {"title": {"text": "episodes of self-play"}, "type": "log", "tickvals": marks, "gridcolor": _GRID},
        "yaxis": {"title": {"text": "share of the optimum"}, "tickformat": ".0%", "gridcolor": _GRID},
    }
    return {"data": data, "layout": layout}


def table_rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the lines of the table of seeds, as `HEADINGS` names them."""

    def shown(value: float | None, text: str) -> str:
        return "" if value is None else format(value, text)

    return [
        (
            f"{label}, seed {seed['seed']}",
            shown(seed["share"], ".1%"),
            shown(seed["pips_per_episode"], ".1f"),
            shown(seed["standard_error_pips"], ".1f"),
            shown(seed["policy_pips_per_episode"], ".1f"),
            shown(seed["trades_per_episode"], ".2f"),
            shown(seed["seconds"] / 60, ".1f"),
        )
        for label, seeds in ((result["agent"], result["seeds"]), ("PPO", result["ppo"]))
        for seed in seeds
    ]


#: Headings of `table_rows`.
HEADINGS = ("", "share of the optimum", "pips", "+-", "pips without search", "trades", "minutes")


def render_page(result: Mapping[str, Any]) -> str:
    """Render the result as one HTML file."""
    import plotly.io

    chart = plotly.io.to_html(curve_figure(result), include_plotlyjs=True, full_html=False, validate=False)
    way = milestone_figure(result)
    learning = ""
    if way is not None:
        drawn = plotly.io.to_html(way, include_plotlyjs=False, full_html=False, validate=False)
        learning = (
            f"<h2>By search and by the policy head alone</h2>{drawn}<p>Greedy, by the weights of that moment.</p>"
        )
    bars = bar_rows(result)
    said = [f"missed: {reason}" for reason in result["missed"]]
    if bars and not said:
        said.append("no bar that was measured is missed")
    elif not bars:
        said.append(f"no bar is set for the preset {result['preset']} on this market")
    said += [f"not measured: {name}" for name in result["not_measured"]]
    verdict = "".join(f"<li>{escape(line)}</li>" for line in said)
    title = f"{result['agent']} on {result['market']}"
    made = f"{result['date']}, preset {result['preset']}, code {result['code_version']}, {result['cores']} cores"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Proof: {escape(title)}</title>'
        "<style>body{font:15px system-ui,sans-serif;max-width:1000px;margin:2em auto;color:#1d2733}"
        "td,th{text-align:right;padding:.2em .5em;white-space:nowrap}td:first-child{text-align:left}</style></head>"
        f"<body><h1>Proof: {escape(title)}</h1><p>{escape(made)}</p>{chart}"
        "<p>Lines are play with exploration while learning, diamonds the greedy policy on another path with two "
        f"standard errors.</p>{_html_table(HEADINGS, table_rows(result))}{learning}"
        f"{_html_table(BAR_HEADINGS, bars) if bars else ''}<ul>{verdict}</ul></body></html>\n"
    )


def _html_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    heading = "".join(f"<th>{escape(name)}</th>" for name in headings)
    lines = "".join("<tr>" + "".join(f"<td>{escape(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><tr>{heading}</tr>{lines}</table>"
