"""Spikes go to the quarantine from every source, wherever they stand; crashes and level changes stay."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.ingest import layout
from fx_pipeline.ingest.importers import import_files
from fx_pipeline.ingest.lake import build_month, is_built, read_candles
from fx_pipeline.ingest.neighbours import FAR, WILD
from fx_pipeline.ingest.raw import download_month
from fx_pipeline.ingest.spikes import BESIDE_BARS, find_spikes, price_sides
from fx_pipeline_tests.ingest.conftest import FakeClient
from fx_pipeline_tests.ingest.made import FIELDS, fx_minutes, walk, write_csv

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
LATE = 2**62
MINUTES = fx_minutes("2024-01-25 00:00", "2024-02-07 00:00")
FRAME = walk(MINUTES)
BORDER = int(np.searchsorted(MINUTES, np.datetime64("2024-02-01", "ns").astype(np.int64)))


def spoil(frame: pd.DataFrame, kind: str, at: int, bars: int, factor: float) -> pd.DataFrame:
    """Spoil `bars` bars from `at` on, in one of the ways in which feeds do."""
    frame = frame.copy()
    rows = frame.index[at : at + bars]
    high, low = ("high", "low") if factor > 1 else ("low", "high")
    if kind == "whole":
        frame.loc[rows, FIELDS] *= factor
    elif kind == "wick":
        frame.loc[rows, high] = frame.loc[rows, "close"] * factor
    elif kind == "close":
        frame.loc[rows, "close"] *= factor
        frame.loc[rows, high] = frame.loc[rows, "close"]
    elif kind == "open":
        frame.loc[rows, "open"] *= factor
        frame.loc[rows, high] = frame.loc[rows, "open"]
    frame[FIELDS] = frame[FIELDS].round(5)
    assert (frame["high"] >= frame[["open", "close"]].max(axis=1)).all()
    assert (frame["low"] <= frame[["open", "close"]].min(axis=1)).all()
    del low
    return frame


def times_of(frame: pd.DataFrame) -> np.ndarray:
    return frame["time"].to_numpy("datetime64[ns]").astype(np.int64)


def judged(frame: pd.DataFrame, instrument: str = "EUR_USD") -> np.ndarray:
    prices = {f"mid_{name[0]}": frame[name].to_numpy() for name in FIELDS}
    return find_spikes(instrument, times_of(frame), price_sides(prices, True), False, False).marks


def lake_of(folder: Path, files: list[pd.DataFrame], once: bool = True) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Import files (together or one after another), download them and build the lake: its bars, and the quarantine."""
    folder.mkdir(parents=True)
    paths = [write_csv(frame, folder / f"part{number}.csv") for number, frame in enumerate(files)]
    for batch in [paths] if once else [[path] for path in paths]:
        import_files(batch, "EUR_USD", "csv", folder)
    store = layout.paper_store(folder)
    months = candle_store.months(store, "EUR_USD")
    bars = Bars.concatenate([Bars.from_table(candle_store.read_month(store, "EUR_USD", month)) for month in months])
    return built(folder, bars, months)


def built(folder: Path, bars: Bars, months: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    client = FakeClient(bars, quotes="modelled")
    for month in months:
        download_month(client, "EUR_USD", month, layout.raw_folder(folder, "EUR_USD", month), LATE, force=True)
    for month in months:
        build_month(folder, "EUR_USD", month)
    refused = [pq.read_table(path).to_pandas() for path in sorted((folder / "quarantine").rglob("*.parquet"))]
    found = pd.concat(refused).drop_duplicates("time") if refused else pd.DataFrame({"time": [], "reason": []})
    return read_candles(layout.lake_folder(folder), "EUR_USD").to_pandas(), found


@pytest.mark.parametrize("factor", [1.5, 0.5, 1.01])
@pytest.mark.parametrize("bars", [1, 2, 5])
@pytest.mark.parametrize("kind", ["whole", "wick", "close", "open"])
def test_a_spike_is_found_and_nothing_else(kind: str, bars: int, factor: float) -> None:
    marks = judged(spoil(FRAME, kind, 3_000, bars, factor))
    assert np.flatnonzero(marks).tolist() == list(range(3_000, 3_000 + bars))
    assert set(marks[marks > 0]) == ({2} if kind == "wick" else {1})


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(["whole", "wick", "close", "open"]),
    st.integers(0, len(MINUTES) - 1),
    st.integers(1, 5),
    st.sampled_from([1.5, 0.6, 1.02, 0.98]),
)
def test_wherever_it_stands(kind: str, at: int, bars: int, factor: float) -> None:
    bars = min(bars, len(MINUTES) - at)
    marks = judged(spoil(FRAME, kind, at, bars, factor))
    inside = set(range(at, at + bars))
    found = set(np.flatnonzero(marks).tolist())
    # At the file's very ends a bar beside the run may be held back with it, none may be let through.
    assert inside <= found if at + bars < 10 or at + 10 >= len(MINUTES) else found == inside


