"""The command `fx-pipeline watch`: a training that runs in another process, as it learns."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fx_pipeline.agents.progress_file import FAILED, FINISHED, RUNNING, read_progress
from fx_pipeline.market.atomic import process_runs
from fx_pipeline.market.errors import DataError, FxPipelineError
from fx_pipeline.progress_display import plain

#: What `state_of` says of a training whose process is gone without a word.
KILLED = "killed"
#: What is said of a training that has written nothing for long, although there is a process of its id.
SILENT = "not responding"
_SILENT_S, _SILENT_ITERATIONS = 300.0, 10.0
_REFRESH_S, _LINE_EVERY_S = 1.0, 10.0
_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 40
#: Names in a history and what they are called here.
_CURVES = {
    "pips_per_episode": "pips an episode",
    "selection_pips": "pips, selection span",
    "expectancy_pips": "pips a trade",
    "win_rate": "win rate",
    "trades_per_episode": "trades an episode",
    "loss": "loss",
    "loss_policy": "policy loss",
    "loss_value": "value loss",
    "loss_reward": "reward loss",
    "loss_outcome": "outcome loss",
    "policy_kl": "KL of policy to search",
    "value_correlation": "value correlation",
    "search_depth": "search depth",
}
_ACTIONS = {"hold": "grey50", "buy": "green", "sell": "red", "close": "yellow"}


def watch(
    folder: Path,
    console: Console,
    *,
    once: bool = False,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Show a training until it ends; return its state then.

    Parameters
    ----------
    folder : Path
        Of the checkpoint.
    console : Console
        A terminal gets a live view, anything else a line every ten seconds.
    once : bool
        Show it as it is now, and return.
    clock, sleep : callable
        Seconds.

    Returns
    -------
    str
        "finished", "failed", "killed", or, with `once`, "running" or "not responding".

    Raises
    ------
    DataError
        If nothing has been trained there.
    """
    document = read_progress(folder)
    if document is None:
        raise DataError(f"{folder} has no training to watch: materialise muzero_checkpoint, or wait for it to begin.")
    frames = _frames(folder, document, once, sleep, _REFRESH_S)
    if console.is_terminal and not console.is_dumb_terminal:
        with Live(console=console, auto_refresh=False) as live:
            for document in frames:
                live.update(view(document, clock()), refresh=True)
    else:
        said = -math.inf
        for document in frames:
            if clock() - said >= _LINE_EVERY_S or state_of(document) != RUNNING:
                said = clock()
                plain(console, line(document, clock()))
    state = SILENT if is_silent(document, clock()) else state_of(document)
    for sentence in _closing(state, document):
        plain(console, sentence)
    return state


def newest_training(folder: Path) -> Path:
    """Return the folder of the seed whose training wrote last, of all seeds of a window; of none, the window's own.

    Raises
    ------
    DataError
        If the only progress that there is cannot be read.
    """
    known: list[tuple[float, Path]] = []
    damaged: FxPipelineError | None = None
    for place in sorted(folder.glob("seed-*")):
        try:
            progress = read_progress(place)
        except FxPipelineError as error:
            damaged = error
            continue
        if progress is not None:
            known.append((progress["updated_s"], place))
    if not known and damaged is not None:
        raise damaged
    return max(known, key=lambda training: float(training[0]))[1] if known else folder


def state_of(document: Mapping[str, Any]) -> str:
    """Return the state that the file names, or "killed" where its process is gone."""
    if document["state"] == RUNNING and not process_runs(int(document["process"])):
        return KILLED
    return str(document["state"])


def is_silent(document: Mapping[str, Any], now_s: float) -> bool:
    """Whether a training that should run has written nothing for five minutes, and for ten of its iterations."""
    patience_s = max(_SILENT_S, _SILENT_ITERATIONS * document["figures"].get("seconds", 0.0))
    return state_of(document) == RUNNING and now_s - document["updated_s"] > patience_s


def line(document: Mapping[str, Any], now_s: float) -> str:
    """Say in one line how far a training is."""
    figures = document["figures"]
    parts = [f"{document['fraction']:4.0%}"]
    for name in ("pips_per_episode", "selection_best_pips", "loss", "policy_kl"):
        if name in figures:
            parts.append(f"{_CURVES.get(name, 'best pips, selection span')} {figures[name]:.4g}")
    if "episodes_per_hour" in figures:
        parts.append(f"{_mean(document, 'episodes_per_hour'):,.0f} episodes/h")
    if is_silent(document, now_s):
        parts.append(f"{SILENT}: nothing written for {_clock(now_s - document['updated_s'])}")
    else:
        parts.append(f"ETA {_clock(eta_s(document))}")
    return ", ".join(parts)


