"""A recipe as a Dagster component: begun, checked and read as any other recipe."""

from pathlib import Path

import dagster as dg
import pytest
import yaml

from fx_pipeline.components import RecipeComponent
from fx_pipeline.components.recipe import RecipeScaffolder, ScaffoldParameters
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.recipes.loader import COMPONENT_TYPE, read_recipes


def begin(folder: Path, like: str) -> Path:
    folder.mkdir(parents=True)
    RecipeScaffolder().scaffold(
        dg.ScaffoldRequest(
            type_name=COMPONENT_TYPE,
            target_path=folder,
            scaffold_format="yaml",
            project_root=folder.parent,
            params=ScaffoldParameters(like=like),
        )
    )
    return folder / "defs.yaml"


def test_a_component_that_was_begun_is_the_recipe_that_it_is_like(tmp_path: Path) -> None:
    path = begin(tmp_path / "mine", "muzero_gbp_jpy_m1")
    component = RecipeComponent.from_attributes_dict(attributes=yaml.safe_load(path.read_text())["attributes"])
    like = read_recipes().recipe("muzero_gbp_jpy_m1")
    assert isinstance(component, RecipeComponent)
    assert component.recipe == like.model_copy(update={"name": "mine", "title": ""})
    # And the settings and the command read the same one.
    known = read_recipes(components=tmp_path)
    assert known.recipe("mine") == component.recipe and known.files["mine"] == path


def test_a_component_that_cannot_work_is_refused_with_its_file(tmp_path: Path) -> None:
    path = begin(tmp_path / "mine", "muzero")
    path.write_text(path.read_text().replace("M1", "M2"))
    with pytest.raises(ConfigurationError, match=r"mine/defs\.yaml: timeframe: .* use M1, M5"):
        read_recipes(components=tmp_path)
    with pytest.raises(ConfigurationError, match=r"defs\.yaml: timeframe: "):
        RecipeComponent.load(
            RecipeComponent.get_model_cls()(name="mine", agent="muzero", timeframe="M2"), _context(path)
        )


def _context(path: Path) -> dg.ComponentLoadContext:
    from dagster.components.core.component_tree import ComponentTree

    return ComponentTree.for_test().load_context


def test_other_components_of_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "defs.yaml").write_text("type: dagster.DefsFolderComponent\n")
    assert set(read_recipes(components=tmp_path).by_name) == set(read_recipes().by_name)
