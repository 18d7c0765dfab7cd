"""Quotes around cells and lines: what is inside, and which rows are whole."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.ingest.quotes import UNIT, split_cells, unquoted, usual_delimiter

CELL = st.text(st.sampled_from("0123456789.:- abc,;"), min_size=1, max_size=8).map(str.strip)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=6),
    st.sampled_from(",;\t"),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    st.booleans(),
)
def test_cells_are_those_of_the_csv_module(rows: list[list[str]], mark: str, quoting: int, whole: bool) -> None:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=mark, quoting=quoting, lineterminator="\n")  # type: ignore[arg-type]
    writer.writerows(rows)
    text = file.getvalue()
    if whole:
        text = "".join('"' + line.replace('"', '""') + '"\n' for line in text.splitlines())
    data, found = unquoted(text.encode(), mark)
    assert found in (mark, UNIT)
    assert [line.split(found) for line in data.decode().splitlines()] == rows
    assert split_cells(text.splitlines()[0], mark) == rows[0]


def test_a_line_with_a_quote_too_many_does_not_swallow_the_next() -> None:
    data, mark = unquoted(b'"a","b"\n"c,"d"\n"e","f"\n', ",")
    assert [line.split(mark) for line in data.decode().splitlines()][::2] == [["a", "b"], ["e", "f"]]
    assert len(data.splitlines()) == 3


@pytest.mark.parametrize(
    ("line", "mark"),
    [
        ("a,b;c,d,e", ","),
        ("a;b;1,5;2,5;3,5;4", ";"),
        ("a\tb, c\td", "\t"),
        ("a|b|c", "|"),
        ('"a\tb\tc"', "\t"),
        ("a", ","),
    ],
)
def test_the_usual_delimiter(line: str, mark: str) -> None:
    assert usual_delimiter(line) == mark
