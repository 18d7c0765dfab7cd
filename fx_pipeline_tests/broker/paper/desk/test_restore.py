"""Recording and restoring: the record is complete, every prefix of it is an account, and nothing precedes it."""

import json
from decimal import Decimal

import pytest

from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.desk import Batch, Desk
from fx_pipeline.broker.paper.quotes import Quote
from fx_pipeline_tests.broker.paper.desk.floor import INSTRUMENTS, PRICES, START_NS, Floor, kinds


def busy(floor: Floor) -> Floor:
    floor.opened("1000", trailingStopLossOnFill={"distance": "0.01"}, tradeClientExtensions={"id": "mine"})
    floor.order("MARKET_IF_TOUCHED", units="100", price="1.12")
    floor.quote("EUR_USD", "1.11000", "1.11010")
    floor.market("-300", instrument="GBP_JPY", takeProfitOnFill={"price": "180", "clientExtensions": {"id": "t"}})
    floor.desk.charge_financing(START_NS + 9 * 3_600_000_000_000)
    floor.market("0")
    return floor


def test_the_record_survives_json() -> None:
    floor = busy(Floor())
    lines = [json.dumps(batch._asdict()) for batch in floor.batches]
    desk = Desk(floor.config, INSTRUMENTS)
    desk.restore(Batch(**json.loads(line)) for line in lines)
    assert desk.transactions == floor.desk.transactions
    assert desk._account.state == floor.desk._account.state


def test_every_prefix_of_the_record_is_an_account() -> None:
    floor = busy(Floor())
    for count in range(1, len(floor.batches) + 1):
        desk = Desk(floor.config, INSTRUMENTS)
        desk.restore(floor.batches[:count])
        assert desk.last_transaction_id == floor.batches[count - 1].transactions[-1]["id"]
        assert desk.account().status == 200


def test_a_restored_desk_goes_on_as_the_old_one() -> None:
    floor = busy(Floor())
    restored = floor.restored()
    for bid, ask in (("1.12500", "1.12510"), ("1.10000", "1.10010")):
        quote = Quote("EUR_USD", floor.now_ns + 1, Decimal(bid), Decimal(ask), True)
        assert restored.on_quote(quote) == floor.desk.on_quote(quote)
    assert restored.account() == floor.desk.account()


def test_the_quote_that_was_shown_triggers_nothing_again() -> None:
    floor = busy(Floor())
    floor.desk.deposit(Decimal(1), floor.now_ns, None)
    restored = floor.restored()
    assert [
        made for name in INSTRUMENTS if (quote := floor.desk.quote(name)) for made in restored.on_quote(quote)
    ] == []


def test_a_restored_account_is_not_closed_out_before_all_rates_are_known() -> None:
    # At the yen rate of early 2024, and not at that of the record, the account would be over its margin.
    floor = Floor(("GBP_JPY", "USD_JPY"), quoted=False, balance=Decimal(1000), margin_rate=Decimal("0.5"))
    floor.quote("USD_JPY", "400.000", "400.010")
    floor.quote("GBP_JPY", *PRICES["GBP_JPY"])
    floor.market("4000", instrument="GBP_JPY")
    restored = floor.restored()
    assert [made for name in ("GBP_JPY", "USD_JPY") for made in restored.on_quote(floor.desk.quote(name))] == []


def test_what_cannot_be_recorded_does_not_happen() -> None:
    class FullDisk(Exception):
        pass

    recording = True

    def record(batch: Batch) -> None:
        if not recording:
            raise FullDisk

    desk = Desk(AccountConfig(), INSTRUMENTS, record)
    desk.open(START_NS)
    desk.on_quote(Quote("EUR_USD", START_NS, Decimal("1.1"), Decimal("1.1001"), True))
    order = {"type": "LIMIT", "instrument": "EUR_USD", "units": "100", "price": "1.09"}
    desk.create_order(order, START_NS, "1")
    before = desk.account()
    recording = False
    with pytest.raises(FullDisk):
        desk.create_order({**order, "type": "MARKET"}, START_NS, "2")
    with pytest.raises(FullDisk):
        desk.on_quote(Quote("EUR_USD", START_NS + 1, Decimal("1.08"), Decimal("1.0801"), True))
    assert desk.account() == before
    recording = True
    made = desk.on_quote(Quote("EUR_USD", START_NS + 2, Decimal("1.08"), Decimal("1.0801"), True))
    assert kinds(made) == ["ORDER_FILL LIMIT_ORDER"]


def test_the_same_calls_make_the_same_account() -> None:
    assert busy(Floor()).batches == busy(Floor()).batches


def test_time_never_goes_back() -> None:
    floor = busy(Floor())
    last = floor.desk.transactions[-1]["time"]
    made = floor.desk.create_order({"type": "MARKET", "instrument": "EUR_USD", "units": "1"}, 0, None).body
    assert made["orderCreateTransaction"]["time"] == last


def test_a_record_with_a_hole_is_refused() -> None:
    floor = busy(Floor())
    with pytest.raises(ValueError, match=r"transaction 4 .* is missing"):
        Desk(floor.config, INSTRUMENTS).restore([floor.batches[0], *floor.batches[2:]])
    with pytest.raises(ValueError, match="only a new desk"):
        floor.desk.restore(floor.batches)


def test_quotes_of_other_instruments_are_refused() -> None:
    with pytest.raises(ValueError, match="does not trade AUD_USD"):
        Floor().quote("AUD_USD", "0.66", "0.6601")
