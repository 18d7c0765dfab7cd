"""What an agent must reach on the proof markets: the one place with the thresholds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fx_pipeline.proofs.markets import MarketName


@dataclass(frozen=True)
class Bar:
    """One line of the table.

    Attributes
    ----------
    name : str
    figure : str
        Key of the result that is judged.
    sign : int
        1 where more is better, -1 where less is.
    least : float or str
        The figure must not be on the wrong side of it; a key of the result, or a number.
    aim : float
        Worth reaching, not judged: the number itself, or the factor by which to beat the other figure.
    beyond : bool
        Whether the figure must be past `least`, not only at it.
    tolerance : float
        How far on the wrong side of `least` the figure may be.
    """

    name: str
    figure: str
    sign: int
    least: float | str
    aim: float
    beyond: bool = False
    tolerance: float = 0.0

    def missed(self, result: Mapping[str, Any]) -> str | None:
        """Say by how much a result misses the bar; None if it does not, or the proof did not measure it."""
        figure, least = result[self.figure], self.other(result)
        if figure is None or least is None:
            return None
        distance = self.sign * (figure - least) + self.tolerance
        if distance > 0 or (distance == 0 and not self.beyond):
            return None
        wanted = ("more than" if self.beyond else "at least") if self.sign > 0 else "at most"
        named = f", the {self.least}" if isinstance(self.least, str) else ""
        tolerated = f", with a tolerance of {self.tolerance:g}" if self.tolerance else ""
        return f"{self.name}: {self.figure} is {figure:.3f}, wanted is {wanted} {least:.3f}{named}{tolerated}"

    def reached(self, result: Mapping[str, Any]) -> bool:
        """Whether a result reaches the aim as well."""
        figure, least = result[self.figure], self.other(result)
        if figure is None or least is None or self.missed(result) is not None:
            return False
        if isinstance(self.least, str):
            return bool(figure > self.aim * least)
        return bool(self.sign * (figure - self.aim) >= 0)

    def other(self, result: Mapping[str, Any]) -> float | None:
        """What the figure is held against; None if the proof did not measure it."""
        return result[self.least] if isinstance(self.least, str) else self.least


_ON_OU = (
    # While the head learns from the search. Once the head plays all that the networks see of a market, there is nothing
    # left to be found by planning, and at the end the search must only not be worse.
    Bar(
        "search beats its own head, learning", "learning_share_mean", 1, "learning_policy_share_mean", 1.05, beyond=True
    ),
    Bar("search not behind its head, at the end", "share_mean", 1, "policy_share_mean", 1.05, tolerance=0.01),
    Bar("not below PPO", "share_mean", 1, "ppo_share_mean", 1.0),
)
_ON_REGIME = (Bar("not below PPO", "share_mean", 1, "ppo_share_mean", 1.0),)
_ON_WALK = (
    Bar("loses nothing on noise", "pips_per_episode", 1, -0.5, 0.0),
    Bar("leaves noise alone", "trades_per_episode", -1, 0.05, 0.0),
)
#: Seeds whose worst the bars are about.
SEEDS = 5
#: Minutes of training within which the bars of a preset are to be reached.
MINUTES = {"small": 5.0, "full": 30.0}
#: Ends of waves after which the weights are judged as well, where a bar is about what they are while learning.
_MILESTONES: Mapping[tuple[str, str, MarketName], tuple[int, ...]] = {
    ("muzero", "small", "ou"): (512, 768, 1024, 2048, 4096)
}
#: A training looks at the clock now and then: the share by which it may be late.
LATE = 0.05
#: By agent, preset and market. What every agent must do on the walk stands for those that are not here.
_BARS: Mapping[tuple[str, str, MarketName], tuple[Bar, ...]] = {
    ("muzero", "small", "ou"): (Bar("as good as the best one-feature rule", "share_worst", 1, 0.78, 0.90), *_ON_OU),
    ("muzero", "small", "regime"): (Bar("finds the hidden trend", "share_worst", 1, 0.85, 0.93), *_ON_REGIME),
    ("muzero", "full", "ou"): (
        Bar("learns at full size", "share_worst", 1, 0.75, 0.90),
        Bar("plays while it learns", "episodes_per_hour", 1, 8_000.0, 15_000.0),
    ),
    ("muzero", "tiny", "walk"): (),
    ("muzero", "legacy", "walk"): (),
    ("ppo", "small", "ou"): (Bar("finds what returns to its mean", "share_worst", 1, 0.80, 0.84),),
    ("ppo", "small", "regime"): (Bar("finds the hidden trend", "share_worst", 1, 0.90, 0.93),),
    ("ppo", "tiny", "walk"): (),
    ("linear", "tiny", "walk"): (),
}


def bars_of(agent: str, preset: str, market: MarketName, action_set: str = "unit4") -> tuple[Bar, ...]:
    """Return the bars that a proof is judged by; none for presets and actions that promise nothing."""
    if action_set != "unit4":
        return ()
    return _BARS.get((agent, preset, market), _ON_WALK if market == "walk" else ())


def bars_of_result(result: Mapping[str, Any]) -> tuple[Bar, ...]:
    """Return the bars by which the result of a proof is judged."""
    return bars_of(*_judged_as(result))


def _judged_as(result: Mapping[str, Any]) -> tuple[str, str, MarketName, str]:
    # Results of before there were several action sets do not name theirs.
    return result["agent"], result["preset"], result["market"], result.get("action_set", "unit4")


def milestones_of(agent: str, preset: str, market: MarketName, action_set: str = "unit4") -> tuple[int, ...]:
    """Return the episodes after which the bars want the weights judged as well, increasing; mostly none."""
    return _MILESTONES.get((agent, preset, market), ()) if action_set == "unit4" else ()


def missed_bars(result: Mapping[str, Any]) -> list[str]:
    """List in words which bars the result of a proof misses.

    Parameters
    ----------
    result : Mapping
        From `fx_pipeline.proofs.result.summary`.
    """
    bars = bars_of_result(result)
    missed = [said for bar in bars if (said := bar.missed(result)) is not None]
    allowed = MINUTES.get(result["preset"])
    if bars and allowed is not None and result["training_minutes"] > allowed * (1.0 + LATE):
        missed.append(f"in time: trained for {result['training_minutes']:.1f} minutes, the bars are for {allowed:g}")
    return missed


def unmeasured(result: Mapping[str, Any]) -> list[str]:
    """List what a result does not say, and its bars would need: figures, milestones, and seeds fewer than `SEEDS`."""
    bars = bars_of_result(result)
    names = [bar.name for bar in bars if result[bar.figure] is None or bar.other(result) is None]
    passed = {milestone["episodes"] for milestone in result["milestones"]}
    ahead = [f"{mark:,}" for mark in milestones_of(*_judged_as(result)) if mark not in passed]
    if ahead:
        names.append(f"the search as it learns, after {', '.join(ahead)} episodes")
    if bars and len(result["seeds"]) < SEEDS:
        names.append(f"{SEEDS} seeds (this is {len(result['seeds'])})")
    return names


def aims_reached(result: Mapping[str, Any]) -> list[str]:
    """List the bars whose aim a result reaches as well."""
    return [bar.name for bar in bars_of_result(result) if bar.reached(result)]


#: Headings of `bar_rows`.
BAR_HEADINGS = ("market", "bar", "figure", "at least", "aim", "measured", "")
_FIGURES: Mapping[str, tuple[str, str]] = {
    "share_worst": ("share, worst", ".1%"),
    "share_mean": ("share, mean", ".1%"),
    "learning_share_mean": ("share on the way", ".1%"),
    "pips_per_episode": ("pips, worst", ".2f"),
    "trades_per_episode": ("trades, most", ".2f"),
    "episodes_per_hour": ("episodes/h", ",.0f"),
}
_OTHERS: Mapping[str, str] = {
    "policy_share_mean": "head",
    "learning_policy_share_mean": "head",
    "ppo_share_mean": "PPO",
}


def bar_rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the table of the bars of a result, as `BAR_HEADINGS` names its columns.

    Parameters
    ----------
    result : Mapping
        From `fx_pipeline.proofs.result.summary`.
    """
    rows: list[tuple[str, ...]] = []
    for bar in bars_of_result(result):
        said, text = _FIGURES[bar.figure]
        figure, other = result[bar.figure], bar.other(result)
        compared = "<= " if bar.sign < 0 else "> " if bar.beyond else ""
        tolerated = f" {-bar.sign * bar.tolerance:+.0%}" if bar.tolerance else ""
        least = aim = ""
        if isinstance(bar.least, str) and other is not None:
            named = _OTHERS[bar.least]
            least, aim = f"{compared}{other:{text}} {named}{tolerated}", f"> {bar.aim * other:{text}}"
        elif other is not None:
            least, aim = f"{compared}{other:{text}}{tolerated}", f"{bar.aim:{text}}"
        state = "aim reached" if bar.reached(result) else "reached" if bar.missed(result) is None else "missed"
        if figure is None or other is None:
            state = "not measured"
        measured = "" if figure is None else f"{figure:{text}}"
        rows.append((f"{result['market']}, {result['preset']}", bar.name, said, least, aim, measured, state))
    return rows
