"""Financing: what holding a trade over 17:00 New York costs or pays."""

from decimal import Decimal
from typing import Any

from fx_pipeline.broker.paper.desk.account import Account
from fx_pipeline.broker.paper.desk.book import Factors
from fx_pipeline.broker.paper.desk.draft import Draft
from fx_pipeline.broker.paper.desk.money import NOTHING, ZERO, fine_text, money, plain_text
from fx_pipeline.broker.paper.desk.state import Position
from fx_pipeline.broker.paper.desk.times import new_york_day

_DAYS_A_YEAR = 365


def charge(account: Account, draft: Draft, time_ns: int) -> bool:
    """Append the financing of one rollover.

    As OANDA books it: units times the annual rate of the trade's side over 365, for the days of that weekday, in the
    base currency, converted at the gain or loss factor.

    Returns
    -------
    bool
        Whether there was anything to charge.
    """
    weekday = new_york_day(time_ns).weekday()
    parts: list[dict[str, Any]] = []
    total, base_total, cost_total = NOTHING, ZERO, ZERO
    for name in sorted(account.state.open_positions):
        days = account.book.terms[name].days_charged(weekday)
        if days:
            part, amount, base, cost = _position(account, account.state.open_positions[name], days)
            parts.append(part)
            total, base_total, cost_total = total + amount, base_total + base, cost_total + cost
    if not parts:
        return False
    draft.balance += total
    draft.add(
        "DAILY_FINANCING",
        {
            "financing": str(total),
            "accountBalance": str(draft.balance),
            "accountFinancingMode": "DAILY",
            "positionFinancings": parts,
            "baseHomeConversionCost": fine_text(cost_total),
            "homeConversionCost": fine_text(cost_total),
        },
    )
    return True


def _position(account: Account, position: Position, days: int) -> tuple[dict[str, Any], Decimal, Decimal, Decimal]:
    terms = account.book.terms[position.instrument]
    factors = account.book.factors(terms.base)
    trades: list[dict[str, Any]] = []
    total, base_total, cost_total = NOTHING, ZERO, ZERO
    for side, rate in ((position.long, terms.financing_long), (position.short, terms.financing_short)):
        for trade in side.trades.values():
            base = abs(trade.units) * rate * days / _DAYS_A_YEAR
            amount, cost = money(factors.of(base)), factors.of(base) - base * factors.mid
            trades.append(
                {
                    "tradeID": str(trade.number),
                    "financing": str(amount),
                    "baseFinancing": fine_text(base),
                    "financingRate": plain_text(rate),
                    "baseHomeConversionCost": fine_text(cost),
                    "homeConversionCost": fine_text(cost),
                }
            )
            total, base_total, cost_total = total + amount, base_total + base, cost_total + cost
    part = {
        "instrument": position.instrument,
        "financing": str(total),
        "baseFinancing": fine_text(base_total),
        "homeConversionFactors": _factors(factors),
        "openTradeFinancings": trades,
    }
    return part, total, base_total, cost_total


def _factors(base: Factors) -> dict[str, Any]:
    return {"gainBaseHome": {"factor": base.gain_text}, "lossBaseHome": {"factor": base.loss_text}}
