"""A whole trading day through the unmodified client: every kind of order meets what it waits for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
from oandapyV20.endpoints import accounts, orders, positions, trades, transactions

from fx_pipeline_tests.broker.paper.fidelity.trader import Trader

PIP = Decimal("0.0001")
#: Looks a client takes at the account while it waits, in seconds of market time.
LOOK_S = 300


@dataclass
class Day:
    """What happened, by name of the episode."""

    replies: dict[str, Any] = field(default_factory=dict)
    refusals: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)


def trade_a_day(trader: Trader, step: Callable[[float], None]) -> Day:
    """Trade from noon on; `step` moves the market's clock by seconds."""
    day = Day()
    trader.look_at_everything("EUR_USD")
    never_held = positions.PositionDetails(trader.account, "GBP_JPY")
    day.refusals["position never held"] = trader.refused(never_held)
    _stop_loss(trader, step, day)
    _take_profit(trader, step, day)
    _trailing_stop(trader, step, day)
    _closing_by_hand(trader, day)
    _pending_orders(trader, step, day)
    _dependent_orders(trader, step, day)
    _refusals(trader, day)
    _extensions(trader, day)
    _over_the_break(trader, step, day)
    trader.look_at_everything("GBP_JPY")
    return day


def _until(step: Callable[[float], None], done: Callable[[], bool], hours: float = 6) -> None:
    for _ in range(int(hours * 3600 / LOOK_S)):
        if done():
            return
        step(LOOK_S)
    raise AssertionError(f"nothing happened in {hours} hours")


def _end_of_trade(trader: Trader, step: Callable[[float], None], trade_id: str) -> dict[str, Any]:
    # The fill that closed the trade, as a client finds it.
    _until(step, lambda: trader.trade(trade_id)["state"] == "CLOSED")
    closing = trader.trade(trade_id)["closingTransactionIDs"][-1]
    found: dict[str, Any] = trader.ask(transactions.TransactionDetails(trader.account, closing))["transaction"]
    return found


def _opened(reply: dict[str, Any]) -> str:
    return str(reply["orderFillTransaction"]["tradeOpened"]["tradeID"])


def _stop_loss(trader: Trader, step: Callable[[float], None], day: Day) -> None:
    bid, _ = trader.quote("EUR_USD")
    stop = {"price": str(bid - 8 * PIP), "timeInForce": "GTC"}
    reply = trader.market("EUR_USD", 10_000, stopLossOnFill=stop, clientExtensions={"id": "with-stop", "tag": "day"})
    day.replies["buy with stop"] = reply
    day.replies["trade with stop"] = trader.trade(_opened(reply))
    day.ended["stop loss"] = _end_of_trade(trader, step, _opened(reply))


def _take_profit(trader: Trader, step: Callable[[float], None], day: Day) -> None:
    _, ask = trader.quote("EUR_USD")
    reply = trader.market("EUR_USD", -7_000, takeProfitOnFill={"price": str(ask - 10 * PIP)})
    day.replies["sell with target"] = reply
    day.ended["take profit"] = _end_of_trade(trader, step, _opened(reply))


def _trailing_stop(trader: Trader, step: Callable[[float], None], day: Day) -> None:
    reply = trader.market("EUR_USD", 5_000, trailingStopLossOnFill={"distance": "0.00060"})
    day.replies["buy with trailing stop"] = reply
    step(LOOK_S)
    day.replies["trade with trailing stop"] = trader.trade(_opened(reply))
    day.ended["trailing stop"] = _end_of_trade(trader, step, _opened(reply))


def _closing_by_hand(trader: Trader, day: Day) -> None:
    reply = trader.market("GBP_JPY", 3_000)
    trade_id = _opened(reply)
    day.replies["buy of a cross"] = reply
    day.replies["part of a trade closed"] = trader.ask(trades.TradeClose(trader.account, trade_id, {"units": "1000"}))
    day.replies["rest of a trade closed"] = trader.ask(trades.TradeClose(trader.account, trade_id, {"units": "ALL"}))
    trader.market("EUR_USD", 2_000)
    trader.market("EUR_USD", 3_000)
    day.replies["position"] = trader.ask(positions.PositionDetails(trader.account, "EUR_USD"))
    close = positions.PositionClose(trader.account, "EUR_USD", {"longUnits": "ALL", "shortUnits": "NONE"})
    day.replies["position closed"] = trader.ask(close)
    # Selling more than is held turns the position.
    trader.market("USD_JPY", 1_000)
    day.replies["reversal"] = trader.market("USD_JPY", -4_000)
    closing = positions.PositionClose(trader.account, "USD_JPY", {"longUnits": "NONE", "shortUnits": "ALL"})
    day.replies["short position closed"] = trader.ask(closing)


