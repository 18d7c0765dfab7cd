"""A whole day's session through the unmodified oandapyV20: every reply as OANDA's, every figure right from outside."""

import dataclasses
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from oandapyV20.endpoints import accounts, instruments, transactions
from oandapyV20.endpoints.pricing import PricingStream

from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.exchange import Exchange
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline_tests.broker.paper.fidelity.audit import audit
from fx_pipeline_tests.broker.paper.fidelity.bench import TOKEN, running
from fx_pipeline_tests.broker.paper.fidelity.day import PIP, Day, trade_a_day
from fx_pipeline_tests.broker.paper.fidelity.markets import HOUR_NS, SWINGS, moment, swinging_store
from fx_pipeline_tests.broker.paper.fidelity.strict import StrictSchema
from fx_pipeline_tests.broker.paper.fidelity.trader import Listener, Trader, oanda_api

START = moment("2024-01-16T12:00")
_STORE_HOURS = 96


@dataclasses.dataclass
class Session:
    """What the day left behind."""

    day: Day
    trader: Trader
    history: list[dict[str, Any]]
    summary: dict[str, Any]
    prices: Listener
    events: Listener
    ended_ns: int


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory, schema: StrictSchema) -> Iterator[Session]:
    store = swinging_store(tmp_path_factory.mktemp("store"), START - 36 * HOUR_NS, _STORE_HOURS)
    state = tmp_path_factory.mktemp("state")
    config = AccountConfig()

    def open_exchange() -> Exchange:
        return Exchange.open(PaperMarket(store, synthetic=False), config, sorted(SWINGS), START, 0, state)

    with running(open_exchange, heartbeat_s=0.2) as bench, oanda_api(bench.url, TOKEN) as api:
        names = {"instruments": ",".join(sorted(SWINGS))}
        prices = Listener(bench.url, TOKEN, PricingStream(config.account, names))
        events = Listener(bench.url, TOKEN, transactions.TransactionsStream(config.account))
        for listener in (prices, events):
            listener.start()
            assert listener.started_reading.wait(10)
        trader = Trader(api, config.account, schema)
        day = trade_a_day(trader, bench.step)
        bench.step(60)
        ended_ns = bench.exchange.clock.now_ns()
        history, summary = trader.history(), trader.summary()
        yield Session(day, trader, history, summary, prices, events, ended_ns)
    for listener in (prices, events):
        listener.join(10)
        assert not listener.is_alive(), "a stream outlived its server"


def test_every_reply_is_as_oandas(session: Session) -> None:
    assert not session.trader.problems, "\n".join(sorted(set(session.trader.problems))[:20])


def test_every_endpoint_of_the_client_was_used(session: Session, schema: StrictSchema) -> None:
    operations = {(method, template) for method, template, _ in session.trader.seen}
    assert len(operations) >= 27, sorted(operations)


def test_the_account_holds_from_outside(session: Session) -> None:
    assert audit(session.history, session.summary) == []


def test_the_end_is_flat(session: Session) -> None:
    summary = session.summary
    assert (summary["openTradeCount"], summary["openPositionCount"], summary["pendingOrderCount"]) == (0, 0, 0)
    assert summary["marginUsed"] == "0.0000"
    assert summary["balance"] == summary["NAV"] == summary["marginAvailable"]


def test_every_transaction_is_as_oandas(session: Session, schema: StrictSchema) -> None:
    for transaction in session.history:
        assert schema.definition_problems("AnyTransaction", transaction) == []


@pytest.mark.parametrize(
    ("episode", "reason"),
    [("stop loss", "STOP_LOSS_ORDER"), ("take profit", "TAKE_PROFIT_ORDER"), ("limit", "LIMIT_ORDER"),
     ("trailing stop", "TRAILING_STOP_LOSS_ORDER"), ("stop", "STOP_ORDER"), ("touched", "MARKET_IF_TOUCHED_ORDER")],
)  # fmt: skip
def test_each_order_met_what_it_waited_for(session: Session, episode: str, reason: str) -> None:
    assert session.day.ended[episode]["type"] == "ORDER_FILL"
    assert session.day.ended[episode]["reason"] == reason


