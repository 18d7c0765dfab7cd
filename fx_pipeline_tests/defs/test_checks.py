"""Each check fails when it should, and the blocking ones stop what lies downstream in the same run."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain


def plain(evaluation: Any) -> dict[str, Any]:
    return {name: value.value for name, value in evaluation.metadata.items()}


def known(chain: "Chain") -> "Chain":
    """Checks without a partition look at what was materialised."""
    for asset, key in {
        "m1_candles": chain.month_key(),
        "feature_table": chain.instrument,
        "valid_sessions": chain.instrument,
        "muzero_checkpoint": chain.key(),
        "validation_report": chain.key(),
    }.items():
        chain.report_materialization(asset, key)
    return chain


def sql(chain: "Chain", statement: str) -> None:
    import duckdb

    with duckdb.connect(str(chain.data_dir / "warehouse.duckdb")) as connection:
        connection.execute(statement)


def parquet(chain: "Chain") -> Path:
    return chain.data_dir / "lake" / "m1" / "EUR_USD" / "2024-01.parquet"


def high_below_low(chain: "Chain") -> None:
    table = pq.read_table(parquet(chain))
    high = table["mid_h"].to_numpy().copy()
    high[100] = 0.5
    field = table.schema.get_field_index("mid_h")
    pq.write_table(table.set_column(field, table.schema.field(field), pa.array(high)), parquet(chain))


def bars_twice(chain: "Chain") -> None:
    table = pq.read_table(parquet(chain))
    pq.write_table(pa.concat_tables([table, table.slice(0, 5)]), parquet(chain))


def cut_short(chain: "Chain") -> None:
    parquet(chain).write_bytes(parquet(chain).read_bytes()[:10_000])


def hours_missing(chain: "Chain") -> None:
    table = pq.read_table(parquet(chain))
    kept = table.filter(pa.array(np.arange(len(table)) % 4 != 0))
    pq.write_table(kept, parquet(chain))


def one_nan(chain: "Chain") -> None:
    statement = "SELECT time FROM features WHERE warm ORDER BY time LIMIT 1"
    sql(chain, f"UPDATE features SET hour_cos_final = 'nan' WHERE time = ({statement})")


def cold_in_the_middle(chain: "Chain") -> None:
    sql(chain, "UPDATE features SET warm = false WHERE time = (SELECT max(time) FROM features)")


def looks_ahead(chain: "Chain") -> None:
    # Each row gets the feature of the bar after it: a leak that no test of the range of values can see.
    sql(
        chain,
        "UPDATE features SET position_in_range_60 = ahead.value FROM (SELECT time, lead(position_in_range_60) OVER "
        "(ORDER BY time) AS value FROM features) AS ahead WHERE features.time = ahead.time AND ahead.value IS NOT NULL",
    )


def no_sessions(chain: "Chain") -> None:
    sql(chain, "DELETE FROM valid_sessions")


def short_embargo(chain: "Chain") -> None:
    path = chain.data_dir / "windows" / "EUR_USD.json"
    plan = json.loads(path.read_text())
    plan["windows"][-1]["train_end"] += 60_000_000_000
    path.write_text(json.dumps(plan))


def no_page(chain: "Chain") -> None:
    (chain.report / "report.html").unlink()


def no_report(chain: "Chain") -> None:
    (chain.report / "report.json").unlink()


def no_expectancy(chain: "Chain") -> None:
    report = json.loads((chain.report / "report.json").read_text())
    report["lineage"]["checkpoint_sha256"] = "0" * 64
    (chain.report / "report.json").write_text(json.dumps(report))


@pytest.mark.parametrize(
    ("check", "damage", "says"),
    [
        ("m1_candles.candles_are_sane", high_below_low, "mid high is not the highest"),
        ("m1_candles.candles_are_sane", bars_twice, "time"),
        ("m1_candles.candles_are_sane", cut_short, "2024-01.parquet is damaged"),
        ("m1_candles.gaps_are_few", hours_missing, "EUR_USD|2024-01"),
        ("feature_table.features_are_finite", one_nan, "EUR_USD"),
        ("feature_table.features_are_finite", cold_in_the_middle, "EUR_USD"),
        ("feature_table.features_are_causal", looks_ahead, "EUR_USD bar"),
        ("valid_sessions.sessions_exist", no_sessions, "'EUR_USD': 0"),
        ("valid_sessions.windows_do_not_leak", short_embargo, "1859 bars between training and validation"),
        ("validation_report.report_is_complete", no_page, "the page is missing"),
        ("validation_report.report_is_complete", no_report, "there is no report"),
        ("validation_report.report_is_complete", no_expectancy, "the report is of another checkpoint"),
    ],
)
def test_check_fails(copy: "Chain", check: str, damage: Callable[["Chain"], None], says: str) -> None:
    known(copy)
    assert copy.check(check).passed, "nothing is wrong yet"
    damage(copy)
    evaluation = copy.check(check)
    assert not evaluation.passed
    assert says in str(plain(evaluation))
    blocking = check != "m1_candles.gaps_are_few"
    assert evaluation.blocking is blocking
    assert evaluation.severity == (dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN)


def test_modelled_spread_is_compared_with_quotes(copy: "Chain") -> None:
    known(copy)
    synthetic = copy.check("feature_table.spread_model_fits")
    assert not synthetic.passed and synthetic.severity == dg.AssetCheckSeverity.WARN
    assert "nothing to compare: no bid and ask of EUR_USD were quoted" in plain(synthetic)["EUR_USD"]
    sql(copy, "UPDATE features SET quotes_modelled = false")
    near = copy.check("feature_table.spread_model_fits")
    assert near.passed and "by a factor of 1.0" in plain(near)["EUR_USD"]
    sql(copy, "UPDATE features SET ask_open = bid_open + 3 * (ask_open - bid_open)")
    off = copy.check("feature_table.spread_model_fits")
    assert not off.passed and not off.blocking
    assert "too narrow by a factor of 3.0" in plain(off)["EUR_USD"]
    (row,) = plain(off)["by year"].records
    assert (row.data["instrument"], row.data["year"]) == ("EUR_USD", 2024)
    assert float(row.data["factor"]) > 2.9


def test_gap_calendar_leaves_the_daily_and_weekly_close_alone(chain: "Chain") -> None:
    (evaluation,) = [e for e in chain.results["ingest"].get_asset_check_evaluations() if e.check_name == "gaps_are_few"]
    (row,) = plain(evaluation)["months"].records
    assert row.data["unexpected"] == 0 and 0 < row.data["missing_percent"] < 3


def test_blocking_check_stops_what_lies_downstream(copy: "Chain") -> None:
    before = (copy.data_dir / "windows" / "EUR_USD.json").stat().st_mtime_ns
    looks_ahead(copy)
    result = copy.job("prepare", copy.instrument, fails=True)
    assert not result.success
    assert [event.asset_key.to_user_string() for event in result.get_asset_materialization_events()] == [
        "feature_table"
    ]
    failed = {evaluation.check_name for evaluation in result.get_asset_check_evaluations() if not evaluation.passed}
    # A synthetic market has no quotes to compare the spread with, which stops nothing.
    assert failed - {"spread_model_fits"} == {"features_are_causal"}
    assert (copy.data_dir / "windows" / "EUR_USD.json").stat().st_mtime_ns == before


def test_missing_minutes_only_warn(copy: "Chain", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fx_pipeline.defs.candle_checks.MAX_MISSING_PERCENT", 0.0)
    result = copy.job("ingest", copy.month_key())
    assert result.success
    assert {e.check_name: e.passed for e in result.get_asset_check_evaluations()} == {
        "candles_are_sane": True,
        "gaps_are_few": False,
        "history_stands": True,
        "months_have_candles": True,
        "EUR_USD_is_current": True,
        # Nothing of it was ever ingested.
        "GBP_USD_is_current": False,
    }


def test_impossible_bars_are_quarantined_and_shown(copy: "Chain") -> None:
    """A broker that sends bars that cannot be: they are set aside with a reason, and the rest goes on."""
    import fx_pipeline.defs.market_data as market_data

    folder = copy.data_dir / "raw" / "EUR_USD" / "2024-01"
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = manifest["pages"][0]
    page = json.loads(pa.CompressedInputStream(pa.OSFile(str(folder / entry["file"])), "zstd").read())
    page["candles"][10]["mid"]["h"] = "0.10000"
    page["candles"][11]["bid"]["o"] = "-1.00000"
    body = pa.compress(json.dumps(page).encode(), codec="zstd", asbytes=True)
    (folder / entry["file"]).write_bytes(body)
    entry["sha256"], entry["bytes"] = hashlib.sha256(body).hexdigest(), len(json.dumps(page).encode())
    (folder / "manifest.json").write_text(json.dumps(manifest))

    result = copy.materialize(market_data.m1_candles, copy.month_key())
    (event,) = result.asset_materializations_for_node("m1_candles")
    assert event.metadata["quarantined"].value == 2
    reasons = {row.data["reason"]: row.data["bars"] for row in event.metadata["quarantine"].value.records}
    assert sum(reasons.values()) == 2
    # The two bars stood in the lake before, so that they are gone now is said, too.
    failed = {evaluation.check_name for evaluation in result.get_asset_check_evaluations() if not evaluation.passed}
    assert failed == {"history_stands", "GBP_USD_is_current"}
    assert (copy.data_dir / "quarantine" / "EUR_USD" / "2024-01.parquet").exists()


def test_months_without_a_bar_are_said(empty: "Chain") -> None:
    """The synthetic market begins in 2024: what is asked of December has an answer, and it holds nothing."""
    result = empty.job("ingest", empty.month_key("2023-12"))
    assert result.success
    (raw,) = result.asset_materializations_for_node("raw_candles")
    (month,) = result.asset_materializations_for_node("m1_candles")
    found = plain(month)
    expected = found["expected minutes"]
    assert plain(raw)["state"].startswith("no candles") and found["state"] == f"no candles: {expected} minutes expected"
    assert expected > 25_000 and found["missing minutes"] == expected and found["missing percent"] == 100.0
    assert "dagster/uri" not in found and "sha256" not in found
    assert (month.tags or {})["dagster/data_version"] == "empty"
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    empties = checks["months_have_candles"]
    assert not empties.passed and empties.severity == dg.AssetCheckSeverity.WARN
    rows = [row.data for row in empties.metadata["empty months"].value.records]
    assert rows == [{"instrument": "EUR_USD", "month": "2023-12", "expected minutes": expected}]
    assert not checks["EUR_USD_is_current"].passed
    # The check has one state: a month that has candles does not hide those without.
    result = empty.job("ingest", empty.month_key())
    later = {check.check_name: check for check in result.get_asset_check_evaluations()}["months_have_candles"]
    assert not later.passed and plain(later)["months built"] == 2 and plain(later)["months without a bar"] == 1


def test_month_in_which_the_market_has_not_opened_yet_lacks_nothing() -> None:
    from fx_pipeline.ingest.overview import expected_of
    from fx_pipeline.market.calendar import FxCalendar

    def at(text: str) -> int:
        return int(np.datetime64(text, "ns").astype(np.int64))

    # June 2024 begins on a Saturday.
    assert expected_of(FxCalendar(), "2024-06", at("2024-06-02T20:00")) == 0
    assert expected_of(FxCalendar(), "2024-06", at("2024-05-02")) == 0
    assert 0 < expected_of(FxCalendar(), "2024-06", at("2024-06-02T23:00")) < 180
    whole = expected_of(FxCalendar(), "2024-06", at("2030-01-01"))
    assert 25_000 < whole < 30_000
