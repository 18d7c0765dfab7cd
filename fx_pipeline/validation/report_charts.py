"""The charts of the report page, as plotly figures in plain dicts (`data` and `layout`)."""

from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

INK, MUTED, GRID = "#1d2733", "#66727f", "#e7ebef"
GAIN, LOSS, ACCENT, BAND = "#0f8a5f", "#c2413a", "#2457c5", "36, 87, 197"
# More than these make the page large and slow to open, and show nothing more; the JSON has every trade.
CHARTED_TRADES = 1_000
EQUITY_POINTS = 2_000

Chart = dict[str, Any]


def chart_layout(x_title: str, y_title: str, height: int = 380, **extra: Any) -> dict[str, Any]:
    """Return the layout that the charts of all pages share; `extra` replaces parts of it."""
    axis = {"gridcolor": GRID, "zerolinecolor": "#b9c2cb", "tickfont": {"color": MUTED, "size": 11}, "automargin": True}
    return {
        "height": height,
        "autosize": True,
        "margin": {"l": 8, "r": 12, "t": 36, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "color": INK, "size": 12},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 11}},
        "hovermode": "closest",
        "xaxis": {**axis, "title": {"text": x_title, "font": {"size": 11, "color": MUTED}}},
        "yaxis": {**axis, "title": {"text": y_title, "font": {"size": 11, "color": MUTED}}},
        **extra,
    }


def equity_fan(figures: Mapping[str, Any]) -> Chart | None:
    """Percentiles of the resampled equity by number of trades, and the equity as it was; None without trades."""
    simulation = figures["monte_carlo"]
    if simulation is None:
        return None
    x, fan = simulation["fan_grid"], simulation["fan_pips"]

    def edge(q: int, **style: Any) -> dict[str, Any]:
        return {"type": "scatter", "mode": "lines", "x": x, "y": _rounded(fan[str(q)]), "hoverinfo": "skip", **style}

    bands = []
    for low, high, alpha, name in ((5, 95, 0.12, "5th to 95th percentile"), (25, 75, 0.22, "25th to 75th percentile")):
        bands.append(edge(low, line={"width": 0}, showlegend=False))
        fill = {"fill": "tonexty", "fillcolor": f"rgba({BAND}, {alpha})"}
        bands.append(edge(high, line={"width": 0}, name=name, **fill))
    median = edge(50, line={"color": ACCENT, "width": 1.5, "dash": "dot"}, name="median")
    equity = [0.0, *accumulate(figures["trade_list"]["pnl_pips"])]
    drawn = _turns(equity, EQUITY_POINTS)
    actual = {
        "type": "scatter",
        "mode": "lines",
        "x": drawn,
        "y": _rounded([equity[row] for row in drawn]),
        "name": "as it happened",
        "line": {"color": INK, "width": 2},
        "hovertemplate": "after %{x} trades: %{y:.1f} pips<extra></extra>",
    }
    return {"data": [*bands, median, actual], "layout": chart_layout("trades closed", "cumulative pips after costs")}


def drawdown_distribution(figures: Mapping[str, Any]) -> Chart | None:
    """Histogram of the resampled paths' largest drawdowns with its marks; None without trades."""
    simulation = figures["monte_carlo"]
    if simulation is None:
        return None
    edges, counts = simulation["drawdown_edges"], simulation["drawdown_counts"]
    total = sum(counts)
    bars = {
        "type": "bar",
        "x": _rounded([(a + b) / 2 for a, b in pairwise(edges)]),
        "y": [round(count / total, 5) for count in counts],
        "width": _rounded([b - a for a, b in pairwise(edges)]),
        "marker": {"color": f"rgba({BAND}, 0.35)"},
        "name": "resampled histories",
        "showlegend": False,
        "hovertemplate": "about %{x:.0f} pips: %{y:.1%} of histories<extra></extra>",
    }
    top = max(counts) / total
    marks = (
        ("as it happened", figures["metrics"]["max_drawdown_pips"], INK, "solid"),
        ("95th percentile", simulation["max_drawdown_pips"]["95"], LOSS, "dash"),
        ("95th percentile if trades were independent", simulation["iid"]["max_drawdown_p95_pips"], MUTED, "dot"),
    )
    lines = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [round(x, 3)] * 2,
            "y": [0, top],
            "name": f"{name}: {x:,.0f}",
            "line": {"color": color, "width": 2, "dash": dash},
            "hoverinfo": "skip",
        }
        for name, x, color, dash in marks
    ]
    layout = chart_layout("largest drawdown of a history, pips", "share of histories")
    layout["yaxis"]["tickformat"] = ".0%"
    return {"data": [bars, *lines], "layout": layout}


