"""The compiled reader of HistData's lines says what the general reader says, or leaves the block to it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.ingest.histdata import _FORM
from fx_pipeline.ingest.lines import read_lines
from fx_pipeline.ingest.text import Block

LINES = [
    "20170102 020000;1.05155;1.05197;1.05155;1.05190;0",
    "20170102 020100;1.05190;1.05200;1.05101;1.05120;12",
    "20170103 235900;1.05120;10.0512;1.05100;1;999999999999999",
]


def check(data: bytes) -> bool:
    found = read_lines(data)
    if found is None:
        return False
    parsed = _FORM.parse(Block(data, False, 1.0))
    assert not parsed.broken and not parsed.unreadable and parsed.lines == len(parsed.row) == len(found[0])
    np.testing.assert_array_equal(found[0], parsed.local_ns)
    np.testing.assert_array_equal(found[1], list(parsed.prices.values()))
    np.testing.assert_array_equal(found[2], parsed.volume)
    return True


price = st.one_of(
    st.from_regex(r"[0-9]\.[0-9]{5}", fullmatch=True),
    st.from_regex(r"[0-9]{3}\.[0-9]{3}", fullmatch=True),
    st.from_regex(r"[0-9]{1,9}(\.[0-9]{1,6})?", fullmatch=True),
)
moment = st.integers(0, 7_258_118_399).map(lambda second: np.datetime64(second, "s").item())
line = st.tuples(st.booleans(), moment, st.lists(price, min_size=4, max_size=4), st.integers(0, 10**15 - 1)).map(
    lambda cells: f"{cells[1]:%Y%m%d %H%M%S};{';'.join(cells[2])};{cells[3]}" + ("\r\n" if cells[0] else "\n")
)


@settings(max_examples=200, deadline=None)
@given(st.lists(line, min_size=1, max_size=5).map("".join))
def test_every_value_is_that_of_the_general_reader(text: str) -> None:
    assert check(text.encode()) or "." not in text.split(";")[1]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_lines_are_left_to_the_general_reader_or_read_as_it_does(data: st.DataObject) -> None:
    body = bytearray("".join(f"{line}\n" for line in LINES).encode())
    where = data.draw(st.integers(0, len(body) - 1))
    if data.draw(st.booleans()):
        body[where] = data.draw(st.sampled_from(list(b"0123456789.,;:- \r\nx\xff")))
    else:
        del body[where : where + data.draw(st.integers(1, 60))]
    check(bytes(body))


@pytest.mark.parametrize(
    "line",
    [
        "20170230 020000;1.05155;1.05197;1.05155;1.05190;0",
        "20171302 020000;1.05155;1.05197;1.05155;1.05190;0",
        "20170102 240000;1.05155;1.05197;1.05155;1.05190;0",
        "20170102 026000;1.05155;1.05197;1.05155;1.05190;0",
        "20170102 020060;1.05155;1.05197;1.05155;1.05190;0",
        "20170102 020000;1.05155;1.05197;1.05155;0",
        "20170102 020000;1.05155;1.05197;1.05155;1.05190;0;1",
        "20170102 020000;1.05155;1.05197;1.05155;-1.0519;0",
        "20170102 020000;1.05155;1.05197;1.05155;1.05190;",
        "20170102 020000;1.05155;1.05197;1.05155;nan;0",
        "",
    ],
)
def test_a_block_with_another_line_is_left_to_the_general_reader(line: str) -> None:
    usual = "".join(f"{line}\n" for line in LINES)
    assert check(usual.encode())
    assert read_lines(f"{usual}{line}\n{usual}".encode()) is None
    assert read_lines(usual.encode()[:-1]) is None
