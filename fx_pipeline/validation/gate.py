"""The promotion gate: a pure function from the figures of a report to a verdict, each condition named with its figure.

A figure that is missing or not a number never passes. The conditions are in `conditions.py`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

PROMOTED: Literal["promoted"] = "promoted"
REJECTED: Literal["rejected"] = "rejected"


@dataclass(frozen=True)
class GateConfig:
    """Thresholds of the gate.

    Attributes
    ----------
    min_trades : int
        Fewest closed trades.
    min_expectancy_pips : float
        The expectancy after all costs and a tick of slippage must be above it.
    max_probability_not_positive : float
        Largest share of bootstrap paths whose total is <= 0: what trading must beat is staying flat, which makes 0.
    max_baseline_p : float
        Largest p-value of the mean session beyond what holding and a moving average explain.
    max_random_p : float
        Largest probability that random traders with the same turnover do as well.
    min_deflated_sharpe : float
        Confidence that the Sharpe ratio is above that of the luckiest of as many as were chosen among; one less this
        is the error over all looks of a year.
    max_overfitting : float
        Largest probability of backtest overfitting across the candidates.
    max_snooping_p : float
        Largest p-value of Hansen's SPA against staying flat.
    risk_free_rate : float
        A year, as a fraction; CAR25 must be above it.
    min_seeds : int
        Fewest seeds of the configuration.
    min_seed_trades : int
        Fewest trades of each of them on the record: a seed that stays flat shows nothing.
    min_worst_seed_pips : float
        Least total of the worst of them.
    max_parity_error_pips : float
        Largest difference between two computations of the P&L of a trade.
    max_holdout_openings : int
        Most candidates that may have been judged on the sealed days: what many have seen is sealed no more.
    """

    # A misspelt threshold must not leave the default in place unseen.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    min_trades: int = 200
    min_expectancy_pips: float = 0.0
    max_probability_not_positive: float = 0.05
    max_baseline_p: float = 0.05
    max_random_p: float = 0.05
    min_deflated_sharpe: float = 0.95
    max_overfitting: float = 0.2
    max_snooping_p: float = 0.05
    risk_free_rate: float = 0.03
    min_seeds: int = 5
    min_seed_trades: int = 30
    min_worst_seed_pips: float = 0.0
    max_parity_error_pips: float = 1e-6
    max_holdout_openings: int = 1

    def __post_init__(self) -> None:
        """Refuse thresholds that are not numbers: nothing would pass, or everything.

        Raises
        ------
        ValueError
        """
        for name, value in vars(self).items():
            if not math.isfinite(value):
                raise ValueError(f"the gate's {name} is a finite number, not {value}.")


#: The laxest that `FX_GATE` may set: what a condition asks beyond it is not worth asking.
LAXEST: dict[str, float] = {
    "min_trades": 30,
    "min_expectancy_pips": 0.0,
    "max_probability_not_positive": 0.1,
    "max_baseline_p": 0.1,
    "max_random_p": 0.1,
    "min_deflated_sharpe": 0.9,
    "max_overfitting": 0.5,
    "max_snooping_p": 0.1,
    "risk_free_rate": 0.0,
    "min_seeds": 2,
    "min_seed_trades": 10,
    "min_worst_seed_pips": 0.0,
    "max_parity_error_pips": 1e-3,
    "max_holdout_openings": 10,
}


def laxer(config: GateConfig) -> list[str]:
    """Say which thresholds ask for less than the default does, each with the default."""
    wanted = vars(GateConfig())
    return [
        f"{name} {value:g} (default {wanted[name]:g})"
        for name, value in vars(config).items()
        if _asks_less(name, value, wanted[name])
    ]


def refuse_meaningless(config: GateConfig) -> None:
    """Refuse thresholds with which a condition lets by what it is there to hold back.

    Raises
    ------
    ValueError
        Naming each, and the laxest that there may be.
    """
    beyond = [
        f"{name} is at {'most' if name.startswith('max_') else 'least'} {LAXEST[name]:g}, and not {value:g}"
        for name, value in vars(config).items()
        if _asks_less(name, value, LAXEST[name])
    ]
    if beyond:
        raise ValueError(f"{'; '.join(beyond)}: with less the gate would promote what is worth nothing.")


def _asks_less(name: str, value: float, than: float) -> bool:
    return value > than if name.startswith("max_") else value < than


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
    threshold : float or None
        None where it depends on a figure that does not exist.
    unit : str
    passed : bool
    explanation : str
        One sentence on the outcome, with the figures.
    remedy : str
        What would have to change for it to pass, in plain words; empty when it passed.
    """

    name: str
    title: str
    figure: float | None
    comparison: str
    threshold: float | None
    unit: str
    passed: bool
    explanation: str
    remedy: str


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


Figures = Mapping[str, Any]
#: A condition of the gate: figures and thresholds in, the judged condition out.
Rule = Callable[[Figures, GateConfig], Condition]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": lambda figure, threshold: figure > threshold,
    ">=": lambda figure, threshold: figure >= threshold,
    "<=": lambda figure, threshold: figure <= threshold,
}


def figure_of(figures: Figures, key: str) -> float | None:
    """Return a figure; None where it is missing, not a number or not finite."""
    value = figures.get(key)
    if value is None or isinstance(value, str) or not math.isfinite(value):
        return None
    return float(value)


def record_of(figures: Figures) -> Figures:
    """Return the figures of the walk-forward record; none where a report has no record."""
    found = figures.get("record")
    return found if isinstance(found, Mapping) else {}


def condition(
    name: str,
    title: str,
    figure: float | None,
    comparison: str,
    threshold: float | None,
    unit: str,
    explanation: str,
    remedy: str,
    also: bool = True,
) -> Condition:
    """Judge a figure against a threshold; `also` is a second demand that must hold for it to pass."""
    passed = figure is not None and threshold is not None and _COMPARE[comparison](figure, threshold) and also
    return Condition(name, title, figure, comparison, threshold, unit, passed, explanation, "" if passed else remedy)


def judge(figures: Mapping[str, Any], config: GateConfig, rules: Sequence[Rule]) -> Verdict:
    """Judge the figures of a validation.

    Parameters
    ----------
    figures : Mapping
        The figures of a report, or as many of them as the rules read. What is missing fails.
    config : GateConfig
    rules : sequence of Rule
        Conditions to judge, `conditions.CONDITIONS` for a model; all must pass.

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
    conditions = tuple(rule(figures, config) for rule in rules)
    failed = [judged for judged in conditions if not judged.passed]
    return Verdict(
        verdict=REJECTED if failed else PROMOTED,
        conditions=conditions,
        reasons=tuple(judged.explanation for judged in failed or conditions),
    )