def test_one_bad_bar_of_a_broker_never_reaches_the_lake(tmp_path: Path) -> None:
    """The case of the issue: one minute at 1.5 times the price came through with nothing quarantined."""
    frame = spoil(FRAME, "whole", 3_000, 1, 1.5)
    prices = np.tile(frame[FIELDS].to_numpy(), (1, 3))
    bars = Bars(times_of(frame), prices, frame["volume"].to_numpy(), np.zeros(len(frame), bool))
    lake, refused = built(tmp_path, bars, ["2024-01", "2024-02"])
    assert refused["reason"].tolist() == [FAR]
    assert len(lake) == len(frame) - 1 and lake["mid_h"].max() < 1.2


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_one_side_alone_is_enough(side: str) -> None:
    prices = {f"{name}_{field[0]}": FRAME[field].to_numpy().copy() for name in ("bid", "ask") for field in FIELDS}
    # A spread of ten pips on one side is none, of two percent is.
    for share, expected in ((0.001, 0), (0.02, 1)):
        spoilt = {name: values.copy() for name, values in prices.items()}
        for field in "ohlc":
            spoilt[f"{side}_{field}"][2_000] *= 1 + share
        found = find_spikes("EUR_USD", times_of(FRAME), price_sides(spoilt, False), False, False)
        assert np.flatnonzero(found.marks).tolist() == [2_000] * expected


@pytest.mark.parametrize("at", [0, BORDER - 3, BORDER - 1, BORDER, BORDER + 2, len(MINUTES) - 2, 4_000])
@pytest.mark.parametrize("kind", ["whole", "wick", "close"])
def test_files_months_and_imports_are_no_borders(tmp_path: Path, kind: str, at: int) -> None:
    frame = spoil(FRAME, kind, at, 4, 1.05)
    whole, refused = lake_of(tmp_path / "whole", [frame])
    assert len(whole) == len(frame) - min(4, len(frame) - at) and whole["mid_h"].max() < 1.12
    assert set(refused["reason"]) <= {FAR, WILD}
    pieces = [frame.iloc[:BORDER], frame.iloc[BORDER:]]
    for name, once in (("together", True), ("apart", False)):
        pd.testing.assert_frame_equal(lake_of(tmp_path / name, pieces, once)[0], whole)
    # In blocks and in a temporary file, and imported once more.
    path = write_csv(frame, tmp_path / "again.csv")
    import_files([path], "EUR_USD", "csv", tmp_path / "spilled", in_memory_bytes=1 << 16)
    report = import_files([path], "EUR_USD", "csv", tmp_path / "spilled")
    assert any(said.startswith(f"spikes: {report.quarantined} rows") for said in report.assumptions)
    assert (report.added, report.changed, report.imported) == (0, 0, len(whole))


def test_a_month_is_built_again_when_the_next_one_says_more(tmp_path: Path) -> None:
    frame = FRAME.copy()
    frame.loc[BORDER - 3 :, FIELDS] = (frame.loc[BORDER - 3 :, FIELDS] * 1.03).round(5)
    prices = np.tile(frame[FIELDS].to_numpy(), (1, 3))
    bars = Bars(times_of(frame), prices, frame["volume"].to_numpy(), np.zeros(len(frame), bool))
    lake, refused = built(tmp_path / "january", bars, ["2024-01"])
    # At the end of what is known three bars at another level are held back.
    assert len(lake) == BORDER - 3 and refused["reason"].tolist() == [FAR] * 3
    folder = tmp_path / "january"
    assert is_built(folder, "EUR_USD", "2024-01")
    download_month(
        FakeClient(bars, quotes="modelled"), "EUR_USD", "2024-02", layout.raw_folder(folder, "EUR_USD", "2024-02"), LATE
    )
    assert not is_built(folder, "EUR_USD", "2024-01")
    report = build_month(folder, "EUR_USD", "2024-01")
    assert is_built(folder, "EUR_USD", "2024-01")
    assert report.rows == BORDER and report.quarantined == {}
    # It stayed: no spike, but said.
    assert len(report.levels) == 1 and "+3.0 percent" in report.levels[0]


