"""Unrealised profit, margin and closeout at the newest quotes."""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from fx_pipeline.broker.paper.desk.account import Account
from fx_pipeline.broker.paper.desk.money import MONEY_STEP, TWO, ZERO, money
from fx_pipeline.broker.paper.desk.state import Position, Side, Trade


class Totals(NamedTuple):
    """Values of the account at the newest quotes, home currency.

    Attributes
    ----------
    unrealized : Decimal
        What closing every trade now would bring, at its side of the book and with the conversion charge.
    margin_used, position_value : Decimal
        At mid prices and mid rates.
    closeout_unrealized : Decimal
        Unrealised profit at mid prices and mid rates, which margin closeout goes by.
    """

    unrealized: Decimal
    margin_used: Decimal
    position_value: Decimal
    closeout_unrealized: Decimal


def trade_unrealized(account: Account, trade: Trade) -> Decimal:
    """Return what closing the trade now would bring, home currency, four decimals."""
    return _unrealized(account, trade.instrument, trade.long, (trade,))


def side_unrealized(account: Account, instrument: str, side: Side) -> Decimal:
    """Return the unrealised profit of one side of a position: the sum over its trades."""
    return _unrealized(account, instrument, side.units > ZERO, side.trades.values())


def _unrealized(account: Account, instrument: str, long: bool, trades: Iterable[Trade]) -> Decimal:
    quote = account.book.quotes.get(instrument)
    if quote is None:
        return ZERO
    price = quote.bid if long else quote.ask
    factors = account.book.factors(account.book.terms[instrument].quote)
    return sum((money(factors.of(trade.units * (price - trade.price))) for trade in trades), ZERO)


def unit_value(account: Account, instrument: str, otherwise: Decimal) -> Decimal:
    """Return a unit's value in the home currency at the mid price; `otherwise` is the price before any quote."""
    mid = account.book.mid(instrument)
    rate = account.book.factors(account.book.terms[instrument].quote).mid
    return (otherwise if mid is None else mid) * rate


def trade_margin(account: Account, trade: Trade) -> Decimal:
    """Return the margin of the trade alone, home currency, four decimals."""
    value = unit_value(account, trade.instrument, trade.price)
    return money(abs(trade.units) * value * account.margin_rate(trade.instrument))


def position_value(account: Account, position: Position) -> Decimal:
    """Return the value of the larger side of a position, home currency, four decimals."""
    units = max(position.long.units, -position.short.units)
    if units == ZERO:
        return ZERO
    side = position.long if position.long.trades else position.short
    return money(units * unit_value(account, position.instrument, side.cost / side.units))


def position_margin(account: Account, position: Position) -> Decimal:
    """Return the margin that a position holds: that of its larger side, four decimals."""
    return money(position_value(account, position) * account.margin_rate(position.instrument))


def _closeout_unrealized(account: Account, position: Position) -> Decimal:
    mid = account.book.mid(position.instrument)
    if mid is None:
        return ZERO
    long, short = position.long, position.short
    quote_pl = (long.units + short.units) * mid - long.cost - short.cost
    return money(quote_pl * account.book.factors(account.book.terms[position.instrument].quote).mid)


def totals(account: Account) -> Totals:
    """Value the account at the newest quotes."""
    unrealized = used = value = closeout = ZERO
    for position in account.state.open_positions.values():
        for side in (position.long, position.short):
            unrealized += side_unrealized(account, position.instrument, side)
        used += position_margin(account, position)
        value += position_value(account, position)
        closeout += _closeout_unrealized(account, position)
    return Totals(unrealized, used, value, closeout)


def available(account: Account) -> Decimal:
    """Return net asset value less margin used; below zero when the account is over its margin."""
    found = totals(account)
    return account.state.balance + found.unrealized - found.margin_used


def closeout_percent(net_asset_value: Decimal, margin_used: Decimal) -> Decimal:
    """Return the margin closeout percentage: 1 or more closes the account's positions."""
    # A net asset value of nothing or less would make the share endless.
    return margin_used / (TWO * max(net_asset_value, MONEY_STEP))


def must_close_out(account: Account) -> bool:
    """Whether the account has lost half of its margin or more."""
    used, nav = ZERO, account.state.balance
    for position in account.state.open_positions.values():
        used += position_margin(account, position)
        nav += _closeout_unrealized(account, position)
    return used > ZERO and closeout_percent(nav, used) >= 1
