"""A broker whose faults can be switched, and what ingestion and trading look like without any."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fx_pipeline.broker.client import OandaClient
from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.exchange import Exchange
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline.ingest.lake import build_month
from fx_pipeline.ingest.layout import lake_folder, lake_path, raw_folder
from fx_pipeline.ingest.raw import RawMonth, download_month
from fx_pipeline_tests.broker.paper.fidelity.bench import TOKEN, Bench, running
from fx_pipeline_tests.broker.paper.fidelity.markets import HOUR_NS, SWINGS, moment, swinging_bars, swinging_store

MONTH = "2024-01"
INSTRUMENT = "EUR_USD"
#: Two weeks from Monday, 8 January: 14,400 bars, three pages.
FIRST = moment("2024-01-08")
NOON = moment("2024-01-16T12:00")


@pytest.fixture(scope="session")
def month_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with ten trading days of one instrument."""
    folder = tmp_path_factory.mktemp("month")
    days = np.concatenate([1440 * day + np.arange(1440) for day in (0, 1, 2, 3, 4, 7, 8, 9, 10, 11)])
    bars = swinging_bars(INSTRUMENT, FIRST, days)
    candle_store.upsert(folder, INSTRUMENT, bars.table("imported"))
    return folder


@pytest.fixture
def history(month_store: Path) -> Iterator[Bench]:
    """A broker for which the stored candles are history, as the embedded one that ingestion uses."""
    market = PaperMarket(month_store, synthetic=False)
    with running(lambda: Exchange.history(market, AccountConfig(), [INSTRUMENT])) as bench:
        yield bench


@pytest.fixture(scope="session")
def replay_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of all made-up markets from 15 to 17 January."""
    return swinging_store(tmp_path_factory.mktemp("replay"), NOON - 36 * HOUR_NS, 72)


@pytest.fixture
def desk(replay_store: Path) -> Iterator[Bench]:
    """A trading desk at noon on 16 January, stepped by hand."""
    market = PaperMarket(replay_store, synthetic=False)
    names = sorted(SWINGS)
    with running(lambda: Exchange.open(market, AccountConfig(), names, NOON, 0), heartbeat_s=0.1) as bench:
        yield bench


Connect = Callable[..., OandaClient]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """A function that connects ingestion's client to a broker, with short pauses between retries."""
    opened: list[OandaClient] = []

    def open_client(bench: Bench, **options: object) -> OandaClient:
        settings = {"retries": 4, "backoff_s": 0.01, **options}
        client = OandaClient("paper", TOKEN, url=bench.url, **settings)  # type: ignore[arg-type]
        opened.append(client)
        return client

    yield open_client
    for client in opened:
        client.close()


def download(client: OandaClient, data_dir: Path, now_ns: int | None = None, **options: Any) -> RawMonth:
    """Download the month's raw pages."""
    return download_month(client, INSTRUMENT, MONTH, raw_folder(data_dir, INSTRUMENT, MONTH), now_ns, **options)


def ingest(client: OandaClient, data_dir: Path, now_ns: int | None = None) -> RawMonth:
    """Download the month and build it."""
    raw = download(client, data_dir, now_ns)
    build_month(data_dir, INSTRUMENT, MONTH, now_ns)
    return raw


def lake_bytes(data_dir: Path) -> bytes:
    """The month's parquet file."""
    return lake_path(lake_folder(data_dir), INSTRUMENT, MONTH).read_bytes()


def lake_table(data_dir: Path) -> pa.Table:
    """The month's bars."""
    return pq.read_table(lake_path(lake_folder(data_dir), INSTRUMENT, MONTH))


@pytest.fixture(scope="session")
def undisturbed(month_store: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The month's parquet file when nothing goes wrong."""
    data_dir = tmp_path_factory.mktemp("undisturbed")
    market = PaperMarket(month_store, synthetic=False)
    with running(lambda: Exchange.history(market, AccountConfig(), [INSTRUMENT])) as bench:
        client = OandaClient("paper", TOKEN, url=bench.url)
        ingest(client, data_dir)
        client.close()
    assert lake_table(data_dir).num_rows == 14_400
    return lake_bytes(data_dir)
