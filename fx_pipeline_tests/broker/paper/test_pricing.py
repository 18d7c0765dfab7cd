"""The price object and the stream's line say the same."""

import json
from decimal import Decimal
from typing import Any

import orjson
import pytest

from fx_pipeline.broker.paper.pricing import price_body, stream_line
from fx_pipeline.broker.paper.quotes import Quote

QUOTE = Quote("EUR_USD", 1_704_700_800_123_456_789, Decimal("1.10000"), Decimal("1.10013"), True)


class Desk:
    """What a desk adds."""

    def units_available(self, instrument: str) -> dict[str, Any]:
        return {"default": {"long": instrument, "short": "1"}}

    def quote_factors(self, instrument: str) -> dict[str, Any]:
        return {"positiveUnits": instrument, "negativeUnits": "1.00000000"}


@pytest.mark.parametrize("unix", [False, True])
@pytest.mark.parametrize(
    "quote", [QUOTE, QUOTE._replace(instrument="GBP_JPY", bid=Decimal("190.120"), tradeable=False)]
)
def test_the_line_is_the_object_without_what_the_desk_adds(quote: Quote, unix: bool) -> None:
    line = stream_line(quote, unix)
    assert line.endswith(b"}\n") and line.count(b"\n") == 1
    assert orjson.loads(line) == price_body(quote, None, unix)


def test_prices_are_strings_with_all_their_decimals_and_times_have_nine() -> None:
    body = price_body(QUOTE, None, False)
    assert body["bids"] == [{"price": "1.10000", "liquidity": 10_000_000}]
    assert (body["closeoutBid"], body["closeoutAsk"]) == ("1.10000", "1.10013")
    assert body["time"] == "2024-01-08T08:00:00.123456789Z"
    assert price_body(QUOTE, None, True)["time"] == "1704700800.123456789"
    assert (body["status"], body["tradeable"]) == ("tradeable", True)
    halted = price_body(QUOTE._replace(tradeable=False), None, False)
    assert (halted["status"], halted["tradeable"]) == ("non-tradeable", False)


def test_the_keys_are_those_of_a_recorded_reply(shared_data: Any) -> None:
    recorded = shared_data.parent / "reference" / "oanda" / "replies" / "pricing" / "pricing.json"
    (expected,) = json.loads(recorded.read_text())["prices"]
    assert list(price_body(QUOTE, Desk(), False)) == list(expected)
