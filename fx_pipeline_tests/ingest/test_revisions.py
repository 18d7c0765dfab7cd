"""Revisions: what a broker changes or withdraws is kept, once, whenever the build is killed."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fx_pipeline.ingest import lake as lake_module
from fx_pipeline.ingest import layout
from fx_pipeline.ingest.lake import build_month
from fx_pipeline.ingest.raw import download_month
from fx_pipeline.ingest.revisions import (
    REVISION_SCHEMA,
    find_revisions,
    note_revisions,
    read_revisions,
    revised_since,
)
from fx_pipeline.market.candles import CANDLE_SCHEMA
from fx_pipeline.market.errors import DataError

FAR = 2**62
MONTH = "2024-02"
CHANGED_AT, REMOVED_AT = "2024-02-21T10:00", "2024-02-21T11:00"


def revise(candles: list[dict]) -> list[dict]:
    changed = [
        {**candle, "volume": candle["volume"] + 1} if candle["time"].startswith(CHANGED_AT) else candle
        for candle in candles
    ]
    return [candle for candle in changed if not candle["time"].startswith(REMOVED_AT)]


def build(data_dir: Path, client, now_ns: int | None = None):
    download_month(client, "EUR_USD", MONTH, layout.raw_folder(data_dir, "EUR_USD", MONTH), FAR, force=True)
    return build_month(data_dir, "EUR_USD", MONTH, now_ns)


def noted(data_dir: Path) -> pa.Table:
    return read_revisions(layout.revisions_path(layout.lake_folder(data_dir), "EUR_USD", MONTH))


def test_changed_and_withdrawn_bars_keep_their_old_values(tmp_path: Path, client) -> None:
    first = build(tmp_path, client)
    assert (first.changed, first.removed, first.revisions) == (0, 0, 0)
    assert len(noted(tmp_path)) == 0
    revised = dataclasses.replace(client, edit=revise, asked=[])
    now = 1_800_000_000_000_000_000
    second = build(tmp_path, revised, now)
    assert (second.added, second.changed, second.removed, second.revisions) == (0, 1, 1, 2)
    assert second.rows == first.rows - 1
    changed, removed = noted(tmp_path).to_pylist()
    assert [str(row["time"])[:16].replace(" ", "T") for row in (changed, removed)] == [CHANGED_AT, REMOVED_AT]
    assert (changed["kind"], removed["kind"]) == ("changed", "removed")
    assert changed["new_volume"] == changed["old_volume"] + 1
    assert changed["new_bid_o"] == changed["old_bid_o"] > 0
    assert removed["new_bid_o"] is removed["new_volume"] is None
    assert changed["noted"].value == now
    # The same again says nothing new.
    third = build(tmp_path, revised, now + 1)
    assert (third.added, third.changed, third.removed, third.revisions, third.written) == (0, 0, 0, 2, False)
    # A change back is another revision, and so is the same one after it; what is withdrawn twice is noted once.
    back = build(tmp_path, client)
    assert (back.added, back.changed, back.removed, back.revisions) == (1, 1, 0, 3)
    assert build(tmp_path, revised).revisions == 4


def test_a_build_killed_before_its_bars_notes_a_revision_once(
    tmp_path: Path, client, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path, client)

    def killed(path: Path, data: bytes) -> bool:
        raise KeyboardInterrupt

    revised = dataclasses.replace(client, edit=revise, asked=[])
    with monkeypatch.context() as patched:
        patched.setattr(lake_module, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path, revised)
    assert len(noted(tmp_path)) == 2
    report = build_month(tmp_path, "EUR_USD", MONTH)
    assert (report.changed, report.removed, report.revisions) == (1, 1, 2)
    assert len(noted(tmp_path)) == 2


def test_months_with_revisions_since_a_time(tmp_path: Path, client) -> None:
    lake, now = layout.lake_folder(tmp_path), time.time_ns()
    build(tmp_path, client, now - 3)
    assert revised_since(lake, 0) == []
    build(tmp_path, dataclasses.replace(client, edit=revise, asked=[]), now - 2)
    assert revised_since(lake, now - 2) == [("EUR_USD", MONTH, 1, 1, now - 2)]
    assert revised_since(lake, now - 1) == []
    build(tmp_path, client, now - 1)
    assert revised_since(lake, now - 1) == [("EUR_USD", MONTH, 1, 0, now - 1)]
    assert revised_since(lake, 0) == [("EUR_USD", MONTH, 2, 1, now - 1)]


def test_a_month_that_loses_all_its_bars_keeps_them_as_revisions(tmp_path: Path, client) -> None:
    paper = dataclasses.replace(client, environment="paper", revision="one", asked=[])
    first = build(tmp_path, paper)
    empty = build(tmp_path, dataclasses.replace(paper, edit=lambda candles: [], revision="two", asked=[]))
    assert (empty.rows, empty.removed, empty.revisions) == (0, first.rows, first.rows)
    kept = noted(tmp_path)
    assert np.all(np.array(kept["kind"].to_pylist()) == "removed")
    assert kept.schema.equals(REVISION_SCHEMA)


def test_equal_tables_have_none_and_a_broken_file_is_named(tmp_path: Path, client) -> None:
    report = build(tmp_path, client)
    bars = lake_module.read_candles(layout.lake_folder(tmp_path), "EUR_USD")
    assert len(find_revisions(bars, bars)) == len(find_revisions(CANDLE_SCHEMA.empty_table(), bars)) == 0
    assert report.revisions == 0
    path = tmp_path / "broken.parquet"
    path.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"broken\.parquet"):
        note_revisions(path, find_revisions(bars, CANDLE_SCHEMA.empty_table()))
