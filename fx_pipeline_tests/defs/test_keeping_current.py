"""The schedule asks for every month that may have new candles, and the sensor prepares what came in."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.defs.freshness import currency_of
from fx_pipeline.defs.keeping_current import keep_current, prepare_new_candles
from fx_pipeline.defs.market_time import machine_ns, market_ns
from fx_pipeline.ingest.lake import build_month
from fx_pipeline.ingest.layout import raw_folder
from fx_pipeline.ingest.raw import download_month
from fx_pipeline.market.errors import BrokerError
from fx_pipeline.market.months import month_bounds
from fx_pipeline.settings import load_settings
from fx_pipeline_tests.broker.paper.conftest import serving
from fx_pipeline_tests.broker.paper.fidelity.bench import TOKEN
from fx_pipeline_tests.ingest.conftest import DAY, FakeClient

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain

#: A Wednesday afternoon in London.
ACCOUNT = {
    "FX_OANDA_ENVIRONMENT": "practice",
    "FX_OANDA_TOKEN": "none",
    "FX_OANDA_ACCOUNT": "101-001-1234567-001",
}
WEDNESDAY = datetime(2024, 5, 15, 14, 7, tzinfo=UTC)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance on disk: a schedule takes no other."""
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance:
        yield instance


@pytest.fixture
def place(empty: "Chain", stored: dg.DagsterInstance) -> Iterator["Chain"]:
    """An empty data folder whose candles come from an account."""
    stored.wipe()
    empty.instance = stored
    empty.changes |= ACCOUNT
    with empty.environment():
        yield empty


def tick(chain: "Chain", at: datetime = WEDNESDAY) -> Any:
    with dg.build_schedule_context(
        instance=chain.instance,
        scheduled_execution_time=at,
        repository_def=chain.definitions().get_repository_def(),
    ) as context:
        return keep_current.evaluate_tick(context)


def keys(found: Any) -> list[str]:
    return [request.partition_key for request in found.run_requests]


def downloaded(chain: "Chain", instrument: str, month: str, complete: bool) -> None:
    """A month without a candle, downloaded after its end or in its midst, and built."""
    now_ns = month_bounds(month)[1 if complete else 0] + 4 * DAY
    client = FakeClient(Bars.empty(), now_ns=now_ns)
    folder = raw_folder(chain.data_dir, instrument, month)
    assert download_month(client, instrument, month, folder, now_ns=now_ns).complete is complete
    build_month(chain.data_dir, instrument, month, now_ns)


def test_each_instrument_and_month_is_a_run_of_its_own(place: "Chain") -> None:
    found = tick(place)
    assert keys(found) == ["EUR_USD|2024-04", "EUR_USD|2024-05", "GBP_USD|2024-04", "GBP_USD|2024-05"]
    run_keys = {request.run_key for request in found.run_requests}
    assert len(run_keys) == 4
    # The same tick again asks for nothing more; the next one does.
    assert {request.run_key for request in tick(place).run_requests} == run_keys
    later = tick(place, WEDNESDAY.replace(hour=15))
    assert not run_keys & {request.run_key for request in later.run_requests}
    assert all(request.tags["dagster/max_runtime"] == "3600" for request in found.run_requests)


def test_complete_month_is_left_alone_and_a_pause_is_made_up_for(place: "Chain") -> None:
    downloaded(place, "EUR_USD", "2024-04", complete=True)
    downloaded(place, "GBP_USD", "2024-02", complete=False)
    assert keys(tick(place)) == ["EUR_USD|2024-05", *(f"GBP_USD|2024-0{month}" for month in range(2, 6))]


def test_months_before_the_history_are_not_asked_for(place: "Chain", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FX_HISTORY_START", "2024-05")
    assert keys(tick(place)) == ["EUR_USD|2024-05", "GBP_USD|2024-05"]


def test_nothing_is_asked_for_while_the_market_is_closed(place: "Chain", monkeypatch: pytest.MonkeyPatch) -> None:
    for instrument in ("EUR_USD", "GBP_USD"):
        place.report_materialization("m1_candles", place.month_key("2024-05", instrument))
    # Just built, as the clock of this machine says: so the closed market is one of today.
    now = datetime.now(tz=UTC)
    closed = ((now + timedelta(days=days)).date().isoformat() for days in range(-3, 3))
    monkeypatch.setenv("FX_HOLIDAYS", ",".join(closed))
    monkeypatch.setattr("fx_pipeline.ingest.pending.pending_months", lambda *_: ["2024-05"])
    found = tick(place, now)
    assert not found.run_requests and "the market is closed" in found.skip_message


def test_month_that_is_under_way_is_not_asked_for_again(place: "Chain") -> None:
    job = place.definitions().resolve_job_def("ingest")
    partition = place.month_key("2024-05")
    place.instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": str(partition)}
    )
    assert str(partition) not in keys(tick(place)) and len(keys(tick(place))) == 3


