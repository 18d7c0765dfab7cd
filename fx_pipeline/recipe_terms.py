"""A recipe on the terms of the settings: what it says itself holds, and what it leaves open is theirs."""

from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property

from fx_pipeline.layout import DEFAULT_RECIPE, Layout
from fx_pipeline.market.costs import CostConfig, judged_costs
from fx_pipeline.recipes.recipe import Recipe
from fx_pipeline.recipes.refusal import build
from fx_pipeline.settings import Settings, load_settings
from fx_pipeline.validation.gate import GateConfig
from fx_pipeline.validation.promotion_config import PromotionConfig


@dataclass(frozen=True)
class RecipeTerms:
    """On which terms the models of a recipe are trained, judged and promoted (`lifecycle.needs.Terms`).

    Attributes
    ----------
    settings : Settings
    recipe : Recipe
    """

    settings: Settings
    recipe: Recipe

    @cached_property
    def layout(self) -> Layout:
        """Where each kind of file of the recipe lives."""
        sessions = self.recipe.sessions_table.asset
        return replace(self.settings.layout, recipe=self.recipe.name, sessions=sessions)

    @property
    def instruments(self) -> tuple[str, ...]:
        """Those that it is trained for by a schedule."""
        return self.recipe.instruments or self.settings.instruments

    @property
    def preset(self) -> str:
        """Of the agent."""
        return self.recipe.preset or self.settings.preset

    def episodes(self, preset: str) -> int:
        """Return the training budget of a preset."""
        from fx_pipeline.agents.registry import agent

        # A budget of the settings is one of the agent that the settings are about.
        of_settings = self.settings.episodes if self.recipe.name == DEFAULT_RECIPE else None
        return self.recipe.episodes or of_settings or agent(self.recipe.agent).episodes(preset)

    @property
    def training_seeds(self) -> tuple[int, ...]:
        """Seeds that a training of a window goes through when none are named."""
        return self.recipe.seeds or self.settings.training_seeds

    @property
    def judged_seeds(self) -> tuple[int, ...]:
        """`training_seeds`, and as many after the greatest as the gate asks for beyond them."""
        return self.settings.with_as_many_seeds_as_the_gate_asks_for(self.training_seeds)

    @property
    def seed(self) -> int:
        """Of what is drawn to look for leaks."""
        return self.settings.seed

    @property
    def mc_runs(self) -> int:
        """Monte Carlo runs of a validation report."""
        return self.settings.mc_runs

    @property
    def gate(self) -> GateConfig:
        """Thresholds of the gate."""
        return self.settings.gate

    @property
    def promotion(self) -> PromotionConfig:
        """When a champion is replaced or demoted."""
        return self.settings.promotion

    @property
    def holdout_start(self) -> date | None:
        """First trading day that is sealed."""
        return self.settings.holdout_start

    @property
    def sealed_from_ns(self) -> int | None:
        """Start of the sealed days, UTC nanoseconds; None when nothing is sealed."""
        return self.settings.sealed_from_ns

    @property
    def sealed_span(self) -> str:
        """Name of the sealed days in the trial ledger and in reports."""
        return self.settings.sealed_span

    def costs_of(self, instrument: str) -> CostConfig:
        """Return the cost model of training."""
        if self.recipe.costs is None:
            return self.settings.costs_of(instrument)
        configured: CostConfig = build(CostConfig, self.recipe.costs)
        return configured

    def judged_costs_of(self, instrument: str) -> CostConfig:
        """Return the costs of every score that is validated: no lower than the market's, whatever the recipe says."""
        return judged_costs(self.costs_of(instrument), instrument)


def terms_of(recipe: Recipe, settings: Settings | None = None) -> RecipeTerms:
    """Return the terms of a recipe on the present settings, or on those that are given."""
    return RecipeTerms(settings or load_settings(), recipe)
