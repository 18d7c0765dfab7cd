"""A champion and what comes after it: replayed on newer windows, replaced by what is better, demoted when it fails."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from fx_pipeline.tracking.ledger import Ledger

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain


@pytest.fixture(scope="module")
def reign(chain: "Chain", tmp_path_factory: pytest.TempPathFactory) -> Iterator["Chain"]:
    """A copy of the chain in which the window before is the champion's, and the newest was validated beside it."""
    with chain.copied(tmp_path_factory.mktemp("reign") / "data") as copied:
        older = copied.instance.get_dynamic_partitions("walk_forward_window")[-2]
        copied.job("train", copied.key(older))
        copied.job("validate", copied.key(older))
        change(copied, older, verdict="promoted", expectancy_pips=1.0)
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
    """Turn a report into what a few episodes of training never earn."""
    path = chain.report.with_name(window) / "report.json"
    report = json.loads(path.read_text())
    report["figures"] |= figures
    if p_value is not None:
        report["figures"]["paired"]["p_value"] = p_value
    path.write_text(json.dumps(report))


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
    assert (paired["champion_sha256"], paired["champion_window"]) == (champion["sha256"], champion["window"])
    assert paired["sessions"] == report["figures"]["sessions"] == len(replayed.session_ns)
    assert (replayed.session_ns == challenger.session_ns).all()
    difference = challenger.session_pnl_pips - replayed.session_pnl_pips
    assert paired["mean_difference_pips"] == pytest.approx(difference.mean())
    # The replay is a trial like any other, and no candidate of a window that it was not trained for.
    assert report["figures"]["trials"] == 3 and report["figures"]["seeds"] == 1
    assert report["figures"]["family"]["trials"] == 1
    (event,) = reign.results["beside"].asset_materializations_for_node("validation_report")
    assert event.metadata["paired p"].value == paired["p_value"]
    page = (reign.report / "report.html").read_text()
    assert "Beside the champion" in page and champion["sha256"][:12] in page

    (path,) = standings(reign)
    standing = json.loads(path.read_text())
    assert path.stem == standing["window"] == reign.window and standing["sha256"] == champion["sha256"]
    assert standing["total_pips"] == pytest.approx(replayed.session_pnl_pips.sum())
    assert standing["sound"] and standing["passed"] is (standing["reasons"] == [])


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


def test_a_window_of_few_trades_is_said_to_be_passed_over(place: "Chain") -> None:
    (path,) = standings(place)
    path.unlink()
    place.changes = {**place.changes, "FX_PROMOTION": '{"telling_trades": 1000000}'}
    result = place.job("validate", place.key())
    said = [entry.user_message for entry in place.instance.all_logs(result.run_id) if getattr(entry, "level", 0) == 20]
    (line,) = (line for line in said if f"on window {place.window}: " in line)
    assert "fewer than 1000000 (telling_trades), it is passed over" in line


def test_a_challenger_that_is_not_better_does_not_replace_it(place: "Chain") -> None:
    before = champion_of(place)
    change(place, place.window, verdict="promoted", expectancy_pips=90.0, p_value=0.2)
    assert promoted(place) == {}
    assert champion_of(place) == before


def test_a_challenger_that_is_better_does_and_says_by_how_much(place: "Chain") -> None:
    before = champion_of(place)
    change(place, place.window, verdict="promoted", expectancy_pips=0.5, p_value=0.01)
    shown = promoted(place)
    assert shown["state"] == "champion" and shown["window"] == place.window and shown["version"] == "2"
    assert shown["paired p"] == 0.01 and shown["champion sha256"] == before["sha256"]
    record = champion_of(place)
    assert record["window"] == place.window and record["paired"]["champion_sha256"] == before["sha256"]


def registry() -> Any:
    from fx_pipeline.defs.resources import Tracking

    return Tracking().mlflow()


def fail_on(chain: "Chain", *windows: str) -> None:
    (path,) = standings(chain)
    failed = {"passed": False, "trades": 100, "reasons": ["It lost."], "drawdown_limit_pips": None}
    standing = json.loads(path.read_text()) | failed
    for window in windows:
        path.with_stem(window).write_text(json.dumps(standing | {"window": window}))


def fail_before(chain: "Chain") -> dict[str, Any]:
    """Let the champion be of an older window, and fail on two that the newest report is no older than."""
    record = champion_of(chain) | {"window": "2000-01-01"}
    (chain.data_dir / "champion" / "EUR_USD.json").write_text(json.dumps(record))
    fail_on(chain, chain.window, "2001-01-01")
    return record


def tick(chain: "Chain", cursor: str | None = None) -> Any:
    from fx_pipeline.defs.automation import promote_best

    with (
        dg.build_sensor_context(instance=chain.instance, cursor=cursor, definitions=chain.definitions()) as context,
        dg.partition_loading_context(dynamic_partitions_store=chain.instance),
    ):
        return promote_best.evaluate_tick(context)


def test_what_passed_before_there_was_this_champion_is_validated_beside_it(place: "Chain") -> None:
    change(place, place.window, verdict="promoted", expectancy_pips=1.0, paired=None)
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
    assert report["figures"]["paired"]["champion_sha256"] == champion_of(place)["sha256"]


