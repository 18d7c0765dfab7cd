"""What is wrong with a training, as its history shows: each alert says what was seen, and what to do.

Each agent has alerts of its own, beside its code; here is what several of them look at. A remedy is the end of the
sentence, with the names of the agent's own settings.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

History = Sequence[Mapping[str, float]]
Find = Callable[[History], str | None]

#: Waves at the end of a training that are looked at.
RECENT_WAVES = 5
LEAST_EXPECTANCY_PIPS = -10.0
LEAST_WIN_RATE = 0.05
#: Judgements at the end of a training that are looked at, and the fewest trades a session of them.
RECENT_JUDGEMENTS = 3
LEAST_TRADES = 0.05


@dataclass(frozen=True)
class Alert:
    """One thing that may go wrong.

    Attributes
    ----------
    name : str
        Says what should be so.
    title : str
    grave : bool
        Whether the checkpoint must not be used; otherwise it is worth a look.
    find : callable
        History of a training to what is wrong, in words; None if nothing is.
    """

    name: str
    title: str
    grave: bool
    find: Find


def finite(remedy: str) -> Alert:
    """Every figure is a number."""

    def find(history: History) -> str | None:
        for row in history:
            for name, value in row.items():
                if not math.isfinite(value):
                    return (
                        f"{name} of iteration {row.get('iterations', 0):.0f} is {value}: the training diverged. "
                        f"{remedy}"
                    )
        return None

    return Alert("training_is_finite", "Every figure of the training is a number.", True, find)


def bearable_expectancy(remedy: str) -> Alert:
    """Trades do not lose more than they cost and some."""

    def find(history: History) -> str | None:
        value = mean("expectancy_pips", recent(history))
        if value is None or value >= LEAST_EXPECTANCY_PIPS:
            return None
        return (
            f"a trade of the last {RECENT_WAVES} waves made {value:.1f} pips, below {LEAST_EXPECTANCY_PIPS:g}: {remedy}"
        )

    title = "A trade made while learning does not lose more than 10 pips."
    return Alert("expectancy_is_bearable", title, False, find)


def some_wins(remedy: str) -> Alert:
    """Some trade wins."""

    def find(history: History) -> str | None:
        value = mean("win_rate", recent(history))
        if value is None or value >= LEAST_WIN_RATE:
            return None
        return (
            f"{value:.1%} of the trades of the last {RECENT_WAVES} waves won, below {LEAST_WIN_RATE:.0%}: positions "
            f"are probably closed at once. {remedy}"
        )

    return Alert("some_trades_win", "At least 5 % of the trades made while learning win.", False, find)


def still_trades(remedy: str, also: str | None = None) -> Alert:
    """The agent trades on the selection span; rightly not where there is nothing to earn.

    Greedy play of that span shows it. What it does while it learns does not, as exploration trades whatever the agent
    wants, so a training without a selection span is not judged. Nor are rows without the figure `also`, where there is
    one.
    """

    def find(history: History) -> str | None:
        judged = [row for row in history if "selection_trades" in row and (also is None or also in row)]
        value = mean("selection_trades", judged[-RECENT_JUDGEMENTS:])
        if value is None or value >= LEAST_TRADES:
            return None
        return (
            f"greedy play made {value:.2f} trades a session in the last judgements (of {RECENT_JUDGEMENTS} at most), "
            f"below {LEAST_TRADES:g}: the agent has stopped trading. On a market without an edge that is right; "
            f"otherwise {remedy}"
        )

    return Alert("agent_still_trades", "Greedy play of the selection span still trades.", False, find)


def recent(history: History, waves: int = RECENT_WAVES) -> History:
    """The rows of the last waves of play, of those that have ended; all where there are fewer."""
    ends = [number for number, row in enumerate(history) if "pips_per_episode" in row]
    return history[ends[-waves - 1] + 1 :] if len(ends) > waves else history


def mean(name: str, rows: Iterable[Mapping[str, float]]) -> float | None:
    """Mean of a figure over the rows that have it; None where none has."""
    values = [row[name] for row in rows if name in row]
    return sum(values) / len(values) if values else None
