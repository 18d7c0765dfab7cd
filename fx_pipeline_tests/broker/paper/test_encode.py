"""The compiled encoder writes the bytes of the simple form."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fx_pipeline.broker.paper.encode import encode_candles
from fx_pipeline.market.errors import DataError


def simple(time_ns, volume, complete, prices, sides, decimals, unix) -> bytes:
    rows = []
    for row in range(len(time_ns)):
        time = int(time_ns[row])
        if unix:
            text = f"{time // 10**9}.{time % 10**9:09d}"
        else:
            text = f"{np.datetime_as_string(np.datetime64(time, 'ns'), unit='ns')}Z"
        quotes = "".join(
            f',"{side}":{{'
            + ",".join(f'"{field}":"%.{decimals}f"' % prices[row, number, place] for place, field in enumerate("ohlc"))
            + "}"
            for number, side in enumerate(sides)
        )
        flag = "true" if complete[row] else "false"
        rows.append(f'{{"complete":{flag},"volume":{volume[row]},"time":"{text}"{quotes}}}')
    return ",".join(rows).encode()


def halves(decimals: int) -> st.SearchStrategy[float]:
    # Where rounding is decided: at and beside half of the last decimal.
    near = st.integers(1, 10**8).map(lambda number: (number + 0.5) / 10**decimals)
    return near.flatmap(lambda price: st.sampled_from([np.nextafter(price, 0), price, np.nextafter(price, np.inf)]))


@st.composite
def pages(draw: st.DrawFn):
    decimals = draw(st.integers(0, 6))
    sides = draw(st.sampled_from([("mid",), ("bid", "ask"), ("bid", "mid", "ask")]))
    count = draw(st.integers(0, 4))
    price = st.one_of(halves(decimals), st.floats(1e-12, 1e9), st.integers(1, 10**6).map(lambda n: n / 10**decimals))
    prices = draw(st.lists(price, min_size=4 * len(sides) * count, max_size=4 * len(sides) * count))
    return (
        np.array(draw(st.lists(st.integers(0, 2**63 - 1), min_size=count, max_size=count)), dtype=np.int64),
        np.array(draw(st.lists(st.integers(0, 2**62), min_size=count, max_size=count)), dtype=np.int64),
        np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)), dtype=bool),
        np.array(prices, dtype=np.float64).reshape(count, len(sides), 4),
        sides,
        decimals,
        draw(st.booleans()),
    )


@settings(max_examples=300, deadline=None)
@given(pages())
def test_the_bytes_are_those_of_the_simple_form(page) -> None:
    assert encode_candles(*page) == simple(*page)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 10**18),
    st.lists(st.integers(0, 3000), min_size=2, max_size=6),
    st.sampled_from([1, 10**9, 60 * 10**9]),
    st.booleans(),
)
def test_times_that_follow_one_another_are_those_of_the_simple_form(
    start: int, steps: list[int], unit: int, unix: bool
) -> None:
    time = start + np.cumsum(np.array(steps) * unit)
    count = len(time)
    page = time, np.ones(count, np.int64), np.ones(count, bool), np.ones((count, 1, 4)), ("mid",), 5, unix
    assert encode_candles(*page) == simple(*page)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**63 - 1))
@example(951_782_400_000_000_000)  # 29 February 2000
@example(4_107_542_399_999_999_999)  # the end of 28 February 2100, which has no 29th
@example(4_107_542_400_000_000_000)
def test_every_day_of_three_centuries_has_its_date(time: int) -> None:
    prices = np.ones((1, 1, 4))
    page = np.array([time]), np.array([1]), np.array([True]), prices, ("mid",), 5, False
    assert encode_candles(*page) == simple(*page)


@settings(max_examples=50, deadline=None)
@given(st.lists(pages(), min_size=2, max_size=3), st.binary(max_size=9), st.binary(max_size=9))
def test_what_stands_around_them_and_what_was_encoded_before_do_not_matter(found, before: bytes, after: bytes) -> None:
    encoded = [encode_candles(*page, before, after) for page in found]
    assert encoded == [before + simple(*page) + after for page in found]


@pytest.mark.parametrize("price", [0.0, -1.0, np.nan, np.inf, 1e12])
def test_prices_that_cannot_be_sent_are_refused(price: float) -> None:
    prices = np.full((1, 1, 4), price)
    with pytest.raises(DataError, match="import the candles again"):
        encode_candles(np.array([0]), np.array([1]), np.array([True]), prices, ("mid",), 5, False)