def _pending_orders(trader: Trader, step: Callable[[float], None], day: Day) -> None:
    middle = Decimal("1.10000")
    account = trader.account
    _until(step, lambda: abs(trader.quote("EUR_USD")[0] - middle) < 6 * PIP)
    limit = trader.order(
        type="LIMIT", instrument="EUR_USD", units="1000", price=str(middle - 20 * PIP), timeInForce="GTC",
        takeProfitOnFill={"price": str(middle)}, clientExtensions={"id": "limit-1"},
    )  # fmt: skip
    day.replies["limit"] = limit
    by_name = trader.ask(orders.OrderDetails(account, "@limit-1"))["order"]
    assert by_name["id"] == limit["orderCreateTransaction"]["id"]
    again = {
        "type": "LIMIT", "instrument": "EUR_USD", "units": "1", "price": "1.05000", "timeInForce": "GTC",
        "clientExtensions": {"id": "limit-1"},
    }  # fmt: skip
    day.refusals["client id taken"] = trader.refused(orders.OrderCreate(account, {"order": again}))
    replacement = {
        "type": "LIMIT", "instrument": "EUR_USD", "units": "1500", "price": str(middle - 15 * PIP),
        "timeInForce": "GTC",
    }  # fmt: skip
    day.replies["replaced"] = trader.ask(orders.OrderReplace(account, "@limit-1", {"order": replacement}))
    limit_id = day.replies["replaced"]["orderCreateTransaction"]["id"]
    stop = trader.order(
        type="STOP", instrument="EUR_USD", units="-900", price=str(middle - 18 * PIP), timeInForce="GTC"
    )  # fmt: skip
    touched = trader.order(
        type="MARKET_IF_TOUCHED", instrument="EUR_USD", units="-800", price=str(middle + 12 * PIP), timeInForce="GTC"
    )
    far = trader.order(type="LIMIT", instrument="EUR_USD", units="1", price="1.00000", timeInForce="GTC")
    day.replies["market if touched"] = touched
    day.replies["pending"] = trader.ask(orders.OrdersPending(account))
    far_id = far["orderCreateTransaction"]["id"]
    day.replies["cancelled"] = trader.ask(orders.OrderCancel(account, far_id))
    day.refusals["cancelled twice"] = trader.refused(orders.OrderCancel(account, far_id))
    now = trader.ask(accounts.AccountChanges(account, {"sinceTransactionID": far_id}))
    day.replies["changes"] = now
    waiting = [limit_id, stop["orderCreateTransaction"]["id"], touched["orderCreateTransaction"]["id"]]
    for name, order_id in zip(("limit", "stop", "touched"), waiting, strict=True):
        _until(step, lambda order_id=order_id: _order(trader, order_id)["state"] == "FILLED", hours=8)
        fill = _order(trader, order_id)["fillingTransactionID"]
        day.ended[name] = trader.ask(transactions.TransactionDetails(account, fill))["transaction"]
    for position in trader.ask(positions.OpenPositions(account))["positions"]:
        side = "long" if position["long"]["units"] != "0" else "short"
        other = "short" if side == "long" else "long"
        body = {f"{side}Units": "ALL", f"{other}Units": "NONE"}
        trader.ask(positions.PositionClose(account, position["instrument"], body))


def _order(trader: Trader, order_id: str) -> dict[str, Any]:
    found: dict[str, Any] = trader.ask(orders.OrderDetails(trader.account, order_id))["order"]
    return found


def _dependent_orders(trader: Trader, step: Callable[[float], None], day: Day) -> None:
    trade_id = _opened(trader.market("EUR_USD", 1_000))
    bid, _ = trader.quote("EUR_USD")
    account = trader.account

    def attach(**body: Any) -> dict[str, Any]:
        reply: dict[str, Any] = trader.ask(trades.TradeCRCDO(account, trade_id, body))
        return reply

    day.replies["stop attached"] = attach(stopLoss={"price": str(bid - 20 * PIP), "timeInForce": "GTC"})
    day.replies["stop moved"] = attach(stopLoss={"price": str(bid - 25 * PIP), "timeInForce": "GTC"})
    day.replies["target attached"] = attach(takeProfit={"price": str(bid + 90 * PIP), "timeInForce": "GTC"})
    day.replies["stop removed"] = attach(stopLoss=None)
    day.replies["trailing stop attached"] = attach(trailingStopLoss={"distance": "0.00100", "timeInForce": "GTC"})
    day.replies["trade without stop"] = trader.trade(trade_id)
    step(1)
    day.replies["closed with target"] = trader.ask(trades.TradeClose(account, trade_id))


