"""The reading side of the desk: OANDA's GET replies."""

from collections.abc import Iterable, Mapping
from decimal import ROUND_FLOOR
from typing import Any

from fx_pipeline.broker.paper.desk import history
from fx_pipeline.broker.paper.desk.account import Account
from fx_pipeline.broker.paper.desk.bodies import (
    order_body,
    position_body,
    summary_body,
    trade_body,
)
from fx_pipeline.broker.paper.desk.margin import available, position_margin, unit_value
from fx_pipeline.broker.paper.desk.money import ONE, ZERO, plain_text
from fx_pipeline.broker.paper.desk.replies import Outcome, invalid, missing
from fx_pipeline.broker.paper.desk.state import Position, is_specifier, number_of

_COUNT, _COUNT_LIMIT = 50, 500
_ORDER_STATES = ("PENDING", "FILLED", "TRIGGERED", "CANCELLED", "ALL")
_TRADE_STATES = ("OPEN", "CLOSED", "CLOSE_WHEN_TRADEABLE", "ALL")


class Views:
    """What can be asked of an account; every body is new.

    Parameters
    ----------
    account : Account
    """

    def __init__(self, account: Account) -> None:
        self._account = account

    def _reply(self, body: dict[str, Any]) -> Outcome:
        return Outcome(200, {**body, "lastTransactionID": str(self._account.state.last_id)})

    # Account

    def accounts(self) -> Outcome:
        """GET /accounts."""
        return Outcome(200, {"accounts": [{"id": self._account.identity.account, "tags": []}]})

    def account(self) -> Outcome:
        """GET /accounts/{id}: the summary with all open trades, positions and pending orders."""
        account = self._account
        state = account.state
        body = {
            **summary_body(account),
            "trades": [trade_body(account, trade, summary=True) for trade in state.open_trades.values()],
            "positions": [position_body(account, position) for position in state.positions.values()],
            "orders": [order_body(order) for order in state.pending.values()],
        }
        return self._reply({"account": body})

    def summary(self) -> Outcome:
        """GET /accounts/{id}/summary."""
        return self._reply({"account": summary_body(self._account)})

    def changes(self, since_id: str) -> Outcome:
        """GET /accounts/{id}/changes: over 1,000 transactions at most."""
        return history.changes(self._account, since_id)

    def instruments(self, names: Iterable[str] | None) -> Outcome:
        """GET /accounts/{id}/instruments: those of the names, or all."""
        account = self._account
        terms = account.book.terms
        wanted = list(terms) if names is None else list(names)
        if any(name not in terms for name in wanted):
            return invalid("instruments")
        return self._reply({"instruments": [terms[name].body(account.margin_rate(name)) for name in wanted]})

    # Orders

    def orders(self, query: Mapping[str, str]) -> Outcome:
        """GET /orders: newest first, by ids, state (PENDING unless told), instrument, count and beforeID."""
        state = self._account.state
        wanted = query.get("state", "PENDING")
        if wanted not in _ORDER_STATES:
            return invalid("state")
        found = _page(
            query,
            state.pending if wanted == "PENDING" else state.orders,
            lambda order: wanted == "ALL" or order.state == wanted,
            self._account,
        )
        return found if isinstance(found, Outcome) else self._reply({"orders": [order_body(order) for order in found]})

    def pending_orders(self) -> Outcome:
        """GET /pendingOrders: newest first."""
        pending = self._account.state.pending
        return self._reply({"orders": [order_body(order) for order in reversed(pending.values())]})

    def order(self, specifier: str) -> Outcome:
        """GET /orders/{specifier}: any order by id, pending ones also by `@` client id."""
        if not is_specifier(specifier):
            return invalid("orderSpecifier")
        found = self._account.state.find_order(specifier)
        if found is None:
            return missing(self._account.state, "NO_SUCH_ORDER")
        return self._reply({"order": order_body(found)})

    # Trades and positions

    def trades(self, query: Mapping[str, str]) -> Outcome:
        """GET /trades: newest first, by ids, state (OPEN unless told), instrument, count and beforeID."""
        account = self._account
        state = account.state
        wanted = query.get("state", "OPEN")
        if wanted not in _TRADE_STATES:
            return invalid("state")
        found = _page(
            query,
            state.open_trades if wanted == "OPEN" else state.trades,
            lambda trade: wanted == "ALL" or (wanted == "CLOSED" and trade.close_time is not None) or wanted == "OPEN",
            account,
        )
        if isinstance(found, Outcome):
            return found
        return self._reply({"trades": [trade_body(account, trade, summary=False) for trade in found]})

    def open_trades(self) -> Outcome:
        """GET /openTrades: newest first."""
        account = self._account
        trades = reversed(account.state.open_trades.values())
        return self._reply({"trades": [trade_body(account, trade, summary=False) for trade in trades]})

    def trade(self, specifier: str) -> Outcome:
        """GET /trades/{specifier}: any trade by id, open ones also by `@` client id."""
        if not is_specifier(specifier):
            return invalid("tradeSpecifier")
        found = self._account.state.find_trade(specifier)
        if found is None:
            return missing(self._account.state, "NO_SUCH_TRADE")
        return self._reply({"trade": trade_body(self._account, found, summary=False)})

    def positions(self) -> Outcome:
        """GET /positions: every instrument that was ever traded."""
        return self._positions(self._account.state.positions.values())

    def open_positions(self) -> Outcome:
        """GET /openPositions."""
        return self._positions(self._account.state.open_positions.values())

    def _positions(self, positions: Iterable[Position]) -> Outcome:
        return self._reply({"positions": [position_body(self._account, position) for position in positions]})

    def position(self, instrument: str) -> Outcome:
        """GET /positions/{instrument}: 404 where it was never traded."""
        if instrument not in self._account.book.terms:
            return invalid("instrument")
        found = self._account.state.positions.get(instrument)
        if found is None:
            return missing(self._account.state, "NO_SUCH_POSITION")
        return self._reply({"position": position_body(self._account, found)})

    # Transactions

    def transactions_since(self, since_id: str) -> Outcome:
        """GET /transactions/sinceid: the oldest 1,000 after an id."""
        return history.since(self._account, since_id)

    def transactions_range(self, from_id: str, to_id: str, types: Iterable[str] | None = None) -> Outcome:
        """GET /transactions/idrange: the oldest 1,000, both ends included; `types` are words of the query `type`."""
        return history.id_range(self._account, from_id, to_id, types)

    def transaction(self, transaction_id: str) -> Outcome:
        """GET /transactions/{id}."""
        return history.one(self._account, transaction_id)

    def transaction_pages(
        self,
        from_ns: int | None,
        to_ns: int | None,
        page_size: int,
        types: Iterable[str] | None,
        base_url: str,
        now_ns: int,
    ) -> Outcome:
        """GET /transactions: addresses of pages of the transactions of a time range.

        Parameters
        ----------
        from_ns, to_ns : int or None
            UTC nanoseconds; a week before now, and now.
        page_size : int
            1 to 1,000.
        types : iterable of str or None
            Words of the query's `type`.
        base_url : str
            Address of the account's transactions, without a slash at the end.
        now_ns : int
            Market time, UTC nanoseconds.
        """
        return history.pages(self._account, from_ns, to_ns, page_size, types, base_url, now_ns)

    # Prices

    def home_conversions(self, instruments: Iterable[str]) -> list[dict[str, str]]:
        """Return `homeConversions` of GET /pricing for the currencies of the instruments, sorted."""
        book = self._account.book
        currencies = {c for name in instruments for c in (book.terms[name].base, book.terms[name].quote)}
        found = []
        for currency in sorted(currencies):
            factors = book.factors(currency)
            gain, loss = factors.gain_text, factors.loss_text
            found.append(
                {
                    "currency": currency,
                    "accountGain": gain,
                    "accountLoss": loss,
                    "positionValue": plain_text(factors.mid),
                    "unrealizedAccountGain": gain,
                    "unrealizedAccountLoss": loss,
                }
            )
        return found

    def quote_factors(self, instrument: str) -> dict[str, str]:
        """Return `quoteHomeConversionFactors` of GET /pricing: eight decimals."""
        factors = self._account.book.factors(self._account.book.terms[instrument].quote)
        return {"positiveUnits": f"{factors.gain:.8f}", "negativeUnits": f"{factors.loss:.8f}"}

    def units_available(self, instrument: str) -> dict[str, dict[str, str]]:
        """Return `unitsAvailable` of GET /pricing: how many units an order could have by its position fill."""
        account, terms = self._account, self._account.book.terms[instrument]
        position = account.state.positions.get(instrument) or Position(instrument)
        mid = account.book.mid(instrument)
        held = {"long": position.long.units, "short": -position.short.units}
        rows: dict[str, dict[str, str]] = {name: {} for name in ("default", "reduceFirst", "reduceOnly", "openOnly")}
        capacity = ZERO
        if mid is not None:
            unit_margin = unit_value(account, instrument, ONE) * account.margin_rate(instrument)
            room = available(account) + position_margin(account, position)
            whole = (room / unit_margin / terms.units_minimum).to_integral_value(ROUND_FLOOR)
            capacity = max(ZERO, whole * terms.units_minimum, *held.values())
        limit = terms.units_maximum
        for side, other in (("long", "short"), ("short", "long")):
            blocked = held[other] > ZERO and not account.hedging
            open_only = ZERO if blocked else max(ZERO, capacity - held[side])
            reduce_first = max(held[other], capacity + held[other] - held[side])
            default = open_only if account.hedging else reduce_first
            units = {"default": default, "reduceFirst": reduce_first, "reduceOnly": held[other], "openOnly": open_only}
            for name, amount in units.items():
                rows[name][side] = plain_text(min(limit, amount))
        return rows


def _page(
    query: Mapping[str, str],
    items: dict[int, Any],
    accept: Any,
    account: Account,
) -> list[Any] | Outcome:
    count, before = query.get("count"), query.get("beforeID")
    if count is not None and not 1 <= number_of(count) <= _COUNT_LIMIT:
        return invalid("count")
    if before is not None and not number_of(before):
        return invalid("beforeID")
    instrument = query.get("instrument")
    if instrument is not None and instrument not in account.book.terms:
        return invalid("instrument")
    limit = _COUNT if count is None else number_of(count)
    last = None if before is None else number_of(before)
    ids = query.get("ids")
    if ids is not None:
        numbers = [number_of(text) for text in ids.split(",")]
        if not all(numbers):
            return invalid("ids")
        places: Iterable[int] = (number for number in sorted(set(numbers), reverse=True) if number in items)
    else:
        places = reversed(items)
    found = []
    # Of a long account's orders most may be passed over: cheap checks come first.
    for number in places:
        if last is not None and number > last:
            continue
        item = items[number]
        if (instrument is None or item.instrument == instrument) and accept(item):
            found.append(item)
            if len(found) == limit:
                break
    return found
