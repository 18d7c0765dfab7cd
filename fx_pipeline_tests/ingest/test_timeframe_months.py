"""Longer bars from the broker: served, downloaded and built by the road of the minutes, and apart from them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from oandapyV20.endpoints.instruments import InstrumentsCandles

from fx_pipeline.broker.client import OandaClient, connection
from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.broker.paper.candles import candles_reply
from fx_pipeline.broker.paper.faults import Faults
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline.broker.paper.synthetic import synthetic_bars
from fx_pipeline.broker.paper.wire import WireError
from fx_pipeline.ingest import layout
from fx_pipeline.ingest.lake import build_month, build_months, is_built, read_candles
from fx_pipeline.ingest.pending import pending_months
from fx_pipeline.ingest.raw import RawMonth, download_months, read_manifest
from fx_pipeline.ingest.resample import resample
from fx_pipeline.market.alignment import bar_ends, bar_opens, expected_bars
from fx_pipeline.market.calendar import MINUTE_NS, FxCalendar
from fx_pipeline.market.candles import CANDLE_SCHEMA
from fx_pipeline.market.months import month_bounds
from fx_pipeline.market.timeframe import H1, H4, M1, M5, TIMEFRAMES, D, Timeframe

LONGER = [timeframe for timeframe in TIMEFRAMES.values() if timeframe != M1]
SPAN = int(np.datetime64("2024-01-20", "ns").astype(np.int64)), int(np.datetime64("2024-03-15", "ns").astype(np.int64))
FAR = 2**62
NAME = "EUR_USD"


def bars_of(timeframe: Timeframe) -> pa.Table:
    minutes = synthetic_bars(NAME, *SPAN).table("imported")
    return resample(minutes, timeframe, *SPAN).select(CANDLE_SCHEMA.names)


def times(table: pa.Table) -> np.ndarray:
    return np.asarray(table["time"].cast(pa.int64()).to_numpy())


def served(market: PaperMarket, granularity: str, now: int = FAR - 1, **query: object) -> list[dict]:
    import orjson

    asked = {"granularity": granularity, "price": "BMA", "count": "5000", "from": "2024-01-20T00:00:00Z"}
    reply, _ = candles_reply(market, NAME, asked | {k: str(v) for k, v in query.items()}, now, False, Faults())
    return orjson.loads(reply)["candles"]


@pytest.mark.parametrize("timeframe", LONGER, ids=str)
def test_imported_bars_go_from_store_to_lake_as_they_are(timeframe: Timeframe, tmp_path: Path) -> None:
    table = bars_of(timeframe)
    candle_store.upsert(layout.paper_store(tmp_path), NAME, table, timeframe)
    with connection(paper_store=layout.paper_store(tmp_path)) as client:
        found = list(
            download_months(client, [(NAME, "2024-02"), (NAME, "2024-03")], tmp_path, FAR, timeframe=timeframe)
        )
        none = list(download_months(client, [(NAME, "2024-02")], tmp_path, FAR))
    assert all(isinstance(month, RawMonth) and month.complete for month in found)
    # There are no minutes of it, and none are made up.
    assert isinstance(none[0], RawMonth) and none[0].candles == 0
    start, end = month_bounds("2024-02")
    wanted = table.filter(pa.array((times(table) >= start) & (times(table) < end)))
    manifest = read_manifest(layout.raw_folder(tmp_path, NAME, "2024-02", timeframe))
    assert manifest is not None and manifest["granularity"] == timeframe.name
    assert manifest["candles"] == len(wanted) and {page["source"] for page in manifest["pages"]} == {"imported"}
    report = build_month(tmp_path, NAME, "2024-02", FAR, timeframe=timeframe)
    assert (report.rows, report.made_of, report.missing, report.unexpected) == (len(wanted), "pages", 0, 0)
    assert read_candles(layout.lake_folder(tmp_path), NAME, timeframe=timeframe).equals(wanted)
    # A second build says that it has nothing to do, also by what it was built from.
    assert not build_month(tmp_path, NAME, "2024-02", FAR, timeframe=timeframe).written
    assert is_built(tmp_path, NAME, "2024-02", timeframe)
    now = month_bounds("2024-03")[1] + 4 * 86_400 * 10**9
    assert pending_months(tmp_path, NAME, "paper", now, timeframe) == ["2024-03", "2024-04"]
    places = {path.relative_to(tmp_path).parts[:2] for path in (tmp_path / "raw").rglob("*.zst")}
    assert places == {("raw", timeframe.slug)}


def test_what_came_as_bars_is_used_and_the_rest_is_built_from_minutes(tmp_path: Path) -> None:
    hours, minutes = bars_of(H1), synthetic_bars(NAME, *SPAN).table("imported")
    start, end = month_bounds("2024-02")
    inside = hours.filter(pa.array((times(hours) >= start) & (times(hours) < end)))
    # Other prices than the minutes have, so that the two can be told apart.
    raised = inside.set_column(8, "mid_c", inside["mid_h"]).cast(CANDLE_SCHEMA)
    store = layout.paper_store(tmp_path)
    candle_store.upsert(store, NAME, raised, H1)
    candle_store.upsert(store, NAME, minutes)
    cells = [(NAME, "2024-02"), (NAME, "2024-03")]
    with connection(paper_store=store) as client:
        for timeframe in (M1, H1):
            assert all(
                isinstance(month, RawMonth) for month in download_months(client, cells, tmp_path, FAR, False, timeframe)
            )
    assert len(list(build_months(tmp_path, cells, FAR))) == 2
    of_hours = list(build_months(tmp_path, cells, FAR, timeframe=H1))
    assert [report.made_of for report in of_hours] == ["pages", "M1"]  # type: ignore[union-attr]
    found = read_candles(layout.lake_folder(tmp_path), NAME, start, end, H1)
    assert found.equals(raised)
    march = read_candles(layout.lake_folder(tmp_path), NAME, end, None, H1)
    wanted = hours.filter(pa.array(times(hours) >= end))
    assert times(march).tolist() == times(wanted)[: len(march)].tolist() and len(march) > 200


def test_a_bar_that_runs_is_not_shown(tmp_path: Path) -> None:
    table = bars_of(H1)
    candle_store.upsert(layout.paper_store(tmp_path), NAME, table, H1)
    market = PaperMarket(layout.paper_store(tmp_path))
    opens = times(table)
    for place in (100, 101, 400):
        for now in (int(opens[place]) + 59 * MINUTE_NS, int(opens[place]) + 60 * MINUTE_NS):
            shown = served(market, "H1", now)
            over = int((bar_ends(opens, H1) <= now).sum())
            assert len(shown) == over and all(candle["complete"] for candle in shown)


def test_longer_granularities_are_made_of_the_bars_that_are_there(tmp_path: Path) -> None:
    candle_store.upsert(layout.paper_store(tmp_path), NAME, bars_of(H1), H1)
    market = PaperMarket(layout.paper_store(tmp_path))
    for timeframe in (H4, D):
        found, wanted = served(market, timeframe.name), bars_of(timeframe)
        assert [candle["mid"]["c"] for candle in found[1:30]] == [
            f"{close:.5f}" for close in wanted["mid_c"].to_pylist()[1:30]
        ]
    assert served(market, "M5") == served(market, "M1") == []
    assert market.source(NAME) is None and market.source(NAME, H1) == "imported"
    # An instrument of which nothing is imported has the synthetic market as before.
    assert PaperMarket(layout.paper_store(tmp_path)).source("GBP_USD") == "synthetic"


def test_other_alignments_are_not_served_from_aligned_bars(tmp_path: Path) -> None:
    store = layout.paper_store(tmp_path)
    candle_store.upsert(store, NAME, bars_of(D), D)
    market = PaperMarket(store)
    assert len(served(market, "D")) > 30
    assert served(market, "D", dailyAlignment=0, alignmentTimezone="UTC") == []
    with pytest.raises(WireError):
        served(market, "M3")


@pytest.mark.parametrize(
    ("timeframe", "aligned"), [(M1, False), (M5, False), (H1, False), (H4, True), (D, True)], ids=str
)
def test_alignment_is_said_to_the_broker(
    timeframe: Timeframe, aligned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict] = []
    send = OandaClient._send

    def noted(self: OandaClient, request: InstrumentsCandles) -> object:
        asked.append(dict(request.params))
        return send(self, request)

    monkeypatch.setattr(OandaClient, "_send", noted)
    with connection(paper_store=tmp_path) as client:
        start = int(expected_bars(FxCalendar(), month_bounds("2024-02")[0], month_bounds("2024-03")[0], timeframe)[0])
        page = client.candles_page(NAME, start, 10, timeframe)
    assert len(page.time_ns) == 10 and page.time_ns[0] >= start
    said = {name: asked[0].get(name) for name in ("granularity", "dailyAlignment", "alignmentTimezone")}
    there = (17, "America/New_York") if aligned else (None, None)
    assert tuple(said.values()) == (timeframe.name, *there)


@pytest.mark.parametrize("timeframe", LONGER, ids=str)
def test_no_month_asks_for_a_bar_of_another(timeframe: Timeframe, tmp_path: Path) -> None:
    with connection(paper_store=tmp_path) as client:
        found = list(
            download_months(client, [(NAME, "2024-01"), (NAME, "2024-02")], tmp_path, FAR, timeframe=timeframe)
        )
    january, february = (month for month in found if isinstance(month, RawMonth))
    border = month_bounds("2024-02")[0]
    assert january.last is not None and february.first is not None
    assert january.last < border <= february.first
    between = bar_opens(january.last + 1, february.first, timeframe)
    assert not len(between), "a bar between the two is in neither"
