"""The agents by name, and their default budgets."""

from typing import get_args

import pytest

from fx_pipeline.agents.muzero.config import presets
from fx_pipeline.agents.registry import agent
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.settings import Preset


def test_every_preset_has_a_budget_and_may_be_set() -> None:
    assert get_args(Preset) == presets()
    assert all(agent("muzero").episodes(preset) > 0 for preset in presets())


def test_what_is_unknown_is_named() -> None:
    with pytest.raises(ConfigurationError, match="unknown preset 'huge' of muzero: known are full, small"):
        agent("muzero").episodes("huge")
    with pytest.raises(ConfigurationError, match="unknown agent 'nobody': known are muzero"):
        agent("nobody")