@pytest.mark.parametrize(
    ("first", "last", "left"),
    [
        ("EUR_USD|2024-03", "EUR_USD|2024-05", {"GBP_USD|2024-04", "GBP_USD|2024-05"}),
        # A range reaches over both axes, and has more than its two ends.
        ("EUR_USD|2024-01", "GBP_USD|2024-04", {"EUR_USD|2024-05", "GBP_USD|2024-05"}),
        ("EUR_USD|2024-01", "GBP_USD|2024-06", set()),
    ],
)
def test_months_of_a_range_that_is_under_way_are_not_asked_for_again(
    place: "Chain", first: str, last: str, left: set[str]
) -> None:
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    job = place.definitions().resolve_job_def("ingest")
    place.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
    assert set(keys(tick(place)) if left else []) == left
    if not left:
        assert "all runs are under way" in tick(place).skip_message


def test_range_of_an_instrument_that_is_no_more_holds_nothing_up(place: "Chain") -> None:
    job = place.definitions().resolve_job_def("ingest")
    run = place.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    # It was launched when there was such an instrument: today none could be made.
    ends = {"start": "NZD_USD|2024-01", "end": "NZD_USD|2024-05"}
    place.instance.add_run_tags(run.run_id, {f"dagster/asset_partition_range_{end}": key for end, key in ends.items()})
    assert len(keys(tick(place))) == 4


