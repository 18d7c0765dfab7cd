"""A recipe on the terms of the settings: what it says itself holds, and what it leaves open is theirs."""

from pathlib import Path

import pytest

from fx_pipeline.market.costs import CostConfig
from fx_pipeline.recipe_terms import terms_of
from fx_pipeline.recipes.loader import make_recipe, read_recipes
from fx_pipeline.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return load_settings(data_dir=tmp_path, instruments=("EUR_USD", "GBP_JPY"), seeds=(1, 2), episodes=5, preset="tiny")


def test_the_default_recipe_is_on_the_terms_of_the_settings_alone(settings: Settings) -> None:
    terms = terms_of(settings.recipe, settings)
    assert terms.layout == settings.layout
    assert terms.costs_of("EUR_USD") == settings.costs_of("EUR_USD")
    assert terms.judged_costs_of("EUR_USD") == settings.judged_costs_of("EUR_USD")
    assert (terms.preset, terms.episodes("tiny"), terms.training_seeds) == ("tiny", 5, (1, 2))
    assert (terms.judged_seeds, terms.instruments) == (settings.judged_seeds, settings.instruments)


def test_what_a_recipe_says_itself_holds(settings: Settings) -> None:
    values = {
        "name": "mine",
        "agent": "muzero",
        "preset": "small",
        "instruments": ["GBP_JPY"],
        "seeds": [9],
        "episodes": 3,
    }
    terms = terms_of(make_recipe(values | {"costs": {"fixed_pips": 6.0}}, "here"), settings)
    assert (terms.preset, terms.episodes("small"), terms.training_seeds) == ("small", 3, (9,))
    assert terms.costs_of("GBP_JPY") == CostConfig(fixed_pips=6.0) and terms.instruments == ("GBP_JPY",)
    assert terms.layout.champion("GBP_JPY") != settings.layout.champion("GBP_JPY")
    # No recipe is judged at less than the market costs.
    free = terms_of(make_recipe(values | {"costs": {"fixed_pips": 0.0}}, "here"), settings)
    assert free.judged_costs_of("GBP_JPY").spread_floor


def test_a_budget_of_the_settings_is_none_of_another_recipe(settings: Settings) -> None:
    terms = terms_of(make_recipe({"name": "mine", "agent": "muzero"}, "here"), settings)
    assert terms.episodes("tiny") == 8


def test_shipped_recipes_are_in_the_graph_where_their_instruments_are_offered(settings: Settings) -> None:
    assert {recipe.name for recipe in settings.used_recipes} == set(read_recipes().by_name)
    few = load_settings(data_dir=settings.data_dir, instruments=("EUR_USD",))
    assert [recipe.name for recipe in few.used_recipes] == ["muzero"]
    asked = load_settings(
        data_dir=settings.data_dir, instruments=("EUR_USD",), use_recipes=("ppo_gbp_jpy_h1", "muzero")
    )
    assert [recipe.name for recipe in asked.used_recipes] == ["muzero", "ppo_gbp_jpy_h1"]
