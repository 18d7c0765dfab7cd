"""The leaderboard: what is on it, in which order, and that its page stands by itself."""

import json
import re
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from fx_pipeline.validation.leaderboard import COLUMNS, Entry, gather, render_leaderboard, strip_plot, write_leaderboard
from fx_pipeline.validation.report import SCHEMA


def report(window: str = "2024-01-22", **change: Any) -> dict[str, Any]:
    figures = {
        "instrument": "EUR_USD",
        "window": window,
        "agent": "muzero",
        "verdict": "rejected",
        "sealed": "",
        "conditions": [{"passed": True}, {"passed": False}, {"passed": False}],
        "seeds": 5,
        "seed": 7,
        "expectancy_pips": 1.5,
        "monte_carlo": {"trades": 40, "terminal_pips": {"5": -20.0, "95": 140.0}},
        "significance": {"psr": 0.81},
        "deflated_sharpe": 0.4,
        "trades": 40,
        "metrics": {"max_drawdown_pips": 33.0},
        "break_even_spread_pips": 5.5,
        "worst_seed_pips": -12.0,
        "holdout_openings": 0,
        "paired": None,
    } | change
    source = figures.pop("source", "imported")
    lineage = {"checkpoint_sha256": f"sha of {window}", "source": source}
    return {"schema": SCHEMA, "figures": figures, "lineage": lineage, "run": {"wall_s": 1.0}}


NOTHING = {
    "expectancy_pips": None,
    "monte_carlo": None,
    "significance": {"psr": None},
    "deflated_sharpe": None,
    "trades": 0,
    "metrics": {"max_drawdown_pips": None},
    "break_even_spread_pips": None,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Reports of four windows; the third passed the gate, the last one was never traded."""
    for window, change in (
        ("2024-01-22", {}),
        ("2024-03-01", {"expectancy_pips": 9.0, "source": "synthetic", "paired": {"p_value": 0.03}}),
        ("2024-02-05", {"verdict": "promoted", "conditions": [{"passed": True}]}),
        ("2024-01-05", NOTHING),
    ):
        place = tmp_path / "muzero" / "EUR_USD" / window
        place.mkdir(parents=True)
        (place / "report.json").write_text(json.dumps(report(window, **change)))
    return tmp_path


def test_what_passed_comes_first_and_then_the_newest(folder: Path) -> None:
    entries, unread = gather(folder, ["sha of 2024-02-05"])
    assert unread == []
    assert [row.window for row in entries] == ["2024-02-05", "2024-03-01", "2024-01-22", "2024-01-05"]
    first, second = entries[:2]
    assert first.promoted and first.champion and not second.champion and second.synthetic
    assert first.interval_pips == pytest.approx((-0.5, 3.5))
    assert (second.failed, second.seeds, second.paired_p) == (2, 5, 0.03)
    assert first.link == "muzero/EUR_USD/2024-02-05/report.html"


def test_a_report_that_cannot_be_read_is_named_and_the_others_stay(folder: Path) -> None:
    (folder / "muzero" / "EUR_USD" / "2024-01-22" / "report.json").write_text("{")
    entries, (unread,) = gather(folder)
    assert len(entries) == 3 and "2024-01-22" in unread
    assert "2024-01-22" in render_leaderboard(entries, [unread])


def test_the_page_has_every_line_and_no_outside_reference(folder: Path) -> None:
    page = folder / "leaderboard.html"
    entries, _ = write_leaderboard(folder, page, ["sha of 2024-02-05"])
    text = page.read_text()
    assert json.loads(page.with_suffix(".json").read_text())[0]["window"] == entries[0].window
    for row in entries:
        assert text.count(f'href="{row.link}"') == 2
    assert text.count("champion</b>") == 1 and "SYNTHETIC" in text
    shown = re.sub(r'<script type="text/plain".*?</script>', "", text, flags=re.DOTALL)
    assert not re.search(r'(src|href)="(https?:)?//', shown)
    # Every cell can be sorted by a number or a word, and a missing figure says so.
    assert len(re.findall(r"<td[^>]*data-order=", shown)) == len(entries) * len(COLUMNS)
    assert shown.count('data-order=""') == 3 + 5
    assert page.stat().st_size < 3_000_000


def test_the_same_reports_give_the_same_page(folder: Path) -> None:
    entries, _ = gather(folder)
    assert render_leaderboard(entries) == render_leaderboard(entries)


def test_names_are_escaped(folder: Path) -> None:
    place = folder / "muzero" / "EUR_USD" / "2024-01-22" / "report.json"
    place.write_text(json.dumps(report(agent="<script>alert(1)</script>")))
    assert "<script>alert" not in render_leaderboard(gather(folder)[0])


def test_the_strip_plot_is_valid_and_has_what_traded(folder: Path) -> None:
    chart = strip_plot(gather(folder)[0])
    go.Figure(chart)
    points = {
        x: (y, up, down)
        for trace in chart["data"]
        for x, y, up, down in zip(
            trace["x"], trace["y"], trace["error_y"]["array"], trace["error_y"]["arrayminus"], strict=True
        )
    }
    assert sorted(points) == ["2024-01-22", "2024-02-05", "2024-03-01"]
    assert points["2024-02-05"] == pytest.approx((1.5, 2.0, 2.0))


def test_an_empty_leaderboard_says_what_to_do(tmp_path: Path) -> None:
    entries, unread = write_leaderboard(tmp_path, tmp_path / "leaderboard.html")
    assert entries == unread == []
    assert "train and validate a window" in (tmp_path / "leaderboard.html").read_text()


def test_what_says_the_same_is_not_written_again(folder: Path) -> None:
    page = folder / "leaderboard.html"
    files = (page, page.with_suffix(".json"))
    write_leaderboard(folder, page)
    before = [path.stat().st_mtime_ns for path in files]
    write_leaderboard(folder, page)
    assert [path.stat().st_mtime_ns for path in files] == before
    page.write_text("damaged")
    write_leaderboard(folder, page)
    assert "Leaderboard" in page.read_text() and files[1].stat().st_mtime_ns == before[1]


def test_a_column_is_a_field() -> None:
    assert {name for name, *_ in COLUMNS} <= set(Entry.__dataclass_fields__)
