"""Blocks of text files, their rows, and fixed forms of times."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.ingest.clock import NO_TIME
from fx_pipeline.ingest.text import read_blocks, read_times, split_rows

LINES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), max_size=12), min_size=1)


@settings(max_examples=60, deadline=None)
@given(lines=LINES, end=st.sampled_from(["\n", "\r\n", "\r"]), size=st.integers(8, 40), encoding=st.booleans())
def test_blocks_are_the_file_in_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], end: str, size: int, encoding: bool
) -> None:
    text = end.join(["1", *lines]) + end
    path = tmp_path_factory.mktemp("blocks") / "a.csv"
    path.write_bytes(text.encode("utf-16" if encoding else "utf-8"))
    blocks = list(read_blocks(path, size))
    assert b"".join(block.data for block in blocks).decode() == text
    assert all(block.data.endswith(end.encode()) and not block.cut for block in blocks)
    assert blocks[-1].done == 1.0


def test_a_file_that_ends_within_a_line_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"one\ntwo\nthr")
    found = [(block.data, block.cut) for block in read_blocks(path, 5)]
    assert found == [(b"one\n", False), (b"two\n", False), (b"thr", True)]


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfone\n\xff\n")
    (block,) = read_blocks(path)
    assert block.data.decode() == "one\n�\n"


def test_rows_keep_their_numbers_across_blank_and_broken_lines() -> None:
    rows = split_rows(b"1;2\n\nbroken\n  \n3;4\n", ";", ["a", "b"])
    assert rows is not None
    assert (rows.row.tolist(), rows.broken, rows.lines) == ([1, 5], {3: "broken"}, 5)
    assert rows.columns["b"].to_pylist() == ["2", "4"]
    assert split_rows(b"1;x\n", ";", ["a", "b"], ["b"]) is None


@settings(max_examples=200, deadline=None)
@given(
    st.datetimes(np.datetime64("1800-01-01T00:00:00").item(), np.datetime64("2200-01-01T00:00:00").item()),
    st.sampled_from(["%Y%m%d %H%M%S", "%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S.000"]),
)
def test_fixed_times_are_those_of_strptime(moment: datetime, form: str) -> None:
    moment = moment.replace(microsecond=0)
    template = form
    for code, letters in (("%Y", "YYYY"), ("%m", "MM"), ("%d", "DD"), ("%H", "hh"), ("%M", "mm"), ("%S", "ss")):
        template = template.replace(code, letters)
    text = moment.strftime(form)
    expected = int(np.datetime64(moment, "ns").astype(np.int64))
    assert read_times(pa.array([text, text[:-1]]), template).tolist() == [expected, NO_TIME]


@pytest.mark.parametrize(
    "text",
    ["20240230 000000", "20241301 000000", "20240001 000000", "20240100 000000", "20240101 240000", "20240101 006000",
     "20240101 000060", "2024010a 000000", "20240101T000000", "29240101 000000", "2024/101 000000", ""],
)  # fmt: skip
def test_times_that_cannot_be_are_none(text: str) -> None:
    assert read_times(pa.array([text, "20240229 235959"]), "YYYYMMDD hhmmss")[0] == NO_TIME
    assert read_times(pa.array([text]), "YYYYMMDD hhmmss").tolist() == [NO_TIME]


def test_cells_of_several_forms_and_slices() -> None:
    cells = pa.array(["x", "09:05", "9:05", "09:05:30", "905"]).slice(1)
    minutes = [9 * 60 + 5, 9 * 60 + 5, 9 * 60 + 5.5]
    times = read_times(cells, "hh:mm", "hh:mm:ss", "h:mm")
    assert times.tolist() == [*(int(minute * 60e9) for minute in minutes), NO_TIME]
    assert read_times(pa.array([], pa.string()), "hh:mm").tolist() == []