def price_and_trades(figures: Mapping[str, Any]) -> Chart:
    """The mid price over the validated span with trades on it: each from entry to exit, coloured by result.

    Of many trades `charted_trades` are drawn, evenly spread.
    """
    price, trades = figures["price"], figures["trade_list"]
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": price["time"],
            "y": price["close"],
            "name": "mid close",
            "line": {"color": "#9aa6b2", "width": 1},
            "hoverinfo": "skip",
        }
    ]
    count = len(trades["pnl_pips"])
    rows = np.linspace(0, count - 1, charted_trades(count)).round().astype(int).tolist()
    for name, color, wins in (("gain", GAIN, True), ("loss", LOSS, False)):
        chosen = [row for row in rows if (trades["pnl_pips"][row] > 0) == wins]
        data += _trade_traces(trades, chosen, name, color)
    layout = chart_layout("", "price", height=420)
    # Closed markets take room and show nothing.
    layout["xaxis"] |= {"type": "date", "rangebreaks": [{"bounds": pair} for pair in price["breaks"]]}
    return {"data": data, "layout": layout}


def charted_trades(count: int) -> int:
    """Return how many of `count` trades the price chart draws."""
    return min(count, CHARTED_TRADES)


def _trade_traces(trades: Mapping[str, Any], rows: list[int], name: str, color: str) -> list[dict[str, Any]]:
    x: list[str | None] = []
    y: list[float | None] = []
    entry_x, entry_y, symbol, text = [], [], [], []
    for row in rows:
        x += [trades["entry_time"][row], trades["exit_time"][row], None]
        y += [trades["entry_price"][row], trades["exit_price"][row], None]
        entry_x.append(trades["entry_time"][row])
        entry_y.append(trades["entry_price"][row])
        long = trades["side"][row] > 0
        symbol.append("triangle-up" if long else "triangle-down")
        pnl, held = trades["pnl_pips"][row], trades["bars_held"][row]
        text.append(f"{'long' if long else 'short'} {entry_x[-1]}<br>{pnl:+.1f} pips, {held} bars")
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "line": {"color": color, "width": 1.5},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    markers = {
        "type": "scatter",
        "mode": "markers",
        "x": entry_x,
        "y": entry_y,
        "text": text,
        "hovertemplate": "%{text}<extra></extra>",
        "name": name,
        "marker": {"symbol": symbol, "color": color, "size": 8, "line": {"color": "white", "width": 1}},
    }
    return [line, markers]


def cost_sweep(figures: Mapping[str, Any]) -> Chart | None:
    """Expectancy of the same trades by spread; None without trades."""
    lines = [line for line in figures["cost_sweep"]["lines"] if line["group"] == "spread"]
    if not figures["trades"]:
        return None
    values = [line["expectancy_pips"] for line in lines]
    bars = {
        "type": "bar",
        "x": [line["name"] for line in lines],
        "y": _rounded(values),
        "marker": {
            "color": [GAIN if value > 0 else LOSS for value in values],
            "opacity": [1.0 if line["as_validated"] else 0.45 for line in lines],
        },
        "hovertemplate": "%{x}: %{y:+.2f} pips a trade<extra></extra>",
        "showlegend": False,
    }
    return {"data": [bars], "layout": chart_layout("", "pips a trade", height=280)}


def by_time(figures: Mapping[str, Any], part: str) -> Chart | None:
    """Total of the trades by hour or weekday of their entry; None without trades."""
    slices = figures["breakdown"][part]
    if not figures["trades"]:
        return None
    totals = [one["total_pips"] for one in slices]
    bars = {
        "type": "bar",
        "x": [one["name"] for one in slices],
        "y": _rounded(totals),
        "customdata": [one["trades"] for one in slices],
        "marker": {"color": [GAIN if total > 0 else LOSS for total in totals]},
        "hovertemplate": "%{x}: %{y:+.1f} pips in %{customdata} trades<extra></extra>",
        "showlegend": False,
    }
    layout = chart_layout("", "pips in total", height=240)
    layout["xaxis"]["type"] = "category"
    return {"data": [bars], "layout": layout}


def charts(figures: Mapping[str, Any]) -> dict[str, Chart | None]:
    """Build every chart of the page by the id of its place."""
    return {
        "fan": equity_fan(figures),
        "drawdown": drawdown_distribution(figures),
        "price": price_and_trades(figures),
        "costs": cost_sweep(figures),
        "hours": by_time(figures, "by_hour"),
        "weekdays": by_time(figures, "by_weekday"),
    }


def _turns(values: list[float], most: int) -> list[int]:
    """Return the places of at most `most` values: both ends, and the lowest and the highest of each stretch.

    So no peak and no fall is lost.
    """
    if len(values) <= most:
        return list(range(len(values)))
    chosen = {0, len(values) - 1}
    first = 0
    for stretch in np.array_split(np.asarray(values), most // 2 - 1):
        chosen |= {first + int(stretch.argmin()), first + int(stretch.argmax())}
        first += len(stretch)
    return sorted(chosen)


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 3) for value in values]