def test_a_stop_fills_at_its_price_or_worse_and_a_target_at_its_price_or_better(session: Session) -> None:
    replies, ended = session.day.replies, session.day.ended
    stop = Decimal(replies["trade with stop"]["stopLossOrder"]["price"])
    assert stop - 2 * PIP < Decimal(ended["stop loss"]["price"]) <= stop
    target = Decimal(replies["sell with target"]["orderCreateTransaction"]["takeProfitOnFill"]["price"])
    assert target - 2 * PIP < Decimal(ended["take profit"]["price"]) <= target
    limit = Decimal(replies["replaced"]["orderCreateTransaction"]["price"])
    assert Decimal(ended["limit"]["price"]) <= limit
    assert Decimal(ended["limit"]["units"]) == 1500


def test_a_trailing_stop_follows_the_price(session: Session) -> None:
    order = session.day.replies["trade with trailing stop"]["trailingStopLossOrder"]
    first = session.day.replies["buy with trailing stop"]["orderFillTransaction"]["price"]
    assert order["distance"] == "0.00060"
    assert Decimal(session.day.ended["trailing stop"]["price"]) >= Decimal(order["trailingStopValue"]) - 2 * PIP
    assert Decimal(order["trailingStopValue"]) > Decimal(first) - 20 * PIP


def test_fills_are_at_the_prices_of_the_stored_candles(session: Session) -> None:
    # Seen from outside: each fill's price lies in the bid or ask of the minute's candle.
    fills = [item for item in session.history if item["type"] == "ORDER_FILL"]
    assert len(fills) > 25
    for fill in fills:
        minute = f"{fill['time'][:16]}:00.000000000Z"
        params = {"granularity": "M1", "price": "BA", "from": minute, "count": 1}
        (candle,) = session.trader.ask(instruments.InstrumentsCandles(fill["instrument"], params))["candles"]
        side = candle["ask"] if Decimal(fill["units"]) > 0 else candle["bid"]
        assert Decimal(side["l"]) <= Decimal(fill["price"]) <= Decimal(side["h"]), fill


def test_profit_is_units_times_move_converted_with_the_charge(session: Session) -> None:
    for fill in (item for item in session.history if item["type"] == "ORDER_FILL"):
        profit = Decimal(fill["quotePL"])
        factors = fill["homeConversionFactors"]
        factor = Decimal(factors["gainQuoteHome" if profit >= 0 else "lossQuoteHome"]["factor"])
        assert abs(Decimal(fill["pl"]) - profit * factor) <= Decimal("0.0003"), fill


def test_the_market_is_halted_in_the_daily_break(session: Session) -> None:
    price = session.day.replies["price in the break"]
    assert (price["status"], price["tradeable"]) == ("non-tradeable", False)
    assert "T21:58" <= price["time"][10:16] < "T22:03"
    assert session.day.replies["order in the break"]["orderCancelTransaction"]["reason"] == "MARKET_HALTED"


def test_what_is_held_over_the_break_is_charged_at_17_new_york(session: Session) -> None:
    charges = [item for item in session.history if item["type"] == "DAILY_FINANCING" and item["positionFinancings"]]
    assert charges
    for charge in charges:
        assert charge["time"][10:] == "T22:00:00.000000000Z"
        assert sum(Decimal(part["financing"]) for part in charge["positionFinancings"]) == Decimal(charge["financing"])
    held = {part["instrument"] for charge in charges for part in charge["positionFinancings"]}
    assert {"USD_JPY", "GBP_JPY"} <= held


def test_an_order_expires_at_its_time(session: Session) -> None:
    assert session.day.ended["expired"]["reason"] == "TIME_IN_FORCE_EXPIRED"


