"""Files in blocks: what comes out depends on neither block, order nor memory, and is judged as candles are."""

import dataclasses
import subprocess
import sys
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.ingest import histdata
from fx_pipeline.ingest.clock import UTC
from fx_pipeline.ingest.importers import import_files, read_candles
from fx_pipeline.ingest.judge import judge
from fx_pipeline.ingest.parsed import Parsed
from fx_pipeline.ingest.sides import GivenSides
from fx_pipeline.ingest.text import read_blocks
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.candles import PRICE_COLUMNS, bad_bar_reasons
from fx_pipeline.market.errors import DataError, FxPipelineError

EUR = "EUR_USD"


def histdata_lines(mids: pd.DataFrame) -> list[str]:
    local = pd.DatetimeIndex(mids["time"]).tz_convert("America/New_York").strftime("%Y%m%d %H%M%S")
    prices = mids[["open", "high", "low", "close"]].itertuples(index=False)
    return [
        f"{time};" + ";".join(f"{price:.5f}" for price in row) + ";0" for time, row in zip(local, prices, strict=True)
    ]


def write(path: Path, lines: list[str], encoding: str = "utf-8") -> Path:
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return path


@pytest.fixture
def lines(mids: pd.DataFrame) -> list[str]:
    """HistData rows with all that can be wrong: blank, broken, unreadable, impossible, twice, contradicting."""
    lines = histdata_lines(mids)
    lines[100] = lines[100].replace(";0", ";0;7")
    lines[2000] = "20240228 25" + lines[2000][11:]
    lines[3000] = lines[3000][:16] + "1.0;0.9;1.1;1.0;0"
    lines[3001] = lines[3001][:16] + "1.0;abc;1.1;1.0;0"
    lines.insert(4000, lines[3999])
    lines.insert(5000, lines[4999][:16] + "1.00001;1.00001;1.00001;1.00001;0")
    lines.insert(6000, "")
    lines.insert(6000, "   ")
    return lines


def test_blocks_do_not_show(tmp_path: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "EURUSD.csv", lines)
    whole = read_candles(path, "histdata", EUR)
    assert whole.quarantine["row"].to_pylist() == [101, 2001, 3001, 3002, 5000, 5001]
    assert whole.quarantine["reason"].to_pylist() == [
        "wrong number of cells", "time cannot be read", "high below low", "not finite",
        *["duplicate time with other prices"] * 2,
    ]  # fmt: skip
    assert (whole.duplicates, whole.rows) == (1, len(lines) - 2)
    assert len(whole.candles) == whole.rows - 6 - 1
    monkeypatch.setattr(histdata, "read_blocks", partial(read_blocks, block_bytes=30_000))
    for encoding in ("utf-8-sig", "utf-16"):
        parts = read_candles(write(path, lines, encoding), "histdata", EUR)
        pd.testing.assert_frame_equal(parts.quarantine.to_pandas(), whole.quarantine.to_pandas())
        assert dataclasses.replace(parts, quarantine=whole.quarantine) == whole


def test_order_and_memory_do_not_show(
    tmp_path: Path, mids: pd.DataFrame, tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histdata, "read_blocks", partial(read_blocks, block_bytes=100_000))
    ordered = histdata_lines(mids)
    shuffled = [ordered[place] for place in np.random.default_rng(1).permutation(len(ordered))]
    reports = []
    for name, lines, memory in (("a", ordered, 1 << 27), ("b", shuffled, 1 << 27), ("c", shuffled, 100_000)):
        path = write(tmp_path / f"{name}-EURUSD.csv", lines)
        reports.append(import_files([path], EUR, "histdata", tmp_path / name, in_memory_bytes=memory))
    assert tree(tmp_path / "a") == tree(tmp_path / "b") == tree(tmp_path / "c")
    assert reports[0] == reports[1] == reports[2]
    assert reports[0].added == len(mids)


