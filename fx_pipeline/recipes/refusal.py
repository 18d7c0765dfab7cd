"""Why a recipe cannot work: found when it is read, and not after an hour of downloads."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import partial
from typing import Any

from fx_pipeline.agents.entry import Needs
from fx_pipeline.agents.registry import agent
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.features.registry import feature_set
from fx_pipeline.market.calendar import TRADING_WEEK_MINUTES
from fx_pipeline.market.costs import CostConfig
from fx_pipeline.market.errors import ConfigurationError, FxPipelineError
from fx_pipeline.market.instrument import instrument
from fx_pipeline.recipes.recipe import Recipe

_SEEDS = range(2**31)


def refusals(recipe: Recipe) -> list[tuple[str, str]]:
    """Return what keeps a recipe from working, as pairs of a field and a sentence that says what to do; none if it can.

    Fields are looked at one by one, and then together where each is right by itself.
    """
    wrong = [*_of_fields(recipe)]
    return wrong or [*_together(recipe)]


def _of_fields(recipe: Recipe) -> Iterator[tuple[str, str]]:
    named: list[tuple[str, Callable[[], Any]]] = [
        ("agent", lambda: agent(recipe.agent)),
        ("timeframe", lambda: recipe.bars),
        ("feature_set", lambda: feature_set(recipe.feature_set)),
        ("action_set", lambda: recipe.actions),
        ("sessions", lambda: recipe.rules),
        ("costs", lambda: None if recipe.costs is None else build(CostConfig, recipe.costs)),
        ("reward", lambda: None if recipe.reward is None else build(RewardConfig, recipe.reward)),
    ]
    named += [("instruments", partial(instrument, name)) for name in recipe.instruments or ()]
    for field, look in named:
        try:
            look()
        except FxPipelineError as error:
            yield field, str(error)
    if recipe.instruments is not None:
        if not recipe.instruments:
            yield "instruments", "name at least one, or leave the field out for those of FX_INSTRUMENTS."
        elif len(set(recipe.instruments)) < len(recipe.instruments):
            yield "instruments", "one of them stands there twice: remove it."
    if recipe.seeds is not None:
        if not recipe.seeds or not all(seed in _SEEDS for seed in recipe.seeds):
            yield "seeds", "name at least one, each at least 0 and below 2^31."
        elif len(set(recipe.seeds)) < len(recipe.seeds):
            yield "seeds", "one of them stands there twice: a seed is trained once."


def _together(recipe: Recipe) -> Iterator[tuple[str, str]]:
    rules, bars = recipe.rules, recipe.bars
    week = TRADING_WEEK_MINUTES // bars.minutes
    if rules.within_week and rules.bars + rules.max_gap_bars > week:
        yield (
            "sessions.bars",
            f"a session of {rules.bars} bars of {bars} does not fit into a trading week, which has {week} of them with "
            f"{rules.max_gap_bars} (max_gap_bars) to spare: at most {max(week - rules.max_gap_bars, 2)}, or "
            "within_week: false.",
        )
    try:
        feature_set(recipe.feature_set).check_timeframe(bars)
    except ConfigurationError as error:
        yield "feature_set", str(error)
        return
    kind = agent(recipe.agent)
    if recipe.preset is not None:
        try:
            kind.check_preset(recipe.preset)
        except ConfigurationError as error:
            yield "preset", str(error)
            return
    needs = Needs(recipe.preset or kind.presets[0], recipe.feature_set, bars, recipe.actions, rules)
    if (reason := kind.refuses(needs)) is not None:
        yield "agent", f"{recipe.agent} cannot work with it: {reason}"


def build(kind: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    """Make a configuration of the fields of a recipe.

    Raises
    ------
    ConfigurationError
        If one is unknown, of another type, or out of range.
    """
    known = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in known:
            raise ConfigurationError(f"there is no {name!r} in it: use {', '.join(known)}.")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if known[name] is float and not number:
            raise ConfigurationError(f"{name} is a number, not {value!r}.")
    return kind(**{name: float(value) if known[name] is float else value for name, value in values.items()})
