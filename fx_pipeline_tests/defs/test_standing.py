"""A champion and what comes after it: replayed on newer windows, replaced by what is better, demoted when it fails."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from fx_pipeline.market.warehouse import WarehouseLockedError
from fx_pipeline.tracking.ledger import Ledger, Trial
from fx_pipeline_tests.defs.conftest import attest, warehouse_of

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain


@pytest.fixture(scope="module")
def reign(chain: "Chain", tmp_path_factory: pytest.TempPathFactory) -> Iterator["Chain"]:
    """A copy of the chain in which the window before is the champion's, and the newest was validated beside it."""
    with chain.copied(tmp_path_factory.mktemp("reign") / "data") as copied:
        older = copied.instance.get_dynamic_partitions("walk_forward_window")[-2]
        copied.job("train", copied.key(older))
        copied.job("validate", copied.key(older))
        attest(copied, older, expectancy_pips=1.0)
        assert copied.job("promote", copied.instrument, config(older)).get_asset_materialization_events()
        copied.results["beside"] = copied.job("validate", copied.key())
        yield copied


@pytest.fixture
def place(reign: "Chain", tmp_path: Path) -> Iterator["Chain"]:
    """A copy that a test may change; the champion's model lies where it was."""
    with reign.copied(tmp_path / "data") as copied, copied.environment():
        yield copied


def config(window: str) -> dict[str, Any]:
    return {"ops": {"champion": {"config": {"window": window}}}}


def change(chain: "Chain", window: str, p_value: float | None = None, **figures: Any) -> None:
    """Let the validation have found what a few episodes of training never earn."""
    path = chain.report.with_name(window) / "report.json"
    paired = json.loads(path.read_text())["figures"]["paired"]
    if p_value is not None:
        figures["paired"] = paired | {"p_value": p_value}
    attest(chain, window, **figures)


def standings(chain: "Chain") -> list[Path]:
    return sorted((chain.data_dir / "standings").rglob("*.json"))


def champion_of(chain: "Chain") -> Any:
    return json.loads((chain.data_dir / "champion" / "EUR_USD.json").read_text())


def promoted(chain: "Chain") -> dict[str, Any]:
    """Run the promotion of the newest window; return what the champion asset shows."""
    result = chain.job("promote", chain.instrument, config(chain.window))
    return {
        name: value.value
        for event in result.asset_materializations_for_node("champion")
        for name, value in event.metadata.items()
    }


def test_the_champion_is_replayed_on_the_newer_window_and_compared(reign: "Chain") -> None:
    champion, report = champion_of(reign), json.loads((reign.report / "report.json").read_text())
    ledger = Ledger(reign.data_dir / "ledger.db")
    (replayed,) = ledger.scored(reign.instrument, f"replay {reign.window}")
    (challenger,) = ledger.scored(reign.instrument, reign.window)
    paired = report["figures"]["paired"]
    assert (paired["champion_sha256"], paired["champion_window"]) == (champion["weights_sha256"], champion["window"])
    assert paired["sessions"] == report["figures"]["sessions"] == len(replayed.session_ns)
    assert (replayed.session_ns == challenger.session_ns).all()
    difference = challenger.session_pnl_pips - replayed.session_pnl_pips
    assert paired["mean_difference_pips"] == pytest.approx(difference.mean())
    # The replay chooses nothing: it is no candidate of a window that it was not trained for.
    assert report["figures"]["record"]["seeds"] == 1
    assert report["figures"]["family"]["trials"] == 1
    (event,) = reign.results["beside"].asset_materializations_for_node("validation_report")
    assert event.metadata["paired p"].value == paired["p_value"]
    page = (reign.report / "report.html").read_text()
    assert "Beside the champion" in page and champion["weights_sha256"][:12] in page

    (path,) = standings(reign)
    standing = json.loads(path.read_text())
    assert path.stem == standing["window"] == reign.window and standing["weights_sha256"] == champion["weights_sha256"]
    assert standing["total_pips"] == pytest.approx(replayed.session_pnl_pips.sum())
    assert standing["sound"] and standing["reasons"] == []
    assert standing["session_ns"] == replayed.session_ns.tolist()
    assert np.allclose(standing["session_pnl_pips"], replayed.session_pnl_pips)
    assert standing["valid_start_ns"] >= champion["valid_end_ns"], "bars after those that it was promoted for"
    assert standing["costs"] == champion["costs"] == replayed.costs


