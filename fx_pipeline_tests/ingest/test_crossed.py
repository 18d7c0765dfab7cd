"""An ask below the bid: mended where the two sides are of different moments, quarantined where it is no quote."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.broker.quotes_word import MOST_EXCEPTIONS, base_word, modelled_of, quotes_word, unmixed
from fx_pipeline.ingest import layout
from fx_pipeline.ingest.crossed import mend_crossed
from fx_pipeline.ingest.importers import import_files
from fx_pipeline.ingest.lake import build_month, read_candles
from fx_pipeline.ingest.raw import download_month, read_manifest
from fx_pipeline.market.candles import CROSSED
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.spreads import spread_model
from fx_pipeline_tests.ingest.conftest import FakeClient
from fx_pipeline_tests.ingest.made import FIELDS, fx_minutes, walk

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "GBP_USD_M1_2012-02_bid_ask.parquet"
MINUTES = fx_minutes("2024-01-22 00:00", "2024-02-01 00:00")
LATE = 2**62
PIP = 1e-4


def quoted(share: float, depth_pips: float = 0.8, seed: int = 3) -> tuple[pd.DataFrame, np.ndarray]:
    """Quotes a pip apart; in a share of the minutes the ask's open is of another moment, and lies below the bid's."""
    bid = walk(MINUTES, step=2e-4)
    frame = bid[["time"]].copy()
    for field in FIELDS:
        frame[f"bid_{field}"] = bid[field]
        frame[f"ask_{field}"] = (bid[field] + PIP).round(5)
    crossed = np.random.default_rng(seed).random(len(frame)) < share
    crossed[[0, len(frame) - 1]] = False
    frame.loc[crossed, "ask_open"] = (frame.loc[crossed, "bid_open"] - depth_pips * PIP).round(5)
    frame["ask_low"] = frame[["ask_low", "ask_open"]].min(axis=1)
    return frame.assign(volume=bid["volume"]), crossed


def write(frame: pd.DataFrame, path: Path) -> Path:
    times = frame["time"].dt.strftime("%Y-%m-%d %H:%M:%S")
    frame.assign(time=times).to_csv(path, index=False)
    return path


def test_crossed_bars_are_kept_and_flagged_all_the_way_to_the_lake(tmp_path: Path) -> None:
    frame, crossed = quoted(0.047)
    report = import_files([write(frame, tmp_path / "EUR_USD.csv")], "EUR_USD", "csv", tmp_path)
    assert (report.mended, report.quarantined, report.imported) == (crossed.sum(), 0, len(frame))
    assert (report.costs, report.contract()["mended"]) == ("quoted", crossed.sum())
    said = next(text for text in report.assumptions if text.startswith("crossed"))
    assert f"{crossed.sum():,} of {len(frame):,} rows" in said and "by at most 0.8 pips" in said
    lake, built, pages = through_the_server(tmp_path, 1)
    assert len(lake) == len(frame) and built.mended == crossed.sum() and built.quarantined == {}
    np.testing.assert_array_equal(lake["quotes_modelled"], crossed)
    spreads = lake["ask_o"] - lake["bid_o"]
    assert spreads.min() > 0
    model = spread_model("EUR_USD").levels(lake["time"].to_numpy("datetime64[ns]").astype(np.int64)) * PIP
    assert np.abs(spreads - model)[crossed].max() < 2.1e-5
    np.testing.assert_allclose(spreads[~crossed], PIP, atol=1e-9)
    middle = (frame["bid_close"] + frame["ask_close"]) / 2
    assert np.abs(lake["mid_c"] - middle).max() < 1.1e-5
    # One page in five would do: scattered bars do not tear pages apart.
    assert pages == -(-len(frame) // 5_000) or pages <= 1 + len(frame) // 5_000 + crossed.sum() // MOST_EXCEPTIONS


def through_the_server(folder: Path, months: int) -> tuple[pd.DataFrame, object, int]:
    """Download what was imported in the pages of the paper server, and build the lake."""
    store = layout.paper_store(folder)
    names = candle_store.months(store, "EUR_USD")
    assert len(names) == months
    bars = Bars.concatenate([Bars.from_table(candle_store.read_month(store, "EUR_USD", name)) for name in names])

    class Unmixed(FakeClient):
        def candles_page(self, instrument: str, start_ns: int, count: int = 5_000):  # type: ignore[no-untyped-def]
            found = self.bars.between(start_ns, self.now_ns).part(0, count)
            self.limit = max(unmixed(found.quotes_modelled), 1)
            self.quotes = quotes_word(found.quotes_modelled[: self.limit])
            return super().candles_page(instrument, start_ns, count)

    built = None
    pages = 0
    for name in names:
        raw = layout.raw_folder(folder, "EUR_USD", name)
        download_month(Unmixed(bars), "EUR_USD", name, raw, LATE, force=True)
        manifest = read_manifest(raw)
        assert manifest is not None
        pages += len(manifest["pages"])
        built = build_month(folder, "EUR_USD", name)
    return read_candles(layout.lake_folder(folder), "EUR_USD").to_pandas(), built, pages


def test_a_brokers_crossed_bar_is_mended_in_the_lake(tmp_path: Path) -> None:
    frame, crossed = quoted(0.01)
    mid = {field: (frame[f"bid_{field}"] + frame[f"ask_{field}"]) / 2 for field in FIELDS}
    prices = np.stack(
        [frame[f"bid_{f}"] for f in FIELDS] + [mid[f].round(5) for f in FIELDS] + [frame[f"ask_{f}"] for f in FIELDS], 1
    )
    times = frame["time"].to_numpy("datetime64[ns]").astype(np.int64)
    bars = Bars(times, prices, frame["volume"].to_numpy(), np.zeros(len(frame), bool))
    raw = layout.raw_folder(tmp_path, "EUR_USD", "2024-01")
    download_month(FakeClient(bars), "EUR_USD", "2024-01", raw, LATE)
    report = build_month(tmp_path, "EUR_USD", "2024-01")
    assert (report.rows, report.mended, report.quarantined) == (len(frame), crossed.sum(), {})
    lake = read_candles(layout.lake_folder(tmp_path), "EUR_USD").to_pandas()
    np.testing.assert_array_equal(lake["quotes_modelled"], crossed)
    np.testing.assert_array_equal(lake["mid_o"], prices[:, 4])


def test_what_is_no_quote_stays_quarantined(tmp_path: Path) -> None:
    frame, _ = quoted(0.0)
    # Fifty pips below the bid, in a bar that moved a few.
    frame.loc[500, [f"ask_{field}" for field in FIELDS]] -= 50 * PIP
    report = import_files([write(frame.round(5), tmp_path / "EUR_USD.csv")], "EUR_USD", "csv", tmp_path)
    assert (report.mended, report.reasons) == (0, {CROSSED: 1})


def test_columns_the_wrong_way_round_are_refused(tmp_path: Path) -> None:
    frame, _ = quoted(0.0)
    names = {f"{one}_{f}": f"{other}_{f}" for one, other in (("bid", "ask"), ("ask", "bid")) for f in FIELDS}
    with pytest.raises(DataError, match="the ask is below the bid"):
        import_files([write(frame.rename(columns=names), tmp_path / "EUR_USD.csv")], "EUR_USD", "csv", tmp_path)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_a_mended_bar_is_sound_and_no_other_changes(seed: int, with_mid: bool) -> None:
    generator = np.random.default_rng(seed)
    count = 40
    time = MINUTES[:count]

    def side() -> np.ndarray:
        ends = np.round(1.1 + generator.normal(0, 2e-4, (2, count)), 5)
        reach = np.abs(np.round(generator.normal(0, 1e-4, (2, count)), 5))
        return np.stack([ends[0], ends.max(axis=0) + reach[0], ends.min(axis=0) - reach[1], ends[1]]).round(5)

    sides = {"bid": side(), "ask": side()}
    if with_mid:
        sides["mid"] = (sides["bid"] + sides["ask"]) / 2
    before = {name: values.copy() for name, values in sides.items()}
    mended = mend_crossed("EUR_USD", time, sides).bars
    bid, ask = sides["bid"], sides["ask"]
    for name in ("bid", "ask"):
        assert np.array_equal(sides[name][:, ~mended], before[name][:, ~mended])
        open_, high, low, close = sides[name][:, mended]
        assert (low <= np.minimum(open_, close)).all() and (high >= np.maximum(open_, close)).all()
    assert (ask[:, mended] > bid[:, mended]).all()
    middle = (before["bid"] + before["ask"]) / 2
    np.testing.assert_allclose(((bid + ask) / 2)[:, mended], middle[:, mended], atol=1.1e-5)
    assert not mended[(before["ask"] >= before["bid"]).all(axis=0)].any()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 30)), min_size=1, max_size=12))
def test_a_page_says_of_each_bar_where_its_quotes_are_from(runs: list[tuple[bool, int]]) -> None:
    modelled = np.concatenate([np.full(bars, flag) for flag, bars in runs])
    count = unmixed(modelled)
    assert count >= 1
    word = quotes_word(modelled[:count])
    assert base_word(word) in ("quoted", "modelled")
    np.testing.assert_array_equal(modelled_of(word, count), modelled[:count])


def test_old_pages_and_long_runs() -> None:
    assert modelled_of("quoted", 3).tolist() == [False] * 3 and modelled_of("modelled", 2).tolist() == [True] * 2
    assert unmixed(np.repeat([False, True], [40, 60])) == 40
    scattered = np.tile([True, False, False], 1_000)
    assert (~modelled_of(quotes_word(scattered[: unmixed(scattered)]), unmixed(scattered))).sum() >= MOST_EXCEPTIONS
    assert len(quotes_word(scattered[: unmixed(scattered)])) < 4_000
    with pytest.raises(ValueError, match="does not have"):
        modelled_of("quoted except 5", 5)


def test_the_effect_on_real_quotes(tmp_path: Path) -> None:
    """GBP_USD of February 2012, of a broker whose two sides are each of their own last change."""
    report = import_files([REAL], "GBP_USD", "parquet", tmp_path)
    assert report.reasons == {} and report.mended > 500
    assert report.imported == report.rows == 30_117
