"""When a resting order triggers: which side of the book it watches, and at which price."""

from decimal import Decimal

from fx_pipeline.broker.paper.desk.money import TWO
from fx_pipeline.broker.paper.desk.state import Order
from fx_pipeline.broker.paper.quotes import Quote

# On one quote, stops act before targets and targets before entries; among equals the older order.
_RANKS = {"STOP_LOSS": 0, "TRAILING_STOP_LOSS": 0, "TAKE_PROFIT": 1}


def rank(order: Order) -> tuple[int, int]:
    """Return the order's place among those that trigger on the same quote."""
    return _RANKS.get(order.kind, 2), order.number


def watched_price(condition: str, buying: bool, quote: Quote) -> Decimal:
    """Return the price that a trigger condition looks at: by default the side that the fill would take."""
    if condition == "MID":
        return (quote.bid + quote.ask) / TWO
    ask = condition == "ASK" or (condition == "DEFAULT" and buying) or (condition == "INVERSE" and not buying)
    return quote.ask if ask else quote.bid


def first_mark(kind: str, condition: str, buying: bool, distance: Decimal | None, quote: Quote) -> Decimal:
    """Return what an order remembers of the market when it is created.

    Returns
    -------
    Decimal
        A trailing stop's level, or a touched order's initial market price.
    """
    price = watched_price(condition, buying, quote)
    if kind != "TRAILING_STOP_LOSS" or distance is None:
        return price
    return price + distance if buying else price - distance


def trailed(order: Order, quote: Quote) -> Decimal | None:
    """Return a trailing stop's new level, None where the quote does not move it."""
    level = first_mark(order.kind, order.created["triggerCondition"], order.buying, order.distance, quote)
    if order.mark is None or (level < order.mark if order.buying else level > order.mark):
        return level
    return None


def triggers(order: Order, quote: Quote) -> bool:
    """Whether a tradeable quote triggers a resting order."""
    price = watched_price(order.created["triggerCondition"], order.buying, quote)
    level = order.mark if order.kind == "TRAILING_STOP_LOSS" else order.price
    if level is None:
        return False
    if order.kind in ("LIMIT", "TAKE_PROFIT"):
        return _at_or_below(price, level, order.buying) and not beyond_limit(order, quote)
    if order.kind == "MARKET_IF_TOUCHED" and order.mark is not None and order.mark != level:
        return price >= level if order.mark < level else price <= level
    if order.kind == "MARKET_IF_TOUCHED":
        return True
    return price >= level if order.buying else price <= level


def beyond_limit(order: Order, quote: Quote) -> bool:
    """Whether a fill at the quote would be worse than the order's limit, which other trigger sides can bring about."""
    price = quote.ask if order.buying else quote.bid
    return order.price is not None and not _at_or_below(price, order.price, order.buying)


def _at_or_below(price: Decimal, level: Decimal, buying: bool) -> bool:
    return price <= level if buying else price >= level