@pytest.mark.parametrize(
    ("episode", "status", "code"),
    [
        ("units precision", 400, "UNITS_PRECISION_EXCEEDED"),
        ("units limit", 400, "UNITS_LIMIT_EXCEEDED"),
        ("no units", 400, "UNITS_INVALID"),
        ("time in force", 400, "TIME_IN_FORCE_INVALID"),
        ("unknown instrument", 400, "oanda::rest::core::InvalidParameterException"),
        ("price precision", 400, "PRICE_PRECISION_EXCEEDED"),
        ("client id taken", 400, "CLIENT_ORDER_ID_ALREADY_EXISTS"),
        ("unknown order", 404, "NO_SUCH_ORDER"),
        ("order by the id of a filled one", 404, "NO_SUCH_ORDER"),
        ("unknown trade", 404, "NO_SUCH_TRADE"),
        ("close of an unknown trade", 404, "TRADE_DOESNT_EXIST"),
        ("cancelled twice", 404, "ORDER_DOESNT_EXIST"),
        ("position never held", 404, "NO_SUCH_POSITION"),
        ("close of no position", 404, "CLOSEOUT_POSITION_DOESNT_EXIST"),
        ("wrong side", 400, "CLOSEOUT_POSITION_DOESNT_EXIST"),
    ],
)
def test_refusals_have_oandas_codes(session: Session, episode: str, status: int, code: str) -> None:
    found, body = session.day.refusals[episode]
    assert (found, body["errorCode"]) == (status, code), body


def test_an_order_can_be_created_and_yet_not_filled(session: Session) -> None:
    assert session.day.replies["out of bounds"]["orderCancelTransaction"]["reason"] == "BOUNDS_VIOLATION"
    assert session.day.replies["too large"]["orderCancelTransaction"]["reason"] == "INSUFFICIENT_MARGIN"


def test_the_transaction_stream_says_what_the_history_says(session: Session) -> None:
    first = int(session.events.transactions()[0]["id"])
    assert session.events.transactions() == session.history[first - 1 :]


def test_streamed_prices_are_those_of_the_stored_candles_and_none_is_missing(
    session: Session, schema: StrictSchema
) -> None:
    for line in session.prices.lines:
        kind = "PricingHeartbeat" if line["type"] == "HEARTBEAT" else "ClientPrice"
        assert schema.definition_problems(kind, line) == []
    minutes = (session.ended_ns - START) // (HOUR_NS // 60)
    for name in SWINGS:
        times = [time for time, _, _ in session.prices.prices(name)]
        assert times == sorted(set(times))
        ticks = {START + number * HOUR_NS // 240 for number in range(1, minutes * 4)}
        missing = ticks - {moment(time[:-1]) for time in times}
        assert not missing, sorted(np.array(sorted(missing), "datetime64[ns]").astype(str))[:10]


def test_a_client_that_follows_changes_knows_the_account(session: Session) -> None:
    reply = session.trader.ask(accounts.AccountChanges(session.trader.account, {"sinceTransactionID": "1"}))
    assert [item["id"] for item in reply["changes"]["transactions"]] == [item["id"] for item in session.history[1:]]
    assert reply["state"]["NAV"] == session.summary["NAV"]
    assert reply["lastTransactionID"] == session.summary["lastTransactionID"]


def test_pages_of_transactions_lead_to_all_of_them(session: Session) -> None:
    account = session.trader.account
    params = {"from": "2024-01-01T00:00:00Z", "pageSize": 20}
    reply = session.trader.ask(transactions.TransactionList(account, params))
    found: list[str] = []
    for page in reply["pages"]:
        answer = session.trader.api.client.get(page, timeout=10)
        found += [item["id"] for item in answer.json()["transactions"]]
    assert found == [item["id"] for item in session.history]
    assert reply["count"] == len(found)
