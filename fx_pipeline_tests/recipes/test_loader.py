"""Recipes are read from files, and one that cannot work is refused with its file, its field and what to do."""

from pathlib import Path

import pytest
import yaml

from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.recipes.loader import DEFAULT, SHIPPED, as_yaml, make_recipe, read_recipe, read_recipes
from fx_pipeline.recipes.new import write_like
from fx_pipeline.recipes.recipe import Recipe, SessionFields

MINE = {"name": "mine", "agent": "muzero"}


def refused(tmp_path: Path, text: str, name: str = "mine.yaml") -> str:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        read_recipes(tmp_path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_every_shipped_recipe_can_work_and_the_default_is_the_pipeline_of_before() -> None:
    known = read_recipes()
    default = known.recipe(DEFAULT)
    assert next(iter(known)).name == DEFAULT
    # All else is as the fields say: minute bars, nine features, four actions, sessions of six hours.
    assert default.model_copy(update={"title": "", "retrain": "never"}) == Recipe(name="muzero", agent="muzero")
    assert all(recipe.title for recipe in known)
    full = known.recipe("muzero_gbp_jpy_m1")
    assert (full.preset, full.instruments, len(full.seeds or ())) == ("full", ("GBP_JPY",), 5)


def test_every_field_is_described() -> None:
    for model in (Recipe, SessionFields):
        for name, field in model.model_fields.items():
            assert (field.description or "").endswith("."), name


def test_a_recipe_of_ones_own_stands_beside_the_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nagent: muzero\nsessions: {bars: 120}\n")
    (tmp_path / ".mine.yaml").write_text("an editor's")
    known = read_recipes(tmp_path)
    assert known.recipe("mine").rules.bars == 120
    assert known.files["mine"] == tmp_path / "mine.yaml"
    assert [recipe.name for recipe in known.chosen(("mine", "muzero"))] == ["muzero", "mine"]
    assert known.is_shipped("muzero") and not known.is_shipped("mine")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: mine\nagent: muzro\n", "agent: unknown agent 'muzro'"),
        ("name: mine\nagent: muzero\ntimeframe: M2\n", "timeframe: timeframe 'M2' is unknown: use M1, M5"),
        ("name: mine\nagent: muzero\naction_set: unit5\n", "action_set: action set 'unit5' is unknown: use unit4"),
        (
            "name: mine\nagent: muzero\ninstruments: [GBPJPY]\n",
            "instruments: unknown instrument 'GBPJPY': did you mean",
        ),
        ("name: mine\nagent: muzero\ninstruments: []\n", "instruments: name at least one"),
        ("name: mine\nagent: muzero\npreset: huge\n", "preset: unknown preset 'huge'"),
        ("name: mine\nagent: muzero\nseeds: [7, 7]\n", "seeds: one of them stands there twice"),
        ("name: mine\nagent: muzero\nseeds: [-1]\n", "seeds: name at least one, each at least 0"),
        ("name: mine\nagent: muzero\ntimefram: M1\n", "timefram: there is no such field: did you mean timeframe?"),
        ("name: mine\nagent: muzero\nsessions: {bar: 9}\n", "sessions.bar: there is no such field: did you mean bars"),
        ("name: mine\nagent: muzero\nsessions: {bars: one}\n", "sessions.bars: "),
        ("name: mine\n", "agent: it is missing: name of the agent"),
        ("name: Mine\nagent: muzero\n", "name: "),
        ("name: mine\nagent: muzero\ncosts: {fixed_pip: 1}\n", "costs: there is no 'fixed_pip' in it: use kind, fixed"),
        ("name: mine\nagent: muzero\ncosts: {fixed_pips: dear}\n", "costs: fixed_pips is a number, not 'dear'"),
        ("name: mine\nagent: muzero\nreward: {kind: none}\n", "reward: reward kind 'none' is unknown"),
        ("name: mine\nagent: muzero\nagent: muzero\n", "agent stands there twice"),
        ("name: [mine\n", "it is no YAML"),
        ("mine\n", "field: value"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused_with_file_field_and_remedy(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(tmp_path, text)


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    told = refused(tmp_path, "name: mine\nagent: muzro\ntimeframe: M2\nseeds: []\n")
    assert "agent: " in told and "timeframe: " in told and "seeds: " in told


def test_sessions_longer_than_a_week_are_refused(tmp_path: Path) -> None:
    hourly = {**MINE, "timeframe": "H1", "sessions": {"bars": 120, "max_gap_bars": 3}}
    with pytest.raises(
        ConfigurationError, match=r"a trading week, which has 120 of them .* at most 117, or within_week"
    ):
        make_recipe(hourly, "here")


def test_a_name_is_that_of_one_recipe_and_of_its_file(tmp_path: Path) -> None:
    assert "call it other.yaml, or the recipe mine" in refused(tmp_path, "name: other\nagent: muzero\n")
    (tmp_path / "mine.yaml").unlink()
    told = refused(tmp_path, "name: muzero\nagent: muzero\n", "muzero.yaml")
    assert str(SHIPPED / "muzero.yaml") in told and "two recipes are named muzero" in told
    with pytest.raises(ConfigurationError, match=r"FX_RECIPES=.* is no folder: make it"):
        read_recipes(tmp_path / "gone")
    with pytest.raises(ConfigurationError, match=r"there is no recipe 'muzro': did you mean muzero"):
        read_recipes().recipe("muzro")


def test_as_yaml_is_the_recipe_again(tmp_path: Path) -> None:
    for recipe in read_recipes():
        assert make_recipe(yaml.safe_load(as_yaml(recipe)), "here") == recipe


def test_a_new_recipe_is_a_copy_with_its_comments(tmp_path: Path) -> None:
    folder = tmp_path / "recipes"
    path = write_like(folder, "mine", "muzero_gbp_jpy_m1")
    like = read_recipes().recipe("muzero_gbp_jpy_m1")
    assert read_recipe(path) == like.model_copy(update={"name": "mine"})
    assert "# As many as the promotion gate asks for." in path.read_text()
    with pytest.raises(ConfigurationError, match="there is a recipe mine already"):
        write_like(folder, "mine", "muzero")
    with pytest.raises(ConfigurationError, match="no name of a recipe"):
        write_like(folder, "Mine", "muzero")
    with pytest.raises(ConfigurationError, match="set FX_RECIPES"):
        write_like(None, "yours", "muzero")