def test_a_report_of_a_window_that_is_no_partition_holds_up_nothing(place: "Chain") -> None:
    """Asked for, it would fail the tick, and every one after it: data may outlive Dagster's record of them."""
    change(place, place.window, verdict="promoted", expectancy_pips=1.0, paired=None)
    gone = shutil.copytree(place.report, place.report.with_name("2090-01-02")) / "report.json"
    gone.write_text(gone.read_text().replace(f'"window": "{place.window}"', '"window": "2090-01-02"'))
    assert json.loads(gone.read_text())["figures"]["window"] == "2090-01-02"
    place.report_materialization("champion", place.instrument)
    live, beside = tick(place).run_requests
    assert (live.job_name, beside.partition_key) == ("live_trading", place.key())


def test_a_champion_that_fails_twice_is_demoted_and_the_live_job_opens_nothing(place: "Chain") -> None:
    before = champion_of(place)
    fail_on(place, place.window)
    place.report_materialization("validation_report", place.key())
    once = tick(place)
    assert not once.run_requests, "one window is not enough"

    fail_on(place, place.window, "2030-01-01")
    # What a kill leaves of another one is no standing.
    standings(place)[0].with_name(".tmp-1-0-2031-01-01.json").write_text("{")
    found = tick(place)
    (request,) = found.run_requests
    assert request.job_name == "promote"
    (event,) = place.job("promote", request.partition_key, request.run_config).asset_materializations_for_node(
        "champion"
    )
    shown = {name: value.value for name, value in event.metadata.items()}
    assert shown["state"] == "no champion: demoted" and "2 newer windows in a row" in shown["reason"]
    assert not (place.data_dir / "champion" / "EUR_USD.json").exists()
    assert registry().champion("EUR_USD-muzero") is None
    (version,) = registry().versions("EUR_USD-muzero")
    assert version.tags["demoted"] == shown["reason"] and version.tags["demoted_by_window"] == "2030-01-01"

    later = tick(place, found.cursor)
    (live,) = later.run_requests
    decision = place.job("live_trading", config=live.run_config).output_for_node("decide_live")
    assert decision["action"] == "HOLD" and decision["orders_sent"] == 0 and "was demoted" in decision["reason"]
    assert json.loads((place.data_dir / "live" / "EUR_USD.json").read_text())["action"] == "HOLD"
    # It does not come back by a report that stood before, and only newer days make a successor.
    change(place, before["window"], verdict="promoted")
    older = place.job("promote", place.instrument, config(before["window"]))
    change(place, place.window, verdict="promoted", expectancy_pips=1.0)
    assert not older.get_asset_materialization_events() and promoted(place) == {}
    assert registry().champion("EUR_USD-muzero") is None


@pytest.mark.parametrize("forgotten", [True, False])
def test_a_demotion_is_undone_by_hand_with_the_standings_behind_it(place: "Chain", forgotten: bool) -> None:
    before = champion_of(place)
    fail_on(place, place.window, "2030-01-01")
    assert promoted(place)["state"] == "no champion: demoted"
    (place.data_dir / "champion" / "demoted" / "EUR_USD.json").unlink()
    if forgotten:
        shutil.rmtree(standings(place)[0].parent)
    assert place.job("promote", place.instrument, config(before["window"])).get_asset_materialization_events()
    assert champion_of(place)["sha256"] == before["sha256"]
    assert (promoted(place) == {}) is forgotten, "the next report asks the standings again"


def test_a_successor_is_promoted_in_the_run_that_demotes(place: "Chain") -> None:
    record = fail_before(place)
    change(place, place.window, verdict="promoted", expectancy_pips=1.0, p_value=0.9)
    shown = promoted(place)
    assert shown["state"] == "champion" and shown["demoted sha256"] == record["sha256"]
    assert champion_of(place)["window"] == place.window
    assert registry().champion("EUR_USD-muzero").checkpoint_sha256 == shown["sha256"]


@pytest.mark.parametrize("step", ["remove_champion", "unlink", "register_model_version"])
def test_a_demotion_that_was_killed_is_in_force_and_is_completed(
    place: "Chain", monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The last of the steps is of the successor: its promotion was killed."""
    from fx_pipeline.defs.promotion import promote, read_champion
    from fx_pipeline.defs.resources import Tracking
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
        change(place, place.window, verdict="promoted", expectancy_pips=1.0)
    with monkeypatch.context() as patch:
        if step == "unlink":
            patch.setattr(Path, "unlink", killed_at_the_record)
        else:
            patch.setattr(Store, step, killed)
        with pytest.raises(KeyboardInterrupt):
            promote(load_settings(), Tracking(), "muzero", place.instrument, place.window, "a-run")
    assert champion_of(place)["sha256"] == before["sha256"]
    assert read_champion(load_settings(), place.instrument) is None, "nothing trades it from then on"
    # No report came since, and still it is asked for, once.
    (request,) = tick(place).run_requests
    assert (request.job_name, request.partition_key) == ("promote", place.instrument)
    assert tick(place).run_requests[0].run_key == request.run_key
    result = place.job("promote", request.partition_key, request.run_config)
    (event,) = result.asset_materializations_for_node("champion")
    assert event.metadata["demoted sha256"].value == before["sha256"], "which tells the live job"
    assert event.metadata["demoted dagster_run_id"].value == "a-run"
    alias = registry().champion("EUR_USD-muzero")
    if step == "register_model_version":
        assert champion_of(place)["sha256"] == alias.checkpoint_sha256 != before["sha256"]
    else:
        assert not path.exists() and alias is None
    assert [request.job_name for request in tick(place).run_requests] == ["live_trading"]


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
    assert report["figures"]["paired"]["champion_sha256"] == record["sha256"]
