"""Rounding, parsing and wire text."""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.broker.paper.desk.money import decimal_of, decimals_of, fine_text, money_text, plain_text
from fx_pipeline.broker.paper.desk.times import next_rollover_ns, time_of, time_text

SECOND_NS = 1_000_000_000
TIMES = st.integers(946_684_800, 4_102_444_800).map(lambda second: second * SECOND_NS)


def test_money_is_rounded_half_to_even_without_a_negative_zero() -> None:
    assert [money_text(Decimal(text)) for text in ("0.000325", "0.02276", "0.00005", "0.00015", "-0.00001")] == [
        "0.0003", "0.0228", "0.0000", "0.0002", "0.0000",
    ]  # fmt: skip


def test_plain_numbers() -> None:
    assert [plain_text(Decimal(text)) for text in ("1000", "1E+3", "0.0500", "-0", "-12.50")] == [
        "1000", "1000", "0.05", "0", "-12.5",
    ]  # fmt: skip
    assert fine_text(Decimal("-1E-20")) == "0.00000000000000"


@pytest.mark.parametrize("text", ["", ".", "-", "1e5", "1,5", "NaN", "inf", " 1", "0x1", "1_000", "\u0661", "1" * 16])
def test_what_is_no_number(text: str) -> None:
    assert decimal_of(text) is None


@given(st.decimals(-(10**9), 10**9, places=6))
@settings(max_examples=100, deadline=None)
def test_numbers_survive_the_wire(number: Decimal) -> None:
    assert decimal_of(f"{number:f}") == number
    assert decimal_of(plain_text(number)) == number
    assert decimals_of(number) == max(0, -int(number.normalize().as_tuple().exponent))


@given(TIMES, st.integers(0, SECOND_NS - 1))
@settings(max_examples=100, deadline=None)
def test_times_survive_the_wire(second: int, fraction: int) -> None:
    assert time_of(time_text(second + fraction)) == second + fraction
    assert time_of(f"{second // SECOND_NS}.{fraction:09d}") == second + fraction


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2024-02-30T00:00:00Z",
        "2024-01-01",
        "2024-01-01T00:00:00",
        "-1",
        5,
        None,
        "9999-12-31T23:59:59-12:00",
        "0001-01-01T00:00:00+12:00",
    ],
)
def test_what_is_no_time(text: object) -> None:
    assert time_of(text) is None


@given(TIMES)
@settings(max_examples=200, deadline=None)
def test_the_rollover_is_the_next_17_new_york(time_ns: int) -> None:
    found = next_rollover_ns(time_ns)
    local = datetime.fromtimestamp(found // SECOND_NS, UTC).astimezone(ZoneInfo("America/New_York"))
    assert (local.hour, local.minute, local.second) == (17, 0, 0)
    assert time_ns < found <= time_ns + 25 * 3600 * SECOND_NS


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00.000000000Z", "1969-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.000000000Z"]
)
def test_far_times_survive_the_wire(text: str) -> None:
    found = time_of(text)
    assert found is not None
    assert time_text(found) == text
