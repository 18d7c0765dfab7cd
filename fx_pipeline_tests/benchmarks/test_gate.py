"""The benchmark of the gate: what its traders make, what its adversary leaves behind, its arithmetic, its routes."""

import ast
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gate_noise
from benchmarks.gate import QUICK_TRIES, summarise
from benchmarks.gate_edge import COST_PIPS, SEEDS, Edge, Life, live
from benchmarks.gate_judge import hand_in
from benchmarks.gate_noise import ROUTES, Hunt, Tries, hunt, random_trades
from benchmarks.gate_routes import ROUTES as CHEATS
from benchmarks.gate_routes import Played, Route, judge
from benchmarks.gate_world import SESSIONS, STEPS, WINDOWS, Attempt, Market, Trades, evidence_of, trades_of
from fx_pipeline.tracking.ledger import Ledger

ROOT = Path(__file__).parents[2]


def test_trades_make_what_their_positions_did() -> None:
    market = Market(3, 0.0)
    positions = np.random.default_rng(1).integers(-1, 2, (5, SESSIONS, STEPS)).astype(np.int8)
    for held, trades in zip(positions, trades_of(positions, market.moves[4]), strict=True):
        made = np.bincount(trades.session, trades.gross_pips, SESSIONS)
        assert made == pytest.approx((held * market.moves[4]).sum(axis=1))
        assert trades.bars.sum() == 5 * np.count_nonzero(held)
        assert (np.diff(trades.session) >= 0).all()


def test_a_year_of_windows_has_its_days_once_and_lies_within_a_year() -> None:
    market = Market(1, 1.0)
    assert market.session_ns.shape == (WINDOWS, SESSIONS) and (np.diff(market.session_ns.ravel()) > 0).all()
    assert market.session_ns[-1, -1] - market.session_ns[0, 0] < 365 * 86_400 * 10**9
    days = np.concatenate([market.days(window)["day"] for window in range(WINDOWS)])
    assert len(np.unique(days)) == len(days) >= WINDOWS * SESSIONS


def test_traders_without_a_reason_make_nothing_before_costs() -> None:
    totals = np.array(
        [
            trades.gross_pips.sum()
            for seed in range(20)
            for trades in random_trades(np.random.default_rng(seed), Market(seed, 0.0), 0, 50)
        ]
    ).reshape(20, 50)
    means = totals.mean(axis=1)
    assert abs(means.mean()) < 3 * means.std() / np.sqrt(20)


@pytest.mark.parametrize("true_t", [0.0, 3.0])
def test_an_edge_has_the_true_t_that_it_is_said_to_have_after_costs(true_t: float) -> None:
    edge = Edge(Market(1, COST_PIPS), true_t, 5)
    nets = []
    for _ in range(400):
        seeds = [np.bincount(one.session, one.gross_pips - COST_PIPS, SESSIONS) for one in edge.window(0)]
        nets.append(seeds)
    made = np.array(nets).transpose(1, 0, 2).reshape(SEEDS, -1)
    found = made.mean(axis=1) / made.std(axis=1) * np.sqrt(252)
    assert found == pytest.approx(np.full(SEEDS, true_t), abs=4 * np.sqrt(252 / made.shape[1]))
    correlation = np.corrcoef(made)[np.triu_indices(SEEDS, 1)]
    assert 0.4 < correlation.mean() < 0.75


def test_what_is_handed_in_goes_through_the_ledger_and_counts_what_was_looked_at(tmp_path: Path) -> None:
    market, ledger = Market(1, 0.0), Ledger(tmp_path / "ledger.db", who="tester")
    # Nothing but the number of trials and seeds can refuse it.
    gross = np.random.default_rng(1).normal(5.0, 3.0, 12 * SESSIONS)
    sure = Trades(np.repeat(np.arange(SESSIONS), 12), gross, np.full(12 * SESSIONS, 5))
    evidence = evidence_of(market, 0, sure, 0.0)
    first = hand_in(ledger, market, Attempt("sure", 0, 0, "", evidence))
    assert first.history.chosen_among == 1 and "deflated_sharpe" not in first.failed and "worst_seed" in first.failed
    others = [Attempt(f"other {number}", 0, 0, "", evidence) for number in range(30)]
    ledger.record_many([one.trial(market) for one in others])
    again = hand_in(ledger, market, Attempt("sure", 0, 0, "", evidence))
    assert again.history.chosen_among == 31 and again.deflated_z < first.deflated_z - 1.5


