"""Configuration: presets, overlays, errors."""

import pytest

from fx_pipeline.agents.muzero.config import config_from_dict, load_config, presets
from fx_pipeline.market.errors import ConfigurationError


@pytest.mark.parametrize("preset", presets())
def test_a_preset_survives_the_way_through_plain_values(preset: str) -> None:
    config = load_config(preset)
    assert config_from_dict(config.to_dict()) == config
    assert config.network.support_pips == 300.0


def test_full_has_the_sizes_of_the_specification() -> None:
    config = load_config()
    assert presets() == ("full", "small", "tiny", "legacy")
    assert (config.network.hidden_size, config.network.bins, config.search.simulations) == (256, 601, 25)
    assert (config.learner.learning_rate, config.learner.batch_size, config.search.discount) == (1e-3, 128, 0.97)
    settings = load_config("legacy").selfplay
    done = [settings.annealed(episodes, 0.9) for episodes in (0, 10_000, 10**6)]
    assert [settings.temperature(annealed) for annealed in done] == [1.0, 0.75, 0.5]
    by_budget = load_config("full", {"selfplay.anneal_episodes": 0, "selfplay.noise_end": 0.2}).selfplay
    assert by_budget.annealed(10**6, 0.5) == 0.5
    assert [by_budget.noise(done) for done in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.6, 0.2])


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
        ({"network": {"value_prefix": 1}}, "network.value_prefix must be a bool"),
        ({"replay": {"priority_weight": 1.5}}, "replay.priority_weight must lie in"),
        ({"replay": {"success_share": 0.8}}, "must not exceed 1 together"),
        ({"replay": {"evict": "newest"}}, "replay.evict must be oldest or quality"),
        ({"learner": {"target_ema": 1.0}}, "learner.target_ema must lie in"),
        ({"learner": {"consistency_steps": 6}}, "must not exceed unroll_steps 5"),
        ({"learner": {"precision": "fp16"}}, "learner.precision must be auto, fp32 or bf16"),
        ({"search": {"simulations": 0}}, "configuration section search: simulations"),
        ({"decision": {"simulations": 0}}, "decision.simulations must be at least 1"),
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


def test_legacy_has_the_older_replay_and_hyper_parameters() -> None:
    config = load_config("legacy")
    assert config.reward.kind == "amddp1"
    assert (config.reward.idle_reward, config.selfplay.epsilon, config.learner.learning_rate) == (-0.01, 0.1, 5e-4)
    assert (config.search.dirichlet_alpha, config.search.dirichlet_fraction) == (0.3, 0.25)
    assert (config.network.bins, config.replay.capacity_steps) == (601, 10_000)
    assert (config.replay.evict, config.replay.priority_weight, config.replay.importance) == ("quality", 1.0, 0.0)
    assert config.network.hidden_size == load_config("small").network.hidden_size


def test_what_did_not_pay_is_off_by_default() -> None:
    assert not any(load_config(preset).network.value_prefix for preset in presets())
    for preset in ("full", "small", "tiny"):
        replay, learner = load_config(preset).replay, load_config(preset).learner
        assert (replay.priority_weight, replay.importance, replay.success_share) == (0.0, 0.0, 0.0)
        assert (replay.evict, replay.share_trade_reward) == ("oldest", False)
        assert (learner.target_ema, learner.td_steps_decay_waves, learner.reanalyze_share) == (0.0, 0.0, 0.0)
        assert learner.consistency_weight == 0.0


def test_what_paid_on_the_proofs_is_on_by_default() -> None:
    for preset in ("full", "small", "tiny"):
        config = load_config(preset)
        assert (config.search.root_action_selection, config.search.rescale_values) == ("gumbel", False)
        assert config.search.backup == "expected"
        assert (config.selfplay.root_value, config.learner.mirror, config.reward.kind) == ("best", True, "dense")
        assert config.learner.exploration_cut == 0.2


def test_sessions_that_do_not_fit_a_configuration_are_named() -> None:
    config = load_config("tiny", {"replay.capacity_steps": 100})
    with pytest.raises(ConfigurationError, match=r"replay.capacity_steps 100 cannot hold the 4 episodes of 360 bars"):
        config.check_session(360)
    config.check_session(25)
    with pytest.raises(ConfigurationError, match="a session of 2 bars is shorter than an unroll of 3"):
        config.check_session(2)
