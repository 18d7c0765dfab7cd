"""The import of a HistData file against pandas: 1.33 million rows to checked parquet months.

The peer is what a careful pandas user writes: `read_csv`, `to_datetime` with the format, New York to UTC, bid, mid and
ask from the modelled spread, the same bad-bar checks as arrays, sort, duplicates, one parquet file a month. It does
not say why a row was refused, checks neither clock nor granularity, and does not survive being killed.

Prints `vs_pandas` (times faster), `vs_pandas_read` (reading and checking alone, nothing written), `rows_per_s`,
`share_of_limit` (what two threads need at least to read the file, parse it with Arrow and encode the parquet files,
over the time of the import) and `peak_rss_mb` of a process that does nothing but the import.
"""

import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from benchmarks.measure import interleaved, report, wants_json
from fx_pipeline.ingest.importers import import_files, read_candles
from fx_pipeline.ingest.layout import paper_store
from fx_pipeline.market.calendar import MINUTE_NS, is_open
from fx_pipeline.market.candles import CANDLE_SCHEMA, PRICE_COLUMNS, SIDES
from fx_pipeline.market.spreads import LONDON_SPREAD_PIPS, SPREAD_SHAPE

ROWS = 1_330_000
INSTRUMENT = "EUR_USD"
PIP, DIGITS = 1e-4, 5
COLUMNS = ["time", "open", "high", "low", "close", "volume"]
_ONE_IMPORT = """
import sys
from pathlib import Path
from fx_pipeline.ingest.importers import import_files
import_files([Path(sys.argv[1])], sys.argv[2], "histdata", Path(sys.argv[3]))
# Of this process alone: the kernel's ru_maxrss would count the parent's memory before exec.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def write_histdata(path: Path, rows: int, seed: int = 0) -> None:
    """Write a file as HistData's: a random walk of EUR_USD over the minutes of the FX week, from 2018 on."""
    generator = np.random.default_rng(seed)
    start = pd.Timestamp("2018-01-01T22:00Z").as_unit("ns").value
    times = np.arange(start, start + int(rows * 1.5) * MINUTE_NS, MINUTE_NS)
    times = times[is_open(times)][:rows]
    # The typical minute of EUR_USD moves by a pip or so.
    close = np.round(1.1 * np.exp(np.cumsum(generator.normal(0.0, 6e-6, rows))), DIGITS)
    open_ = np.append(close[:1], close[:-1])
    reach = np.round(np.abs(generator.normal(0.0, 5e-5, (2, rows))), DIGITS)
    local = pd.DatetimeIndex(times.astype("datetime64[ns]"), tz="UTC").tz_convert("America/New_York")
    frame = pd.DataFrame(
        {
            "time": local.strftime("%Y%m%d %H%M%S"),
            "open": open_,
            "high": np.maximum(open_, close) + reach[0],
            "low": np.minimum(open_, close) - reach[1],
            "close": close,
            "volume": 0,
        }
    )
    frame.to_csv(path, sep=";", header=False, index=False, float_format=f"%.{DIGITS}f")


