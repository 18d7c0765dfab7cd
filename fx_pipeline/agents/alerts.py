"""What is wrong with a training, as its history shows: each alert says what was seen, and what to do."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

History = Sequence[Mapping[str, float]]

#: Waves at the end of a training that are looked at.
RECENT_WAVES = 5
LEAST_EXPECTANCY_PIPS = -10.0
LEAST_WIN_RATE = 0.05
#: Judgements at the end of a training that are looked at, and the fewest trades a session of them.
RECENT_JUDGEMENTS = 3
LEAST_TRADES = 0.05
MOST_SATURATION = 0.01


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
    find: Callable[[History], str | None]


def low_expectancy(history: History) -> str | None:
    """Trades that lose more than they cost and some."""
    mean = _mean("expectancy_pips", recent(history))
    if mean is None or mean >= LEAST_EXPECTANCY_PIPS:
        return None
    return (
        f"a trade of the last {RECENT_WAVES} waves made {mean:.1f} pips, below {LEAST_EXPECTANCY_PIPS:g}: compare the "
        "costs with the range of a session, lower selfplay.epsilon, and look whether the reward "
        "counts losses."
    )


def low_win_rate(history: History) -> str | None:
    """Hardly a trade that wins."""
    mean = _mean("win_rate", recent(history))
    if mean is None or mean >= LEAST_WIN_RATE:
        return None
    return (
        f"{mean:.1%} of the trades of the last {RECENT_WAVES} waves won, below {LEAST_WIN_RATE:.0%}: positions are "
        "probably closed at once. Train longer, raise selfplay.warmup_bars and replay.in_trade_share."
    )


def hold_collapse(history: History) -> str | None:
    """An agent that has stopped trading although it searches; rightly so where there is nothing to earn.

    Greedy play of the selection span shows it. Self-play does not, as its exploration trades whatever the agent wants,
    so a training without a selection span is not judged.
    """
    searched = [row for row in history if "selection_trades" in row and "search_depth" in row]
    mean = _mean("selection_trades", searched[-RECENT_JUDGEMENTS:])
    if mean is None or mean >= LEAST_TRADES:
        return None
    return (
        f"greedy play made {mean:.2f} trades a session in the last judgements (of {RECENT_JUDGEMENTS} at most), below "
        f"{LEAST_TRADES:g}: the agent has stopped trading. On a market without an edge that is right; otherwise raise "
        "selfplay.warmup_bars, selfplay.epsilon and replay.in_trade_share, and see whether the costs leave anything to "
        "earn."
    )


def not_finite(history: History) -> str | None:
    """A figure that is no number."""
    for row in history:
        for name, value in row.items():
            if not math.isfinite(value):
                return (
                    f"{name} of iteration {row.get('iterations', 0):.0f} is {value}: the training diverged. Lower "
                    "learner.learning_rate and train again; the checkpoints in `kept` are from before."
                )
    return None


def saturated_values(history: History) -> str | None:
    """Returns that the value head cannot represent."""
    mean = _mean("value_saturation", recent(history))
    if mean is None or mean <= MOST_SATURATION:
        return None
    return (
        f"{mean:.1%} of the value targets of the last {RECENT_WAVES} waves lay at or beyond the support, above "
        f"{MOST_SATURATION:.0%}: raise network.support_pips, or lower search.discount."
    )


ALERTS = (
    Alert("training_is_finite", "Every figure of the training is a number.", True, not_finite),
    Alert("expectancy_is_bearable", "A trade of self-play does not lose more than 10 pips.", False, low_expectancy),
    Alert("some_trades_win", "At least 5 % of the trades of self-play win.", False, low_win_rate),
    Alert("agent_still_trades", "Greedy play of the selection span still trades.", False, hold_collapse),
    Alert("values_fit_their_support", "The value head can represent its targets.", False, saturated_values),
)


def recent(history: History, waves: int = RECENT_WAVES) -> History:
    """The rows of the last waves of self-play, of those that have ended; all where there are fewer."""
    ends = [number for number, row in enumerate(history) if "pips_per_episode" in row]
    return history[ends[-waves - 1] + 1 :] if len(ends) > waves else history


def _mean(name: str, rows: Iterable[Mapping[str, float]]) -> float | None:
    values = [row[name] for row in rows if name in row]
    return sum(values) / len(values) if values else None
