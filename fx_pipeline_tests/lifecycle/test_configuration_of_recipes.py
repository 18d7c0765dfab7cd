"""A recipe of other bars or actions is another configuration of the same family; its name is not."""

import hashlib
import json

from fx_pipeline.lifecycle.configuration import configuration
from fx_pipeline.recipes.loader import default_recipe, read_recipes

RECORD = {"config_digest": "c", "code_version": "v", "counters": {"episodes": 8}}


def test_the_default_recipe_has_the_configurations_of_before() -> None:
    before = hashlib.sha256(json.dumps(["c", "v", 8]).encode()).hexdigest()
    assert configuration(RECORD) == configuration(RECORD, default_recipe()) == before


def test_what_an_agent_sees_and_may_do_is_of_its_configuration_and_the_name_of_its_recipe_is_not() -> None:
    known = read_recipes()
    default, sized = known.recipe("muzero"), known.recipe("muzero_leverage7")
    assert configuration(RECORD, known.recipe("muzero_gbp_jpy_m1")) == configuration(RECORD, default)
    renamed = sized.model_copy(update={"name": "another", "title": "another", "seeds": (1, 2)})
    assert configuration(RECORD, renamed) == configuration(RECORD, sized) != configuration(RECORD, default)
    others = {configuration(RECORD, recipe) for recipe in known}
    # Three see minutes, two of them alike; two see longer bars.
    assert len(others) == 4
