"""The lake: typed, sorted, unique, complete bars only; gaps told, bad bars quarantined, bytes reproducible."""

import dataclasses
import errno
import hashlib
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.ingest import layout
from fx_pipeline.ingest.checks import check_candles
from fx_pipeline.ingest.gaps import read_gaps
from fx_pipeline.ingest.lake import (
    build_month,
    lake_instruments,
    lake_months,
    read_candles,
)
from fx_pipeline.ingest.raw import download_month
from fx_pipeline.market.calendar import MINUTE_NS, FxCalendar
from fx_pipeline.market.candles import CANDLE_SCHEMA, PRICE_COLUMNS, QUARANTINE_SCHEMA
from fx_pipeline.market.errors import DataError, FxPipelineError
from fx_pipeline.market.months import month_bounds

FAR = 2**62
MONTH = "2024-02"
START, END = month_bounds(MONTH)


def build(data_dir: Path, client, month: str = MONTH, **options: object):
    download_month(client, "EUR_USD", month, layout.raw_folder(data_dir, "EUR_USD", month), FAR, force=True)
    return build_month(data_dir, "EUR_USD", month, **options)


def editing(client, edit):
    return dataclasses.replace(client, edit=edit, asked=[])


def test_every_bar_arrives_as_it_left(tmp_path: Path, client, february: Bars) -> None:
    report = build(tmp_path, client)
    table = read_candles(layout.lake_folder(tmp_path), "EUR_USD")
    expected = february.between(START, END)
    assert table.schema.equals(CANDLE_SCHEMA)
    assert report.rows == len(table) == len(expected.time)
    np.testing.assert_array_equal(table["time"].to_numpy().astype(np.int64), expected.time)
    for column, name in enumerate(PRICE_COLUMNS):
        np.testing.assert_array_equal(table[name].to_numpy(), expected.prices[:, column])
    np.testing.assert_array_equal(table["volume"].to_numpy(), expected.volume)
    assert set(table["source"].to_pylist()) == {"practice"} == {report.source}
    assert not report.quotes_modelled
    assert check_candles(table) == []
    assert report.sha256 == hashlib.sha256(report.path.read_bytes()).hexdigest()
    assert (report.added, report.changed, report.written) == (report.rows, 0, True)


def test_gaps_account_for_every_minute(tmp_path: Path, client, february: Bars) -> None:
    report = build(tmp_path, client)
    gaps = read_gaps(layout.lake_folder(tmp_path), "EUR_USD", MONTH).to_pandas()
    times = february.between(START, END).time
    expected = FxCalendar().expected_minutes(int(times[0]), int(times[-1]) + MINUTE_NS)
    minutes = gaps.groupby("kind")["minutes"]
    assert report.expected == len(expected) == report.present + report.missing
    assert report.missing == len(np.setdiff1d(expected, times)) == minutes.sum()["missing"] > 0
    assert report.unexpected == len(np.setdiff1d(times, expected)) == minutes.sum().get("unexpected", 0)
    assert report.gaps == len(gaps) and report.rows == report.present + report.unexpected
    assert report.longest_gap_minutes == minutes.max()["missing"]
    assert ((gaps["end"] - gaps["start"]).dt.total_seconds() / 60 == gaps["minutes"]).all()


def test_building_again_touches_nothing(tmp_path: Path, client, tree) -> None:
    first = build(tmp_path, client)
    before, modified = tree(tmp_path), first.path.stat().st_mtime_ns
    second = build_month(tmp_path, "EUR_USD", MONTH)
    assert (second.written, second.added, second.changed) == (False, 0, 0)
    assert (tree(tmp_path), first.path.stat().st_mtime_ns) == (before, modified)
    other = build(tmp_path / "elsewhere", client)
    assert other.sha256 == first.sha256


def test_each_bad_bar_is_quarantined_with_its_reason(tmp_path: Path, client) -> None:
    def spoil(candles: list[dict]) -> list[dict]:
        if not candles[0]["time"].startswith("2024-02-20T00:00"):
            return candles
        mid = candles[0]["mid"]
        candles[1] = {**candles[1], "bid": {**mid, "o": "much"}}
        candles[2] = {**candles[2], "mid": {**mid, "l": "-1.0"}}
        candles[3] = {**candles[3], "mid": {**mid, "h": "0.5", "l": "0.6"}}
        candles[4] = {**candles[4], "ask": {**candles[4]["ask"], "c": "9.0"}}
        below = {name: f"{0.99 * float(price):.5f}" for name, price in candles[5]["bid"].items()}
        candles[5] = {**candles[5], "ask": below}
        # No further apart than two sides of different moments: mended.
        candles[9] = {**candles[9], "ask": candles[9]["bid"], "bid": candles[9]["ask"]}
        candles[6] = {key: value for key, value in candles[6].items() if key != "bid"}
        candles[7] = {**candles[7], "time": candles[7]["time"].replace(":00.0", ":01.0")}
        candles[8] = {**candles[8], "complete": False}
        return candles

    report = build(tmp_path, editing(client, spoil))
    assert report.quarantined == {
        "not finite": 2,
        "not positive": 1,
        "high below low": 1,
        "open or close outside the range": 1,
        "ask below bid": 1,
        "time off the minute": 1,
    }
    assert (report.incomplete, report.mended) == (1, 1)
    refused = pq.read_table(layout.quarantine_path(tmp_path, "EUR_USD", MONTH))
    assert refused.schema.equals(QUARANTINE_SCHEMA)
    assert len(refused) == sum(report.quarantined.values())
    assert check_candles(read_candles(layout.lake_folder(tmp_path), "EUR_USD")) == []
    mended = build(tmp_path, client)
    assert mended.quarantined == {}
    assert (mended.added, mended.changed, mended.mended) == (8, 1, 0)
    assert not layout.quarantine_path(tmp_path, "EUR_USD", MONTH).exists()


