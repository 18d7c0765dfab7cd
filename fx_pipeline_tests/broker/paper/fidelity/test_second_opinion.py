"""A second opinion: OANDA's own `v20` package trades a day against the broker, and understands every reply."""

import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import v20

from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.exchange import Exchange
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline_tests.broker.paper.fidelity.bench import TOKEN, Bench, running
from fx_pipeline_tests.broker.paper.fidelity.markets import HOUR_NS, SWINGS, moment, swinging_store

START = moment("2024-01-16T12:00")
ACCOUNT = AccountConfig().account
PIP = Decimal("0.0001")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return swinging_store(tmp_path_factory.mktemp("store"), START - 36 * HOUR_NS, 72)


@pytest.fixture
def bench(store: Path) -> Iterator[Bench]:
    market = PaperMarket(store, synthetic=False)
    with running(lambda: Exchange.open(market, AccountConfig(), sorted(SWINGS), START, 0), heartbeat_s=0.1) as bench:
        yield bench


@pytest.fixture(params=["RFC3339", "UNIX"])
def context(bench: Bench, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    # The package takes proxies from the environment, and they have no business on loopback.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    address = urlsplit(bench.url)
    return v20.Context(
        address.hostname, address.port, ssl=False, token=TOKEN, decimal_number_as_float=False, poll_timeout=20,
        datetime_format=request.param,
    )  # fmt: skip


def test_a_day(bench: Bench, context: Any) -> None:
    assert [item.id for item in context.account.list().get("accounts", 200)] == [ACCOUNT]
    before = context.account.get(ACCOUNT).get("account", 200)
    assert {item.name for item in context.account.instruments(ACCOUNT).get("instruments", 200)} == set(SWINGS)
    candles = context.instrument.candles("EUR_USD", granularity="M1", count=3, price="MBA").get("candles", 200)
    assert [candle.complete for candle in candles] == [True, True, False]
    (price,) = context.pricing.get(ACCOUNT, instruments="EUR_USD").get("prices", 200)
    bid = Decimal(price.bids[0].price)

    bought = context.order.market(
        ACCOUNT, instrument="EUR_USD", units=10_000, clientExtensions=v20.transaction.ClientExtensions(id="v20"),
        stopLossOnFill=v20.transaction.StopLossDetails(price=str(bid - 8 * PIP)),
    )  # fmt: skip
    fill = bought.get("orderFillTransaction", 201)
    assert (fill.reason, fill.units, fill.clientOrderID) == ("MARKET_ORDER", "10000", "v20")
    trade = context.trade.get(ACCOUNT, fill.tradeOpened.tradeID).get("trade", 200)
    assert Decimal(trade.stopLossOrder.price) == bid - 8 * PIP
    for _ in range(6):
        bench.step(3600)
    trade = context.trade.get(ACCOUNT, fill.tradeOpened.tradeID).get("trade", 200)
    assert trade.state == "CLOSED"
    closing = context.transaction.get(ACCOUNT, trade.closingTransactionIDs[-1]).get("transaction", 200)
    assert closing.reason == "STOP_LOSS_ORDER"

    sold = context.order.market(ACCOUNT, instrument="GBP_JPY", units=-2_000).get("orderFillTransaction", 201)
    resting = context.order.limit(ACCOUNT, instrument="EUR_USD", units=500, price="1.05000")
    order_id = resting.get("orderCreateTransaction", 201).id
    replaced = context.order.limit_replace(ACCOUNT, order_id, instrument="EUR_USD", units=600, price="1.06000")
    order_id = replaced.get("orderCreateTransaction", 201).id
    assert [item.id for item in context.order.list_pending(ACCOUNT).get("orders", 200)] == [order_id]
    assert context.order.cancel(ACCOUNT, order_id).get("orderCancelTransaction", 200).reason == "CLIENT_REQUEST"
    stop = v20.transaction.StopLossDetails(price="195.000")
    attached = context.trade.set_dependent_orders(ACCOUNT, sold.tradeOpened.tradeID, stopLoss=stop)
    assert attached.get("stopLossOrderTransaction", 200).price == "195.000"
    part = context.trade.close(ACCOUNT, sold.tradeOpened.tradeID, units="500")
    assert part.get("orderFillTransaction", 200).tradeReduced.units == "500"
    closed = context.position.close(ACCOUNT, "GBP_JPY", longUnits="NONE", shortUnits="ALL")
    assert closed.get("shortOrderFillTransaction", 200).units == "1500"
    assert context.position.list_open(ACCOUNT).get("positions", 200) == []

    refused = context.order.market(ACCOUNT, instrument="EUR_USD", units="1.5")
    assert refused.get("errorCode", 400) == "UNITS_PRECISION_EXCEEDED"

    history = context.transaction.since(ACCOUNT, id="0").get("transactions", 200)
    assert [int(item.id) for item in history] == list(range(1, len(history) + 1))
    changes = context.account.changes(ACCOUNT, sinceTransactionID=before.lastTransactionID).get("changes", 200)
    assert [item.id for item in changes.transactions] == [item.id for item in history[int(before.lastTransactionID) :]]
    assert len(changes.tradesClosed) == 2
    summary = context.account.summary(ACCOUNT).get("account", 200)
    moved = sum(Decimal(getattr(item, "pl", 0)) + Decimal(getattr(item, "financing", 0)) for item in history)
    assert Decimal(summary.balance) == Decimal(before.balance) + moved


def test_streams(bench: Bench, context: Any) -> None:
    seen: dict[str, list[Any]] = {"prices": [], "transactions": []}
    # Each reader leaves when it has what it waits for.
    enough = {"prices": "PRICE", "transactions": "ORDER_FILL"}

    def read(name: str, response: Any, count: int) -> None:
        for _, item in response.parts():
            seen[name].append(item)
            if sum(1 for found in seen[name] if found.type == enough[name]) >= count:
                return

    sources = {
        "prices": (context.pricing.stream(ACCOUNT, instruments="EUR_USD"), 5),
        "transactions": (context.transaction.stream(ACCOUNT), 1),
    }
    threads = [
        threading.Thread(target=read, args=(name, response, count), daemon=True)
        for name, (response, count) in sources.items()
    ]
    for thread in threads:
        thread.start()
    bench.step(60)
    context.order.market(ACCOUNT, instrument="EUR_USD", units=100).get("orderFillTransaction", 201)
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    prices = [item for item in seen["prices"] if item.type == "PRICE"]
    assert all(Decimal(item.asks[0].price) > Decimal(item.bids[0].price) for item in prices)
