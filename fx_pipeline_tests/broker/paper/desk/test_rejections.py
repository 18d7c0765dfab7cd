"""Orders that break a rule, and orders that cannot be read."""

from typing import Any

import pytest

from fx_pipeline_tests.broker.paper.desk.floor import Floor, check_invariants

LONG = "x" * 129
LIMIT = {"type": "LIMIT", "units": "1", "price": "1.05"}


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"instrument": None}, "INSTRUMENT_MISSING"),
        ({"units": None}, "UNITS_MISSING"),
        ({"units": "0"}, "UNITS_INVALID"),
        ({"units": "1.5"}, "UNITS_PRECISION_EXCEEDED"),
        ({"units": "100000001"}, "UNITS_LIMIT_EXCEEDED"),
        ({"units": "-100000001"}, "UNITS_LIMIT_EXCEEDED"),
        ({"timeInForce": "GTC"}, "TIME_IN_FORCE_INVALID"),
        ({"priceBound": "0"}, "PRICE_BOUND_INVALID"),
        ({"priceBound": "1.123456"}, "PRICE_BOUND_PRECISION_EXCEEDED"),
        ({"clientExtensions": {"id": LONG}}, "CLIENT_ORDER_ID_INVALID"),
        ({"clientExtensions": {"id": ""}}, "CLIENT_ORDER_ID_INVALID"),
        ({"clientExtensions": {"tag": LONG}}, "CLIENT_ORDER_TAG_INVALID"),
        ({"clientExtensions": {"comment": LONG}}, "CLIENT_ORDER_COMMENT_INVALID"),
        ({"clientExtensions": {"id": "resting"}}, "CLIENT_ORDER_ID_ALREADY_EXISTS"),
        ({"tradeClientExtensions": {"id": LONG}}, "CLIENT_TRADE_ID_INVALID"),
        ({"takeProfitOnFill": {}}, "TAKE_PROFIT_ON_FILL_PRICE_MISSING"),
        ({"takeProfitOnFill": {"price": "-1"}}, "TAKE_PROFIT_ON_FILL_PRICE_INVALID"),
        ({"takeProfitOnFill": {"price": "1.123456"}}, "TAKE_PROFIT_ON_FILL_PRICE_PRECISION_EXCEEDED"),
        ({"takeProfitOnFill": {"price": "2", "timeInForce": "FOK"}}, "TAKE_PROFIT_ON_FILL_TIME_IN_FORCE_INVALID"),
        ({"takeProfitOnFill": {"price": "2", "clientExtensions": {"id": LONG}}},
         "TAKE_PROFIT_ON_FILL_CLIENT_ORDER_ID_INVALID"),
        ({"stopLossOnFill": {}}, "STOP_LOSS_ON_FILL_PRICE_AND_DISTANCE_BOTH_MISSING"),
        ({"stopLossOnFill": {"price": "1", "distance": "1"}}, "STOP_LOSS_ON_FILL_PRICE_AND_DISTANCE_BOTH_SPECIFIED"),
        ({"stopLossOnFill": {"distance": "0.000001"}}, "STOP_LOSS_ON_FILL_DISTANCE_PRECISION_EXCEEDED"),
        ({"stopLossOnFill": {"distance": "0"}}, "STOP_LOSS_ON_FILL_DISTANCE_INVALID"),
        ({"stopLossOnFill": {"price": "1", "guaranteed": True}}, "STOP_LOSS_ON_FILL_GUARANTEED_NOT_ALLOWED"),
        ({"guaranteedStopLossOnFill": {"price": "1"}}, "STOP_LOSS_ON_FILL_GUARANTEED_NOT_ALLOWED"),
        ({"stopLossOnFill": {"price": "1", "timeInForce": "GTD"}}, "STOP_LOSS_ON_FILL_GTD_TIMESTAMP_MISSING"),
        ({"stopLossOnFill": {"price": "1", "timeInForce": "GTD", "gtdTime": "2020-01-01T00:00:00Z"}},
         "STOP_LOSS_ON_FILL_GTD_TIMESTAMP_IN_PAST"),
        ({"trailingStopLossOnFill": {}}, "TRAILING_STOP_LOSS_ON_FILL_PRICE_DISTANCE_MISSING"),
        ({"trailingStopLossOnFill": {"distance": "0.0004"}},
         "TRAILING_STOP_LOSS_ON_FILL_PRICE_DISTANCE_MINIMUM_NOT_MET"),
        ({"trailingStopLossOnFill": {"distance": "1.1"}},
         "TRAILING_STOP_LOSS_ON_FILL_PRICE_DISTANCE_MAXIMUM_EXCEEDED"),
        ({"stopLossOnFill": {"price": "1", "clientExtensions": {"id": "a"}},
          "takeProfitOnFill": {"price": "2", "clientExtensions": {"id": "a"}}},
         "ORDERS_ON_FILL_DUPLICATE_CLIENT_ORDER_IDS"),
        ({**LIMIT, "price": None}, "PRICE_MISSING"),
        ({**LIMIT, "price": "0"}, "PRICE_INVALID"),
        ({**LIMIT, "price": "1.33687666666666"}, "PRICE_PRECISION_EXCEEDED"),
        ({**LIMIT, "timeInForce": "GTD"}, "TIME_IN_FORCE_GTD_TIMESTAMP_MISSING"),
        ({**LIMIT, "timeInForce": "GTD", "gtdTime": "1500000000"}, "TIME_IN_FORCE_GTD_TIMESTAMP_IN_PAST"),
        ({**LIMIT, "type": "MARKET_IF_TOUCHED", "timeInForce": "FOK"}, "TIME_IN_FORCE_INVALID"),
    ],
)  # fmt: skip
def test_a_rule_that_is_broken_writes_a_reject(order: dict[str, Any], reason: str) -> None:
    floor = Floor()
    floor.order("LIMIT", units="1", price="1", clientExtensions={"id": "resting"})
    before = int(floor.desk.last_transaction_id)
    body = {"type": "MARKET", "instrument": "EUR_USD", "units": "1", **order}
    outcome = floor.desk.create_order(body, floor.now_ns, "7")
    assert outcome.status == 400
    rejected = outcome.body["orderRejectTransaction"]
    assert outcome.body["errorCode"] == rejected["rejectReason"] == reason
    assert outcome.body["errorMessage"]
    assert rejected["type"] == f"{body['type']}_ORDER_REJECT"
    assert outcome.body["relatedTransactionIDs"] == [str(before + 1)] == [outcome.body["lastTransactionID"]]
    check_invariants(floor)