def test_nothing_is_replayed_twice_or_on_the_window_of_the_champion(place: "Chain") -> None:
    (path,) = standings(place)
    written = path.stat().st_mtime_ns
    older = champion_of(place)["window"]
    trials = Ledger(place.data_dir / "ledger.db").count()
    place.job("validate", place.key())
    place.job("validate", place.key(older))
    assert Ledger(place.data_dir / "ledger.db").count() == trials
    assert standings(place) == [path] and path.stat().st_mtime_ns == written


@pytest.mark.parametrize("content", ["{", '{"passed": false}', "[]"])
def test_a_damaged_standing_holds_up_nothing_and_is_written_again(place: "Chain", content: str) -> None:
    (path,) = standings(place)
    before = json.loads(path.read_text())
    path.write_text(content)
    place.report_materialization("validation_report", place.key())
    found = tick(place)
    assert not found.run_requests and f"{path.name} " in found.skip_message and "again" in found.skip_message
    place.job("validate", place.key())
    after = json.loads(path.read_text())
    assert after.pop("dagster_run_id") != before.pop("dagster_run_id") and after == before


def test_a_challenger_that_is_not_better_does_not_replace_it(place: "Chain") -> None:
    before = champion_of(place)
    change(place, place.window, expectancy_pips=90.0, p_value=0.2)
    assert promoted(place) == {}
    assert champion_of(place) == before


def test_a_challenger_that_is_better_does_and_says_by_how_much(place: "Chain") -> None:
    before = champion_of(place)
    change(place, place.window, expectancy_pips=0.5, p_value=0.01)
    shown = promoted(place)
    assert shown["state"] == "champion" and shown["window"] == place.window and shown["version"] == "2"
    assert shown["paired p"] == 0.01 and shown["champion sha256"] == before["weights_sha256"]
    record = champion_of(place)
    assert record["window"] == place.window and record["paired"]["champion_sha256"] == before["weights_sha256"]


def registry() -> Any:
    from fx_pipeline.defs.resources import Tracking

    return Tracking().mlflow()


DAY_NS = 86_400 * 1_000_000_000


