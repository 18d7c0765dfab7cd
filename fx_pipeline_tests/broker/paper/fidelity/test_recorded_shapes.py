"""The broker's reply to each recorded request has every field that OANDA's had."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import oandapyV20.endpoints.responses as published_replies
import pytest
from oandapyV20.endpoints import accounts, instruments, orders, positions, pricing, trades, transactions

from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.exchange import Exchange
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline_tests.broker.paper.fidelity.bench import TOKEN, Bench, running
from fx_pipeline_tests.broker.paper.fidelity.markets import HOUR_NS, SWINGS, moment, swinging_store
from fx_pipeline_tests.broker.paper.fidelity.recordings import NOT_SERVED, REQUESTS
from fx_pipeline_tests.broker.paper.fidelity.strict import StrictSchema
from fx_pipeline_tests.broker.paper.fidelity.trader import Trader, oanda_api

START = moment("2024-01-16T12:00")
ACCOUNT = AccountConfig().account
#: Fields of recordings that the broker does not have, and why.
EXCEPTIONS = {
    # The fill's book named its time so until 2022; it is `time` since.
    "order/market_order": {"orderFillTransaction.fullPrice.timestamp"},
}


def shape(node: Any, path: str = "") -> set[str]:
    """Dotted paths of all fields; the items of a list are taken together."""
    if isinstance(node, list):
        return set().union(*(shape(item, path) for item in node))
    if not isinstance(node, dict):
        return set()
    found: set[str] = set()
    for key, value in node.items():
        name = f"{path}.{key}" if path else key
        found |= {name} | shape(value, name)
    return found


def _mit(units: int, price: str) -> dict[str, Any]:
    return {
        "type": "MARKET_IF_TOUCHED", "instrument": "EUR_USD", "units": str(units), "price": price,
        "timeInForce": "GTC", "positionFill": "OPEN_ONLY",
    }  # fmt: skip


def _tour(trader: Trader, bench: Bench) -> dict[str, Any]:
    """Send the recorded requests; the replies by the recording's name."""
    ask, account = trader.ask, ACCOUNT
    extensions = {"id": "id", "tag": "tag"}
    market = {
        "type": "MARKET", "instrument": "EUR_USD", "units": "1000", "positionFill": "OPEN_ONLY",
        "clientExtensions": extensions,
    }  # fmt: skip
    found: dict[str, Any] = {}
    found["order/market_order"] = ask(orders.OrderCreate(account, {"order": market}))
    trade_id = found["order/market_order"]["orderFillTransaction"]["tradeOpened"]["tradeID"]
    stop = {"type": "STOP_LOSS", "tradeID": trade_id, "price": "1.05000", "clientExtensions": {"id": "s", "tag": "tag"}}
    found["order/stop_loss_order"] = ask(orders.OrderCreate(account, {"order": stop}))
    found["order/market_if_touched_order"] = ask(orders.OrderCreate(account, {"order": _mit(100, "1.15000")}))
    order_id = found["order/market_if_touched_order"]["orderCreateTransaction"]["id"]
    found["order/order"] = ask(orders.OrderDetails(account, order_id))
    found["order/orders"] = ask(orders.OrderList(account))
    found["order/pending_orders"] = ask(orders.OrdersPending(account))
    found["order/replace"] = ask(orders.OrderReplace(account, order_id, {"order": _mit(100, "1.16000")}))
    order_id = found["order/replace"]["orderCreateTransaction"]["id"]
    change = {"clientExtensions": {"tag": "testing"}}
    found["order/client_extensions"] = ask(orders.OrderClientExtensions(account, order_id, change))
    found["order/cancel_order"] = ask(orders.OrderCancel(account, order_id))
    finer = orders.OrderCreate(account, {"order": _mit(101, "1.33687666666666")})
    found["order/error/order_rejected"] = trader.refused(finer)[1]
    trader.refused(positions.PositionClose(account, "EUR_USD", {"longUnits": "NONE", "shortUnits": "ALL"}))
    bench.control("POST", "/halt", {"instrument": "EUR_USD", "halted": True})
    found["order/error/market_halted"] = ask(orders.OrderCreate(account, {"order": market}))
    bench.control("POST", "/halt", {"instrument": "EUR_USD", "halted": False})
    bench.step(12 * 3600)
    params = {"granularity": "D", "price": "A", "count": 2}
    found["instrument/candles"] = ask(instruments.InstrumentsCandles("EUR_USD", params))
    found["pricing/pricing"] = ask(pricing.PricingInfo(account, {"instruments": "EUR_USD"}))
    history = ask(transactions.TransactionsSinceID(account, {"id": "1"}))
    # The two that were recorded: a refused closeout and a night's financing.
    recorded = ("MARKET_ORDER_REJECT", "DAILY_FINANCING")
    kept = [item for item in history["transactions"] if item["type"] in recorded]
    found["transaction/sinceid"] = {**history, "transactions": kept}
    ids = {"from": kept[-1]["id"], "to": kept[-1]["id"]}
    found["transaction/idrange"] = ask(transactions.TransactionIDRange(account, ids))
    found["transaction/transaction"] = ask(transactions.TransactionDetails(account, "1"))
    found["transaction/transaction_pages"] = ask(transactions.TransactionList(account))
    return found


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    store = swinging_store(tmp_path_factory.mktemp("store"), START - 60 * HOUR_NS, 96)
    market = PaperMarket(store, synthetic=False)
    with running(lambda: Exchange.open(market, AccountConfig(), sorted(SWINGS), START, 0)) as bench:
        yield bench


