"""The command `fx-pipeline prove`: whether an agent learns what there is to learn."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fx_pipeline.agents.base import Progress
from fx_pipeline.agents.entry import Needs
from fx_pipeline.agents.registry import agent as find_agent
from fx_pipeline.environment.action_sets import UNIT4, action_set
from fx_pipeline.market.disk import require_writable
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.progress_display import Display, plain
from fx_pipeline.proofs.bars import BAR_HEADINGS, bar_rows, bars_of_result, milestones_of
from fx_pipeline.proofs.certify import prove_market
from fx_pipeline.proofs.markets import MARKETS, TITLES, known_market
from fx_pipeline.proofs.page import HEADINGS, table_rows
from fx_pipeline.proofs.peer import compared, require_peer
from fx_pipeline.proofs.prove import Proof, Watch
from fx_pipeline.proofs.result import write_result


@dataclass(frozen=True)
class ProveOptions:
    """What the command line says.

    Attributes
    ----------
    agent : str
    market : str
        One of `MARKETS`, or "all".
    seeds : int
    minutes : float
    preset : str
    jobs : int
    ppo : bool
    output : Path
    action_set : str
    """

    agent: str
    market: str
    seeds: int
    minutes: float
    preset: str
    jobs: int
    ppo: bool
    output: Path
    action_set: str = "unit4"


def run_proofs(options: ProveOptions, console: Console, done: Callable[[Mapping[str, Any]], None]) -> list[str]:
    """Prove an agent on each market that was asked for.

    Parameters
    ----------
    options : ProveOptions
    console : Console
        Where progress and tables go.
    done : callable
        Called with the result of each market as soon as it is written.

    Returns
    -------
    list of str
        The bars that were missed, in words.

    Raises
    ------
    ConfigurationError
        If the agent, a market, the preset or the action set is unknown, or PPO is wanted and not installed.
    """
    markets = MARKETS if options.market == "all" else (known_market(options.market),)
    # Refuses a name that it does not know before anything is trained.
    found, actions = find_agent(options.agent), action_set(options.action_set)
    found.check_preset(options.preset)
    found.requires()
    if (reason := found.refuses(Needs(options.preset, actions=actions))) is not None:
        raise ConfigurationError(reason)
    if options.ppo and actions == UNIT4 and any(compared(options.agent, market) for market in markets):
        require_peer()
    require_writable(options.output)
    watch, missed, rows = watch_on(Display(console)), [], []
    for market in markets:
        proof = Proof(
            options.agent,
            market,
            options.preset,
            options.minutes,
            seeds=options.seeds,
            jobs=options.jobs,
            milestones=milestones_of(options.agent, options.preset, market, options.action_set),
            action_set=options.action_set,
        )
        plain(console, f": {TITLES[market]}", market, "bold")
        result = prove_market(
            proof,
            ppo=options.ppo and actions == UNIT4,
            watch=watch,
            now=lambda: dt.datetime.now(dt.UTC),
            folder=options.output,
        )
        page = write_result(result, options.output)
        show(result, page, console)
        done(result)
        missed += [f"{market}: {reason}" for reason in result["missed"]]
        rows += bar_rows(result)
    if rows:
        console.print(bar_table(rows))
    return missed


def watch_on(display: Display) -> Watch:
    """Show each stage of a proof on a display."""

    @contextmanager
    def watch(title: str) -> Iterator[Progress]:
        with display.stage(title) as say:

            def report(fraction: float, figures: Mapping[str, float]) -> None:
                display.report(title, fraction, figures)
                if fraction >= 1.0:
                    say(", ".join(f"{value:.2f} {name}" for name, value in figures.items()))

            yield report

    return watch


def show(result: Mapping[str, Any], page: Path, console: Console) -> None:
    """Print the result of one market."""
    console.print(_table(HEADINGS, table_rows(result), left=1))
    if result["share_worst"] is not None:
        line = f"optimum {result['optimum_pips']:.1f} pips an episode; share worst {result['share_worst']:.1%}"
        line += f", mean {result['share_mean']:.1%}"
        for name, key in (("without search", "policy_share_mean"), ("PPO", "ppo_share_mean")):
            line += f", {name} {result[key]:.1%}" if result[key] is not None else ""
        plain(console, line)
    for reason in result["missed"]:
        plain(console, f" {reason}", "missed", "red")
    if not bars_of_result(result):
        plain(console, f"no bar is set for the preset {result['preset']} with {result['action_set']} on this market")
    elif not result["missed"]:
        aims: Sequence[str] = result["aims_reached"]
        reached = f"; aims reached: {', '.join(aims)}" if aims else ""
        measured = "every bar that was measured" if result["not_measured"] else "every bar"
        plain(console, reached, f"{measured} is reached", "green")
    if result["not_measured"]:
        plain(console, f"not measured: {', '.join(result['not_measured'])}")
    plain(console, f"curves: {page.resolve()}")


def bar_table(rows: Sequence[Sequence[str]]) -> Table:
    """Draw the table of bars; `rows` are from `fx_pipeline.proofs.bars.bar_rows`."""
    return _table(BAR_HEADINGS, rows, left=3)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < left else "right")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