def test_future_bars_are_quarantined(tmp_path: Path, client) -> None:
    report = build(tmp_path, client, now_ns=END - 3_600_000_000_000)
    assert report.quarantined["time in the future"] > 50


def test_a_changed_historical_bar_is_reported(tmp_path: Path, client) -> None:
    def revise(candles: list[dict]) -> list[dict]:
        return [{**candles[0], "volume": candles[0]["volume"] + 1}, *candles[1:]]

    build(tmp_path, client)
    report = build(tmp_path, editing(client, revise))
    pages = len(client.asked)
    assert (report.changed, report.added, report.written) == (pages, 0, True)


def test_months_ranges_and_instruments(tmp_path: Path, client) -> None:
    lake = layout.lake_folder(tmp_path)
    assert len(read_candles(lake, "EUR_USD")) == 0
    for month in ("2024-03", "2024-02"):
        build(tmp_path, client, month)
    assert lake_months(lake, "EUR_USD") == ["2024-02", "2024-03"]
    assert lake_instruments(lake) == ["EUR_USD"]
    whole = read_candles(lake, "EUR_USD")
    times = whole["time"].to_numpy().astype(np.int64)
    assert (np.diff(times) > 0).all()
    start, end = END - 40 * MINUTE_NS, END + 40 * MINUTE_NS
    assert read_candles(lake, "EUR_USD", start, end).equals(whole.filter((times >= start) & (times < end)))
    assert len(read_candles(lake, "EUR_USD", FAR)) == 0


def test_a_month_that_lost_its_candles_leaves_the_lake(tmp_path: Path, client) -> None:
    report = build(tmp_path, client)
    elsewhere = dataclasses.replace(client, environment="paper", revision="none", asked=[])
    empty = build(tmp_path, editing(elsewhere, lambda candles: []))
    assert (empty.rows, empty.written, report.path.exists()) == (0, True, False)
    assert lake_months(layout.lake_folder(tmp_path), "EUR_USD") == []


def test_what_is_missing_or_broken_is_named(tmp_path: Path, client) -> None:
    with pytest.raises(DataError, match="download them first"):
        build_month(tmp_path, "EUR_USD", MONTH)
    report = build(tmp_path, client)
    sound = report.path.read_bytes()
    report.path.write_bytes(sound[:-50])
    with pytest.raises(
        DataError, match=r"2024-02\.parquet is damaged .* materialise m1_candles of EUR_USD 2024-02 again"
    ):
        read_candles(layout.lake_folder(tmp_path), "EUR_USD")
    assert build_month(tmp_path, "EUR_USD", MONTH).written
    assert report.path.read_bytes() == sound
    page = layout.raw_folder(tmp_path, "EUR_USD", MONTH) / "page-00003.json.zst"
    page.unlink()
    with pytest.raises(DataError, match=r"page-00003"):
        build_month(tmp_path, "EUR_USD", MONTH)


def test_a_full_disk_is_a_clear_error_and_leaves_the_old_files(
    tmp_path: Path, client, tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path, client)
    before = tree(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def revise(candles: list[dict]) -> list[dict]:
        return [{**candle, "volume": 1} for candle in candles]

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FxPipelineError, match=r"disk is full: .*2024-02/next was not written"):
        build(tmp_path, editing(client, revise))
    assert {name: data for name, data in tree(tmp_path).items() if "/next/" not in str(name)} == before
    report_path = layout.lake_path(layout.lake_folder(tmp_path), "EUR_USD", MONTH)
    report_path.unlink()
    with pytest.raises(FxPipelineError, match=r"disk is full: .*2024-02\.parquet"):
        build_month(tmp_path, "EUR_USD", MONTH)
    assert not report_path.exists()
    assert not list(tmp_path.rglob(".tmp-*"))


def test_checks_name_what_is_wrong(tmp_path: Path, client) -> None:
    build(tmp_path, client)
    table = read_candles(layout.lake_folder(tmp_path), "EUR_USD").slice(0, 50)

    def replaced(name: str, row: int, value: object) -> pa.Table:
        values = table[name].to_pylist()
        values[row] = value
        field = table.schema.field(name)
        return table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))

    assert check_candles(table) == []
    assert "candle schema" in check_candles(table.drop_columns(["volume"]))[0]
    for problem, words in (
        (replaced("mid_h", 3, 0.1), "mid"),
        (replaced("volume", 3, -1), "volume"),
        (replaced("source", 3, "hearsay"), "source"),
        (replaced("time", 3, table["time"][4].as_py()), "time"),
        (table.sort_by([("time", "descending")]), "sorted"),
        (replaced("bid_o", 3, -1.0), "not positive"),
    ):
        assert words in " ".join(check_candles(problem)), words
