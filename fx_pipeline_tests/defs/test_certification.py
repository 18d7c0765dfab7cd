"""The certification proves the agent, shows how well, and marks a proof that is older than the code."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain

CONFIG = {"ops": {"agent_certification": {"config": {"markets": ["ou"], "minutes": 0.01, "preset": "tiny"}}}}


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple["Chain", Any]]:
    """A data folder with a proof of a few seconds in it."""
    import dagster as dg

    from fx_pipeline.proofs import bars, certify
    from fx_pipeline.proofs.certify import prove_market
    from fx_pipeline.proofs.prove import Proof
    from fx_pipeline_tests.defs.conftest import Chain

    asked: list[Proof] = []

    def proving(proof: Proof, **options: Any) -> Any:
        asked.append(proof)
        return prove_market(proof, **options)

    with dg.DagsterInstance.ephemeral() as instance, pytest.MonkeyPatch.context() as patch:
        patch.setattr(bars, "_MILESTONES", {("muzero", "tiny", "ou"): (4,)})
        patch.setattr(certify, "prove_market", proving)
        chain = Chain(tmp_path_factory.mktemp("certified"), instance)
        done = chain.job("certify", config=CONFIG)
        assert [proof.milestones for proof in asked] == [(4,)]
        yield chain, done


def test_proof_is_written_and_shown(proved: Any) -> None:
    chain, done = proved
    (event,) = done.asset_materializations_for_node("agent_certification")
    result = json.loads((chain.data_dir / "proofs" / "muzero" / "ou.json").read_text())
    assert (result["preset"], result["minutes"], result["market"]) == ("tiny", 0.01, "ou")
    assert (chain.data_dir / "proofs" / "muzero" / "ou.html").exists()
    shown = {name: value.value for name, value in event.metadata.items()}
    assert shown["ou share_worst"] == result["share_worst"]
    assert "| ou |" in shown["proofs"] and result["code_version"] in shown["proofs"]
    assert shown["curves"].startswith("![plot](data:image/png;base64,")


def test_markets_that_were_never_proved_are_named(proved: Any) -> None:
    _, done = proved
    checks = {check.check_name: check for check in done.get_asset_check_evaluations()}
    assert set(checks) == {"proof_is_newer_than_the_code", "proof_reaches_its_bars"}
    outdated = checks["proof_is_newer_than_the_code"]
    assert not outdated.passed
    assert outdated.metadata["outdated"].value == [
        "regime: muzero was never proved on it, or by code that is too old to be read",
        "walk: muzero was never proved on it, or by code that is too old to be read",
    ]
    # No bar is set for the preset tiny.
    assert checks["proof_reaches_its_bars"].passed


def test_proof_older_than_the_code_is_marked(proved: Any) -> None:
    chain, _ = proved
    folder = chain.data_dir / "proofs" / "muzero"
    result = json.loads((folder / "ou.json").read_text())
    for market in ("regime", "walk"):
        (folder / f"{market}.json").write_text(json.dumps({**result, "market": market}))
    assert chain.check("agent_certification.proof_is_newer_than_the_code").passed
    old = {**result, "code_version": "0.0.1+an-older-one", "missed": ["in time: it was late"]}
    (folder / "ou.json").write_text(json.dumps(old))
    marked = chain.check("agent_certification.proof_is_newer_than_the_code")
    assert not marked.passed
    (said,) = marked.metadata["outdated"].value
    assert said.startswith("ou: the proof of ") and "of code 0.0.1+an-older-one" in said
    missed = chain.check("agent_certification.proof_reaches_its_bars")
    assert not missed.passed and missed.metadata["missed"].value == ["ou: in time: it was late"]


def test_unknown_market_is_refused(empty: "Chain") -> None:
    config = {"ops": {"agent_certification": {"config": {"markets": ["trend"]}}}}
    assert not empty.job("certify", config=config, fails=True).success
    assert not (empty.data_dir / "proofs").exists()


def test_code_version_is_the_agents() -> None:
    """The UI shows by itself when the code has changed since the last materialisation."""
    from fx_pipeline.agents.registry import agent
    from fx_pipeline.defs.certification import agent_certification

    assert agent_certification.code_versions_by_key[agent_certification.key] == agent("muzero").code_version()
