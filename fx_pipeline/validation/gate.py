"""The promotion gate: a pure function from figures to a verdict, each condition named with its figure.

A figure that is missing or not a number never passes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

PROMOTED: Literal["promoted"] = "promoted"
REJECTED: Literal["rejected"] = "rejected"


@dataclass(frozen=True)
class GateConfig:
    """Thresholds of the first gate.

    Attributes
    ----------
    min_expectancy_pips : float
        The expectancy after costs must be above it.
    min_trades : int
        Fewest closed trades.
    max_probability_not_positive : float
        Largest share of bootstrap paths whose total is <= 0: what trading must beat is staying flat, which makes 0.
    """

    min_expectancy_pips: float = 0.0
    min_trades: int = 30
    max_probability_not_positive: float = 0.05


@dataclass(frozen=True)
class Condition:
    """One condition of the gate, judged.

    Attributes
    ----------
    name : str
        Stable identifier.
    title : str
        What it asks, in a few words.
    figure : float or None
        The figure that was judged; None when there is none.
    comparison : str
        ``">"``, ``">="`` or ``"<="``, between figure and threshold.
    threshold : float
    unit : str
    passed : bool
    explanation : str
        One sentence on the outcome, with the figures.
    """

    name: str
    title: str
    figure: float | None
    comparison: str
    threshold: float
    unit: str
    passed: bool
    explanation: str


@dataclass(frozen=True)
class Verdict:
    """The gate's answer.

    Attributes
    ----------
    verdict : str
        ``"promoted"`` or ``"rejected"``.
    conditions : tuple of Condition
        All of them, in order.
    reasons : tuple of str
        The explanations of those that failed; when all passed, of all.
    """

    verdict: Literal["promoted", "rejected"]
    conditions: tuple[Condition, ...]
    reasons: tuple[str, ...]

    @property
    def promoted(self) -> bool:
        """Whether every condition passed."""
        return self.verdict == PROMOTED


#: A condition of the gate: figures and thresholds in, the judged condition out.
Rule = Callable[[Mapping[str, Any], GateConfig], Condition]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": lambda figure, threshold: figure > threshold,
    ">=": lambda figure, threshold: figure >= threshold,
    "<=": lambda figure, threshold: figure <= threshold,
}


def _figure(figures: Mapping[str, Any], key: str) -> float | None:
    value = figures.get(key)
    if value is None or isinstance(value, str) or not math.isfinite(value):
        return None
    return float(value)


def _judge(
    name: str,
    title: str,
    figure: float | None,
    comparison: str,
    threshold: float,
    unit: str,
    text: str,
    also: bool = True,
) -> Condition:
    passed = figure is not None and _COMPARE[comparison](figure, threshold) and also
    return Condition(name, title, figure, comparison, threshold, unit, passed, text)


def positive_expectancy(figures: Mapping[str, Any], config: GateConfig) -> Condition:
    """The mean P&L of a trade after costs is above the threshold (`expectancy_pips`)."""
    figure = _figure(figures, "expectancy_pips")
    if figure is None:
        text = "There is no expectancy: no trade was closed."
    elif figure > config.min_expectancy_pips:
        text = f"A trade made {figure:.2f} pips on average, after costs."
    else:
        limit = config.min_expectancy_pips
        text = f"A trade made {figure:.2f} pips on average after costs; more than {limit:g} is needed."
    return _judge(
        "positive_expectancy",
        "A trade makes money after costs",
        figure,
        ">",
        config.min_expectancy_pips,
        "pips",
        text,
    )


def enough_trades(figures: Mapping[str, Any], config: GateConfig) -> Condition:
    """At least so many closed trades (`trades`)."""
    figure = _figure(figures, "trades")
    count = "no" if figure is None else f"{figure:.0f}"
    text = f"{count} trades were closed; at least {config.min_trades} are needed to say anything."
    return _judge("enough_trades", "Enough trades to judge", figure, ">=", config.min_trades, "trades", text)


def better_than_flat(figures: Mapping[str, Any], config: GateConfig) -> Condition:
    """Total P&L above 0, and few bootstrap paths at or below it (`total_pips`, `probability_not_positive`)."""
    total, figure = _figure(figures, "total_pips"), _figure(figures, "probability_not_positive")
    limit = config.max_probability_not_positive
    if total is None or figure is None:
        # Without a total or a simulation nothing is known of how far this is from luck.
        figure, text = None, "Nothing can be said against staying flat: there is no simulated total."
    else:
        text = (
            f"The total is {total:,.1f} pips, and {figure:.1%} of the resampled histories end no better than staying "
            f"flat; the total must be positive and at most {limit:.0%} may."
        )
        if total <= 0:
            text = f"The total is {total:,.1f} pips: staying flat would have been at least as good."
    return _judge(
        "better_than_flat",
        "Better than not trading, and not by luck",
        figure,
        "<=",
        limit,
        "probability",
        text,
        also=total is not None and total > 0,
    )


def disjoint_sessions(figures: Mapping[str, Any], config: GateConfig) -> Condition:
    """No two sessions share bars (`overlapping_sessions`): a trade must not be counted twice."""
    figure = _figure(figures, "overlapping_sessions")
    if figure is None:
        text = "It is not known whether sessions overlap."
    elif figure > 0:
        text = f"{figure:.0f} sessions overlap the one before them: the same bars, and so the same trades, count twice."
    else:
        text = "No two sessions share a bar: every trade counts once."
    return _judge("disjoint_sessions", "Every trade counts once", figure, "<=", 0, "sessions", text)


#: The first gate. A new condition is a new function in this list.
FIRST_GATE: tuple[Rule, ...] = (positive_expectancy, enough_trades, better_than_flat, disjoint_sessions)


def first_gate(
    figures: Mapping[str, Any], config: GateConfig | None = None, rules: Sequence[Rule] = FIRST_GATE
) -> Verdict:
    """Judge the figures of a validation.

    Parameters
    ----------
    figures : Mapping
        `trades`, `expectancy_pips`, `total_pips`, `probability_not_positive` and `overlapping_sessions`, as the
        report's figures have them. What is missing fails.
    config : GateConfig, optional
    rules : sequence of Rule
        Conditions to judge; all must pass.

    Returns
    -------
    Verdict

    Raises
    ------
    ValueError
        If there are no rules: an empty gate would promote everything.
    """
    if not rules:
        raise ValueError("a gate needs at least one condition.")
    conditions = tuple(rule(figures, config or GateConfig()) for rule in rules)
    failed = [condition for condition in conditions if not condition.passed]
    return Verdict(
        verdict=REJECTED if failed else PROMOTED,
        conditions=conditions,
        reasons=tuple(condition.explanation for condition in failed or conditions),
    )
