"""Candles are current or not as the FX calendar sees it, and the UI is told also when nothing runs."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import dagster as dg
import numpy as np
import pytest
from dagster._core.definitions.freshness import CronFreshnessPolicy

from fx_pipeline.defs import freshness
from fx_pipeline.defs.freshness import currency_of, freshness_policy, watch_freshness
from fx_pipeline.settings import load_settings
from fx_pipeline_tests.ingest.test_gaps import store

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain


ACCOUNT = {
    "FX_OANDA_ENVIRONMENT": "practice",
    "FX_OANDA_TOKEN": "none",
    "FX_OANDA_ACCOUNT": "101-001-1234567-001",
}


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


@pytest.fixture
def place(empty: "Chain") -> Iterator["Chain"]:
    """A lake whose newest EUR_USD bar is the last one of Friday, 10 May 2024."""
    empty.changes |= ACCOUNT
    with empty.environment():
        times = load_settings().calendar_of("EUR_USD").expected_minutes(ns("2024-05-08"), ns("2024-05-11"))
        store(empty.data_dir / "lake", "2024-05", times)
        yield empty


@pytest.mark.parametrize(
    ("now", "behind", "current"),
    [
        ("2024-05-10T21:00", 0, True),
        ("2024-05-12T20:00", 0, True),
        ("2024-05-12T21:33", 30, True),
        ("2024-05-13T01:00", 237, False),
    ],
)
def test_weekend_makes_nothing_old(place: "Chain", now: str, behind: int, current: bool) -> None:
    found = currency_of(load_settings(), "EUR_USD", ns(now))
    assert found.passed is current and found.severity == dg.AssetCheckSeverity.WARN
    assert found.metadata["expected minutes since"].value == behind
    assert found.metadata["newest bar"].value == "2024-05-10T20:57Z"


def test_holiday_makes_nothing_old(place: "Chain", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FX_HOLIDAYS", "2024-05-13")
    assert currency_of(load_settings(), "EUR_USD", ns("2024-05-13T21:00")).passed


def test_instrument_without_candles_is_not_current(place: "Chain") -> None:
    found = currency_of(load_settings(), "GBP_USD", ns("2024-05-13"))
    assert not found.passed and "no candles yet" in str(found.metadata["note"].value)


def test_instrument_without_candles_is_not_current_whatever_the_source(
    place: "Chain", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FX_OANDA_ENVIRONMENT", "paper")
    found = currency_of(load_settings(), "GBP_USD", ns("2024-05-13"))
    assert not found.passed and found.metadata["newest bar"].value == "none"
    assert "ingest some months" in str(found.metadata["note"].value)


def test_history_is_never_old(place: "Chain", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FX_OANDA_ENVIRONMENT", "paper")
    found = currency_of(load_settings(), "EUR_USD", ns("2030-01-01"))
    assert found.passed and "history only" in str(found.metadata["note"].value)


def test_bar_of_years_ago_is_old_and_the_years_are_not_counted(place: "Chain", monkeypatch: pytest.MonkeyPatch) -> None:
    found = currency_of(load_settings(), "EUR_USD", ns("2044-05-13"))
    assert not found.passed and found.metadata["expected minutes since"].value < 36_000
    assert found.metadata["note"].value == "minutes after 2024-06-14T20:57Z are not counted any more."
    monkeypatch.setenv("FX_STALE_MINUTES", "50000")
    found = currency_of(load_settings(), "EUR_USD", ns("2044-05-13"))
    assert not found.passed and found.metadata["expected minutes since"].value > 50_000


def test_broken_file_is_told_of_its_instrument_only(place: "Chain", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "machine_ns", lambda: ns("2024-05-11"))
    times = load_settings().calendar_of("EUR_USD").expected_minutes(ns("2024-05-08"), ns("2024-05-11"))
    store(place.data_dir / "lake", "2024-05", times)
    broken = place.data_dir / "lake" / "m1" / "GBP_USD" / "2024-05.parquet"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"PAR1")
    assert [(event.check_name, event.passed) for event in look(place).asset_events] == [
        ("EUR_USD_is_current", True),
        ("GBP_USD_is_current", False),
    ]


def test_paper_broker_that_does_not_answer_is_no_current_source(
    place: "Chain", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FX_OANDA_ENVIRONMENT", "paper")
    monkeypatch.setenv("FX_PAPER_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("FX_PAPER_TOKEN", "none")
    first = look(place).asset_events[0]
    assert not first.passed and "the market's time is not known: 127.0.0.1:1" in str(first.metadata["note"].value)
    assert freshness_policy(load_settings()) is None, "Dagster's own policy knows the machine's time only"


def test_instrument_that_came_into_the_settings_later_is_not_watched(
    place: "Chain", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FX_INSTRUMENTS", "EUR_USD,AUD_NZD")
    found = look(place)
    assert [event.check_name for event in found.asset_events] == ["EUR_USD_is_current"]
    assert "Not watched: AUD_NZD, not known when the pipeline was loaded: restart make ui." in found.skip_message


def look(chain: "Chain", cursor: str | None = None) -> Any:
    with dg.build_sensor_context(instance=chain.instance, cursor=cursor, definitions=chain.definitions()) as context:
        return watch_freshness.evaluate_tick(context)


def test_change_is_reported_once(place: "Chain", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "machine_ns", lambda: ns("2024-05-11"))
    first = look(place)
    assert {event.check_name: event.passed for event in first.asset_events} == {
        "EUR_USD_is_current": True,
        "GBP_USD_is_current": False,
    }
    assert not look(place, first.cursor).asset_events
    monkeypatch.setattr(freshness, "machine_ns", lambda: ns("2024-05-14"))
    assert first.asset_events[0].target_materialization_data is None
    place.report_materialization("m1_candles", place.month_key("2024-05"))
    later = look(place, first.cursor)
    assert later.asset_events[0].target_materialization_data.storage_id > 0
    assert [(event.check_name, event.passed) for event in later.asset_events] == [("EUR_USD_is_current", False)]


def test_check_of_the_page_says_the_same(place: "Chain", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "machine_ns", lambda: ns("2024-05-14"))
    assert not place.check("m1_candles.EUR_USD_is_current").passed


def test_embedded_server_is_not_watched(empty: "Chain") -> None:
    with empty.environment():
        assert "history only" in look(empty).skip_message
        assert freshness_policy(load_settings()) is None


def test_policy_lets_holidays_pass(place: "Chain") -> None:
    """An asset that is built at seven past each hour while the market is open, and an hour after it closed.

    It is late at no deadline, although Christmas 2026 is a Friday and New Year's Day 2025 was a Wednesday.
    """
    policy = freshness_policy(load_settings())
    assert isinstance(policy, CronFreshnessPolicy)
    calendar, zone = load_settings().calendar_of("EUR_USD"), ZoneInfo("America/New_York")
    for first in (datetime(2024, 12, 20, tzinfo=zone), datetime(2026, 12, 20, tzinfo=zone)):
        for days in range(14):
            deadline = (first + timedelta(days=days)).replace(hour=17)
            if deadline.weekday() >= 5:
                continue
            ticks = [deadline - policy.lower_bound_delta + timedelta(hours=hour, minutes=7) for hour in range(24)]
            open_before = [
                calendar.last_expected(int(tick.timestamp()) * 10**9) > int(tick.timestamp() - 3_600) * 10**9
                for tick in ticks
            ]
            assert any(open_before), deadline


def test_definitions_load_with_policies(tmp_path: Path) -> None:
    """With an account the assets have a freshness policy, which Dagster judges when it loads them."""
    code = (
        "import dagster as dg; from fx_pipeline.definitions import defs; dg.Definitions.validate_loadable(defs);"
        "graph = defs.resolve_asset_graph();"
        "print([key.to_user_string() for key in sorted(graph.get_all_asset_keys()) if graph.get(key).freshness_policy])"
    )
    variables = {
        "FX_OANDA_ENVIRONMENT": "practice",
        "FX_OANDA_TOKEN": "none",
        "FX_OANDA_ACCOUNT": "101-001-1234567-001",
        "FX_INGEST_CRON": "*/30 * * * *",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    fresh = set(ast.literal_eval(done.stdout.strip()))
    assert {"feature_table", "m1_candles"} <= fresh
    # Of other timeframes and feature sets likewise, where a recipe has them; raw pages and results have none.
    assert all(name.endswith("_candles") or name.startswith("feature") for name in fresh)
    assert not any(name.startswith("raw_") for name in fresh)