def fail_on(chain: "Chain", *windows: str, first_ns: int | None = None, pips: float = -12.0) -> None:
    """Let the champion have lost `pips` a session in windows that come one after another, by file and ledger."""
    path = next(path for path in standings(chain) if path.stem == chain.window)
    before = json.loads(path.read_text())
    ledger = Ledger(chain.data_dir / "ledger.db")
    replays = ledger.scored(chain.instrument, f"replay {chain.window}")
    row = next(row for row in replays if row.costs == before["costs"])
    times = np.arange(30) * DAY_NS // 4 + (before["valid_end_ns"] if first_ns is None else first_ns)
    for window in windows:
        lost = np.linspace(0.8, 1.2, len(times)) * pips
        replay = Trial(
            **{name: getattr(row, name) for name in ("instrument", "config_hash", "checkpoint_hash", "seed", "costs")},
            **{name: getattr(row, name) for name in ("data_fingerprint", "evaluation_code")},
            window=f"replay {window}",
            agent="muzero",
            trades=len(times),
            expectancy_pips=pips,
            sharpe_per_trade=-1.0,
            session_ns=times,
            session_pnl_pips=lost,
        )
        assert ledger.record(replay)
        shapes = {f"session_{shape}_pips" for shape in ("lowest", "highest", "fall")}
        kept = {key: value for key, value in before.items() if key not in shapes}
        failed = {"window": window, "session_ns": times.tolist(), "session_pnl_pips": lost.tolist()}
        span = {"valid_start_ns": int(times[0]), "valid_end_ns": int(times[-1]) + DAY_NS // 4}
        path.with_stem(window).write_text(json.dumps(kept | failed | span))
        times = times + 30 * DAY_NS


def promise(chain: "Chain") -> None:
    """Let the champion have been promoted for a record that promises something: two pips a session, and much noise."""
    path, record = chain.data_dir / "champion" / "EUR_USD.json", champion_of(chain)
    frozen = chain.data_dir / record["model"] / "report.json"
    report = json.loads(frozen.read_text())
    pips = np.random.default_rng(1).normal(2.0, 8.0, 600).tolist()
    trades = {"session": list(range(600)), "pnl_pips": pips, "max_drawdown_pips": [2.0] * 600, "peak_pips": [1.0] * 600}
    report["figures"]["trade_list"] |= trades
    report["figures"] |= {"sessions": 600}
    # As of an earlier version, whose ledger kept no evidence.
    report["figures"]["record"]["windows"] = []
    frozen.write_text(json.dumps(report))
    record["report_sha256"] = hashlib.sha256(frozen.read_bytes()).hexdigest()
    path.write_text(json.dumps(record))


def fail_before(chain: "Chain") -> dict[str, Any]:
    """Let the champion be of an old window, and fail on two that the newest report is later than."""
    promise(chain)
    early_ns = pd.Timestamp("2000-01-01", tz="UTC").value
    record = champion_of(chain) | {"window": "2000-01-01", "valid_start_ns": early_ns, "valid_end_ns": early_ns}
    (chain.data_dir / "champion" / "EUR_USD.json").write_text(json.dumps(record))
    fail_on(chain, "2000-01-02", "2000-02-01", first_ns=early_ns + DAY_NS)
    return record


def tick(chain: "Chain", cursor: str | None = None) -> Any:
    from fx_pipeline.defs.automation import promote_best

    with (
        dg.build_sensor_context(instance=chain.instance, cursor=cursor, definitions=chain.definitions()) as context,
        dg.partition_loading_context(dynamic_partitions_store=chain.instance),
    ):
        return promote_best.evaluate_tick(context)


def test_what_passed_before_there_was_this_champion_is_validated_beside_it(place: "Chain") -> None:
    change(place, place.window, expectancy_pips=1.0, paired=None)
    # It was made of other things than there are now: of no champion.
    (place.report / "made_from.json").unlink()
    place.report_materialization("validation_report", place.key())
    found = tick(place)
    (request,) = found.run_requests
    assert (request.job_name, request.partition_key) == ("validate", place.key())
    # Nobody may have been told of the report when the champion came.
    place.report_materialization("champion", place.instrument)
    live, again = tick(place, found.cursor).run_requests
    assert live.job_name == "live_trading"
    # Dagster runs a key once: a champion that cannot be replayed is not tried for ever.
    assert (again.job_name, again.run_key) == ("validate", request.run_key)
    assert place.job("validate", request.partition_key).success
    report = json.loads((place.report / "report.json").read_text())
    assert report["figures"]["paired"]["champion_sha256"] == champion_of(place)["weights_sha256"]


def test_a_report_of_a_window_that_is_no_partition_holds_up_nothing(place: "Chain") -> None:
    """Asked for, it would fail the tick, and every one after it: data may outlive Dagster's record of them."""
    change(place, place.window, expectancy_pips=1.0, paired=None)
    gone = shutil.copytree(place.report, place.report.with_name("2090-01-02")) / "report.json"
    gone.write_text(gone.read_text().replace(f'"window": "{place.window}"', '"window": "2090-01-02"'))
    assert json.loads(gone.read_text())["figures"]["window"] == "2090-01-02"
    place.report_materialization("champion", place.instrument)
    live, beside = tick(place).run_requests
    assert (live.job_name, beside.partition_key) == ("live_trading", place.key())


def test_a_champion_whose_edge_is_gone_is_demoted_and_the_live_job_opens_nothing(place: "Chain") -> None:
    before = champion_of(place)
    promise(place)
    place.report_materialization("validation_report", place.key())
    once = tick(place)
    assert not once.run_requests, "it did nothing wrong"

    fail_on(place, "2029-01-01", "2030-01-01")
    # What a kill leaves of another one is no standing.
    standings(place)[0].with_name(".tmp-1-0-2031-01-01.json").write_text("{")
    found = tick(place)
    (request,) = found.run_requests
    assert request.job_name == "promote"
    (event,) = place.job("promote", request.partition_key, request.run_config).asset_materializations_for_node(
        "champion"
    )
    shown = {name: value.value for name, value in event.metadata.items()}
    assert shown["state"] == "no champion: demoted" and "its edge is gone: " in shown["reason"]
    assert not (place.data_dir / "champion" / "EUR_USD.json").exists()
    assert registry().champion("EUR_USD-muzero") is None
    (version,) = registry().versions("EUR_USD-muzero")
    assert version.tags["demoted"] == shown["reason"] and version.tags["demoted_by_window"] == "2030-01-01"

    later = tick(place, found.cursor)
    (live,) = later.run_requests
    decision = place.job("live_trading", config=live.run_config).output_for_node("decide_live")
    assert decision["action"] == "HOLD" and decision["orders_sent"] == 0 and "was demoted" in decision["reason"]
    assert json.loads((place.data_dir / "live" / "EUR_USD.json").read_text())["action"] == "HOLD"
    # It does not come back by a report that stood before, and only newer bars make a successor.
    change(place, before["window"])
    older = place.job("promote", place.instrument, config(before["window"]))
    change(place, place.window, expectancy_pips=1.0)
    assert not older.get_asset_materialization_events() and promoted(place) == {}
    assert registry().champion("EUR_USD-muzero") is None


@pytest.mark.parametrize("forgotten", [True, False])
def test_a_demotion_is_not_undone_by_removing_what_tells_of_it(place: "Chain", forgotten: bool) -> None:
    before = champion_of(place)
    promise(place)
    fail_on(place, "2029-01-01", "2030-01-01")
    assert promoted(place)["state"] == "no champion: demoted"
    (place.data_dir / "champion" / "demoted" / "EUR_USD.json").unlink()
    if forgotten:
        shutil.rmtree(standings(place)[0].parent)
    change(place, before["window"])
    result = place.job("promote", place.instrument, config(before["window"]))
    assert not (place.data_dir / "champion" / "EUR_USD.json").exists(), "the ledger knows what it made since"
    said = [entry.user_message for entry in place.instance.all_logs(result.run_id) if getattr(entry, "level", 0) == 30]
    assert any("traded after its record already, and the ledger knows how: " in line for line in said), said


def test_a_successor_is_promoted_in_the_run_that_demotes(place: "Chain") -> None:
    record = fail_before(place)
    change(place, place.window, expectancy_pips=1.0, p_value=0.9)
    shown = promoted(place)
    assert shown["state"] == "champion" and shown["demoted weights_sha256"] == record["weights_sha256"]
    assert champion_of(place)["window"] == place.window
    assert registry().champion("EUR_USD-muzero").weights_sha256 == shown["weights_sha256"]


@pytest.mark.parametrize("step", ["remove_champion", "unlink", "register_model_version"])
def test_a_demotion_that_was_killed_is_in_force_and_is_completed(
    place: "Chain", monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The last of the steps is of the successor: its promotion was killed."""
    from fx_pipeline.defs.resources import Tracking
    from fx_pipeline.lifecycle.champions import read_champion
    from fx_pipeline.lifecycle.promotion import promote
    from fx_pipeline.settings import load_settings
    from fx_pipeline.tracking.mlflow_store import Tracking as Store

    path, unlink = place.data_dir / "champion" / "EUR_USD.json", Path.unlink

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def killed_at_the_record(found: Path, missing_ok: bool = False) -> None:
        if found == path:
            raise KeyboardInterrupt
        unlink(found, missing_ok=missing_ok)

    before = fail_before(place)
    if step == "register_model_version":
        change(place, place.window, expectancy_pips=1.0)
    with monkeypatch.context() as patch:
        if step == "unlink":
            patch.setattr(Path, "unlink", killed_at_the_record)
        else:
            patch.setattr(Store, step, killed)
        with pytest.raises(KeyboardInterrupt):
            promote(
                load_settings(),
                warehouse_of(load_settings()),
                Tracking(),
                "muzero",
                place.instrument,
                place.window,
                "a-run",
            )
    assert champion_of(place)["weights_sha256"] == before["weights_sha256"]
    assert read_champion(load_settings(), place.instrument) is None, "nothing trades it from then on"
    # No report came since, and still it is asked for, once.
    (request,) = tick(place).run_requests
    assert (request.job_name, request.partition_key) == ("promote", place.instrument)
    assert tick(place).run_requests[0].run_key == request.run_key
    result = place.job("promote", request.partition_key, request.run_config)
    (event,) = result.asset_materializations_for_node("champion")
    assert event.metadata["demoted weights_sha256"].value == before["weights_sha256"], "which tells the live job"
    assert event.metadata["demoted dagster_run_id"].value == "a-run"
    alias = registry().champion("EUR_USD-muzero")
    if step == "register_model_version":
        assert champion_of(place)["weights_sha256"] == alias.weights_sha256 != before["weights_sha256"]
    else:
        assert not path.exists() and alias is None
    assert [request.job_name for request in tick(place).run_requests] == ["live_trading"]


def test_no_setting_switches_the_judgement_of_a_champion_off(place: "Chain") -> None:
    """At costs that differ by nothing its standings were once ignored, and then nothing could replace it."""
    from fx_pipeline.lifecycle.champions import read_champion
    from fx_pipeline.lifecycle.tenure import read_standings
    from fx_pipeline.settings import load_settings

    before, (path,) = champion_of(place), standings(place)
    stood = path.read_text()
    place.changes["FX_COST_FIXED_PIPS"] = "4.000001"
    place.job("validate", place.key())
    assert path.read_text() == stood, "judged at its own costs, whatever the settings are"
    report = json.loads((place.report / "report.json").read_text())
    assert report["lineage"]["costs"] != before["costs"]
    assert report["figures"]["paired"]["champion_sha256"] == before["weights_sha256"], "compared at the challenger's"
    champion = read_champion(load_settings(), place.instrument)
    assert champion is not None
    ((found,), unread) = read_standings(load_settings(), champion)
    assert found.sound and not unread
    # A challenger at costs that are nowhere lower may replace it, and a gone edge still ends it.
    change(place, place.window, expectancy_pips=0.5, p_value=0.01)
    promise(place)
    fail_on(place, "2029-01-01", "2030-01-01")
    assert "its edge is gone" in promoted(place)["reason"]


def test_a_challenger_at_costs_that_are_nowhere_lower_replaces_it(place: "Chain") -> None:
    place.changes["FX_COST_FIXED_PIPS"] = "4.000001"
    place.job("validate", place.key())
    change(place, place.window, expectancy_pips=0.5, p_value=0.01)
    assert promoted(place)["state"] == "champion"


@pytest.mark.parametrize("edit", ["results", "removed", "costs"])
def test_a_standing_that_the_ledger_does_not_bear_out_is_not_believed(place: "Chain", edit: str) -> None:
    from fx_pipeline.lifecycle.champions import read_champion
    from fx_pipeline.lifecycle.tenure import read_standings
    from fx_pipeline.settings import load_settings

    champion, (path,) = read_champion(load_settings(), place.instrument), standings(place)
    assert champion is not None
    standing = json.loads(path.read_text())
    if edit == "results":
        standing["session_pnl_pips"] = [pips + 5.0 for pips in standing["session_pnl_pips"]]
        path.write_text(json.dumps(standing))
    elif edit == "costs":
        champion = replace(champion, costs={**champion.costs, "slippage_pips": 1.0})
    else:
        path.unlink()
    ((found,), unread) = read_standings(load_settings(), champion)
    assert not unread and found.sound is (edit == "removed")
    if edit == "removed":
        assert found.session_pnl_pips == standing["session_pnl_pips"], "the ledger still knows"
    else:
        assert "has no replay of window" in found.reasons[0]


def test_a_standing_of_an_earlier_version_is_carried_over_by_the_ledger(place: "Chain") -> None:
    from fx_pipeline.lifecycle.champions import read_champion
    from fx_pipeline.lifecycle.tenure import read_standings
    from fx_pipeline.settings import load_settings

    champion, (path,) = read_champion(load_settings(), place.instrument), standings(place)
    assert champion is not None
    new = json.loads(path.read_text())
    old = {name: new[name] for name in ("window", "costs", "source", "sound", "reasons", "trades")}
    old |= {
        "schema": "fx_pipeline.standing/1",
        "sha256": new["weights_sha256"],
        "passed": False,
        "max_drawdown_pips": 3.0,
        "drawdown_limit_pips": 9.0,
    }
    path.write_text(json.dumps(old))
    ((found,), unread) = read_standings(load_settings(), champion)
    assert not unread and found.session_pnl_pips == new["session_pnl_pips"]
    assert found.valid_end_ns == new["valid_end_ns"]
    path.write_text(json.dumps(old | {"window": "2023-01-01"}))
    (_, (line,)) = read_standings(load_settings(), champion)
    assert "the ledger has no row of it: validate its window again" in line


def test_a_champion_of_an_earlier_version_knows_its_bars_by_its_report(place: "Chain") -> None:
    from fx_pipeline.lifecycle.champions import read_champion
    from fx_pipeline.settings import load_settings

    new = champion_of(place)
    gone = ("valid_start_ns", "valid_end_ns", "promoted", "report_sha256", "record_sha256", "origin", "gate")
    old = {name: value for name, value in new.items() if name not in gone} | {"schema": "fx_pipeline.champion/2"}
    old["sha256"] = old.pop("weights_sha256")
    (place.data_dir / "champion" / "EUR_USD.json").write_text(json.dumps(old))
    champion = read_champion(load_settings(), place.instrument)
    assert champion is not None and champion.valid_end_ns == new["valid_end_ns"]
    (place.data_dir / old["model"] / "report.json").unlink()
    champion = read_champion(load_settings(), place.instrument)
    assert champion is not None and champion.valid_end_ns == new["valid_end_ns"], "by the plan"


def test_a_champion_that_cannot_be_judged_loses_its_place(copy: "Chain") -> None:
    """Played by the real jobs: its weights are gone before others are validated on newer days."""
    older = copy.instance.get_dynamic_partitions("walk_forward_window")[-2]
    copy.changes["FX_PROMOTION"] = '{"unjudged_windows": 1}'
    copy.job("train", copy.key(older))
    copy.job("validate", copy.key(older))
    attest(copy, older)
    copy.job("promote", copy.instrument, config(older))
    (copy.data_dir / champion_of(copy)["model"] / "weights.safetensors").unlink()
    assert copy.job("validate", copy.key()).success
    (path,) = standings(copy)
    standing = json.loads(path.read_text())
    assert not standing["sound"] and "weights.safetensors of the champion is missing" in standing["reasons"][0]
    shown = promoted(copy)
    assert shown["state"] == "no champion: demoted" and "it cannot be judged on its newest 1 window" in shown["reason"]


@pytest.mark.parametrize("error", [WarehouseLockedError("held by a notebook"), MemoryError("full")])
def test_a_busy_machine_is_no_word_on_the_champion(
    place: "Chain", monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*arguments: object) -> None:
        raise error

    before = {path: path.read_bytes() for path in standings(place)}
    monkeypatch.setattr("fx_pipeline.lifecycle.standing._stand", fails)
    with pytest.raises(type(error)):
        place.job("validate", place.key())
    after = {path: path.read_bytes() for path in standings(place)}
    assert after == before, "nothing says that it could not be judged"


def test_a_champion_that_cannot_be_replayed_does_not_hold_up_the_report(place: "Chain") -> None:
    path, record = place.data_dir / "champion" / "EUR_USD.json", champion_of(place)
    model = place.data_dir / record["model"]
    model.rename(model.with_name("gone"))
    result = place.job("validate", place.key())
    assert result.success
    report = json.loads((place.report / "report.json").read_text())
    assert report["figures"]["paired"] is None
    said = [entry.user_message for entry in place.instance.all_logs(result.run_id) if getattr(entry, "level", 0) == 30]
    (line,) = (line for line in said if "cannot be replayed" in line)
    assert f"Restore {model}, or retire it: delete {path}." in line
    # Restored, it is compared again: the report without it does not stand for the one with it.
    model.with_name("gone").rename(model)
    place.job("validate", place.key())
    report = json.loads((place.report / "report.json").read_text())
    assert report["figures"]["paired"]["champion_sha256"] == record["weights_sha256"]
