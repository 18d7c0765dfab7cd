"""Ingestion under every fault of the broker: complete and correct parquet, or a clear failure that loses nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fx_pipeline.broker import client as client_module
from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.exchange import Exchange
from fx_pipeline.broker.paper.faults import Faults
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline.ingest.lake import build_month
from fx_pipeline.market.errors import BrokerError
from fx_pipeline_tests.broker.paper.fidelity.bench import Bench, running
from fx_pipeline_tests.chaos.conftest import (
    FIRST,
    INSTRUMENT,
    MONTH,
    Connect,
    download,
    ingest,
    lake_bytes,
    lake_table,
)

MINUTE = 60_000_000_000

#: Faults in spite of which the month is the same, byte for byte.
HARMLESS: dict[str, dict[str, Any]] = {
    "pages cut short": {"partial_page": True},
    "the server's clock an hour ahead": {"clock_skew_s": 3600},
    "the server's clock an hour behind": {"clock_skew_s": -3600},
    "three refusals of the rate": {"status_429": 3},
    "three web pages of a proxy": {"status_503": 3},
    "three timeouts of the gateway": {"status_504": 3},
    "slow replies": {"slow_reply_s": 0.2},
    "bodies in pieces": {"drip_s": 0.2},
    "OANDA's limits": {"rate_limit": True},
    "candles complete late, long ago": {"complete_delay_s": 45},
    "trading's faults": {
        "lose_reply": 5, "late_reply_s": 1.0, "read_lag_s": 1.0, "duplicate_client_ids": True, "empty_books": True,
        "pricing_stream": "drop", "transactions_stream": "stall", "heartbeats_only": True,
    },
    "pages cut short and bad gateways": {"partial_page": True, "status_503": 2, "status_429": 2, "slow_reply_s": 0.05},
}  # fmt: skip


@pytest.mark.parametrize("faults", HARMLESS.values(), ids=HARMLESS.keys())
def test_the_month_is_the_same(
    faults: dict[str, Any], history: Bench, connect: Connect, tmp_path: Path, undisturbed: bytes
) -> None:
    history.faults(**faults)
    raw = ingest(connect(history), tmp_path)
    assert raw.complete
    assert lake_bytes(tmp_path) == undisturbed


#: Faults that end a download, and what its error says.
FATAL: dict[str, tuple[dict[str, Any], str]] = {
    "token refused": ({"refuse_token": True}, "FX_PAPER_TOKEN"),
    "rate refused without end": ({"status_429": 10**6}, "rate of requests"),
    "down": ({"status_503": 10**6}, "run again later"),
    "gateway down": ({"status_504": 10**6}, "run again later"),
    "never answers": ({"slow_reply_s": 30.0}, "could not be reached"),
    "answers byte by byte": ({"drip_s": 30.0}, "could not be reached"),
}


@pytest.mark.parametrize(("faults", "said"), FATAL.values(), ids=FATAL.keys())
def test_a_failure_is_clear_and_the_next_run_completes_the_month(
    faults: dict[str, Any], said: str, history: Bench, connect: Connect, tmp_path: Path, undisturbed: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(client_module, "_TIMEOUT_S", (1.0, 1.0))
    monkeypatch.setattr(client_module, "_BODY_TIMEOUT_S", 1.0)
    history.faults(**faults)
    with pytest.raises(BrokerError, match=said):
        ingest(connect(history, retries=1), tmp_path)
    history.control("DELETE", "/faults")
    assert ingest(connect(history), tmp_path).complete
    assert lake_bytes(tmp_path) == undisturbed


def test_a_failure_in_the_middle_keeps_the_pages_before_it(
    history: Bench, connect: Connect, tmp_path: Path, undisturbed: bytes
) -> None:
    pages = 0

    def then_fail(text: str) -> None:
        nonlocal pages
        pages += 1
        if pages == 2:
            history.faults(status_503=10**6)

    with pytest.raises(BrokerError):
        download(connect(history, retries=0), tmp_path, progress=then_fail)
    history.control("DELETE", "/faults")
    raw = ingest(connect(history), tmp_path)
    assert raw.complete
    assert 0 < raw.downloaded < raw.pages
    assert lake_bytes(tmp_path) == undisturbed


def test_missing_minutes_are_gaps_and_nothing_else_changes(
    history: Bench, connect: Connect, tmp_path: Path, undisturbed: bytes
) -> None:
    whole = tmp_path / "whole"
    holed = tmp_path / "holed"
    ingest(connect(history), whole)
    history.faults(missing_minutes=0.05)
    download(connect(history), holed)
    report = build_month(holed, INSTRUMENT, MONTH)
    expected, found = lake_table(whole), lake_table(holed)
    times = found["time"].to_numpy()
    left = np.isin(expected["time"].to_numpy(), times)
    assert expected.filter(left).equals(found)
    assert 500 < (~left).sum() < 950
    assert report.missing >= (~left).sum() - 60
    assert lake_bytes(whole) == undisturbed


def test_a_candle_that_completes_late_is_taken_when_it_is_complete(
    month_store: Path, connect: Connect, tmp_path: Path
) -> None:
    market = PaperMarket(month_store, synthetic=False)
    start = FIRST + 1000 * MINUTE + 5_000_000_000
    with running(lambda: Exchange.open(market, AccountConfig(), [INSTRUMENT], start, 0)) as bench:
        client = connect(bench, now_ns=bench.exchange.clock.now_ns)
        bench.faults(complete_delay_s=45)
        # The bar that ended five seconds ago is not complete yet, and the one that runs is not either.
        assert not ingest(client, tmp_path, bench.exchange.clock.now_ns()).complete
        assert lake_table(tmp_path).num_rows == 999
        bench.step(60)
        ingest(client, tmp_path, bench.exchange.clock.now_ns())
        assert lake_table(tmp_path).num_rows == 1000
        bench.step(3600)
        bench.control("DELETE", "/faults")
        ingest(client, tmp_path, bench.exchange.clock.now_ns())
        ingest(client, tmp_path / "undelayed", bench.exchange.clock.now_ns())
    assert lake_bytes(tmp_path) == lake_bytes(tmp_path / "undelayed")
    assert lake_table(tmp_path).num_rows == 1061


def test_every_switch_has_its_test() -> None:
    tested = {name for faults in HARMLESS.values() for name in faults}
    tested |= {name for faults, _ in FATAL.values() for name in faults}
    # `path` only aims the others.
    assert set(Faults().describe()) == tested | {"missing_minutes", "path"}
