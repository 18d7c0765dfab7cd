"""What GET requests show."""

import pytest

from fx_pipeline_tests.broker.paper.desk.floor import Floor


def test_a_new_account() -> None:
    floor = Floor(account="001-004-1234567-003")
    created, configured, paid = floor.desk.transactions
    assert {name: created[name] for name in ("siteID", "divisionID", "accountUserID", "accountNumber")} == {
        "siteID": 1, "divisionID": 4, "accountUserID": 1234567, "accountNumber": 3,
    }  # fmt: skip
    assert (created["type"], created["homeCurrency"], configured["type"]) == ("CREATE", "USD", "CLIENT_CONFIGURE")
    assert (paid["amount"], paid["accountBalance"], paid["fundingReason"]) == (
        "100000.0000", "100000.0000", "CLIENT_FUNDING",
    )  # fmt: skip
    assert floor.desk.accounts().body == {"accounts": [{"id": "001-004-1234567-003", "tags": []}]}
    account = floor.desk.account().body["account"]
    assert (account["trades"], account["orders"], account["positions"]) == ([], [], [])
    assert account["NAV"] == account["balance"] == account["marginAvailable"] == "100000.0000"
    assert "lastOrderFillTimestamp" not in account
    with pytest.raises(ValueError, match="open already"):
        floor.desk.open(0)


def test_instruments() -> None:
    desk = Floor(("GBP_JPY", "XAU_USD"), quoted=False).desk
    found = desk.instruments(["GBP_JPY"]).body["instruments"]
    assert [item["name"] for item in found] == ["GBP_JPY"]
    assert {name: found[0][name] for name in ("pipLocation", "displayPrecision", "minimumTradeSize", "marginRate")} == {
        "pipLocation": -2, "displayPrecision": 3, "minimumTradeSize": "1", "marginRate": "0.05",
    }  # fmt: skip
    assert found[0]["minimumTrailingStopDistance"] == "0.050"
    assert found[0]["maximumTrailingStopDistance"] == "100.000"
    gold = desk.instruments(None).body["instruments"][1]
    assert (gold["type"], gold["displayName"]) == ("METAL", "Gold")
    assert desk.instruments(["EUR_USD"]).status == 400


def test_orders_are_found_by_state_instrument_and_page() -> None:
    floor = Floor()
    ids = [floor.order("LIMIT", units="1", price="1").body["lastTransactionID"] for _ in range(4)]
    other = floor.order("LIMIT", instrument="GBP_USD", units="1", price="1").body["lastTransactionID"]
    floor.desk.cancel_order(ids[0], floor.now_ns, "7")
    filled = floor.market("1").body["orderCreateTransaction"]["id"]

    def found(**query: str) -> list[str]:
        return [order["id"] for order in floor.desk.orders(query).body["orders"]]

    assert found() == [other, *reversed(ids[1:])]
    assert found(state="CANCELLED") == [ids[0]]
    assert found(state="FILLED") == [filled]
    assert found(state="ALL", instrument="EUR_USD") == [filled, *reversed(ids)]
    assert found(count="2") == [other, ids[3]]
    assert found(beforeID=ids[2]) == [ids[2], ids[1]]
    assert found(ids=f"{ids[1]},{ids[3]},999") == [ids[3], ids[1]]
    assert [order["id"] for order in floor.desk.pending_orders().body["orders"]] == found()
    for query in ({"state": "OPEN"}, {"count": "501"}, {"count": "0"}, {"beforeID": "x"}, {"ids": "1,x"},
                  {"instrument": "EUR_XXX"}):  # fmt: skip
        assert floor.desk.orders(query).status == 400


def test_trades_are_found_by_state() -> None:
    floor = Floor(hedging=True)
    first, second = floor.opened("10"), floor.opened("-20")
    floor.desk.close_trade(first, {}, floor.now_ns, "7")

    def found(**query: str) -> list[str]:
        return [trade["id"] for trade in floor.desk.trades(query).body["trades"]]

    assert found() == [second]
    assert found(state="CLOSED") == [first]
    assert found(state="ALL") == [second, first]
    assert found(state="CLOSE_WHEN_TRADEABLE") == []
    assert floor.desk.trades({"state": "PENDING"}).status == 400
    assert [trade["id"] for trade in floor.desk.open_trades().body["trades"]] == [second]
    closed = floor.trade(first)
    assert closed["state"] == "CLOSED"
    assert "unrealizedPL" not in closed
    assert closed["averageClosePrice"] == "1.10000"


def test_what_is_unknown_is_404_and_what_is_no_name_400() -> None:
    desk = Floor().desk
    for outcome, code in (
        (desk.order("99"), "NO_SUCH_ORDER"), (desk.order("@a"), "NO_SUCH_ORDER"), (desk.trade("99"), "NO_SUCH_TRADE"),
        (desk.position("EUR_USD"), "NO_SUCH_POSITION"), (desk.transaction("99"), "NO_SUCH_TRANSACTION"),
    ):  # fmt: skip
        assert (outcome.status, outcome.body["errorCode"], outcome.body["lastTransactionID"]) == (404, code, "3")
    for outcome in (desk.order("a"), desk.order("@"), desk.order("-1"), desk.order("٣"), desk.trade(""),
                    desk.position("EUR_XXX"), desk.transaction("0"), desk.transaction("a")):  # fmt: skip
        assert outcome.status == 400


def test_a_position_that_was_closed_stays_in_the_list() -> None:
    floor = Floor()
    floor.market("10")
    floor.market("-10")
    assert floor.desk.open_positions().body["positions"] == []
    position = floor.desk.positions().body["positions"][0]
    assert (position["long"]["units"], position["short"]["units"], position["pl"]) == ("0", "0", "-0.0010")
    assert "marginUsed" not in position


def test_short_units_are_negative() -> None:
    floor = Floor()
    number = floor.opened("-10")
    assert floor.trade(number)["currentUnits"] == "-10"
    side = floor.desk.position("EUR_USD").body["position"]["short"]
    assert (side["units"], side["averagePrice"], side["tradeIDs"]) == ("-10", "1.10000", [number])


def test_what_was_recorded_of_a_pending_order_in_2019() -> None:
    floor = Floor()
    floor.quote("GBP_USD", "1.30000", "1.30020")
    terms = {"instrument": "GBP_USD", "units": "101", "price": "1.33600", "positionFill": "OPEN_ONLY"}
    created = floor.order("MARKET_IF_TOUCHED", **terms).body["orderCreateTransaction"]
    assert floor.desk.order(created["id"]).body["order"] == {
        "id": created["id"],
        "createTime": created["time"],
        "type": "MARKET_IF_TOUCHED",
        "instrument": "GBP_USD",
        "units": "101",
        "timeInForce": "GTC",
        "price": "1.33600",
        "triggerCondition": "DEFAULT",
        "partialFill": "DEFAULT_FILL",
        "positionFill": "OPEN_ONLY",
        "state": "PENDING",
    }
    assert created["partialFill"] == "DEFAULT"
