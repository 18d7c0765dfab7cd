"""Ways by which something worthless was promoted once, played through the jobs of a tiny market.

Each first computes what the jobs say of the cheat, and then has everything else of the report be good, as no few
episodes of training are: so it is the cheat alone that is refused. `benchmarks/gate_routes.py` lists all of them.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fx_pipeline.agents import registry
from fx_pipeline.agents.base import Stateless
from fx_pipeline.environment.actions import BUY, CLOSE, playable
from fx_pipeline.validation.baselines import RandomTrader, Turnover
from fx_pipeline_tests.defs.conftest import attest

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain

SEEDS = ("seeds", "seed_trades", "seed_copies", "worst_seed_pips", "seeds_left_out")


def validate(chain: "Chain") -> dict[str, Any]:
    """Validate the window again, whatever stands; return the figures."""
    (chain.report / "made_from.json").unlink(missing_ok=True)
    assert chain.job("validate", chain.key()).success
    figures: dict[str, Any] = json.loads((chain.report / "report.json").read_bytes())["figures"]
    return figures


def promoted(chain: "Chain") -> bool:
    """Run the job that promotes, and tell whether it did."""
    config = {"ops": {"champion": {"config": {"window": chain.window}}}}
    chain.job("promote", chain.instrument, config)
    return (chain.data_dir / "champion" / f"{chain.instrument}.json").exists()


def refused(chain: "Chain", **record: Any) -> str:
    """Let all but these figures of the record be good; return why the job does not promote."""
    from fx_pipeline.defs.resources import Tracking
    from fx_pipeline.lifecycle.promotion import promote
    from fx_pipeline.settings import load_settings
    from fx_pipeline_tests.defs.conftest import warehouse_of

    attest(chain, record=record)
    assert not promoted(chain)
    with chain.environment():
        settings = load_settings()
        done = promote(settings, warehouse_of(settings), Tracking(), "muzero", chain.instrument, chain.window, "a-run")
    assert done.champion is None
    return done.reason


def test_without_a_cheat_it_is_promoted(copy: "Chain") -> None:
    attest(copy)
    assert promoted(copy)


def test_one_checkpoint_in_five_folders_is_one_seed(copy: "Chain") -> None:
    for seed in range(1, 5):
        folder = copy.checkpoint.with_name(f"seed-{seed}")
        shutil.copytree(copy.checkpoint, folder)
        record = json.loads((folder / "checkpoint.json").read_text())
        (folder / "checkpoint.json").write_text(json.dumps(record | {"seed": seed}))
    found = validate(copy)["record"]
    # Copies are not even scored: no training left them. Those of the same bytes would count once.
    assert found["seeds"] == 1 and found["seed_trades"].keys() == {"7"}
    assert "5 are needed" in refused(copy, **{name: found[name] for name in SEEDS})


def test_seeds_that_never_trade_are_no_evidence(copy: "Chain") -> None:
    found = validate(copy)["record"]
    idle = {str(seed): 0 for seed in range(5)}
    assert found["seed_trades"].keys() <= {"7"}
    reason = refused(copy, seeds=5, seed_trades=idle, worst_seed_pips=0.0)
    assert "trades, which shows nothing, were made by seed 0, 1, 2, 3, 4" in reason


@pytest.mark.parametrize("runs", ["100", "9999"])
def test_no_number_of_runs_draws_another_p_value(copy: "Chain", runs: str) -> None:
    copy.changes = {"FX_MC_RUNS": runs}
    found = validate(copy)["record"]
    assert found["mc_runs"] == int(runs)
    assert "judge nothing" in refused(copy, mc_runs=found["mc_runs"])


class Loses(Stateless):
    """Pays the cost again and again."""

    def choose(self, observation: Any) -> Any:
        flat = observation.static[:, 0] == 0
        return playable(np.where(flat, BUY, CLOSE), observation.legal)


@pytest.mark.slow
def test_configurations_that_nobody_would_choose_do_not_vote(copy: "Chain", monkeypatch: pytest.MonkeyPatch) -> None:
    known = registry.agent

    def load(folder: Path) -> Any:
        episodes = json.loads((folder / "checkpoint.json").read_text())["counters"]["episodes"]
        return Loses() if episodes > 5 else RandomTrader(Turnover(0.05, 0.05, 0.5), episodes)

    monkeypatch.setattr(registry, "agent", lambda name: replace(known(name), load_policy=load, without_search=None))

    def tried(episodes: int) -> dict[str, Any]:
        copy.changes = {"FX_EPISODES": str(episodes)}
        copy.job("train", copy.key())
        return validate(copy)

    tried(5)
    before = tried(4)
    for episodes in (6, 7, 8):
        tried(episodes)
    after = tried(4)
    assert after["record"]["trials"] == before["record"]["trials"] + 3
    assert after["family"]["hopeless"] >= 3
    assert after["record"]["overfitting_probability"] == before["record"]["overfitting_probability"] is not None
    assert after["record"]["deflated_z"] < before["record"]["deflated_z"]


@pytest.mark.slow
def test_the_same_candles_under_another_name_were_looked_at_already(copy: "Chain") -> None:
    other = "GBP_USD"
    for place in list(copy.data_dir.rglob(copy.instrument)):
        if place.is_dir() and place.relative_to(copy.data_dir).parts[0] in {"lake", "raw"}:
            shutil.copytree(place, place.with_name(other), dirs_exist_ok=True)
    first = validate(copy)["record"]
    copy.job("prepare", other)
    copy.job("train", copy.key(instrument=other))
    copy.job("validate", copy.key(instrument=other))
    path = copy.report.parent.with_name(other) / copy.window / "report.json"
    found = json.loads(path.read_bytes())["figures"]["record"]
    assert first["chosen"]["instruments"] == 1 and found["chosen"]["instruments"] == 2
    assert found["trials"] > first["trials"]
