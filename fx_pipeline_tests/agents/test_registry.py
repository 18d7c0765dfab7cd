"""The agents by name, what each says of itself, and that none of them knows another."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fx_pipeline
from fx_pipeline.agents.entry import Agent, Needs
from fx_pipeline.agents.muzero.config import presets
from fx_pipeline.agents.registry import ENTRIES, agent, agents
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.settings import Settings

PACKAGE = Path(fx_pipeline.__file__).parent
EVERY = [pytest.param(one, id=one.name) for one in agents()]


@pytest.mark.parametrize("one", EVERY)
def test_an_agent_says_what_it_is(one: Agent) -> None:
    assert agent(one.name) is one and ENTRIES[one.name] == f"fx_pipeline.agents.{one.name}.entry"
    assert {"small", "tiny"} <= set(one.presets), "what the demo, the proofs and the tests ask for"
    digests = {one.config_digest(preset) for preset in one.presets}
    assert len(digests) == len(one.presets)
    for preset in one.presets:
        assert one.episodes(preset) > 0
        assert one.refuses(Needs(preset)) is None
        assert one.config_digest(preset, one.reward(preset)) == one.config_digest(preset)
    other = RewardConfig(kind="amddp1", drawdown_weight=0.123)
    assert one.config_digest("tiny", other) != one.config_digest("tiny")
    assert len({alert.name for alert in one.alerts}) == len(one.alerts)


@pytest.mark.parametrize("one", EVERY)
def test_an_unknown_preset_is_named(one: Agent) -> None:
    for ask in (one.episodes, one.reward, one.config_digest, one.trainer):
        with pytest.raises(ConfigurationError, match="'huge'"):
            ask("huge")
    assert "'huge'" in str(one.refuses(Needs("huge")))


def test_every_preset_of_muzero_has_a_budget() -> None:
    assert set(agent("muzero").presets) == set(presets())


def test_what_is_unknown_is_named() -> None:
    with pytest.raises(ConfigurationError, match="unknown preset 'huge' of muzero: known are full, small"):
        agent("muzero").episodes("huge")
    with pytest.raises(ConfigurationError, match="unknown agent 'nobody': known are muzero"):
        agent("nobody")


def test_the_settings_know_the_presets_of_every_agent() -> None:
    for one in agents():
        for preset in one.presets:
            assert Settings(preset=preset).preset == preset
    with pytest.raises(ValueError, match="no agent has a preset 'huge': muzero has full, small"):
        Settings(preset="huge")


def test_nothing_is_imported_that_learns_until_an_agent_is_used() -> None:
    code = (
        "import sys; from fx_pipeline.agents.registry import agents; agents(); "
        "print([name for name in ('torch', 'numba', 'stable_baselines3', 'gymnasium') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_an_agent_knows_no_other_and_nobody_knows_what_is_in_its_folder() -> None:
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE).parts
        own = place[1] if place[0] == "agents" and len(place) > 2 else None
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("fx_pipeline.agents."):
                found = node.module.split(".")[2]
                assert found not in ENTRIES or found == own, f"{path} imports {node.module}"
