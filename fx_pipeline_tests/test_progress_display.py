"""Progress in words where there is no terminal."""

import io

import pytest
from rich.console import Console

from fx_pipeline import progress_display
from fx_pipeline.progress_display import Display, plain


def test_stages_and_progress_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_display, "_LINE_EVERY_S", 0.0)
    out = io.StringIO()
    display = Display(Console(file=out, width=100))
    with display.stage("train") as say:
        display.report("train", 0.5, {"loss": 1.23456, "steps": 3.0})
        say("12 episodes")
    lines = out.getvalue().splitlines()
    assert lines[0] == "... train"
    assert lines[1].strip() == "train  50% loss 1.235, steps 3"
    assert lines[2].startswith("ok train: 12 episodes, ")


def test_failed_stage_is_not_called_ok() -> None:
    out = io.StringIO()
    with pytest.raises(ZeroDivisionError), Display(Console(file=out)).stage("train"):
        _ = 1 / 0
    assert "ok" not in out.getvalue()


def test_terminal_gets_a_bar_that_goes_away() -> None:
    out = io.StringIO()
    display = Display(Console(file=out, force_terminal=True, width=100))
    with display.stage("train"):
        display.report("train", 0.5, {"loss": 1.0})
    assert "train" in out.getvalue() and "ok" in out.getvalue().splitlines()[-1]


@pytest.mark.parametrize("text", ["we[ir]d", "[red]x", "[/]", ":smile:", "[link=http://x]y[/link]", "a" * 300])
def test_nothing_is_read_as_markup(text: str) -> None:
    for terminal in (False, True):
        said = io.StringIO()
        console = Console(file=said, force_terminal=terminal, width=80, color_system=None)
        plain(console, text)
        display = Display(console)
        with display.stage(text) as say:
            display.note(text)
            say(text)
        lines = said.getvalue()
        # The note once, the stage's result twice, and the line itself.
        assert lines.count(text) >= 4
