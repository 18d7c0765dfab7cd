"""The desk: one account's orders, trades and money, pure and deterministic."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.desk import closing, extending, financing, placing
from fx_pipeline.broker.paper.desk.account import Account
from fx_pipeline.broker.paper.desk.apply import apply_batch
from fx_pipeline.broker.paper.desk.book import Book
from fx_pipeline.broker.paper.desk.draft import Batch, Draft, Identity
from fx_pipeline.broker.paper.desk.margin import available, closeout_percent, must_close_out, totals
from fx_pipeline.broker.paper.desk.money import ZERO, decimal_of, money, plain_text
from fx_pipeline.broker.paper.desk.replies import Outcome, invalid, refuse, reply
from fx_pipeline.broker.paper.desk.requests import Rejected, Request, Unparsable, read_order
from fx_pipeline.broker.paper.desk.state import Order, Transaction, is_specifier
from fx_pipeline.broker.paper.desk.terms import instrument_terms
from fx_pipeline.broker.paper.desk.triggers import rank, trailed, triggers
from fx_pipeline.broker.paper.desk.views import Views
from fx_pipeline.broker.paper.quotes import Quote
from fx_pipeline.market.errors import DataError

_ALIAS = "Primary"
#: Request that opened the account: OANDA numbers that one too.
_OPENING_REQUEST = "1"
_ALIAS_LIMIT = 128
_DEPOSIT_LIMIT = Decimal(10) ** 15


def ignore(batch: Batch) -> None:
    """Record nothing: for a desk that need not survive its process."""


class Desk(Views):
    """Matching core of one account.

    A command or a quote is checked and becomes transactions in OANDA's wire form; these go to `record` and only then
    into the state, by the same fold that restores it. If `record` raises, nothing has happened.

    Parameters
    ----------
    config : AccountConfig
    instruments : sequence of str
        What the account may trade.
    record : callable
        Takes each batch before it takes effect.

    Raises
    ------
    DataError
        If an instrument is unknown.
    """

    def __init__(
        self, config: AccountConfig, instruments: Sequence[str], record: Callable[[Batch], None] = ignore
    ) -> None:
        self.config = config
        book = Book(
            (instrument_terms(name, config) for name in instruments), config.home_currency, config.conversion_charge
        )
        super().__init__(Account(book, Identity.of(config.account), config.hedging))
        self._record = record
        self._moved: dict[str, str] = {}

    # Identity

    @property
    def account_id(self) -> str:
        """OANDA's account id."""
        return self.config.account

    @property
    def home_currency(self) -> str:
        """Currency of the account's money."""
        return self.config.home_currency

    @property
    def last_transaction_id(self) -> str:
        """Id of the newest transaction, "0" before the account is open."""
        return str(self._account.state.last_id)

    @property
    def transactions(self) -> list[Transaction]:
        """A copy of all transactions, index = id - 1."""
        return self._account.state.transactions[:]

    @property
    def assumed_rates(self) -> dict[str, Decimal]:
        """Conversion rates in use for which no quote is known, by pair: levels of early 2024."""
        return self._account.book.assumed

    @property
    def allow_duplicate_client_ids(self) -> bool:
        """Whether client ids that pending orders or open trades have are accepted again."""
        return self._account.duplicates

    @allow_duplicate_client_ids.setter
    def allow_duplicate_client_ids(self, allowed: bool) -> None:
        self._account.duplicates = allowed

    # Life

    def open(self, time_ns: int) -> None:
        """Open a new account: creation, configuration and the first deposit, in one batch.

        Raises
        ------
        DataError
            If the account is open already.
        """
        if self._account.state.last_id:
            raise DataError(f"account {self.account_id} is open already: restore it or take a new desk.")
        identity = self._account.identity
        draft = self._account.draft(time_ns, _OPENING_REQUEST)
        draft.add(
            "CREATE",
            {
                "divisionID": identity.division,
                "siteID": identity.site,
                "accountUserID": identity.user,
                "accountNumber": identity.number,
                "homeCurrency": self.home_currency,
            },
        )
        draft.add("CLIENT_CONFIGURE", {"alias": _ALIAS})
        self._transfer(draft, money(self.config.balance), "CLIENT_FUNDING")
        self._commit(draft)

    def restore(self, batches: Iterable[Batch]) -> None:
        """Rebuild the account from its recorded batches; quotes are not among them.

        Raises
        ------
        DataError
            If the desk is not new, or transaction ids are not consecutive from 1.
        """
        state = self._account.state
        if state.last_id:
            raise DataError("only a new desk can be restored: this one has transactions already.")
        for time_ns, transactions, trailing in batches:
            for place, transaction in enumerate(transactions, start=state.last_id + 1):
                if transaction["id"] != str(place):
                    raise DataError(
                        f"transaction {place} of account {self.account_id} is missing: the record holds "
                        f"{transaction['id']} in its place."
                    )
            apply_batch(state, time_ns, transactions, trailing)

    def _commit(self, draft: Draft) -> list[Transaction]:
        batch = draft.batch()
        if self._moved:
            batch = batch._replace(trailing=self._moved | batch.trailing)
        self._record(batch)
        self._moved = {}
        apply_batch(self._account.state, *batch)
        return batch.transactions

    # Market

    def quote(self, instrument: str) -> Quote | None:
        """Return the newest quote of an instrument."""
        return self._account.book.quotes.get(instrument)

    def show(self, quotes: Iterable[Quote]) -> None:
        """Show a restored account the market in which it was recorded; nothing triggers.

        Without it the first quotes would find the account valued at prices and rates that are not known yet.
        """
        for quote in quotes:
            self._account.book.put(quote)

    def on_quote(self, quote: Quote) -> list[Transaction]:
        """Take a quote: it moves trailing stops, triggers orders and may close the account out.

        Returns
        -------
        list of dict
            The new transactions.
        """
        account = self._account
        state, book, name = account.state, account.book, quote.instrument
        if name not in book.terms:
            raise DataError(f"the desk does not trade {name}: give it among the instruments of the account.")
        book.put(quote)
        made: list[Transaction] = []
        if state.expiring:
            made += self.expire(quote.time_ns)
        if not quote.tradeable:
            return made
        resting = state.pending_by.get(name)
        if resting:
            for order in self._triggered(resting.values(), quote):
                if order.state == "PENDING":
                    draft = account.draft(quote.time_ns)
                    placing.trigger(account, draft, order)
                    made += self._commit(draft)
        if state.open_positions and (name in state.open_positions or book.converts_with(name)):
            made += self._close_out(quote.time_ns)
        return made

    def _triggered(self, resting: Iterable[Order], quote: Quote) -> list[Order]:
        found = []
        for order in resting:
            if order.kind == "TRAILING_STOP_LOSS":
                level = trailed(order, quote)
                if level is not None:
                    order.mark = self._account.book.terms[order.instrument].price(level)
                    self._moved[str(order.number)] = f"{order.mark:f}"
            if triggers(order, quote):
                found.append(order)
        return sorted(found, key=rank)

    def _close_out(self, time_ns: int) -> list[Transaction]:
        account = self._account
        if not must_close_out(account):
            return []
        made: list[Transaction] = []
        for name in sorted(account.state.open_positions):
            if account.tradeable(name) is not None:
                draft = account.draft(time_ns)
                closing.close_out(account, draft, account.state.positions[name])
                made += self._commit(draft)
        return made

    def charge_financing(self, time_ns: int) -> list[Transaction]:
        """Charge or pay financing for the rollover at a time, 17:00 New York; a rollover is charged once.

        Returns
        -------
        list of dict
            The new transactions: none where no trade is open or that day charges nothing.
        """
        draft = self._account.draft(time_ns)
        if time_ns <= self._account.state.financed_ns or not financing.charge(self._account, draft, time_ns):
            return []
        return self._commit(draft)

    def expire(self, time_ns: int) -> list[Transaction]:
        """Cancel the orders whose time is over at `time_ns`.

        Returns
        -------
        list of dict
            The new transactions.
        """
        made: list[Transaction] = []
        state = self._account.state
        while (order := state.next_expiring()) is not None and order.expires_ns is not None:
            if order.expires_ns > time_ns:
                break
            draft = self._account.draft(time_ns)
            draft.cancel(order, "TIME_IN_FORCE_EXPIRED")
            made += self._commit(draft)
        return made

    def next_expiry_ns(self) -> int | None:
        """Return when the next pending order expires, None where none does."""
        order = self._account.state.next_expiring()
        return None if order is None else order.expires_ns

    def watched(self) -> set[str]:
        """Return the instruments of which no quote may be left out.

        They have a pending order or an open trade, or convert a currency of one that has.
        """
        account = self._account
        names = {*account.state.pending_by, *account.state.open_positions}
        terms = [account.book.terms[name] for name in names]
        for currency in {currency for item in terms for currency in (item.base, item.quote)}:
            names.update(account.book.route(currency))
        return names

    # Commands

    def create_order(self, order: Any, now_ns: int, request_id: str | None) -> Outcome:
        """Place an order, as POST /orders.

        Parameters
        ----------
        order : Any
            The unchecked inner object of the request's body.
        now_ns : int
            Market time, UTC nanoseconds.
        request_id : str or None
            Goes into the transactions.
        """
        account = self._account
        try:
            request = read_order(order, account.book.terms)
        except Unparsable as refusal:
            return invalid(refusal.parameter)
        draft = account.draft(now_ns, request_id)
        try:
            placing.check_order(account, request, draft.time_ns)
        except Rejected as refusal:
            return self._reject_order(draft, request, refusal.reason, {"reason": "CLIENT_ORDER"})
        created = draft.add(f"{request.kind}_ORDER", {**request.fields, "reason": "CLIENT_ORDER"})
        fill, cancel = placing.ending(draft, placing.settle(account, draft, created))
        self._commit(draft)
        return reply(
            account.state,
            draft,
            201,
            orderCreateTransaction=created,
            orderFillTransaction=fill,
            orderCancelTransaction=cancel,
        )

    def _reject_order(self, draft: Draft, request: Request, reason: str, extra: Mapping[str, str]) -> Outcome:
        rejected = draft.add(f"{request.kind}_ORDER_REJECT", {**request.fields, **extra, "rejectReason": reason})
        self._commit(draft)
        status = 404 if reason == "TRADE_DOESNT_EXIST" else 400
        return refuse(self._account.state, draft, status, reason, orderRejectTransaction=rejected)

    def replace_order(self, specifier: str, order: Any, now_ns: int, request_id: str | None) -> Outcome:
        """Cancel a pending order and place another in its stead, as PUT /orders/{specifier}."""
        account = self._account
        if not is_specifier(specifier):
            return invalid("orderSpecifier")
        try:
            request = read_order(order, account.book.terms)
        except Unparsable as refusal:
            return invalid(refusal.parameter)
        found = account.state.find_order(specifier)
        draft = account.draft(now_ns, request_id)
        if found is None or found.state != "PENDING":
            return self._cancel_reject(draft, specifier)
        number = str(found.number)
        try:
            placing.check_order(account, request, draft.time_ns, found)
        except Rejected as refusal:
            extra = {"reason": "REPLACEMENT", "intendedReplacesOrderID": number}
            return self._reject_order(draft, request, refusal.reason, extra)
        cancelled, created = placing.replace(draft, found, request.kind, request.fields)
        fill, cancel = placing.ending(draft, placing.settle(account, draft, created))
        self._commit(draft)
        return reply(
            account.state,
            draft,
            201,
            orderCancelTransaction=cancelled,
            orderCreateTransaction=created,
            orderFillTransaction=fill,
            replacingOrderCancelTransaction=cancel,
        )

    def cancel_order(self, specifier: str, now_ns: int, request_id: str | None) -> Outcome:
        """Cancel a pending order, as PUT /orders/{specifier}/cancel."""
        if not is_specifier(specifier):
            return invalid("orderSpecifier")
        found = self._account.state.find_order(specifier)
        draft = self._account.draft(now_ns, request_id)
        if found is None or found.state != "PENDING":
            return self._cancel_reject(draft, specifier)
        cancelled = draft.cancel(found, "CLIENT_REQUEST")
        self._commit(draft)
        return reply(self._account.state, draft, 200, orderCancelTransaction=cancelled)

    def _cancel_reject(self, draft: Draft, specifier: str) -> Outcome:
        which = {"clientOrderID": specifier[1:]} if specifier.startswith("@") else {"orderID": specifier}
        rejected = draft.add("ORDER_CANCEL_REJECT", {**which, "rejectReason": "ORDER_DOESNT_EXIST"})
        self._commit(draft)
        state = self._account.state
        return refuse(state, draft, 404, "ORDER_DOESNT_EXIST", orderCancelRejectTransaction=rejected)

    def set_order_extensions(self, specifier: str, body: Any, now_ns: int, request_id: str | None) -> Outcome:
        """Change an order's client extensions, as PUT /orders/{specifier}/clientExtensions."""
        return extending.set_order_extensions(self._account, self._commit, specifier, body, now_ns, request_id)

    def set_trade_extensions(self, specifier: str, body: Any, now_ns: int, request_id: str | None) -> Outcome:
        """Change a trade's client extensions, as PUT /trades/{specifier}/clientExtensions."""
        return extending.set_trade_extensions(self._account, self._commit, specifier, body, now_ns, request_id)

    def set_trade_orders(self, specifier: str, body: Any, now_ns: int, request_id: str | None) -> Outcome:
        """Create, replace or cancel the orders that hang on a trade, as PUT /trades/{specifier}/orders."""
        return extending.set_trade_orders(self._account, self._commit, specifier, body, now_ns, request_id)

    def close_trade(self, specifier: str, body: Any, now_ns: int, request_id: str | None) -> Outcome:
        """Close a trade or a part of it, as PUT /trades/{specifier}/close."""
        return closing.close_trade(self._account, self._commit, specifier, body, now_ns, request_id)

    def close_position(self, instrument: str, body: Any, now_ns: int, request_id: str | None) -> Outcome:
        """Close one side or both of a position, as PUT /positions/{instrument}/close."""
        return closing.close_position(self._account, self._commit, instrument, body, now_ns, request_id)

    def configure(self, body: Any, now_ns: int, request_id: str | None) -> Outcome:
        """Change the account's alias or margin rate, as PATCH /configuration."""
        account = self._account
        if not isinstance(body, dict):
            return invalid("body")
        fields: dict[str, Any] = {}
        reason = None
        alias, rate = body.get("alias"), body.get("marginRate")
        if alias is not None:
            if not isinstance(alias, str):
                return invalid("alias")
            fields["alias"] = alias
            reason = None if len(alias) <= _ALIAS_LIMIT else "ALIAS_INVALID"
        if rate is not None:
            number = decimal_of(rate)
            if number is None:
                return invalid("marginRate")
            fields["marginRate"] = plain_text(number)
            reason = reason or self._margin_rate_refusal(number)
        if not fields:
            reason = "CLIENT_CONFIGURE_DATA_MISSING"
        draft = account.draft(now_ns, request_id)
        if reason is not None:
            rejected = draft.add("CLIENT_CONFIGURE_REJECT", {**fields, "rejectReason": reason})
            self._commit(draft)
            return refuse(account.state, draft, 400, reason, clientConfigureRejectTransaction=rejected)
        made = draft.add("CLIENT_CONFIGURE", fields)
        self._commit(draft)
        return reply(account.state, draft, 200, clientConfigureTransaction=made)

    def _margin_rate_refusal(self, rate: Decimal) -> str | None:
        if not ZERO < rate <= 1:
            return "MARGIN_RATE_INVALID"
        state = self._account.state
        before, state.margin_rate = state.margin_rate, rate
        found = totals(self._account)
        state.margin_rate = before
        too_much = closeout_percent(state.balance + found.closeout_unrealized, found.margin_used) >= 1
        return "MARGIN_RATE_WOULD_TRIGGER_CLOSEOUT" if too_much else None

    def deposit(self, amount: Decimal, now_ns: int, request_id: str | None) -> list[Transaction]:
        """Pay into the account, or out of it where `amount` is negative.

        Returns
        -------
        list of dict
            The transfer, or its rejection where the account has not so much to spare.

        Raises
        ------
        DataError
            If the amount is no finite number other than 0.
        """
        if not amount.is_finite() or abs(amount) >= _DEPOSIT_LIMIT or money(amount) == ZERO:
            raise DataError(f"a deposit of {amount} cannot be booked: give an amount other than 0, below 10 ** 15.")
        draft = self._account.draft(now_ns, request_id)
        if amount < ZERO and -amount > available(self._account):
            fields = {"amount": str(money(amount)), "fundingReason": "CLIENT_FUNDING"}
            draft.add("TRANSFER_FUNDS_REJECT", {**fields, "rejectReason": "INSUFFICIENT_FUNDS"})
        else:
            self._transfer(draft, money(amount), "CLIENT_FUNDING")
        return self._commit(draft)

    def _transfer(self, draft: Draft, amount: Decimal, reason: str) -> None:
        draft.balance += amount
        draft.add(
            "TRANSFER_FUNDS",
            {"amount": str(amount), "fundingReason": reason, "accountBalance": str(draft.balance)},
        )
