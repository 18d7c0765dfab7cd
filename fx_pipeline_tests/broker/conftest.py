"""A store with imported bars, a running paper server, and the unmodified OANDA client."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from oandapyV20 import API
from oandapyV20.oandapyV20 import TRADING_ENVIRONMENTS

from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.broker.paper.embedded import embedded_server
from fx_pipeline.broker.paper.synthetic import synthetic_bars

TOKEN = "a-token-for-tests"
FIRST = int(np.datetime64("2024-01-08", "ns").astype(np.int64))
DAY = 86_400_000_000_000


@pytest.fixture(scope="session")
def imported() -> pa.Table:
    """Six trading days of GBP_JPY (8 to 14 January 2024 and the Sunday evening), as if imported."""
    return synthetic_bars("GBP_JPY", FIRST, FIRST + 7 * DAY).table("imported")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, imported: pa.Table) -> Path:
    """A store with `imported`; every other instrument is synthetic."""
    folder = tmp_path_factory.mktemp("store")
    candle_store.upsert(folder, "GBP_JPY", imported)
    return folder


@pytest.fixture(scope="session")
def server(store: Path) -> Iterator[str]:
    """URL of a paper server on `store`."""
    with embedded_server(store, TOKEN) as (url, _):
        yield url


@pytest.fixture
def api(server: str) -> Iterator[API]:
    """The unmodified oandapyV20 client."""
    TRADING_ENVIRONMENTS["paper-test"] = {"api": server, "stream": server}
    with API(TOKEN, environment="paper-test", request_params={"timeout": 10}) as client:
        client.client.trust_env = False
        yield client
