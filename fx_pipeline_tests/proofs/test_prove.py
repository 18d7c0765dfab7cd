"""A proof trains on one path, judges on another, and writes what it found or nothing."""

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from fx_pipeline.cli import app
from fx_pipeline.market.errors import DataError
from fx_pipeline.proofs import bars, page, result
from fx_pipeline.proofs.certify import outdated, prove_market
from fx_pipeline.proofs.markets import proof_market
from fx_pipeline.proofs.optimum import optimum_pips
from fx_pipeline.proofs.play import draw_starts, play
from fx_pipeline.proofs.players import BEST_RULES
from fx_pipeline.proofs.prove import Proof, prove_seed, unwatched
from fx_pipeline.proofs.seeds import prove_seeds
from fx_pipeline_tests.proofs.conftest import EARLY, EARLY_HEAD, register

if TYPE_CHECKING:
    from fx_pipeline_tests.proofs.conftest import StandIn

PROOF = Proof("rule", "ou", minutes=5.0, seeds=2, sessions=64, bars=30_000)


def prove(proof: Proof = PROOF) -> dict[str, Any]:
    return prove_market(
        proof, ppo=False, watch=unwatched, clock=lambda: 1.0, now=lambda: dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    )


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs `fx-pipeline prove` in a folder of its own."""
    monkeypatch.setenv("FX_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["prove", *arguments])

    return run


def test_seeds_have_paths_of_their_own_and_are_judged_on_others(rule_agent: "StandIn") -> None:
    results = prove_seeds(PROOF)
    trained = [call["data"].market.fingerprint for call in rule_agent.trainer.calls]
    assert trained == [proof_market("ou", path, PROOF.bars).fingerprint for path in (1, 3)]
    for one, path in zip(results, (2, 4), strict=True):
        market = proof_market("ou", path, PROOF.bars)
        done = play(market, draw_starts(market, PROOF.sessions, one.seed), BEST_RULES["ou"])
        assert one.pips_per_episode == done.pips_per_episode


def test_budget_is_the_clock(rule_agent: "StandIn") -> None:
    prove_seed(PROOF, 1)
    (call,) = rule_agent.trainer.calls
    assert call["budget"].minutes == 5.0 and call["budget"].episodes >= 10**8
    assert call["seed"] == 1 and call["resume"] is False
    assert not call["folder"].exists(), "the folder of a training is removed"
    starts, market = call["data"].starts, call["data"].market
    assert starts.max() + 360 <= len(market) and np.isfinite(market.features[starts]).all()


def test_progress_tells_episodes_and_pips_and_ends_with_the_result(rule_agent: "StandIn") -> None:
    said: list[tuple[float, dict[str, float]]] = []
    ticks = iter(range(100))
    one = prove_seed(PROOF, 0, lambda fraction, figures: said.append((fraction, dict(figures))), lambda: next(ticks))
    assert [fraction for fraction, _ in said[:4]] == [0.25, 0.5, 0.75, 0.999] and said[-1][0] == 1.0
    assert [figures["of the judging"] for _, figures in said[4:-1]] == [bar / 360 for bar in range(1, 361)]
    assert said[0][1] == {"episodes": 1.0}
    assert said[2][1] == {"episodes": 3.0, "pips an episode so far": 20.0}
    assert said[-1][1]["pips an episode"] == one.pips_per_episode
    assert one.curve == [(1.0, 20.0), (2.0, 40.0)]


def test_weights_are_judged_as_they_learn(rule_agent: "StandIn") -> None:
    marked = replace(PROOF, milestones=(1, 3, 4))
    ticks = iter(range(100))
    one = prove_seed(marked, 0, clock=lambda: next(ticks))
    assert rule_agent.loaded == ["end", "1", "3"], "the fourth episode is the last: those weights are the end's"
    assert [mark.episodes for mark in one.milestones] == [1, 3]
    assert one.milestones[0].seconds < one.milestones[1].seconds < one.seconds
    market = proof_market("ou", 2, PROOF.bars)
    starts = draw_starts(market, PROOF.sessions, 0)
    made = [(mark.pips_per_episode, mark.policy_pips_per_episode) for mark in one.milestones]
    assert made[0] == tuple(play(market, starts, rule).pips_per_episode for rule in (EARLY, EARLY_HEAD))
    assert made[1] == (one.pips_per_episode, one.policy_pips_per_episode)
    assert len({*made[0], *made[1]}) == 4, "four policies, four results"


def test_shares_on_the_way_are_means_over_milestones_and_seeds(rule_agent: "StandIn") -> None:
    made = prove(replace(PROOF, milestones=(1, 3)))
    assert [mark["episodes"] for mark in made["milestones"]] == [1, 3]
    for name, pips in (("share_mean", "pips_per_episode"), ("policy_share_mean", "policy_pips_per_episode")):
        shares = [[mark[pips] / optimum_pips("ou") for mark in seed["milestones"]] for seed in made["seeds"]]
        assert [mark[name] for mark in made["milestones"]] == pytest.approx(np.mean(shares, axis=0))
        assert made[f"learning_{name}"] == pytest.approx(np.mean(shares))


def test_milestone_that_a_seed_did_not_pass_is_left_out_of_the_mean(rule_agent: "StandIn") -> None:
    marked = replace(PROOF, milestones=(1, 3))
    results = prove_seeds(marked)
    results[1] = replace(results[1], milestones=results[1].milestones[:1])
    made = result.summary(marked, results, [], made_by={"code_version": "", "config_digest": ""}, seconds=1, date="")
    assert [mark["episodes"] for mark in made["milestones"]] == [1]


def test_agent_that_keeps_no_weights_has_no_milestones(rule_agent: "StandIn", monkeypatch: Any) -> None:
    from fx_pipeline.agents import registry

    register(monkeypatch, replace(registry.agent("rule"), newest=None))
    made = prove(replace(PROOF, milestones=(1, 3)))
    assert made["milestones"] == [] and made["learning_share_mean"] is None
    assert "search beats its own head, learning" in made["not_measured"]


def test_summary_has_the_worst_seed_and_the_means(rule_agent: "StandIn") -> None:
    made = prove()
    shares = [seed["share"] for seed in made["seeds"]]
    assert made["share_worst"] == min(shares) and made["share_mean"] == pytest.approx(np.mean(shares))
    assert 0.7 < made["share_worst"] < 0.9
    assert made["pips_per_episode"] == pytest.approx(made["share_worst"] * optimum_pips("ou"))
    assert made["trades_per_episode"] == max(seed["trades_per_episode"] for seed in made["seeds"])
    assert made["policy_share_mean"] < made["share_mean"]
    assert made["ppo_share_mean"] is None
    assert (made["code_version"], made["config_digest"]) == ("code-1", "config-small")
    assert made["date"] == "2026-01-02T00:00:00+00:00" and made["cores"] >= 1 and made["minutes"] == 5.0


def test_episodes_an_hour_are_of_the_steps_that_were_played(rule_agent: "StandIn") -> None:
    assert prove()["episodes_per_hour"] is None, "the rule counts no steps"
    results = prove_seeds(PROOF)
    counted = [
        replace(one, seconds=seconds, counters={"steps": steps})
        for one, seconds, steps in zip(results, (90.0, 270.0), (36_000.0, 36_000.0), strict=True)
    ]

    def of(proof: Proof) -> Any:
        made = result.summary(proof, counted, [], made_by={"code_version": "", "config_digest": ""}, seconds=1, date="")
        return made["episodes_per_hour"]

    assert of(PROOF) == 200 / 0.1
    assert of(replace(PROOF, jobs=2)) is None, "two at once are slower each"


def test_agent_that_does_not_search_has_no_share_without_it(rule_agent: "StandIn", monkeypatch: Any) -> None:
    from fx_pipeline.agents import registry

    register(monkeypatch, replace(registry.agent("rule"), without_search=None))
    assert prove()["policy_share_mean"] is None


def test_walk_has_no_share(rule_agent: "StandIn") -> None:
    made = prove(Proof("rule", "walk", seeds=1, sessions=64, bars=30_000))
    assert made["share_worst"] is None and made["share_mean"] is None and made["policy_share_mean"] is None
    assert made["trades_per_episode"] > 5
    assert [line.split(":")[0] for line in made["missed"]] == ["loses nothing on noise", "leaves noise alone"]


def test_result_is_read_back_and_its_page_stands_beside_it(rule_agent: "StandIn", tmp_path: Path) -> None:
    made = prove()
    shown = result.write_result(made, tmp_path)
    assert shown == tmp_path / "rule" / "ou.html"
    text = shown.read_text()
    assert "Plotly.newPlot" in text and "rule, seed 1" in text and "optimum 225.6" in text
    assert "<td>as good as the best one-feature rule</td><td>share, worst</td><td>78.0%</td>" in text
    assert "http" not in text.split("<script", 1)[0], "the page needs no network"
    assert result.read_results(tmp_path, "rule") == {"ou": json.loads(json.dumps(made))}
    assert sorted(path.name for path in (tmp_path / "rule").iterdir()) == ["ou.html", "ou.json"]


def test_chart_has_a_line_and_a_diamond_for_each_seed(rule_agent: "StandIn") -> None:
    figure = page.curve_figure(prove())
    assert [trace["mode"] for trace in figure["data"]] == ["lines", "markers"] * 2
    assert figure["data"][0]["y"] == [20.0, 40.0]


def test_second_chart_sets_the_search_against_its_head(rule_agent: "StandIn") -> None:
    made = prove(replace(PROOF, milestones=(1, 3)))
    figure = page.milestone_figure(made)
    assert figure is not None
    names = [trace["name"] for trace in figure["data"] if trace["showlegend"]]
    assert names == ["search, mean of seeds", "policy head alone, mean of seeds"]
    for traces, name, pips in (
        (figure["data"][:3], "share_mean", "pips_per_episode"),
        (figure["data"][3:], "policy_share_mean", "policy_pips_per_episode"),
    ):
        *seeds, mean = traces
        assert mean["x"] == [1, 3] and mean["y"] == [round(mark[name], 4) for mark in made["milestones"]]
        for trace, seed in zip(seeds, made["seeds"], strict=True):
            assert trace["y"] == [round(mark[pips] / made["optimum_pips"], 4) for mark in seed["milestones"]]
    assert "By search and by the policy head alone" in page.render_page(made)
    without = prove()
    assert page.milestone_figure(without) is None and "policy head alone</h2>" not in page.render_page(without)


def test_proof_older_than_the_code_is_outdated(rule_agent: "StandIn") -> None:
    results = {market: {**prove(), "market": market} for market in ("ou", "regime")}
    assert outdated(results, "rule") == ["walk: rule was never proved on it, or by code that is too old to be read"]
    results["walk"] = {**results["ou"], "config_digest": "config-of-then"}
    assert outdated(results, "rule") == [
        "walk: the preset small has changed since the proof of 2026-01-02T00:00:00+00:00"
    ]
    rule_agent.code = "code-2"
    assert outdated(results, "rule")[0] == (
        "ou: the proof of 2026-01-02T00:00:00+00:00 is of code code-1, the code is code-2 now"
    )


def test_damaged_result_is_named(tmp_path: Path) -> None:
    path = result.result_path(tmp_path, "rule", "ou")
    path.parent.mkdir()
    path.write_text('{"schema": 0}')
    with pytest.raises(DataError, match=r"ou\.json is damaged .*prove rule on ou again"):
        result.read_results(tmp_path, "rule")


def test_result_of_an_older_schema_counts_as_none(tmp_path: Path) -> None:
    path = result.result_path(tmp_path, "rule", "ou")
    path.parent.mkdir()
    path.write_text('{"schema": 1, "market": "ou"}')
    assert result.read_results(tmp_path, "rule") == {}


def test_command_prints_one_object_a_market(rule_agent: "StandIn", command: Any, tmp_path: Path) -> None:
    done = command("rule", "--seeds", "1", "--no-ppo", "--json")
    assert done.exit_code == 1, "the rule trades on the walk"
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["market"] for line in lines] == ["ou", "regime", "walk"]
    assert list(lines[0])[: len(result.HEADLINE)] == list(result.HEADLINE)
    assert "curve" not in lines[0]["seeds"][0]
    assert "missed leaves noise alone" in done.stderr
    table = done.stderr[done.stderr.rindex("market") :]
    assert [table.count(name) for name in ("ou, small", "regime,", "walk, small")] == [4, 2, 2], "the table comes last"
    assert set(result.read_results(tmp_path / "data" / "proofs", "rule")) == {"ou", "regime", "walk"}


def test_command_judges_the_milestones_of_the_bars(rule_agent: "StandIn", command: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(bars, "_MILESTONES", {("rule", "small", "ou"): (1, 3)})
    done = command("rule", "--market", "ou", "--seeds", "1", "--no-ppo", "--json", "--no-fail")
    made = json.loads(done.stdout)
    assert [mark["episodes"] for mark in made["milestones"]] == [1, 3]
    assert made["learning_share_mean"] > made["learning_policy_share_mean"]


def test_missed_bar_may_be_forgiven(rule_agent: "StandIn", command: Any) -> None:
    rule_agent.policy = rule_agent.head
    missed = command("rule", "--market", "ou", "--seeds", "1", "--no-ppo")
    assert missed.exit_code == 1 and "missed as good as the best one-feature rule" in missed.stdout
    assert command("rule", "--market", "ou", "--seeds", "1", "--no-ppo", "--no-fail").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody",), "unknown agent 'nobody': known are muzero"),
        (("rule", "--market", "trend"), "unknown proof market 'trend': known are ou, regime, walk"),
        (("rule", "--preset", "huge"), "unknown preset 'huge' of rule: known are small, tiny"),
    ],
)
def test_unknown_names_are_refused_before_anything_is_trained(
    rule_agent: "StandIn", command: Any, arguments: tuple[str, ...], said: str
) -> None:
    done = command(*arguments)
    assert done.exit_code == 2 and said in done.stderr
    assert not rule_agent.trainer.calls


def test_missing_peer_is_named_with_its_remedy(rule_agent: "StandIn", command: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("fx_pipeline.agents.ppo.entry.find_spec", lambda name: None)
    done = command("rule", "--market", "ou")
    assert done.exit_code == 2 and ".[ppo]" in done.stderr and "--no-ppo" in done.stderr
    assert not rule_agent.trainer.calls


def test_killed_proof_leaves_the_old_result(rule_agent: "StandIn", tmp_path: Path, monkeypatch: Any) -> None:
    made = prove()
    result.write_result(made, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(result, "atomic_write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        result.write_result({**made, "seconds": 2.0}, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == before
    assert not list(tmp_path.rglob(".tmp-*"))


def test_help_names_the_keys_of_its_json() -> None:
    told = CliRunner().invoke(app, ["prove", "--help"]).stdout
    for key in result.HEADLINE:
        assert key in told
