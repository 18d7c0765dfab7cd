"""Configuration: presets, overlays, errors."""

import pytest

from fx_pipeline.agents.muzero.config import config_from_dict, load_config, presets
from fx_pipeline.market.errors import ConfigurationError


@pytest.mark.parametrize("preset", ["full", "small", "tiny"])
def test_a_preset_survives_the_way_through_plain_values(preset: str) -> None:
    config = load_config(preset)
    assert config_from_dict(config.to_dict()) == config
    assert config.selfplay.session_bars == 360
    assert config.selfplay.window_bars == 32
    assert config.network.support_pips == 300.0


def test_full_has_the_sizes_of_the_specification() -> None:
    config = load_config()
    assert presets() == ("full", "small", "tiny")
    assert (config.network.hidden_size, config.network.bins, config.search.simulations) == (256, 601, 25)
    assert (config.learner.learning_rate, config.learner.batch_size, config.search.discount) == (5e-4, 128, 0.997)
    assert config.selfplay.temperature(0) == 1.0
    assert config.selfplay.temperature(10_000) == 0.75
    assert config.selfplay.temperature(10**6) == 0.5


def test_overrides_by_section_and_by_dotted_key() -> None:
    nested = load_config("small", {"learner": {"batch_size": 64}})
    dotted = load_config("small", {"learner.batch_size": 64})
    assert nested == dotted
    assert nested.learner.batch_size == 64
    assert nested.digest() == dotted.digest() != load_config("small").digest()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"learner": {"bach_size": 1}}, "learner.bach_size is unknown: did you mean batch_size"),
        ({"lerner": {"batch_size": 1}}, "did you mean learner"),
        ({"learner": {"batch_size": "many"}}, "learner.batch_size must be a int"),
        ({"learner": {"batch_size": 1.5}}, "learner.batch_size must be a int"),
        ({"learner": {"learning_rate": float("nan")}}, "learning_rate must be a float"),
        ({"learner": 3}, "needs keys and values"),
        ({"network": {"bins": 600}}, "network.bins must be odd"),
        ({"selfplay": {"segment_bars": 50}}, "segment_bars must divide"),
        ({"replay": {"capacity_steps": 100}}, "replay.capacity_steps 100 cannot hold"),
        ({"search": {"simulations": 0}}, "configuration section search: simulations"),
        ({"reward": {"kind": "profit"}}, "reward kind 'profit'"),
    ],
)
def test_a_bad_setting_is_named(overrides: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_config("small", overrides)


def test_an_unknown_preset_and_an_incomplete_tree_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="did you mean small"):
        load_config("smal")
    tree = load_config("tiny").to_dict()
    del tree["learner"]["clip_norm"]
    with pytest.raises(ConfigurationError, match="learner lacks clip_norm"):
        config_from_dict(tree)