def test_a_level_that_stays_is_kept_and_said() -> None:
    frame = FRAME.copy()
    frame.loc[5_000:, FIELDS] = (frame.loc[5_000:, FIELDS] * 100).round(5)
    prices = {f"mid_{name[0]}": frame[name].to_numpy() for name in FIELDS}
    found = find_spikes("EUR_USD", times_of(frame), price_sides(prices, True), False, False)
    assert not found.marks.any()
    assert [round(level.open / level.close) for level in found.levels] == [100]


def crash(minutes: list[tuple[float, float]], width: float, price: float, seed: int = 2) -> pd.DataFrame:
    """A calm walk, then closes and lows of a crash as shares of the price, then a market as wide as a crash leaves."""
    frame = walk(MINUTES, price=price, step=5e-5 * price, decimals=5)
    at, last = 4_000, frame.loc[3_999, "close"]
    start = last
    for number, (close, extreme) in enumerate(minutes):
        open_ = last
        last = start * close
        low, high = min(start * extreme, open_, last), max(open_, last, start * min(1.0, extreme + 0.2 * width))
        frame.loc[at + number, FIELDS] = [open_, high, low, last]
    generator = np.random.default_rng(seed)
    after = at + len(minutes)
    for number in range(60):
        open_, last = last, last * (1 + generator.normal(0, width / 4))
        reach = np.abs(generator.normal(0, width / 3, 2)) * last
        frame.loc[after + number, FIELDS] = [open_, max(open_, last) + reach[0], min(open_, last) - reach[1], last]
    frame.loc[after + 60 :, FIELDS] += last - frame.loc[after + 60, "open"]
    frame[FIELDS] = frame[FIELDS].round(5)
    return frame


@pytest.mark.parametrize(
    ("instrument", "price", "minutes", "width"),
    [
        # 15 January 2015, 09:30 UTC: from 1.2010 to 0.85 and back to 1.04 within twenty minutes.
        ("EUR_CHF", 1.2010, [(0.985, 0.98), (0.93, 0.91), (0.84, 0.8), (0.78, 0.71), (0.83, 0.75), (0.87, 0.82)], 0.02),
        # 6 October 2016, 23:07 UTC: from 1.2600 to below 1.20 in two minutes, 1.2400 a quarter of an hour later.
        ("GBP_USD", 1.2600, [(0.995, 0.99), (0.955, 0.93), (0.97, 0.945), (0.975, 0.965), (0.982, 0.972)], 0.004),
        # 2 January 2019, 22:35 UTC: from 107.5 to 104.9 and back to 107 in a few minutes.
        ("USD_JPY", 107.5, [(0.995, 0.992), (0.98, 0.973), (0.99, 0.978), (0.992, 0.986), (0.994, 0.99)], 0.004),
    ],
)  # fmt: skip
def test_known_crashes_stay(instrument: str, price: float, minutes: list[tuple[float, float]], width: float) -> None:
    """Re-enacted minute by minute, roughly: no candles of a minute of these days are at hand."""
    frame = crash(minutes, width, price)
    assert not judged(frame, instrument).any()
    # Nor is it held back for long while it happens: three minutes into it all bars are there.
    for known in range(4_004, 4_012):
        assert not judged(frame.iloc[:known], instrument).any()


def test_no_real_bar_is_a_spike() -> None:
    """False positives over every file of candles that is at hand: none of 547,409 bars."""
    bars = 0
    for path in sorted(SHARED.glob("*.parquet")):
        if path.name.startswith("macro"):
            continue
        frame = pq.read_table(path).to_pandas()
        names = [(f"{side}_", side) for side in ("bid", "ask")] if "bid_open" in frame else [("", "mid")]
        prices = {f"{side}_{f[0]}": frame[f"{prefix}{f}"].to_numpy() for prefix, side in names for f in FIELDS}
        instrument = "_".join(path.name.split("_")[:2])
        found = find_spikes(instrument, times_of(frame), price_sides(prices, False), False, False)
        assert not found.marks.any(), path.name
        bars += len(frame)
    assert bars > 500_000


def test_the_bars_beside_are_enough() -> None:
    """What is judged with `BESIDE_BARS` beside it is judged as in the whole."""
    frame = spoil(spoil(FRAME, "whole", 2_990, 3, 1.02), "wick", 3_005, 2, 0.97)
    marks = judged(frame)
    part = frame.iloc[3_000 - BESIDE_BARS : 3_000 + BESIDE_BARS]
    prices = {f"mid_{name[0]}": part[name].to_numpy() for name in FIELDS}
    found = find_spikes("EUR_USD", times_of(part), price_sides(prices, True), True, True)
    np.testing.assert_array_equal(found.marks, marks[3_000 - BESIDE_BARS : 3_000 + BESIDE_BARS])
    assert (marks > 0).sum() == 5