def _refusals(trader: Trader, day: Day) -> None:
    account = trader.account

    def refuse(name: str, endpoint: Any) -> None:
        day.refusals[name] = trader.refused(endpoint)

    def order(**order: Any) -> Any:
        return orders.OrderCreate(
            account, {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "1", **order}}
        )

    refuse("units precision", order(units="1.5"))
    refuse("units limit", order(units="100000001"))
    refuse("no units", order(units="0"))
    refuse("time in force", order(timeInForce="GTC"))
    refuse("unknown instrument", order(instrument="ABC_DEF"))
    refuse("price precision", order(type="LIMIT", price="1.33687666666666", timeInForce="GTC"))
    refuse("unknown order", orders.OrderDetails(account, "999999"))
    refuse("unknown trade", trades.TradeDetails(account, "999999"))
    refuse("close of an unknown trade", trades.TradeClose(account, "999999"))
    refuse("close of no position", positions.PositionClose(account, "EUR_USD", {"longUnits": "ALL"}))
    trader.market("EUR_USD", 100, clientExtensions={"id": "filled-at-once"})
    # The id of a filled order finds nothing, as recorded from OANDA.
    refuse("order by the id of a filled one", orders.OrderDetails(account, "@filled-at-once"))
    refuse("wrong side", positions.PositionClose(account, "EUR_USD", {"longUnits": "NONE", "shortUnits": "ALL"}))
    day.replies["out of bounds"] = trader.market("EUR_USD", 100, priceBound="1.00000")
    day.replies["too large"] = trader.market("EUR_USD", 90_000_000)
    trader.ask(positions.PositionClose(account, "EUR_USD", {"longUnits": "ALL", "shortUnits": "NONE"}))


def _extensions(trader: Trader, day: Day) -> None:
    account = trader.account
    reply = trader.market("EUR_USD", 100, tradeClientExtensions={"id": "my-trade"})
    body = {"clientExtensions": {"id": "my-trade-2", "tag": "t", "comment": "c"}}
    day.replies["trade extensions"] = trader.ask(trades.TradeClientExtensions(account, _opened(reply), body))
    assert trader.trade("@my-trade-2")["id"] == _opened(reply)
    order = trader.order(type="LIMIT", instrument="EUR_USD", units="1", price="1.00000", timeInForce="GTC")
    order_id = order["orderCreateTransaction"]["id"]
    change = orders.OrderClientExtensions(account, order_id, {"clientExtensions": {"tag": "testing"}})
    day.replies["order extensions"] = trader.ask(change)
    trader.ask(orders.OrderCancel(account, order_id))
    trader.ask(trades.TradeClose(account, "@my-trade-2"))
    day.replies["configured"] = trader.ask(accounts.AccountConfiguration(account, {"alias": "A day"}))


def _over_the_break(trader: Trader, step: Callable[[float], None], day: Day) -> None:
    trader.market("USD_JPY", 6_000)
    trader.market("GBP_JPY", -2_000)
    account = trader.account

    for _ in range(12 * 60):
        if not trader.price("EUR_USD")["tradeable"]:
            break
        step(60)
    day.replies["price in the break"] = trader.price("EUR_USD")
    day.replies["order in the break"] = trader.market("EUR_USD", 100)
    later = np.datetime64(day.replies["price in the break"]["time"][:-1], "ns") + np.timedelta64(5, "h")
    expires = trader.order(
        type="LIMIT", instrument="EUR_USD", units="1", price="1.00000", timeInForce="GTD", gtdTime=f"{later}Z"
    )
    _until(step, lambda: _order(trader, expires["orderCreateTransaction"]["id"])["state"] == "CANCELLED", hours=8)
    expired = _order(trader, expires["orderCreateTransaction"]["id"])["cancellingTransactionID"]
    day.ended["expired"] = trader.ask(transactions.TransactionDetails(account, expired))["transaction"]
    for name, units in (("USD_JPY", "long"), ("GBP_JPY", "short")):
        other = "short" if units == "long" else "long"
        trader.ask(positions.PositionClose(account, name, {f"{units}Units": "ALL", f"{other}Units": "NONE"}))
