"""Quotes in OANDA's wire format: the price object of GET /pricing, and the lines of the pricing stream."""

from typing import Any, Protocol

from fx_pipeline.broker.paper.desk.times import SECOND_NS, time_text
from fx_pipeline.broker.paper.quotes import Quote

#: Units in the one bucket of the book, as in the fills. The desk fills any size at the quote and values positions at
#: it, so a book with deeper buckets or another closeout price would promise costs that nobody is charged.
LIQUIDITY = 10_000_000


class PricingDesk(Protocol):
    """What a desk adds to the price object."""

    def units_available(self, instrument: str) -> dict[str, Any]:
        """Return `unitsAvailable`."""
        ...

    def quote_factors(self, instrument: str) -> dict[str, Any]:
        """Return `quoteHomeConversionFactors`."""
        ...


def price_body(quote: Quote, desk: PricingDesk | None, unix: bool) -> dict[str, Any]:
    """Return the price object of GET /pricing.

    Parameters
    ----------
    quote : Quote
        Its prices are written as they are: with the instrument's display precision.
    desk : PricingDesk or None
        Adds the units that the account can trade and the conversion factors; without it they are left out, as in the
        stream.
    unix : bool
        UNIX times in place of RFC 3339.
    """
    bid, ask = str(quote.bid), str(quote.ask)
    body: dict[str, Any] = {
        "type": "PRICE",
        "time": _time(quote.time_ns, unix),
        "bids": [{"price": bid, "liquidity": LIQUIDITY}],
        "asks": [{"price": ask, "liquidity": LIQUIDITY}],
        "closeoutBid": bid,
        "closeoutAsk": ask,
        "status": "tradeable" if quote.tradeable else "non-tradeable",
        "tradeable": quote.tradeable,
    }
    if desk is not None:
        body["unitsAvailable"] = desk.units_available(quote.instrument)
        body["quoteHomeConversionFactors"] = desk.quote_factors(quote.instrument)
    return {**body, "instrument": quote.instrument}


def stream_line(quote: Quote, unix: bool) -> bytes:
    """Return the line of the pricing stream, with its newline: the price object without what the desk adds."""
    bid, ask = str(quote.bid), str(quote.ask)
    state = _TRADEABLE if quote.tradeable else _NOT_TRADEABLE
    return (_LINE % (_time(quote.time_ns, unix), bid, ask, bid, ask, state, quote.instrument)).encode()


# One format operation a line: the stream of a replay at 1,000 times real time has hundreds a second.
_LINE = (
    f'{{"type":"PRICE","time":"%s","bids":[{{"price":"%s","liquidity":{LIQUIDITY}}}],'
    f'"asks":[{{"price":"%s","liquidity":{LIQUIDITY}}}],"closeoutBid":"%s","closeoutAsk":"%s",%s,"instrument":"%s"}}\n'
)
_TRADEABLE = '"status":"tradeable","tradeable":true'
_NOT_TRADEABLE = '"status":"non-tradeable","tradeable":false'


def _time(time_ns: int, unix: bool) -> str:
    return f"{time_ns // SECOND_NS}.{time_ns % SECOND_NS:09d}" if unix else time_text(time_ns)