def read_with_pandas(path: Path) -> pd.DataFrame:
    """The peer's reading and checking: good candles of a file, sorted, unique, completed to bid, mid and ask."""
    frame = pd.read_csv(path, sep=";", header=None, names=COLUMNS)
    local = pd.to_datetime(frame["time"], format="%Y%m%d %H%M%S")
    zoned = local.dt.tz_localize("America/New_York", ambiguous="NaT", nonexistent="NaT")
    frame["time"] = zoned.dt.tz_convert("UTC").dt.as_unit("ns")
    # Bids of one side: the spread of the hour since 17:00 New York, of which the file's own times tell.
    spread = LONDON_SPREAD_PIPS[INSTRUMENT] * SPREAD_SHAPE[(local.dt.hour.to_numpy() + 7) % 24] * PIP
    if frame["time"].isna().any():
        spread, frame = spread[frame["time"].notna()], frame[frame["time"].notna()].reset_index(drop=True)
    time_ns = frame["time"].astype("int64").to_numpy()
    for number, side in enumerate(SIDES):
        for name in COLUMNS[1:5]:
            frame[f"{side}_{name[0]}"] = (frame[name] + number * spread / 2).round(DIGITS)
    prices = frame[list(PRICE_COLUMNS)].to_numpy()
    good = np.isfinite(prices).all(axis=1) & (prices > 0).all(axis=1) & (time_ns % MINUTE_NS == 0)
    good &= (frame["volume"] >= 0).to_numpy()
    for side in SIDES:
        high, low = frame[f"{side}_h"], frame[f"{side}_l"]
        good &= (high >= low).to_numpy()
        for field in "oc":
            good &= frame[f"{side}_{field}"].between(low, high).to_numpy()
    for field in "oc":
        good &= (frame[f"ask_{field}"] >= frame[f"bid_{field}"]).to_numpy()
    good &= ((frame["time"] >= "1990-01-01") & (frame["time"] < pd.Timestamp.now("UTC"))).to_numpy()
    candles = frame.loc[good, ["time", *PRICE_COLUMNS, "volume"]]
    if not candles["time"].is_monotonic_increasing:
        candles = candles.sort_values("time", kind="stable")
    if not candles["time"].is_unique:
        candles = candles.drop_duplicates(["time", *PRICE_COLUMNS])
        candles = candles[~candles.duplicated("time", keep=False)]
    return candles.assign(quotes_modelled=True, source="imported").reset_index(drop=True)


def import_with_pandas(path: Path, store: Path) -> None:
    """The peer: the file as one parquet file a month."""
    candles = read_with_pandas(path)
    store.mkdir(parents=True)
    for month, part in candles.groupby(candles["time"].dt.strftime("%Y-%m")):
        part.to_parquet(store / f"{month}.parquet", compression="zstd", index=False)


def limit(path: Path, months: list[pa.Table]) -> None:
    """What no importer through Arrow can do without: read, parse every number, encode every month."""
    pyarrow.csv.read_csv(
        io.BytesIO(path.read_bytes()),
        read_options=pyarrow.csv.ReadOptions(column_names=COLUMNS, use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(delimiter=";"),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={name: pa.string() if name == "time" else pa.float64() for name in COLUMNS}
        ),
    )
    for month in months:
        pq.write_table(month, io.BytesIO(), compression="zstd")


def months_below(folder: Path) -> list[pa.Table]:
    """The parquet files of a folder, in order of their names."""
    return [pq.read_table(path).select(CANDLE_SCHEMA.names) for path in sorted(folder.rglob("*.parquet"))]


def main() -> None:
    """Run the benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = root / "DAT_ASCII_EURUSD_M1.csv"
        write_histdata(path, ROWS)

        def ours() -> None:
            shutil.rmtree(root / "ours", ignore_errors=True)
            import_files([path], INSTRUMENT, "histdata", root / "ours")

        def theirs() -> None:
            shutil.rmtree(root / "theirs", ignore_errors=True)
            import_with_pandas(path, root / "theirs")

        ours()
        theirs()
        mine, peers = months_below(paper_store(root / "ours")), months_below(root / "theirs")
        assert sum(map(len, mine)) == ROWS
        for month, peer in zip(mine, peers, strict=True):
            pd.testing.assert_frame_equal(month.to_pandas(), peer.to_pandas(), check_dtype=False)
        times = interleaved(
            {
                "pandas": theirs,
                "importer": ours,
                "pandas, reading only": lambda: read_with_pandas(path),
                "importer, reading only": lambda: read_candles(path, "histdata", INSTRUMENT),
                "limit of one thread": lambda: limit(path, mine),
            },
            5,
        )
        command = [sys.executable, "-c", _ONE_IMPORT, str(path), INSTRUMENT, str(root / "alone")]
        peak = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ).stdout
        medians = {name: statistics.median(values) for name, values in times.items()}
        report(
            f"import of {ROWS:,} HistData rows",
            times,
            {
                "vs_pandas": round(medians["pandas"] / medians["importer"], 2),
                "vs_pandas_read": round(medians["pandas, reading only"] / medians["importer, reading only"], 2),
                "rows_per_s": round(ROWS / medians["importer"]),
                "share_of_limit": round(medians["limit of one thread"] / 2 / medians["importer"], 3),
                "peak_rss_mb": int(peak) // 1024,
            },
            wants_json(),
        )


if __name__ == "__main__":
    main()
