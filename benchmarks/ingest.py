"""Ingestion against the field's usual way: M1 candles with bid, mid and ask, from a paper broker to parquet.

Ours is what the two assets do, one after the other: raw pages on disk, every one of them forced there; then checked
bars, gaps and a parquet file a month, a few months at a time. The peer is oandapyV20's `InstrumentsCandlesFactory` with
its default of 500 candles a request, and pandas: rows, concat, types, one parquet file at the end. The broker runs in a
process of its own, as do both contenders; they take turns, and the peer's time on a smaller span is scaled by the bars.
Neither waits for a rate limit: our client keeps OANDA's with OANDA, and none with a server on the same machine.

Prints `vs_factory` (times faster, a bar), `vs_factory_5000` (the same with 5,000 candles a request), `bars_per_s`,
`peak_rss_mb` of our process, `rss_growth_mb` (by how much that peak grew after the first third of the months),
`json_share` (the time in which our compiled reader decodes the same bytes, over ours) and `orjson_share` (the same for
orjson, the limit of what goes through Python objects), `cpu_us_a_bar` of our process without the broker's, and
`factory_bars`, on which the peer was timed in all rounds together.
"""

import contextlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import orjson
import pandas as pd
import pyarrow as pa

from benchmarks.measure import report, wants_json
from fx_pipeline.broker.client import OandaClient
from fx_pipeline.broker.decode import read_candles
from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.broker.paper.synthetic import synthetic_candles
from fx_pipeline.ingest.lake import MonthReport, build_months
from fx_pipeline.ingest.layout import raw_folder
from fx_pipeline.ingest.raw import RawMonth, download_months
from fx_pipeline.market.months import month_bounds, months_between

INSTRUMENT = "EUR_USD"
FIRST_MONTH, BARS = "2020-01", 1_330_000
ROUNDS, PEER_MONTHS = 3, 2
_SERVER = """
import sys
from pathlib import Path
from fx_pipeline.broker.paper.embedded import embedded_server
with embedded_server(Path(sys.argv[1])) as (url, token):
    print(url, token, flush=True)
    sys.stdin.read()
"""


def fill_store(store: Path) -> list[str]:
    """Put months of generated bars into a store, until it has `BARS`; return the months."""
    start, filled, bars = month_bounds(FIRST_MONTH)[0], [], 0
    for month in months_between(start, start + 2**58):
        bounds = month_bounds(month)
        candles = synthetic_candles(INSTRUMENT, *bounds, span_ns=bounds)
        candle_store.upsert(store, INSTRUMENT, candles)
        filled.append(month)
        bars += len(candles)
        if bars >= BARS:
            break
    return filled