def test_an_adversary_tries_as_often_as_it_says_and_leaves_a_verdict_of_each_way() -> None:
    assert Tries().total >= 1_000
    found = hunt(1, QUICK_TRIES)
    assert found.tries >= QUICK_TRIES.total
    assert set(found.failed) == set(ROUTES) and found.promoted == ()


def test_a_fresh_ledger_is_refused_for_being_fresh_where_luck_alone_would_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    known = gate_noise.random_trades

    def lucky(draw: np.random.Generator, market: Market, window: int, count: int) -> list[Trades]:
        found = known(draw, market, window, count)
        return [replace(trades, gross_pips=trades.gross_pips + 3.0) for trades in found]

    monkeypatch.setattr(gate_noise, "random_trades", lucky)
    assert hunt(2, QUICK_TRIES).failed["fresh"] == ("ledger_complete",)


def test_a_strong_edge_is_promoted_and_goes_once_it_is_gone() -> None:
    found = live(8.0, 4)
    assert 0 < found.promoted_after < 8 and found.failed == ()
    assert found.good_windows == WINDOWS and not found.good_demoted
    assert 0 < found.gone_after <= WINDOWS


def life(true_t: float, promoted: int, lived: int = 0, demoted: bool = False, gone: int = 0) -> Life:
    failed = () if promoted else ("deflated_sharpe",)
    return Life(true_t, promoted, failed, lived, demoted, gone)


def test_shares_are_of_champions_and_of_the_windows_that_they_lived() -> None:
    lives = [life(3.0, 0), life(3.0, 9, 5, True, 4), life(4.0, 5, 13, False, 3), life(6.0, 2, 13, False, 1)]
    hunts = [
        Hunt(1, 0.0, 10, (), {"windows": ("deflated_sharpe",)}, {"windows": -1.0}),
        Hunt(2, 1.0, 10, ("seeds",), {}, {}),
    ]
    played = [Played("a", False, "b"), Played("c", True, "nothing")]
    figures = summarise(hunts, lives, played, 1.0)
    wanted = {
        "noise_promoted": 1,
        "noise_total": 2,
        "edge_promoted": 3,
        "edge_total": 4,
        "routes_promoted": 1,
        "good_demoted_share": round(1 / 31, 4),
        "gone_demoted_share": round(2 / 3, 4),
    }
    assert {name: figures[name] for name in wanted} == wanted
    assert figures["edges"]["3"]["refused_by"] == {"deflated_sharpe": 1}
    assert figures["edges"]["3"]["still_champion_share"] == 0.0
    assert figures["noise_refused_by"]["windows"] == {"deflated_sharpe": 1}


def names_in(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("route", CHEATS, ids=lambda route: route.name)
def test_every_route_is_played_by_tests_that_there_are(route: Route) -> None:
    missing = [test for test in route.tests if test.split("::")[1] not in names_in(ROOT / test.split("::")[0])]
    assert route.tests and not missing


def outcome(folder: Path, cases: Sequence[str]) -> Path:
    path = folder / "outcome.xml"
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    return path


def test_a_route_of_which_a_test_failed_was_skipped_or_is_missing_counts_as_promoted(tmp_path: Path) -> None:
    def case(name: str, ended: str = "") -> str:
        return f'<testcase file="f.py" name="{name}">{ended}</testcase>'

    cases = [
        case("good[1]"),
        case("good[2]"),
        case("half[1]"),
        case("half[2]", "<failure/>"),
        case("idle", "<skipped/>"),
    ]
    routes = [Route(name, "it", (f"f.py::{name}",)) for name in ("good", "half", "idle", "absent")]
    played = judge(routes, outcome(tmp_path, cases))
    assert [one.promoted for one in played] == [False, True, True, True]
    assert played[0].refused_by == "it" and "f.py::half" in played[1].refused_by
    assert all(one.promoted for one in judge(routes, tmp_path / "nothing.xml"))