@pytest.mark.parametrize(
    "order",
    [
        None, [], "buy", 7, {}, {"type": "BUY"}, {"type": None}, {"type": ["MARKET"]},
        {"type": "MARKET", "instrument": "EUR_XXX"}, {"type": "MARKET", "instrument": 5},
        {"type": "MARKET", "units": "many"}, {"type": "MARKET", "units": "1e5"}, {"type": "MARKET", "units": True},
        {"type": "MARKET", "units": "NaN"}, {"type": "MARKET", "units": "9" * 40}, {"type": "MARKET", "units": [1]},
        {"type": "MARKET", "units": 1e30}, {"type": "MARKET", "units": "٣"},
        {"type": "MARKET", "timeInForce": "NOW"}, {"type": "MARKET", "positionFill": "ALL"},
        {"type": "MARKET", "clientExtensions": "id"}, {"type": "MARKET", "clientExtensions": {"id": 5}},
        {"type": "MARKET", "stopLossOnFill": "1.2"}, {"type": "MARKET", "stopLossOnFill": {"price": {}}},
        {"type": "MARKET", "stopLossOnFill": {"price": "1", "guaranteed": "yes"}},
        {"type": "LIMIT", "triggerCondition": "LAST"}, {"type": "LIMIT", "price": "1,05"},
        {"type": "LIMIT", "timeInForce": "GTD", "gtdTime": "tomorrow"},
        {"type": "LIMIT", "timeInForce": "GTD", "gtdTime": "2024-13-01T00:00:00Z"},
        {"type": "STOP_LOSS", "tradeID": 5},
    ],
)  # fmt: skip
def test_what_cannot_be_read_writes_nothing(order: Any) -> None:
    floor = Floor()
    before = floor.desk.last_transaction_id
    outcome = floor.desk.create_order(order, floor.now_ns, "7")
    assert outcome.status == 400
    assert outcome.body["errorCode"] == "oanda::rest::core::InvalidParameterException"
    assert outcome.body["errorMessage"].startswith("Invalid value specified for 'order")
    assert floor.desk.last_transaction_id == before


def test_numbers_may_be_json_numbers_and_carry_trailing_zeros() -> None:
    floor = Floor()
    created = floor.order("LIMIT", instrument="GBP_JPY", units=10, price="180.12300").body["orderCreateTransaction"]
    assert (created["units"], created["price"]) == ("10", "180.123")
    assert floor.order("LIMIT", units="+5.0", price=1.05).body["orderCreateTransaction"]["units"] == "5"


def test_an_instrument_without_a_price() -> None:
    floor = Floor(quoted=False)
    assert floor.market("1").body["errorCode"] == "INSTRUMENT_PRICE_UNKNOWN"
    assert floor.order("LIMIT", units="1", price="1").status == 201
    assert floor.order("MARKET_IF_TOUCHED", units="1", price="1").body["errorCode"] == "INSTRUMENT_PRICE_UNKNOWN"


def test_texts_of_128_characters_in_any_script_are_taken() -> None:
    floor = Floor()
    name = "ü: . - _ /" + "x" * 118
    assert floor.order("LIMIT", units="1", price="1", clientExtensions={"id": name}).status == 201
    assert floor.desk.order(f"@{name}").status == 200


def test_times_are_given_in_both_forms() -> None:
    floor = Floor()
    for form in ("2024-01-10T13:30:00Z", "1704893400", "2024-01-10T14:30:00.5+01:00"):
        terms = {"timeInForce": "GTD", "gtdTime": form}
        created = floor.order("LIMIT", units="1", price="1", **terms).body["orderCreateTransaction"]
        assert created["gtdTime"].startswith("2024-01-10T13:30:00.")
