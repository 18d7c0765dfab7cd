import itertools
import json
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser

import numpy as np
import pytest

from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.costs import CostConfig
from fx_pipeline.market.errors import ConfigurationError, DataError
from fx_pipeline.market.origin import candle_origin
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.validation.baselines import Flat, RandomTrader, Turnover, buy_and_hold
from fx_pipeline.validation.conditions import CONDITIONS
from fx_pipeline.validation.context import ReportContext, TrialHistory, WindowTrial
from fx_pipeline.validation.gate import GateConfig, judge
from fx_pipeline.validation.numbers import number
from fx_pipeline.validation.report import read_report, report_summary, write_report
from fx_pipeline.validation.report_charts import charts
from fx_pipeline.validation.report_page import render_page
from fx_pipeline.validation.validate import validate_policy

SESSION = 60
STARTS = np.arange(40) * 70 + 200
CONTRACT = {
    *("instrument", "window", "bars", "sessions", "episodes", "trades", "expectancy_pips", "verdict", "reasons"),
    *("report", "seed", "wall_s"),
}


@pytest.fixture(scope="module")
def market(market_of):
    return market_of(3_200)


def validate(market, policy, **options):
    context = options.pop("context", ReportContext("GBP_JPY", "2016-05", episodes=300))
    settings = {"costs": CostConfig(), "reward": RewardConfig(), "seed": 5, "mc_runs": 1_000}
    return validate_policy(
        market, STARTS, policy, rules=SessionRules(bars=SESSION), context=context, **(settings | options)
    )


@pytest.fixture(scope="module")
def report(market):
    return validate(market, RandomTrader(Turnover(0.1, 0.1, 0.5), 1))


