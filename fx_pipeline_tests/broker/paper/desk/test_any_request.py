"""No request, however odd, makes the desk raise, and each leaves an account that holds together."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline_tests.broker.paper.desk.floor import Floor, check_invariants

WORDS = st.sampled_from(
    ("MARKET", "LIMIT", "STOP", "MARKET_IF_TOUCHED", "TAKE_PROFIT", "STOP_LOSS", "TRAILING_STOP_LOSS", "EUR_USD", "5",
     "GBP_JPY", "-100", "1.1", "1.2", "0.01", "ALL", "NONE", "FOK", "GTC", "GTD", "GFD", "REDUCE_ONLY", "BID", "@a",
     "a", "2024-01-10T20:00:00Z", "99999999999999999999", "-0", "0.00001")
)  # fmt: skip
NAMES = st.sampled_from(
    ("type", "instrument", "units", "price", "distance", "priceBound", "timeInForce", "gtdTime", "positionFill", "tag",
     "triggerCondition", "clientExtensions", "tradeClientExtensions", "takeProfitOnFill", "stopLossOnFill", "id",
     "trailingStopLossOnFill", "guaranteed", "tradeID", "clientTradeID", "longUnits", "shortUnits", "alias",
     "marginRate", "takeProfit", "stopLoss", "trailingStopLoss", "comment")
)  # fmt: skip
SCALARS = WORDS | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
BODIES = st.recursive(
    SCALARS, lambda inner: st.dictionaries(NAMES, inner, max_size=6) | st.lists(inner, max_size=2), max_leaves=12
)
ORDERS = st.fixed_dictionaries(
    {"type": WORDS, "instrument": st.sampled_from(("EUR_USD", "GBP_JPY")), "units": WORDS, "price": WORDS},
    optional={"tradeID": st.just("5"), "stopLossOnFill": BODIES, "timeInForce": WORDS, "distance": WORDS,
              "takeProfitOnFill": st.fixed_dictionaries({"price": WORDS}), "clientExtensions": BODIES},
)  # fmt: skip
SPECIFIERS = st.sampled_from(("1", "4", "5", "6", "7", "@a", "@", "", "x")) | st.text(max_size=4)


@given(st.lists(st.tuples(st.integers(0, 7), SPECIFIERS, BODIES | ORDERS), min_size=1, max_size=12))
@settings(max_examples=150, deadline=None)
def test_any_request_is_answered(requests: list[tuple[int, str, Any]]) -> None:
    floor = Floor()
    floor.market("100", stopLossOnFill={"price": "1.05"}, clientExtensions={"id": "a"})
    floor.order("LIMIT", units="100", price="1.05", clientExtensions={"id": "a"})
    desk, now = floor.desk, floor.now_ns
    for command, specifier, body in requests:
        outcome = (
            lambda s, b: desk.create_order(b, now, "r"),
            lambda s, b: desk.replace_order(s, b, now, "r"),
            lambda s, b: desk.cancel_order(s, now, "r"),
            lambda s, b: desk.set_order_extensions(s, b, now, "r"),
            lambda s, b: desk.close_trade(s, b, now, "r"),
            lambda s, b: desk.set_trade_orders(s, b, now, "r"),
            lambda s, b: desk.close_position("EUR_USD", b, now, "r"),
            lambda s, b: desk.configure(b, now, "r"),
        )[command](specifier, body)
        assert outcome.status in (200, 201, 400, 404)
        assert outcome.status < 400 or outcome.body["errorMessage"]
        check_invariants(floor)
    assert floor.restored().transactions == desk.transactions
