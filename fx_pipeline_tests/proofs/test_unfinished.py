"""A proof that was stopped goes on where it was, and takes nothing over from another proof."""

import datetime as dt
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fx_pipeline.agents.base import Progress
from fx_pipeline.proofs import result, seeds, unfinished
from fx_pipeline.proofs.certify import prove_market
from fx_pipeline.proofs.prove import Milestone, Proof, SeedResult, prove_seed, unwatched
from fx_pipeline.proofs.seeds import prove_seeds
from fx_pipeline.proofs.unfinished import FinishedSeeds, unfinished_path

if TYPE_CHECKING:
    from fx_pipeline_tests.proofs.conftest import StandIn

PROOF = Proof("rule", "ou", seeds=3, sessions=16, bars=20_000, milestones=(1, 3))
MADE_BY = {"code_version": "code-1", "config_digest": "config-small", "cores": 2}
ONE = SeedResult(1, 2.5, 3.5, 0.1, None, 60.0, 4.0, [(0.5, 1.0)], {"steps": 360.0}, [Milestone(1, 0.4, 1.5, None)])


def prove(folder: Path | None, proof: Proof = PROOF, watch: Any = unwatched) -> dict[str, Any]:
    now = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    return prove_market(proof, ppo=False, watch=watch, clock=lambda: 1.0, now=lambda: now, folder=folder)


@contextmanager
def stopped_at_the_third(title: str) -> Iterator[Progress]:
    if title.endswith("seed 2"):
        raise KeyboardInterrupt
    yield lambda fraction, figures: None


def trained(agent: "StandIn") -> list[int]:
    return [call["seed"] for call in agent.trainer.calls]


def test_stopped_proof_goes_on_and_says_the_same(
    rule_agent: "StandIn", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeds, "prove_seed", lambda *arguments: prove_seed(*arguments, clock=lambda: 1.0))
    whole = prove(None)
    with pytest.raises(KeyboardInterrupt):
        prove(tmp_path, watch=stopped_at_the_third)
    rule_agent.trainer.calls.clear()
    titles: list[str] = []
    said: list[tuple[float, dict[str, float]]] = []

    @contextmanager
    def watch(title: str) -> Iterator[Progress]:
        titles.append(title)
        yield lambda fraction, figures: said.append((fraction, dict(figures)))

    made = prove(tmp_path, watch=watch)
    assert trained(rule_agent) == [2]
    assert made == whole
    assert [title.removeprefix("rule on ou, ") for title in titles] == [
        "seed 0, of a run that was stopped",
        "seed 1, of a run that was stopped",
        "seed 2",
    ]
    assert said[0][0] == 1.0 and said[0][1]["pips an episode"] == whole["seeds"][0]["pips_per_episode"]
    result.write_result(made, tmp_path)
    assert sorted(path.name for path in (tmp_path / "rule").iterdir()) == ["ou.html", "ou.json"]
    rule_agent.trainer.calls.clear()
    prove(tmp_path)
    assert trained(rule_agent) == [0, 1, 2], "once the result stands, a proof is a new measurement"


def test_seeds_of_a_stopped_run_count_their_time(rule_agent: "StandIn", tmp_path: Path) -> None:
    path = unfinished_path(tmp_path, "rule", "ou")
    provenance = {**MADE_BY, "cores": prove(None)["cores"]}
    kept = FinishedSeeds(path, PROOF, provenance)
    kept.add("rule", replace(ONE, seed=0))
    kept.add("PPO", ONE)
    made = prove(tmp_path)
    assert made["seconds"] == 64.0, "PPO was not asked for"
    assert made["seeds"][0]["pips_per_episode"] == 2.5


def test_trainings_side_by_side_are_kept_too(
    rule_agent: "StandIn", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Other processes do not know the stand-in; threads do.
    monkeypatch.setattr(seeds, "ProcessPoolExecutor", lambda jobs, mp_context: ThreadPoolExecutor(jobs))
    path = unfinished_path(tmp_path, "rule", "ou")
    proof = replace(PROOF, jobs=2)
    FinishedSeeds(path, proof, MADE_BY).add("rule", ONE)
    said: list[float] = []

    @contextmanager
    def watch(title: str) -> Iterator[Progress]:
        yield lambda fraction, figures: said.append(fraction)

    results = prove_seeds(proof, watch, FinishedSeeds(path, proof, MADE_BY))
    assert [one.seed for one in results] == [0, 1, 2] and results[1] == ONE
    assert said == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert sorted(trained(rule_agent)) == [0, 2]
    kept = FinishedSeeds(path, proof, MADE_BY)
    assert [kept.of("rule", seed) for seed in range(3)] == results


def test_seed_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "ou.unfinished.json"
    FinishedSeeds(path, PROOF, MADE_BY).add("rule", ONE)
    again = FinishedSeeds(path, replace(PROOF, seeds=5), MADE_BY)
    assert again.of("rule", 1) == ONE
    assert again.of("rule", 0) is None and again.of("PPO", 1) is None
    assert again.seconds == 64.0


@pytest.mark.parametrize(
    ("proof", "made_by"),
    [
        (replace(PROOF, minutes=4.0), MADE_BY),
        (replace(PROOF, preset="full"), MADE_BY),
        (replace(PROOF, jobs=2), MADE_BY),
        (replace(PROOF, milestones=(1,)), MADE_BY),
        (PROOF, {**MADE_BY, "code_version": "code-2"}),
        (PROOF, {**MADE_BY, "config_digest": "config-full"}),
        (PROOF, {**MADE_BY, "cores": 1}),
    ],
)
def test_nothing_is_taken_over_from_another_proof(tmp_path: Path, proof: Proof, made_by: dict[str, Any]) -> None:
    path = tmp_path / "ou.unfinished.json"
    FinishedSeeds(path, PROOF, MADE_BY).add("rule", ONE)
    assert FinishedSeeds(path, proof, made_by).of("rule", 1) is None


def test_nothing_is_taken_over_from_other_code_of_the_proofs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ou.unfinished.json"
    FinishedSeeds(path, PROOF, MADE_BY).add("rule", ONE)
    monkeypatch.setattr(unfinished, "code_digest", lambda *entries: "other code")
    assert FinishedSeeds(path, PROOF, MADE_BY).of("rule", 1) is None


def damaged(text: str) -> list[str]:
    without = {name: value for name, value in json.loads(text).items() if name != "seeds"}
    return [text[: len(text) // 2], "[]", json.dumps(without)]


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_damaged_file_vouches_for_nothing(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "ou.unfinished.json"
    FinishedSeeds(path, PROOF, MADE_BY).add("rule", ONE)
    path.write_text(damaged(path.read_text())[kind])
    kept = FinishedSeeds(path, PROOF, MADE_BY)
    assert kept.of("rule", 1) is None
    kept.add("rule", ONE)
    assert FinishedSeeds(path, PROOF, MADE_BY).of("rule", 1) == ONE