def test_the_later_of_two_files_counts_and_that_is_said(tmp_path: Path, mids: pd.DataFrame) -> None:
    first = mids.head(300)
    second = mids.iloc[200:400].copy()
    second.loc[second.index[:10], "high"] += 0.001
    files = [write(tmp_path / f"{n}.csv", histdata_lines(part)) for n, part in enumerate((first, second))]
    report = import_files(files, EUR, "histdata", tmp_path / "data")
    assert (report.rows, report.imported, report.added, report.superseded) == (500, 400, 400, 10)
    stored = candle_store.read_month(tmp_path / "data" / "paper", EUR, "2024-02").to_pandas()
    np.testing.assert_allclose(stored["bid_h"][200:210], second["high"].head(10), atol=1e-9)
    again = import_files(files[:1], EUR, "histdata", tmp_path / "data")
    assert (again.changed, again.unchanged, again.superseded) == (10, 290, 0)
    assert again.changed_times == tuple(time.value for time in second["time"].head(10))


def test_nothing_changes_when_a_stored_month_cannot_be_read(tmp_path: Path, mids: pd.DataFrame, tree) -> None:
    path = write(tmp_path / "EURUSD.csv", histdata_lines(mids))
    import_files([path], EUR, "histdata", tmp_path / "data")
    broken = candle_store.month_path(tmp_path / "data" / "paper", EUR, "2024-03")
    broken.write_bytes(broken.read_bytes()[:-100])
    before = tree(tmp_path / "data")
    moved = mids.assign(high=mids["high"] + 0.001)
    with pytest.raises(DataError, match=r"2024-03\.parquet"):
        import_files([write(path, histdata_lines(moved))], EUR, "histdata", tmp_path / "data")
    assert tree(tmp_path / "data") == before


def test_nothing_changes_when_the_disk_is_full(
    tmp_path: Path, mids: pd.DataFrame, tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "EURUSD.csv", histdata_lines(mids))
    import_files([path], EUR, "histdata", tmp_path / "data")
    before = tree(tmp_path / "data")
    real = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if self.name.endswith("2024-03.parquet"):
            raise OSError(28, "No space left on device")
        return real(self, data)

    moved = write(path, histdata_lines(mids.assign(high=mids["high"] + 0.001)))
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FxPipelineError, match=r"the disk is full: .*2024-03\.parquet"):
        import_files([moved], EUR, "histdata", tmp_path / "data")
    assert tree(tmp_path / "data") == before


def test_progress_only_grows_and_ends(tmp_path: Path, mids: pd.DataFrame) -> None:
    told: list[float] = []
    path = write(tmp_path / "EURUSD.csv", histdata_lines(mids))
    import_files([path, path], EUR, "histdata", tmp_path / "data", progress=told.append)
    assert told == sorted(told) and told[-1] == 1.0


PRICES = st.sampled_from([1.0, 1.0, 1.00001, 1.00001, 1.0001, 1.000004, 0.0, float("nan")])


@pytest.mark.parametrize("side", ["bid", "mid", "ask"])
def test_every_order_of_four_prices_is_judged_as_the_market_room_judges_it(side: str) -> None:
    kinds = [1.0, 1.0001, 1.001, 0.0, -1.0, float("nan"), float("inf")]
    bars = np.array(list(product(kinds, repeat=4)))
    names = [f"{side}_{field}" for field in "ohlc"]
    time = 1_700_000_040_000_000_000 + np.arange(len(bars)) * MINUTE_NS
    parsed = Parsed(
        np.arange(len(bars)), time, dict(zip(names, bars.T, strict=True)), np.zeros(len(bars)), lines=len(bars)
    )
    judged = judge(parsed, GivenSides.of(Path("a"), EUR, set(names), "mid"), UTC)
    frame = pd.DataFrame(bars, columns=names).assign(time=pd.DatetimeIndex(time.astype("datetime64[ns]"), tz="UTC"))
    reasons = bad_bar_reasons(frame)
    assert judged.good.row.tolist() == np.flatnonzero(reasons == "").tolist()
    assert judged.refused["reason"].to_pylist() == [reason for reason in reasons if reason]