def test_instrument_that_came_into_the_settings_later_is_left_out(
    place: "Chain", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FX_INSTRUMENTS", "EUR_USD,AUD_NZD")
    assert keys(tick(place)) == ["EUR_USD|2024-04", "EUR_USD|2024-05"]
    monkeypatch.setattr("fx_pipeline.ingest.pending.pending_months", lambda *_: [])
    assert "Left out: AUD_NZD: restart make ui." in tick(place).skip_message


def test_month_that_the_pipeline_does_not_have_is_left_out(place: "Chain", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fx_pipeline.ingest.pending.pending_months", lambda *_: ["1999-12", "2024-05", "2999-01"])
    assert keys(tick(place)) == ["EUR_USD|2024-05", "GBP_USD|2024-05"]


def test_long_pause_is_made_up_for_in_several_ticks(place: "Chain") -> None:
    downloaded(place, "EUR_USD", "2019-01", complete=False)
    asked = [key for key in keys(tick(place)) if key.startswith("EUR_USD")]
    # The running month is not left waiting for the old ones.
    assert len(asked) == 24 and (asked[0], asked[-2], asked[-1]) == (
        "EUR_USD|2019-01",
        "EUR_USD|2020-11",
        "EUR_USD|2024-05",
    )


@pytest.fixture
def replay(empty: "Chain", stored: dg.DagsterInstance, tmp_path: Path) -> Iterator["Chain"]:
    """An empty data folder whose candles come from a paper broker, where it is noon on 13 March 2024."""
    stored.wipe()
    empty.instance = stored
    with serving(tmp_path / "broker") as client:
        empty.changes |= {"FX_PAPER_URL": client.url, "FX_PAPER_TOKEN": TOKEN, "FX_INSTRUMENTS": "EUR_USD"}
        with empty.environment():
            yield empty


def test_broker_that_replays_the_past_is_asked_for_what_it_has_by_its_own_time(replay: "Chain") -> None:
    now = datetime.now(tz=UTC)
    assert keys(tick(replay, now)) == ["EUR_USD|2024-02", "EUR_USD|2024-03"]
    for month in ("2024-02", "2024-03"):
        assert replay.job("ingest", replay.month_key(month)).success
    # Its clock stands still, so that nothing new can have come; the same is true of what is current.
    found = tick(replay, now)
    assert not found.run_requests and "nothing new can have come" in found.skip_message
    assert currency_of(load_settings(), "EUR_USD", market_ns(load_settings(), machine_ns())).passed
    assert replay.check("m1_candles.EUR_USD_is_current").passed


def test_months_of_another_time_do_not_hide_what_a_replay_has(replay: "Chain") -> None:
    later = raw_folder(replay.data_dir, "EUR_USD", "2024-06")
    client = FakeClient(Bars.empty(), environment="paper", now_ns=month_bounds("2024-07")[1])
    download_month(client, "EUR_USD", "2024-06", later, now_ns=month_bounds("2024-07")[1])
    assert keys(tick(replay, datetime.now(tz=UTC))) == ["EUR_USD|2024-02", "EUR_USD|2024-03"]


def test_paper_broker_that_is_not_there_fails_the_tick(empty: "Chain", stored: dg.DagsterInstance) -> None:
    empty.instance = stored
    empty.changes |= {"FX_PAPER_URL": "http://127.0.0.1:1", "FX_PAPER_TOKEN": TOKEN}
    with empty.environment(), pytest.raises(dg.DagsterError, match="keep_current") as failed:
        tick(empty)
    cause = failed.value.__cause__
    assert isinstance(cause, BrokerError) and "127.0.0.1:1 could not be reached" in str(cause)


def test_embedded_server_gets_nothing_new_and_the_tick_says_so(empty: "Chain") -> None:
    with empty.environment():
        found = tick(empty)
    assert not found.run_requests
    assert "embedded paper server has history only" in found.skip_message
    assert "FX_OANDA_ENVIRONMENT=practice" in found.skip_message


def came_in(chain: "Chain", key: str, written: bool = True) -> None:
    chain.instance.report_runless_asset_event(
        dg.AssetMaterialization("m1_candles", partition=key, metadata={"file written": written})
    )


def look(chain: "Chain", cursor: str | None = None) -> Any:
    with dg.build_sensor_context(instance=chain.instance, cursor=cursor, definitions=chain.definitions()) as context:
        return prepare_new_candles.evaluate_tick(context)


def test_new_candles_are_prepared_once_an_instrument(place: "Chain") -> None:
    for key in ("EUR_USD|2024-04", "EUR_USD|2024-05", "GBP_USD|2024-05"):
        came_in(place, key)
    found = look(place)
    assert keys(found) == ["EUR_USD", "GBP_USD"]
    assert [r.run_key for r in look(place).run_requests] == [r.run_key for r in found.run_requests]
    assert look(place, found.cursor).skip_message == "no new candles."
    came_in(place, "GBP_USD|2024-05")
    assert keys(look(place, found.cursor)) == ["GBP_USD"]


def test_candles_that_stayed_as_they_were_need_no_features(place: "Chain") -> None:
    came_in(place, "EUR_USD|2024-05", written=False)
    assert look(place).skip_message == "no new candles."


def test_instrument_that_is_configured_no_more_is_left_alone(place: "Chain") -> None:
    came_in(place, "NZD_USD|2024-05")
    found = look(place)
    assert not found.run_requests and "NZD_USD" not in found.cursor


def test_what_somebody_prepared_already_is_left_alone(place: "Chain") -> None:
    came_in(place, "EUR_USD|2024-05")
    place.report_materialization("feature_table", "EUR_USD")
    assert not look(place).run_requests


@pytest.mark.parametrize(
    ("job", "tags"),
    [
        ("ingest", {"dagster/partition": "EUR_USD|2024-06"}),
        (
            "ingest",
            {
                "dagster/asset_partition_range_start": "EUR_USD|2024-05",
                "dagster/asset_partition_range_end": "EUR_USD|2024-09",
            },
        ),
    ],
)
def test_instrument_is_prepared_when_all_of_it_is_in(place: "Chain", job: str, tags: dict[str, str]) -> None:
    run = place.instance.create_run_for_job(
        place.definitions().resolve_job_def(job), status=dg.DagsterRunStatus.STARTED, tags=tags
    )
    came_in(place, "EUR_USD|2024-05")
    came_in(place, "GBP_USD|2024-05")
    found = look(place)
    assert keys(found) == ["GBP_USD"]
    waiting = look(place, found.cursor)
    assert not waiting.run_requests and waiting.skip_message == "EUR_USD: candles are still coming in."
    # A run that fails in the end has brought in what it could.
    place.instance.report_run_failed(run)
    assert keys(look(place, waiting.cursor)) == ["EUR_USD"]


def test_many_events_take_several_ticks(place: "Chain", monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fx_pipeline.defs.events._BATCH", 2)
    for month in range(1, 6):
        came_in(place, f"EUR_USD|2024-0{month}")
    cursor, requested = None, []
    for _ in range(4):
        found = look(place, cursor)
        cursor, requested = found.cursor, requested + keys(found)
    assert set(requested) == {"EUR_USD"} and look(place, cursor).skip_message == "no new candles."