def view(document: Mapping[str, Any], now_s: float) -> RenderableType:
    """Draw a training: how far it is, its curves, its actions."""
    training = document["training"]
    title = Text(" ".join(str(training[name]) for name in ("instrument", "window", "preset") if name in training))
    title.append(f" seed {training['seed']}" if "seed" in training else "")
    title.stylize("bold")
    state = SILENT if is_silent(document, now_s) else state_of(document)
    title.append(f"  {state}", style="green" if state in (RUNNING, FINISHED) else "red")
    title.append(f"  {_clock(max(0.0, now_s - document['began_s']))} since it began", style="dim")
    head = Table.grid(padding=(0, 1))
    head.add_row(
        ProgressBar(total=1.0, completed=min(document["fraction"], 1.0), width=_WIDTH),
        f"{document['fraction']:.0%}",
        f"ETA {_clock(eta_s(document))}",
        f"{_mean(document, 'episodes_per_hour'):,.0f} episodes/h",
        f"{_mean(document, 'updates_per_s'):,.0f} updates/s",
    )
    curves = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    for name, shown in _CURVES.items():
        values = [value for _, value in document["curves"].get(name, {"points": ()})["points"]]
        if values:
            # A training that was taken up has its predecessor's curves, and no figure yet.
            newest = document["figures"].get(name, values[-1])
            curves.add_row(shown, f"{newest:.4g}", Text(sparkline(values), style="cyan"))
    return Group(title, head, _best(document), curves, action_bar(document["figures"]))


def sparkline(values: Sequence[float], width: int = _WIDTH) -> str:
    """Draw values with blocks; of more than `width`, means of equal shares are drawn."""
    count = min(width, len(values))
    if count == 0:
        return ""
    edges = [round(number * len(values) / count) for number in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    if high == low:
        return _BLOCKS[0] * count
    return "".join(_BLOCKS[round((value - low) / (high - low) * (len(_BLOCKS) - 1))] for value in means)


def action_bar(figures: Mapping[str, float], width: int = _WIDTH) -> Text:
    """Draw how often each action was taken, as one bar."""
    bar, legend = Text("actions "), Text("  ")
    for name, colour in _ACTIONS.items():
        share = figures.get(f"share_{name}", 0.0)
        bar.append("█" * round(share * width), style=colour)
        legend.append(f"{name.upper()} {share:.1%} ", style=colour)
    return bar + legend


def eta_s(document: Mapping[str, Any]) -> float | None:
    """Seconds that are left, at the speed of the latest iterations; None before the first."""
    fraction, iterations = document["fraction"], document["figures"].get("iterations", 0.0)
    if fraction <= 0.0 or not iterations:
        return None
    left = iterations * max(0.0, 1.0 - fraction) / fraction
    return float(left * _mean(document, "seconds"))


def _frames(
    folder: Path, document: dict[str, Any], once: bool, sleep: Callable[[float], None], every_s: float
) -> Iterator[dict[str, Any]]:
    while True:
        yield document
        if once or state_of(document) != RUNNING:
            return
        sleep(every_s)
        document = read_progress(folder) or document


def _closing(state: str, document: Mapping[str, Any]) -> list[str]:
    if state == KILLED:
        return [
            f"killed: process {document['process']} is gone. Materialise muzero_checkpoint again: the training goes on "
            "where it was."
        ]
    if state == SILENT:
        return [
            f"not responding: process {document['process']} has written nothing for long. It hangs, its machine slept, "
            "or its id is that of another process now: look, end it, and materialise muzero_checkpoint again."
        ]
    if state == FAILED:
        return [f"failed: {document['error']}"]
    return ["finished"] if state == FINISHED else []


def _best(document: Mapping[str, Any]) -> Text:
    figures = document["figures"]
    if "selection_best_pips" not in figures:
        return Text("no weights have been judged on the selection span yet", style="dim")
    pips, episode = figures["selection_best_pips"], figures["selection_best_episode"]
    return Text(f"best so far: {pips:.2f} pips a session of the selection span, after {episode:.0f} episodes")


def _mean(document: Mapping[str, Any], name: str, points: int = 20) -> float:
    recent = [value for _, value in document["curves"].get(name, {"points": ()})["points"][-points:]]
    return sum(recent) / len(recent) if recent else 0.0


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