@settings(max_examples=60, deadline=None)
@given(
    bars=st.lists(st.tuples(st.lists(PRICES, min_size=12, max_size=12), st.sampled_from([0, 1, 60])), max_size=6),
    sides=st.sampled_from([("bid",), ("mid",), ("bid", "ask"), ("bid", "mid", "ask")]),
)
def test_rows_are_judged_as_the_market_room_judges_candles(
    bars: list[tuple[list[float], int]], sides: tuple[str, ...]
) -> None:
    names = [name for name in PRICE_COLUMNS if name.split("_")[0] in sides]
    # A minute for each bar, so that none contradicts another.
    time = np.array(
        [1_700_000_040_000_000_000 + n * MINUTE_NS + s * 10**9 for n, (_, s) in enumerate(bars)], dtype=np.int64
    )
    time += np.arange(len(bars)) * MINUTE_NS
    prices = {name: np.array([bar[0][n] for bar in bars], dtype=float) for n, name in enumerate(names)}
    parsed = Parsed(np.arange(1, len(bars) + 1), time, prices, np.zeros(len(bars)), len(bars))
    given_sides = GivenSides.of(Path("a"), EUR, set(names), "mid")
    judged = judge(parsed, given_sides, UTC, now_ns=1_700_000_040_000_000_000 + 5 * MINUTE_NS)
    frame = pd.DataFrame({"time": pd.DatetimeIndex(time.astype("datetime64[ns]"), tz="UTC")})
    frame = frame.assign(**{name: np.round(price, 5) for name, price in prices.items()})
    reasons = bad_bar_reasons(frame, 1_700_000_040_000_000_000 + 5 * MINUTE_NS)
    assert judged.good.row.tolist() == (np.flatnonzero(reasons == "") + 1).tolist()
    assert judged.refused["reason"].to_pylist() == [reason for reason in reasons if reason]
    complete = given_sides.complete(judged.good.prices, judged.good.time)
    candles = pd.DataFrame({"time": pd.DatetimeIndex(judged.good.time.astype("datetime64[ns]"), tz="UTC"), **complete})
    assert set(bad_bar_reasons(candles)) <= {""}


def test_a_good_row_beside_an_impossible_one_of_its_minute_is_not_trusted(tmp_path: Path, mids: pd.DataFrame) -> None:
    lines = histdata_lines(mids.head(60))
    lines.append(lines[30][:16] + "1.0;0.9;1.1;1.0;0")
    found = read_candles(write(tmp_path / "EURUSD.csv", lines), "histdata", EUR)
    reasons = dict(zip(found.quarantine["row"].to_pylist(), found.quarantine["reason"].to_pylist(), strict=True))
    assert reasons == {31: "duplicate time with other prices", 61: "high below low"}


_PEAK = """
import sys
from pathlib import Path
from fx_pipeline.ingest.importers import import_files

def peak():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))) // 1024

report = import_files([Path(sys.argv[1])], "EUR_USD", "histdata", Path(sys.argv[2]))
print(report.imported, peak())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_stays_flat(tmp_path: Path) -> None:
    from benchmarks.importers import write_histdata

    peaks = []
    for rows in (1_300_000, 3_900_000):
        path = tmp_path / f"{rows}.csv"
        write_histdata(path, rows)
        command = [sys.executable, "-c", _PEAK, str(path), str(tmp_path / f"data-{rows}")]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        imported, peak = map(int, done.stdout.split())
        assert imported == rows
        peaks.append(peak)
        quarantine = list((tmp_path / f"data-{rows}").rglob("quarantine/*"))
        months = sorted((tmp_path / f"data-{rows}").rglob("*.parquet"))
        assert not quarantine and sum(pq.read_metadata(month).num_rows for month in months) == rows
    assert peaks[0] < 600
    assert peaks[1] < peaks[0] + 150