@pytest.fixture(scope="module")
def ours(bench: Bench, schema: StrictSchema) -> Mapping[str, Any]:
    with oanda_api(bench.url, TOKEN) as api:
        trader = Trader(api, ACCOUNT, schema)
        found = _tour(trader, bench)
    assert not trader.problems, trader.problems[:20]
    return found


@pytest.mark.parametrize("name", sorted(set(REQUESTS) - NOT_SERVED))
def test_no_recorded_field_is_missing(name: str, recorded: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    missing = shape(recorded[name]) - shape(ours[name])
    assert missing == EXCEPTIONS.get(name, set())


@pytest.mark.parametrize("name", sorted(set(REQUESTS) - NOT_SERVED))
def test_times_prices_and_amounts_are_of_the_recorded_form(
    name: str, recorded: Mapping[str, Any], ours: Mapping[str, Any]
) -> None:
    theirs, here = _kinds(recorded[name]), _kinds(ours[name])
    for path in set(theirs) & set(here):
        assert theirs[path] & here[path], f"{path}: {theirs[path]} recorded, {here[path]} here"


def _kinds(node: Any, path: str = "") -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    items = node.items() if isinstance(node, dict) else (("", item) for item in node)
    for key, value in items:
        name = f"{path}.{key}"
        if isinstance(value, dict | list):
            for inner, kinds in _kinds(value, name).items():
                found.setdefault(inner, set()).update(kinds)
        else:
            found.setdefault(name, set()).add(type(value).__name__)
    return found


def _published() -> dict[str, Any]:
    """The replies that come with oandapyV20, recorded in 2016, by name."""
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(published_replies.__path__):
        replies = getattr(importlib.import_module(f"{published_replies.__name__}.{module.name}"), "responses", {})
        found |= {name: entry["response"] for name, entry in replies.items()}
    return found


def _second_tour(trader: Trader) -> dict[str, Any]:
    """Send the requests of 2016; the replies by the recording's name."""
    ask, account = trader.ask, ACCOUNT
    found: dict[str, Any] = {}
    limit = {
        "type": "LIMIT", "instrument": "EUR_USD", "units": "-100", "price": "1.2", "timeInForce": "GTC",
        "positionFill": "DEFAULT", "stopLossOnFill": {"timeInForce": "GTC", "price": "1.22"},
    }  # fmt: skip
    found["_v3_accounts_accountID_orders_create"] = ask(orders.OrderCreate(account, {"order": limit}))
    order_id = found["_v3_accounts_accountID_orders_create"]["orderCreateTransaction"]["id"]
    name = {"clientExtensions": {"id": "myID", "comment": "myComment"}}
    found["_v3_accounts_accountID_order_clientextensions"] = ask(orders.OrderClientExtensions(account, order_id, name))
    found["_v3_accounts_accountID_orders_pending"] = ask(orders.OrdersPending(account))
    found["_v3_accounts_accountID_orders_list"] = ask(orders.OrderList(account))
    found["_v3_accounts_accountID_order_details"] = ask(orders.OrderDetails(account, order_id))
    found["_v3_accounts_transaction_details"] = ask(transactions.TransactionDetails(account, order_id))
    bought = trader.market("USD_JPY", 300)
    trade_id = bought["orderFillTransaction"]["tradeOpened"]["tradeID"]
    trader.market("GBP_JPY", -200)
    found["_v3_accounts_accountID_trades"] = ask(trades.TradesList(account))
    found["_v3_accounts_accountID_opentrades"] = ask(trades.OpenTrades(account))
    found["_v3_account_accountID_trades_details"] = ask(trades.TradeDetails(account, trade_id))
    found["_v3_account_accountID_trades_cltext"] = ask(trades.TradeClientExtensions(account, trade_id, name))
    ask(trades.TradeCRCDO(account, trade_id, {"stopLoss": {"timeInForce": "GTC", "price": "140"}}))
    both = {
        "takeProfit": {"timeInForce": "GTC", "price": "160"},
        "stopLoss": {"timeInForce": "GTC", "price": "141"},
    }
    found["_v3_account_accountID_trades_crcdo"] = ask(trades.TradeCRCDO(account, trade_id, both))
    found["_v3_account_accountID_trades_close"] = ask(trades.TradeClose(account, trade_id))
    found["_v3_accounts_accountID_openpositions"] = ask(positions.OpenPositions(account))
    found["_v3_accounts_accountID_positions"] = ask(positions.PositionList(account))
    found["_v3_accounts_accountID_positiondetails"] = ask(positions.PositionDetails(account, "GBP_JPY"))
    both_prices = {"instruments": "EUR_USD,USD_JPY"}
    found["_v3_accounts_accountID_pricing"] = ask(pricing.PricingInfo(account, both_prices))
    changes = {"sinceTransactionID": str(int(order_id) - 1)}
    found["_v3_accounts_accountID_account_changes"] = ask(accounts.AccountChanges(account, changes))
    replacement = {"units": "-500000", "type": "LIMIT", "instrument": "EUR_USD", "price": "1.25000"}
    # A replacement takes nothing over from the order that it replaces: what was recorded of it is sent anew.
    replacement |= name | {"stopLossOnFill": {"timeInForce": "GTC", "price": "1.27"}}
    found["_v3_accounts_accountID_order_replace"] = ask(orders.OrderReplace(account, order_id, {"order": replacement}))
    order_id = found["_v3_accounts_accountID_order_replace"]["orderCreateTransaction"]["id"]
    found["_v3_account_by_accountID"] = ask(accounts.AccountDetails(account))
    span = {"from": "1", "to": order_id}
    found["_v3_accounts_transaction_idrange"] = ask(transactions.TransactionIDRange(account, span))
    found["_v3_accounts_accountID_order_cancel"] = ask(orders.OrderCancel(account, order_id))
    trader.market("EUR_USD", 1_000)
    close = {"longUnits": "ALL"}
    found["_v3_accounts_accountID_position_close"] = ask(positions.PositionClose(account, "EUR_USD", close))
    found["_v3_accounts"] = ask(accounts.AccountList())
    found["_v3_account_by_accountID_summary"] = ask(accounts.AccountSummary(account))
    found["_v3_account_by_accountID_instruments"] = ask(accounts.AccountInstruments(account))
    leverage = accounts.AccountConfiguration(account, {"marginRate": "0.05"})
    found["_v3_accounts_accountID_account_config"] = ask(leverage)
    found["_v3_accounts_transaction_sinceid"] = ask(transactions.TransactionsSinceID(account, {"id": "1"}))
    found["_v3_accounts_accountID_transactions"] = ask(transactions.TransactionList(account))
    five_minutes = {"granularity": "M5", "count": 5}
    found["_v3_instruments_instrument_candles"] = ask(instruments.InstrumentsCandles("EUR_USD", five_minutes))
    return found


#: Books, and streams, which other tests judge line by line.
NOT_COMPARED = {
    "_v3_instruments_instrument_orderbook", "_v3_instruments_instrument_positionbook",
    "_v3_accounts_accountID_pricing_stream", "_v3_accounts_transactions_stream",
}  # fmt: skip


def test_no_field_recorded_in_2016_is_missing(bench: Bench, schema: StrictSchema) -> None:
    published = _published()
    with oanda_api(bench.url, TOKEN) as api:
        trader = Trader(api, ACCOUNT, schema)
        found = _second_tour(trader)
    assert not trader.problems, trader.problems[:20]
    compared = {name for name in published if not name.startswith("_v3_forexlabs")} - NOT_COMPARED
    assert compared <= set(found), compared - set(found)
    missing = {name: shape(published[name]) - shape(found[name]) for name in compared}
    assert not any(missing.values()), {name: fields for name, fields in missing.items() if fields}


def test_times_are_unix_seconds_where_they_are_asked_for(bench: Bench, reference: Path) -> None:
    unix = StrictSchema(reference / "v20-openapi-3.0.25.json", unix=True)
    with oanda_api(bench.url, TOKEN) as api:
        api.client.headers["Accept-Datetime-Format"] = "UNIX"
        trader = Trader(api, ACCOUNT, unix)
        trader.market("EUR_USD", 100)
        trader.look_at_everything("EUR_USD")
    assert not trader.problems, trader.problems[:20]
