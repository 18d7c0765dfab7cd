"""The account's past: transactions, their pages, and what changed since one of them.

No reply holds more than 1,000 transactions, however many there are. OANDA's `sinceid` gives the oldest 1,000 after the
id (seen by its users), and its pages have at most 1,000; that a range of ids and `changes` stop there too is assumed.
What is read here of a log only ever grows, so that a thread may read while the account goes on.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from fx_pipeline.broker.paper.desk.account import Account
from fx_pipeline.broker.paper.desk.bodies import order_body, position_body, state_body, trade_body
from fx_pipeline.broker.paper.desk.codes import INVALID_PARAMETER
from fx_pipeline.broker.paper.desk.replies import Outcome, invalid, missing
from fx_pipeline.broker.paper.desk.state import State, Transaction, number_of
from fx_pipeline.broker.paper.desk.times import SECOND_NS, time_text

_WEEK_NS = 7 * 86_400 * SECOND_NS
_PAGE_LIMIT = 1_000
_ORDERS = (
    "MARKET_ORDER", "LIMIT_ORDER", "STOP_ORDER", "MARKET_IF_TOUCHED_ORDER", "TAKE_PROFIT_ORDER", "STOP_LOSS_ORDER",
    "TRAILING_STOP_LOSS_ORDER",
)  # fmt: skip
_ORDER_TYPES = frozenset(
    (
        *_ORDERS, *(f"{name}_REJECT" for name in _ORDERS), "FIXED_PRICE_ORDER", "ONE_CANCELS_ALL_ORDER",
        "ONE_CANCELS_ALL_ORDER_REJECT", "ONE_CANCELS_ALL_ORDER_TRIGGERED", "ORDER_FILL", "ORDER_CANCEL",
        "ORDER_CANCEL_REJECT", "ORDER_CLIENT_EXTENSIONS_MODIFY", "ORDER_CLIENT_EXTENSIONS_MODIFY_REJECT",
        "TRADE_CLIENT_EXTENSIONS_MODIFY", "TRADE_CLIENT_EXTENSIONS_MODIFY_REJECT",
    )
)  # fmt: skip
_FUNDING_TYPES = frozenset(("TRANSFER_FUNDS", "TRANSFER_FUNDS_REJECT", "DAILY_FINANCING", "RESET_RESETTABLE_PL"))
_ADMIN_TYPES = frozenset(
    (
        "CREATE", "CLOSE", "REOPEN", "CLIENT_CONFIGURE", "CLIENT_CONFIGURE_REJECT", "MARGIN_CALL_ENTER",
        "MARGIN_CALL_EXTEND", "MARGIN_CALL_EXIT", "DELAYED_TRADE_CLOSURE",
    )
)  # fmt: skip
_GROUPS = {"ORDER": _ORDER_TYPES, "FUNDING": _FUNDING_TYPES, "ADMIN": _ADMIN_TYPES}
_TYPES = _ORDER_TYPES | _FUNDING_TYPES | _ADMIN_TYPES


def transaction_types(names: Iterable[str]) -> frozenset[str] | None:
    """Return the transaction types that filter words stand for; None if a word is unknown."""
    found: set[str] = set()
    for name in names:
        if name in _GROUPS:
            found |= _GROUPS[name]
        elif name in _TYPES:
            found.add(name)
        else:
            return None
    return frozenset(found)


def _out_of_range(state: State, parameter: str, detail: str = ". It is out of the range of transaction ids") -> Outcome:
    body = {
        "lastTransactionID": str(state.last_id),
        "errorMessage": f"Invalid value specified for '{parameter}'{detail}",
        "errorCode": INVALID_PARAMETER,
    }
    return Outcome(416, body)


def _known_id(state: State, text: str, parameter: str, least: int) -> int | Outcome:
    number = number_of(text)
    if not number and text != "0":
        return invalid(parameter)
    return number if least <= number <= state.last_id else _out_of_range(state, parameter)


def since(account: Account, text: str) -> Outcome:
    """Return the oldest 1,000 transactions after one, as GET /transactions/sinceid.

    Whoever wants all asks again with the id of the last one, until that is the reply's `lastTransactionID`.
    """
    state = account.state
    # First: what is said to be the newest must not be newer than what is listed.
    last = state.last_id
    number = _known_id(state, text, "id", 0)
    if isinstance(number, Outcome):
        return number
    last = max(last, number)
    return _listed(state.transactions[number : min(number + _PAGE_LIMIT, last)], last)


def id_range(account: Account, from_text: str, to_text: str, types: Iterable[str] | None) -> Outcome:
    """Return the oldest 1,000 transactions of a range of ids, both ends included, as GET /transactions/idrange."""
    state = account.state
    newest = state.last_id
    first = _known_id(state, from_text, "from", 1)
    if isinstance(first, Outcome):
        return first
    last = _known_id(state, to_text, "to", 1)
    if isinstance(last, Outcome):
        return last
    if last < first:
        return _out_of_range(state, "to")
    wanted = None if types is None else transaction_types(types)
    if types is not None and wanted is None:
        return invalid("type")
    if not wanted:
        return _listed(state.transactions[first - 1 : min(last, first - 1 + _PAGE_LIMIT)], max(newest, last))
    log = state.transactions
    places = (place for place in range(first - 1, last) if log.kinds[place] in wanted)
    return _listed([log[place] for place in islice(places, _PAGE_LIMIT)], max(newest, last))


def _listed(transactions: list[Transaction], last_id: int) -> Outcome:
    return Outcome(200, {"transactions": transactions, "lastTransactionID": str(last_id)})


def one(account: Account, text: str) -> Outcome:
    """Return one transaction, as GET /transactions/{id}."""
    state = account.state
    number = number_of(text)
    if not number:
        return invalid("transactionID")
    if number > state.last_id:
        return missing(state, "NO_SUCH_TRANSACTION")
    return Outcome(200, {"transaction": state.transactions[number - 1], "lastTransactionID": str(state.last_id)})


def pages(
    account: Account,
    from_ns: int | None,
    to_ns: int | None,
    page_size: int,
    types: Iterable[str] | None,
    base_url: str,
    now_ns: int,
) -> Outcome:
    """Return the addresses of the pages that hold the transactions of a time range, as GET /transactions."""
    state = account.state
    last_id = state.last_id
    if not 1 <= page_size <= _PAGE_LIMIT:
        return invalid("pageSize")
    names = None if types is None else list(types)
    wanted = None if names is None else transaction_types(names)
    if names is not None and wanted is None:
        return invalid("type")
    start = now_ns - _WEEK_NS if from_ns is None else from_ns
    end = now_ns if to_ns is None else to_ns
    if start > end:
        return invalid("from")
    first, beyond = state.first_at(start), state.first_at(end + 1)
    numbers = [
        number for number in range(first, beyond) if not wanted or state.transactions.kinds[number - 1] in wanted
    ]
    suffix = f"&type={','.join(names)}" if names else ""
    addresses = []
    for place in range(0, len(numbers), page_size):
        page = numbers[place : place + page_size]
        addresses.append(f"{base_url}/idrange?from={page[0]}&to={page[-1]}{suffix}")
    body: dict[str, Any] = {"from": time_text(start), "to": time_text(end), "pageSize": page_size}
    if names:
        body["type"] = names
    body |= {"count": len(numbers), "pages": addresses, "lastTransactionID": str(last_id)}
    return Outcome(200, body)


def changes(account: Account, text: str) -> Outcome:
    """Return what changed since a transaction, and the present values, as GET /changes.

    A client that is more than 1,000 transactions behind is told to read the account anew: the present values would not
    fit to a part of the changes.
    """
    state = account.state
    number = _known_id(state, text, "sinceTransactionID", 0)
    if isinstance(number, Outcome):
        return number
    if state.last_id - number > _PAGE_LIMIT:
        missed = state.last_id - number
        advice = f". {missed} transactions followed it, and changes reach over {_PAGE_LIMIT}: get the account anew"
        return _out_of_range(state, "sinceTransactionID", advice)
    transactions = state.transactions[number:]
    orders: dict[str, dict[int, None]] = {name: {} for name in ("created", "cancelled", "filled")}
    trades: dict[str, dict[int, None]] = {name: {} for name in ("opened", "reduced", "closed")}
    instruments: dict[str, None] = {}
    for item in transactions:
        kind = item["type"]
        if kind in _ORDERS:
            orders["created"][int(item["id"])] = None
        elif kind == "ORDER_CANCEL":
            orders["cancelled"][int(item["orderID"])] = None
        elif kind == "ORDER_FILL":
            orders["filled"][int(item["orderID"])] = None
            instruments[item["instrument"]] = None
            _add_trades(item, trades)
        elif kind == "DAILY_FINANCING":
            instruments |= {part["instrument"]: None for part in item["positionFinancings"]}
    body = {
        "changes": {
            "ordersCreated": [order_body(state.orders[found]) for found in orders["created"]],
            "ordersCancelled": [order_body(state.orders[found]) for found in orders["cancelled"]],
            "ordersFilled": [order_body(state.orders[found]) for found in orders["filled"]],
            "ordersTriggered": [],
            "tradesOpened": _trades(account, trades["opened"]),
            "tradesReduced": _trades(account, trades["reduced"]),
            "tradesClosed": _trades(account, trades["closed"]),
            "positions": [position_body(account, state.positions[name]) for name in instruments],
            "transactions": transactions,
        },
        "state": state_body(account),
        "lastTransactionID": str(state.last_id),
    }
    return Outcome(200, body)


def _add_trades(fill: Transaction, trades: Mapping[str, dict[int, None]]) -> None:
    if "tradeOpened" in fill:
        trades["opened"][int(fill["tradeOpened"]["tradeID"])] = None
    if "tradeReduced" in fill:
        trades["reduced"][int(fill["tradeReduced"]["tradeID"])] = None
    for part in fill.get("tradesClosed", ()):
        trades["closed"][int(part["tradeID"])] = None


def _trades(account: Account, numbers: Iterable[int]) -> list[dict[str, Any]]:
    return [trade_body(account, account.state.trades[number], summary=True) for number in numbers]
