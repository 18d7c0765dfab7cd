"""Assets of hourly candles: imported, downloaded, or built from the minutes, with their checks, through Dagster."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.broker.paper.synthetic import synthetic_bars
from fx_pipeline.defs.candle_checks import candle_checks
from fx_pipeline.defs.freshness import currency_of, freshness_sensor
from fx_pipeline.defs.keeping_current import candle_schedule
from fx_pipeline.defs.market_data import candle_assets, m1_candles, raw_candles
from fx_pipeline.defs.resources import build_resources
from fx_pipeline.defs.settings import SETTINGS
from fx_pipeline.import_command import run_import
from fx_pipeline.ingest.lake import read_candles
from fx_pipeline.ingest.layout import lake_folder, lake_months, lake_path, paper_store
from fx_pipeline.ingest.resample import resample
from fx_pipeline.market.alignment import expected_bars
from fx_pipeline.market.candles import CANDLE_SCHEMA
from fx_pipeline.market.files import write_table
from fx_pipeline.market.timeframe import H1, M1, D
from fx_pipeline.settings import load_settings
from fx_pipeline_tests.defs.conftest import MONTH, QUIET
from fx_pipeline_tests.ingest.test_gaps import ns

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain


def materialize(place: "Chain", assets: list[dg.AssetsDefinition], month: str, instrument: str = "EUR_USD") -> Any:
    """The assets of a month in one run, with the checks of hourly candles."""
    keys = {asset.key for asset in assets}
    checks = [check for check in candle_checks(H1) if {key.asset_key for key in check.check_keys} <= keys]
    resources = place.definitions().resources
    with place.environment():
        return dg.materialize(
            [*assets, *checks],
            instance=place.instance,
            partition_key=place.month_key(month, instrument),
            resources=resources,
            run_config=QUIET,
        )


def metadata(result: Any, asset: str) -> dict[str, Any]:
    (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey(asset)]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def outcomes(result: Any) -> dict[str, bool]:
    return {found.check_name: found.passed for found in result.get_asset_check_evaluations()}


def test_assets_are_named_by_their_timeframe_and_made_once() -> None:
    assert candle_assets(M1)[1:] == (raw_candles, m1_candles)
    hours = candle_assets(H1)
    assert hours is candle_assets(H1) and candle_checks(H1) is candle_checks(H1)
    assert [asset.key.to_user_string() for asset in hours[1:]] == ["raw_candles_h1", "h1_candles"]
    assert hours.lake.asset_deps[hours.lake.key] == {hours.raw.key, m1_candles.key}
    days = candle_assets(D)
    job = dg.define_asset_job("ingest_h1", selection=[*hours[1:]])
    # All of it stands in one code location.
    definitions = dg.Definitions(
        assets=[raw_candles, m1_candles, *hours[1:], *days[1:]],
        asset_checks=[*candle_checks(M1), *candle_checks(H1), *candle_checks(D)],
        jobs=[job],
        sensors=[freshness_sensor(M1), freshness_sensor(H1)],
        schedules=[candle_schedule(H1, job)],
        resources=build_resources(SETTINGS),
    )
    dg.Definitions.validate_loadable(definitions)
    assert definitions.get_schedule_def("keep_current_h1").job_name == "ingest_h1"


def test_an_imported_file_travels_to_the_lake_as_it_is(empty: "Chain", tmp_path: Path) -> None:
    minutes = synthetic_bars("EUR_USD", ns("2024-01-01"), ns("2024-02-10")).table("imported")
    frame = resample(minutes, H1, ns("2024-01-01"), ns("2024-02-10")).to_pandas()
    columns = {f"mid_{name[0]}": name for name in ("open", "high", "low", "close")}
    path = tmp_path / "EUR_USD_H1.parquet"
    frame.rename(columns=columns)[["time", *columns.values(), "volume"]].to_parquet(path)
    assert run_import([path], empty.data_dir).timeframe == "H1"
    done = materialize(empty, [*candle_assets(H1)[1:]], MONTH)
    found = metadata(done, "h1_candles")
    assert (found["source"], found["made of"]) == ("imported", "pages of H1 bars")
    stored = candle_store.read_month(paper_store(empty.data_dir), "EUR_USD", MONTH, H1)
    assert read_candles(lake_folder(empty.data_dir), "EUR_USD", timeframe=H1).equals(stored)
    # An hour of a month is no minute of it: where minutes are asked for, none are made up.
    assert metadata(materialize(empty, [raw_candles, m1_candles], MONTH), "m1_candles")["source"] == "none"


def test_hours_are_downloaded_by_the_road_of_the_minutes(empty: "Chain") -> None:
    raw, lake = candle_assets(H1)[1:]
    done = materialize(empty, [raw, lake], MONTH)
    found, pages = metadata(done, "h1_candles"), metadata(done, "raw_candles_h1")
    assert pages["dagster/row_count"] == found["dagster/row_count"] > 500
    assert found["made of"] == "pages of H1 bars" and found["source"] == "synthetic"
    assert found["missing bars"] == 0 and found["expected bars"] == found["dagster/row_count"]
    assert lake_months(lake_folder(empty.data_dir), "EUR_USD", H1) == [MONTH]
    assert not lake_months(lake_folder(empty.data_dir), "EUR_USD")
    assert outcomes(done) == {
        "candles_are_sane": True,
        "months_have_candles": True,
        "gaps_are_few": True,
        "history_stands": True,
        "made_of_present_data": True,
        "EUR_USD_is_current": True,
        "GBP_USD_is_current": False,
    }


def test_hours_are_built_from_minutes_where_nothing_was_downloaded(empty: "Chain") -> None:
    lake = candle_assets(H1).lake
    done = materialize(empty, [raw_candles, m1_candles, lake], MONTH)
    found = metadata(done, "h1_candles")
    assert found["made of"] == "the lake's M1 bars" and found["dagster/row_count"] > 500
    hours, minutes = (read_candles(lake_folder(empty.data_dir), "EUR_USD", timeframe=of) for of in (H1, M1))
    assert hours["volume"].to_numpy().sum() == minutes["volume"].to_numpy().sum()
    assert outcomes(done)["made_of_present_data"] and outcomes(done)["candles_are_sane"]
    # The two versions of the inputs are noted, so that the UI knows when other minutes come.
    (event,) = [e for e in done.get_asset_materialization_events() if e.asset_key == lake.key]
    tags = event.materialization.tags or {}
    minutes_file = metadata(done, "m1_candles")["sha256"]
    assert tags["dagster/input_data_version/m1_candles"] == minutes_file
    assert tags["dagster/input_data_version/raw_candles_h1"] == "empty"


def test_minutes_that_come_later_complete_the_last_day_of_the_month_before(empty: "Chain") -> None:
    days = candle_assets(D).lake
    materialize(empty, [raw_candles, m1_candles, days], MONTH)
    before = read_candles(lake_folder(empty.data_dir), "EUR_USD", timeframe=D)
    done = materialize(empty, [raw_candles, m1_candles, days], "2024-02")
    made = [str(e.partition) for e in done.get_asset_materialization_events() if e.asset_key == days.key]
    assert made == [f"EUR_USD|{MONTH}", "EUR_USD|2024-02"]
    after = read_candles(lake_folder(empty.data_dir), "EUR_USD", None, ns("2024-02-01"), D)
    assert len(after) == len(before) + 1 and after.slice(0, len(before)).equals(before)


@pytest.mark.parametrize(
    ("now", "behind", "current"),
    [
        ("2024-05-10T22:00", 0, True),
        ("2024-05-12T20:00", 0, True),
        ("2024-05-12T22:30", 87, True),
        ("2024-05-13T06:00", 537, False),
    ],
)
def test_an_hour_may_run(empty: "Chain", now: str, behind: int, current: bool) -> None:
    empty.changes |= {
        "FX_OANDA_ENVIRONMENT": "practice",
        "FX_OANDA_TOKEN": "none",
        "FX_OANDA_ACCOUNT": "101-001-1234567-001",
    }
    with empty.environment():
        settings = load_settings()
        times = expected_bars(settings.calendar_of("EUR_USD"), ns("2024-05-08"), ns("2024-05-11"), H1)
        _store_hours(empty.data_dir, times)
        found = currency_of(settings, "EUR_USD", ns(now), H1)
    assert found.metadata["expected minutes since"].value == behind
    assert found.passed is current and found.asset_key == dg.AssetKey("h1_candles")
    assert found.metadata["allowed"].value == settings.stale_minutes + 60


def _store_hours(data_dir: Path, times: np.ndarray) -> None:
    columns = [
        pa.array(times).cast(field.type) if field.name == "time" else pa.nulls(len(times), field.type)
        for field in CANDLE_SCHEMA
    ]
    schema = pa.schema([field.with_nullable(True) for field in CANDLE_SCHEMA])
    write_table(lake_path(lake_folder(data_dir), "EUR_USD", "2024-05", H1), pa.table(columns, schema=schema))