@contextlib.contextmanager
def broker(store: Path) -> Iterator[tuple[str, str]]:
    """Run a paper broker in its own process; yield its URL and token."""
    command = [sys.executable, "-c", _SERVER, str(store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            url, token = process.stdout.readline().split()
            yield url, token
        finally:
            process.stdin.close()


def ours(url: str, token: str, data_dir: Path, months: list[str]) -> tuple[float, float, int, float]:
    """Ingest months as the assets do; return seconds, seconds of CPU, bars and this process' peak memory in MB."""
    began, cpu_began = time.perf_counter(), time.process_time()
    client = OandaClient("paper", token, url=url)
    for downloaded in download_months(client, [(INSTRUMENT, month) for month in months], data_dir):
        assert isinstance(downloaded, RawMonth), downloaded
    client.close()
    bars = 0
    for built in build_months(data_dir, [(INSTRUMENT, month) for month in months]):
        assert isinstance(built, MonthReport), built
        bars += built.rows
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    return seconds, cpu_s, bars, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def factory(url: str, token: str, path: Path, months: list[str], count: int) -> tuple[float, int]:
    """Download months with the library's factory and pandas; return seconds and bars."""
    from oandapyV20 import API
    from oandapyV20.contrib.factories import InstrumentsCandlesFactory
    from oandapyV20.oandapyV20 import TRADING_ENVIRONMENTS

    TRADING_ENVIRONMENTS["paper-benchmark"] = {"api": url, "stream": url}
    bounds = [month_bounds(months[0])[0], month_bounds(months[-1])[1]]
    start, end = (pd.Timestamp(bound).strftime("%Y-%m-%dT%H:%M:%SZ") for bound in bounds)
    began = time.perf_counter()
    api = API(token, environment="paper-benchmark")
    api.client.trust_env = False
    frames = []
    parameters = {"from": start, "to": end, "granularity": "M1", "price": "MBA", "count": count}
    for request in InstrumentsCandlesFactory(INSTRUMENT, parameters):
        candles = api.request(request)["candles"]
        if candles:
            frames.append(
                pd.DataFrame(
                    [
                        {
                            "time": candle["time"],
                            "volume": candle["volume"],
                            "complete": candle["complete"],
                            **{f"{side}_{x}": candle[side][x] for side in ("bid", "mid", "ask") for x in "ohlc"},
                        }
                        for candle in candles
                    ]
                )
            )
    table = pd.concat(frames, ignore_index=True)
    table["time"] = pd.to_datetime(table["time"])
    prices = [name for name in table.columns if name[-2:] in ("_o", "_h", "_l", "_c")]
    table[prices] = table[prices].astype("float64")
    table = table[table["complete"]].drop_duplicates("time").sort_values("time")
    table.to_parquet(path, compression="zstd")
    api.close()
    return time.perf_counter() - began, len(table)


def decoding_s(data_dir: Path, months: list[str]) -> tuple[float, float, int]:
    """Seconds in which our reader and orjson decode the stored pages of some months, and their bars."""
    bodies = [
        pa.CompressedInputStream(pa.BufferReader(path.read_bytes()), "zstd").read()
        for month in months
        for path in sorted(raw_folder(data_dir, INSTRUMENT, month).glob("page-*"))
    ]
    times = []
    for decode in (read_candles, orjson.loads):
        decode(bodies[0])
        began = time.perf_counter()
        for body in bodies:
            decode(body)
        times.append(time.perf_counter() - began)
    bars = sum(len(read_candles(body).time) for body in bodies)
    return times[0], times[1], bars


def main() -> None:
    """Run the benchmark."""
    as_json = wants_json()
    spawn = get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="fx-ingest-") as folder,
        ProcessPoolExecutor(1, spawn) as our_process,
        ProcessPoolExecutor(1, spawn) as peer_process,
    ):
        root = Path(folder)
        months = fill_store(root / "store")
        with broker(root / "store") as (url, token):
            # Compiled loops, pools and connections are made before the clock starts.
            our_process.submit(ours, url, token, root / "warm", months[:1]).result()
            peer_process.submit(factory, url, token, root / "warm.parquet", months[:1], 500).result()
            taken: dict[str, list[float]] = {"ours": [], "factory": [], "factory, count=5000": []}
            share = -(-len(months) // ROUNDS)
            total_s, total_cpu_s, total_bars, factory_bars, peaks = 0.0, 0.0, 0, 0, []
            for number in range(ROUNDS):
                part = months[number * share : (number + 1) * share]
                for name, count in (("factory", 500), ("factory, count=5000", 5000)):
                    job = peer_process.submit(
                        factory, url, token, root / f"peer-{count}.parquet", part[:PEER_MONTHS], count
                    )
                    seconds, bars = job.result()
                    taken[name].append(seconds / bars)
                    factory_bars += bars if count == 500 else 0
                seconds, cpu_s, bars, peak = our_process.submit(ours, url, token, root / "data", part).result()
                taken["ours"].append(seconds / bars)
                total_s, total_cpu_s, total_bars = total_s + seconds, total_cpu_s + cpu_s, total_bars + bars
                peaks.append(peak)
        reader_s, orjson_s, decoded = decoding_s(root / "data", months[:PEER_MONTHS])
    ours_a_bar = total_s / total_bars
    million = {name: [1e6 * value for value in values] for name, values in taken.items()}
    report(
        f"{total_bars:,} bars of {len(months)} months; seconds a million bars",
        million,
        {
            "vs_factory": round(statistics.median(taken["factory"]) / ours_a_bar, 2),
            "vs_factory_5000": round(statistics.median(taken["factory, count=5000"]) / ours_a_bar, 2),
            "bars_per_s": round(total_bars / total_s),
            "peak_rss_mb": round(peaks[-1]),
            "rss_growth_mb": round(peaks[-1] - peaks[0], 1),
            "json_share": round(reader_s / decoded / ours_a_bar, 3),
            "orjson_share": round(orjson_s / decoded / ours_a_bar, 3),
            "bars": total_bars,
            "seconds": round(total_s, 2),
            "cpu_us_a_bar": round(1e6 * total_cpu_s / total_bars, 2),
            "factory_bars": factory_bars,
        },
        as_json,
    )


if __name__ == "__main__":
    main()
