"""Candles to import, and a client without a network."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pytest

from fx_pipeline.broker.client import MAXIMUM_COUNT, CandlesPage
from fx_pipeline.broker.decode import read_outline
from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.broker.paper.synthetic import synthetic_bars
from fx_pipeline.broker.paper.wire import candles_body
from fx_pipeline.market.calendar import MINUTE_NS

DAY = 86_400_000_000_000
FAR = 2**62


def nanoseconds(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


@pytest.fixture(scope="session")
def mids() -> pd.DataFrame:
    """Three weeks of EUR_USD around the spring change of New York's clocks: time, open, high, low, close, volume."""
    bars = synthetic_bars("EUR_USD", nanoseconds("2024-02-26"), nanoseconds("2024-03-16"))
    frame = pd.DataFrame(bars.prices[:, 4:8], columns=["open", "high", "low", "close"])
    frame.insert(0, "time", pd.DatetimeIndex(bars.time.astype("datetime64[ns]"), tz="UTC"))
    return frame.assign(volume=bars.volume)


@dataclasses.dataclass
class FakeClient:
    """Serves bars as `OandaClient` does, counts what is asked, and can fail.

    Attributes
    ----------
    fail_after : int or None
        Requests after which every further one raises.
    edit : callable
        May change the candles of a reply.
    revision : str or None
        The name of its data that the paper broker gives, once the time that is asked for is there.
    """

    bars: Bars
    environment: str = "practice"
    limit: int = MAXIMUM_COUNT
    now_ns: int = FAR
    fail_after: int | None = None
    quotes: str = "quoted"
    edit: Callable[[list[dict]], list[dict]] = list
    revision: str | None = None
    asked: list[int] = dataclasses.field(default_factory=list)

    def candles_page(self, instrument: str, start_ns: int, count: int = MAXIMUM_COUNT) -> CandlesPage:
        if self.fail_after is not None and len(self.asked) >= self.fail_after:
            raise ConnectionError("killed here")
        self.asked.append(start_ns)
        count = min(count, self.limit)
        found = self.bars.between(start_ns, self.now_ns).part(0, count)
        complete = found.time + MINUTE_NS <= self.now_ns
        reply = orjson.loads(candles_body(instrument, "M1", found, complete, "BMA"))
        reply["candles"] = self.edit(reply["candles"])
        body = orjson.dumps(reply)
        times = read_outline(body, instrument)
        named = self.revision is not None and start_ns < self.now_ns
        headers = {"FX-Revision": str(self.revision)} if named else {}
        return CandlesPage(body, headers, *times, start_ns, count, self.environment, self.quotes, self.now_ns)


@pytest.fixture(scope="session")
def february() -> Bars:
    """EUR_USD bars from 20 February to 6 March 2024."""
    return synthetic_bars("EUR_USD", nanoseconds("2024-02-20"), nanoseconds("2024-03-06"))


@pytest.fixture
def client(february: Bars) -> FakeClient:
    """A client of `february`, in pages of 1,000 candles."""
    return FakeClient(february, limit=1000)


@pytest.fixture
def tree() -> Callable[[Path], dict[str, bytes]]:
    """A function that returns every file below a folder, by relative path."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
        }

    return read