class Page(HTMLParser):
    """Collects the tags and references of a page and checks that they nest."""

    void = frozenset({"meta", "link", "br", "img", "hr"})

    def __init__(self, text):
        super().__init__()
        self.open, self.references, self.text = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.references += [value for name, value in attributes if name in ("src", "href")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text.append(data)

    @property
    def words(self):
        return re.sub(r"\s+", " ", " ".join(self.text))


def test_figures_depend_on_the_seed_and_not_on_the_run(market, report):
    ticks = itertools.count()
    context = ReportContext("GBP_JPY", "2016-05", episodes=300, run={"mlflow_url": "http://x", "validated": "now"})
    again = validate(
        market, RandomTrader(Turnover(0.1, 0.1, 0.5), 1), context=context, batch=3, clock=lambda: next(ticks)
    )
    assert again["figures"] == report["figures"]
    assert again["figures_sha256"] == report["figures_sha256"]
    assert again["run"]["wall_s"] == 1
    other = validate(market, RandomTrader(Turnover(0.1, 0.1, 0.5), 1), seed=6)
    assert other["figures_sha256"] != report["figures_sha256"]


def test_summary_has_the_contract(report, tmp_path):
    write_report(report, tmp_path / "new" / "folder")
    found = read_report(tmp_path / "new" / "folder")
    summary = report_summary(found)
    assert set(summary) == CONTRACT
    assert summary["report"] == str(tmp_path / "new" / "folder" / "report.html")
    assert summary["trades"] == len(found["figures"]["trade_list"]["pnl_pips"]) > 50
    assert summary["verdict"] == "rejected" and summary["reasons"]
    assert found["figures"] == report["figures"]
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == {"report.json", "report.html"}


def test_a_report_that_is_none_is_named(tmp_path):
    with pytest.raises(DataError, match="validate the window first"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(DataError, match=r"report\.json is damaged \(it is not JSON"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(DataError, match="schema"):
        read_report(tmp_path)


LEAKS = {"rows computed anew": 0}


def company(others=(), seeds=(12, 13, 14, 15)):
    """A ledger in which other seeds of this configuration did as well, and other configurations what is given."""

    def record(score):
        own = score.session_pnl_pips
        noise = np.random.default_rng(1).normal(0, 1.0, (len(seeds), len(own)))
        found = [WindowTrial("this", score.seed, own, True)]
        found += [
            WindowTrial("this", seed, own + row, False, trades=seed + 100)
            for seed, row in zip(seeds, noise, strict=True)
        ]
        found += [WindowTrial(f"other {k}", 1, np.asarray(pnl), False) for k, pnl in enumerate(others)]
        sharpes = (score.sharpe_per_trade or 0.0, 0.0, 0.1)
        return TrialHistory(len(found), sharpes, tuple(found), chosen_among=1 + len(others))

    return record


def noise_trials(count):
    return np.random.default_rng(7).normal(0, 20.0, (count, len(STARTS)))


@pytest.fixture(scope="module")
def promoted(market_of):
    context = ReportContext("GBP_JPY", "2016-05", episodes=300, leaks=LEAKS, holdout_openings=0)
    return validate(
        market_of(3_200, drift_pips=0.6),
        RandomTrader(Turnover(0.5, 0.03, 1.0), 1),
        context=context,
        mc_runs=10_000,
        gate=GateConfig(min_trades=60, max_random_p=1.0),
        costs=CostConfig(fixed_pips=1.0),
        record_trial=company(noise_trials(4)),
        ablation=Flat(),
    )


def failed(report):
    return {condition["name"] for condition in report["figures"]["conditions"] if not condition["passed"]}


def test_a_long_edge_fails_against_buy_and_hold_alone_and_noise_in_many_ways(promoted, report):
    assert failed(promoted) == {"better_than_baselines"}
    assert {"positive_expectancy", "better_than_flat", "not_overfitted", "superior", "worst_seed"} <= failed(report)


def test_an_edge_that_beats_everything_is_promoted(promoted):
    record = promoted["figures"]["record"]
    better = record | {"baseline_p": 0.01, "alpha": record["alpha"] | {"pips": 3.0}}
    figures = promoted["figures"] | {"record": better}
    verdict = judge(figures, GateConfig(**promoted["figures"]["gate"]), CONDITIONS)
    assert verdict.promoted
    words = Page(render_page({**promoted, "figures": figures | judged(verdict)})).words
    assert "passed every condition" in words and "What would have to change" not in words


def judged(verdict):
    return {"verdict": verdict.verdict, "conditions": [asdict(condition) for condition in verdict.conditions]}


def test_the_verdict_follows_from_the_figures_of_the_written_report(report, tmp_path):
    write_report(report, tmp_path)
    figures = read_report(tmp_path)["figures"]
    verdict = judge(figures, GateConfig(**figures["gate"]), CONDITIONS)
    assert [asdict(condition) for condition in verdict.conditions] == figures["conditions"]
    assert verdict.verdict == figures["verdict"] and list(verdict.reasons) == figures["reasons"]


def test_the_page_says_what_would_have_to_change(report):
    words = Page(render_page(report)).words
    missing = 200 - report["figures"]["trades"]
    if missing > 0:
        assert f"{missing} more unseen trades" in words
    for condition in report["figures"]["conditions"]:
        assert bool(condition["remedy"]) is not condition["passed"]
        assert condition["remedy"] in words


def test_the_page_shows_the_family_the_seeds_and_the_account(promoted):
    words = Page(render_page(promoted)).words
    for text in ("Probability of overfitting", "Hansen's SPA", "White's Reality Check", "Worst seed", "CAR25"):
        assert text in words
    for text in ("Trading day", "Wednesday", "1 bar late", "0.1 pips of slippage a fill", "without its search"):
        assert text in words
    assert promoted["figures"]["baselines"]["ablation"]["total_pips"] == 0.0


def test_the_page_says_what_the_paper_broker_made_of_the_same_decisions(promoted):
    figures = promoted["figures"]
    parity, trades = figures["parity"], figures["trades"]
    assert (parity["replayed"], parity["trades"], parity["differing"]) == (trades, trades, 0)
    assert f"the paper broker closed {trades:,} of {trades:,} trades" in Page(render_page(promoted)).words
    holes = figures | {"parity": parity | {"over_gaps": 3}}
    assert "3 had an order that waited over missing minutes" in Page(render_page({**promoted, "figures": holes})).words


def test_sealed_days_are_judged_by_what_they_can_say(market_of, promoted):
    rising = market_of(3_200, drift_pips=0.6)
    context = ReportContext(
        "GBP_JPY", "hold-out 2016-04-04", leaks=LEAKS, holdout_openings=1, sealed="hold-out 2016-04-04"
    )
    report = validate(rising, RandomTrader(Turnover(0.5, 0.03, 1.0), 1), context=context)
    names = {condition["name"] for condition in report["figures"]["conditions"]}
    assert "worst_seed" not in names and "not_overfitted" not in names and "better_than_flat" in names
    words = Page(render_page(report)).words
    assert "On days that were sealed until now" in words and "opened for 1 candidate so far" in words
    assert "Not confirmed" in words and "Rejected" not in words and "Promoted" not in words


def test_the_simulation_compares_with_iid_by_trade_and_by_session(report):
    simulation = report["figures"]["monte_carlo"]
    assert set(simulation["iid"]) == set(simulation["by_session"]["iid"])
    assert simulation["by_session"]["iid"]["max_drawdown_p95_pips"] > 0


def test_the_page_stands_alone_and_says_the_verdict_first(report):
    page = render_page(report)
    assert len(page.encode()) < 3_000_000
    found = Page(page)
    assert [reference for reference in found.references if not reference.startswith("data:")] == []
    assert "This model has not earned the right to trade." in found.words
    assert found.words.index("Rejected") < found.words.index("Where the equity could have gone")
    for condition in report["figures"]["conditions"]:
        assert condition["explanation"] in found.words
    assert found.words.count(" long ") + found.words.count(" short ") > 50
    assert render_page(report) == page


def test_a_page_of_very_many_trades_stays_small_and_says_how_many_it_draws(report):
    figures, many = report["figures"], 100_000
    draw = np.random.default_rng(1)
    listed = {name: (values * (many // len(values) + 1))[:many] for name, values in figures["trade_list"].items()}
    listed["session"] = list(range(many))
    listed["pnl_pips"] = draw.normal(0.0, 20.0, many).tolist()
    listed["entry_price"] = draw.uniform(100.0, 200.0, many).tolist()
    figures = figures | {"trades": many, "metrics": figures["metrics"] | {"trades": many}, "trade_list": listed}
    page = render_page({**report, "figures": figures})
    assert len(page.encode()) < 3_000_000
    assert "1,000 of 100,000 trades, evenly spread" in Page(page).words
    assert "evenly spread" not in Page(render_page(report)).words
    found = charts(figures)
    markers = [trace for trace in found["price"]["data"] if trace["mode"] == "markers"]
    prices = [price for trace in markers for price in trace["y"]]
    assert len(prices) == 1_000
    # Both ends of the list are among those that are drawn, and the equity has its peak, its low and its end.
    assert {listed["entry_price"][0], listed["entry_price"][-1]} <= set(prices)
    equity, drawn = np.cumsum([0.0, *listed["pnl_pips"]]), found["fan"]["data"][-1]
    assert len(drawn["x"]) <= 2_000 and (drawn["x"][0], drawn["x"][-1]) == (0, many)
    assert drawn["y"] == pytest.approx(equity[drawn["x"]], abs=1e-3)
    assert (max(drawn["y"]), min(drawn["y"])) == pytest.approx((equity.max(), equity.min()), abs=1e-3)


def test_charts_are_valid_plotly(report):
    import plotly.graph_objects as go

    found = charts(report["figures"])
    assert all(chart is not None for chart in found.values())
    for chart in found.values():
        go.Figure(chart)


def test_the_price_line_breaks_where_there_was_no_market(market):
    weekend = market.time + np.where(np.arange(len(market)) > 1_500, 49 * 3_600 * 1_000_000_000, 0)
    price = validate(replace(market, time=weekend), Flat())["figures"]["price"]
    hole = price["close"].index(None)
    assert price["close"].count(None) == 1
    assert price["close"][hole - 1] == market.close[1_500] and price["close"][hole + 1] == market.close[1_501]
    assert price["breaks"] == [[price["time"][hole], price["time"][hole + 1]]]


def test_no_trades_give_a_whole_page(market):
    report = validate(market, Flat())
    figures = report["figures"]
    assert (figures["trades"], figures["expectancy_pips"], figures["monte_carlo"]) == (0, None, None)
    assert figures["verdict"] == "rejected"
    json.dumps(report, allow_nan=False)
    words = Page(render_page(report)).words
    assert "it closed no trade at all" in words
    assert "The model did not trade at all." in words
    assert "none that the paper broker could make otherwise" in words
    assert charts(figures)["fan"] is None and charts(figures)["price"] is not None


def test_a_synthetic_market_and_modelled_quotes_are_said_aloud(market):
    context = ReportContext("GBP_JPY", "w", source="synthetic", quotes_modelled=1.0)
    report = validate(market, Flat(), context=context)
    words = Page(render_page(report)).words
    assert "SYNTHETIC MARKET." in words and "modelled" in words
    assert report["lineage"]["synthetic"] is True
    assert candle_origin("synthetic") in words
    basis = report["figures"]["cost_basis"]
    assert (basis["quotes"], basis["quoted_pips"], basis["charged_pips"]) == ("modelled", None, 4.0)
    assert basis["certainty"] == "quoted" and basis["source"] in words
    assert "A position pays 4 pips on entry" in words and "Bid and ask of 100% of the bars are modelled" in words
    assert "quoted bid and ask" not in {line["name"] for line in report["figures"]["cost_sweep"]["lines"]}


def test_a_fixed_cost_below_the_spread_is_a_warning(market):
    context = ReportContext("GBP_JPY", "w", quotes_modelled=1.0)
    report = validate(market, Flat(), context=context, costs=CostConfig(fixed_pips=0.5))
    (warning,) = [text for text in report["figures"]["warnings"] if "Entering costs" in text]
    assert "Entering costs 0.5 pips, less than the modelled spread of GBP_JPY" in warning
    assert warning in Page(render_page(report)).words


def test_costs_that_rest_on_nothing_are_not_validated(market):
    koruna = replace(market, instrument="EUR_CZK", pip=0.0001)
    with pytest.raises(ConfigurationError, match="what trading EUR_CZK costs is not known"):
        validate(koruna, Flat(), context=ReportContext("EUR_CZK", "w"), costs=CostConfig(kind="profile"))


def test_what_people_write_cannot_break_the_page(market):
    context = ReportContext("GBP_JPY", "<script>alert(1)</script>", agent="</main>", settings={"a": "</script>"})
    page = render_page(validate(market, Flat(), context=context))
    Page(page)
    assert "<script>alert" not in page


def test_overlapping_sessions_are_refused_by_the_gate(market):
    report = validate_policy(
        market,
        np.arange(40) * 30 + 200,
        buy_and_hold(),
        costs=CostConfig(),
        reward=RewardConfig(),
        seed=1,
        context=ReportContext("GBP_JPY", "w"),
        mc_runs=100,
        rules=SessionRules(bars=SESSION),
    )
    failed = {condition["name"] for condition in report["figures"]["conditions"] if not condition["passed"]}
    assert "disjoint_sessions" in failed


def test_the_score_is_recorded_before_it_is_judged_and_deflates(market, report):
    seen = []

    def record(score):
        seen.append(score)
        return TrialHistory(40, (0.4, -0.4, 0.2, 0.0), chosen_among=40)

    deflated = validate(market, RandomTrader(Turnover(0.1, 0.1, 0.5), 1), record_trial=record)
    (score,) = seen
    assert score.trades == deflated["figures"]["trades"]
    assert score.sharpe_per_trade == deflated["figures"]["metrics"]["sharpe_per_trade"]
    found = deflated["figures"]["significance"]["deflated"]
    assert (found["trials"], found["variance_source"]) == (40, "sampling")
    assert deflated["figures"]["significance"]["deflated_measured"]["variance_source"] == "trials"
    assert found["probability"] < report["figures"]["significance"]["deflated"]["probability"]
    assert any("Trials are not counted" in warning for warning in report["figures"]["warnings"])
    assert not any("Trials are not counted" in warning for warning in deflated["figures"]["warnings"])


def test_progress_covers_the_whole_validation(market):
    seen = []
    validate(market, Flat(), progress=lambda fraction, figures: seen.append(fraction))
    assert seen == sorted(seen) and seen[-1] == 1.0


@pytest.mark.parametrize(
    ("value", "style", "text"),
    [
        (None, "pips", "\u2013"),
        (1.234, "pips", "+1.23 pips"),
        (-1234.5, "pips", "-1,234.5 pips"),
        (0.425, "percent", "42.5%"),
        (0.0, "probability", "below 0.01%"),
        (0.05, "probability", "5%"),
        (12345, "count", "12,345"),
    ],
)
def test_numbers_read_well(value, style, text):
    assert number(value, style) == text
