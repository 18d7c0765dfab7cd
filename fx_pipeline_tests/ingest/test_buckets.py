"""Rows by month, in memory and beyond."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.ingest.buckets import Buckets, Rows, months_of

START = int(np.datetime64("2024-01-30", "ns").astype(np.int64))
HOUR = 3_600_000_000_000


def rows(hours: list[int], first_row: int = 0, sides: int = 1) -> Rows:
    time = START + np.array(hours, dtype=np.int64) * HOUR
    count = len(hours)
    number = np.arange(first_row, first_row + count)
    prices = np.arange(4.0 * sides)[:, np.newaxis] + number
    return Rows(time, number, number * 2, number % 2 == 0, prices)


@settings(max_examples=40, deadline=None)
@given(
    parts=st.lists(st.lists(st.integers(0, 24 * 60), max_size=20), max_size=6),
    limit=st.sampled_from([0, 500, 1 << 20]),
    sides=st.integers(1, 3),
)
def test_what_was_added_is_there_whatever_fits_in_memory(parts: list[list[int]], limit: int, sides: int) -> None:
    added = [rows(hours, 1000 * number, sides) for number, hours in enumerate(parts)]
    everything = Rows.concatenate([rows([], sides=sides), *added])
    with Buckets(limit) as buckets:
        for part in added:
            buckets.add(part)
        assert buckets.months == months_of(everything.time)
        for month in buckets.months:
            taken = buckets.take(month)
            within = everything.part(
                everything.time.astype("datetime64[ns]").astype("datetime64[M]").astype(str) == month
            )
            np.testing.assert_array_equal(buckets.times(month), taken.time)
            for got, expected in zip(taken.arrays, within.arrays, strict=True):
                order, want = np.argsort(taken.row), np.argsort(within.row)
                np.testing.assert_array_equal(got[..., order], expected[..., want])


@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_a_month_can_be_replaced_and_taken_away(limit: int, tmp_path: Path) -> None:
    with Buckets(limit, tmp_path) as buckets:
        buckets.add(rows([0, 1, 100]))
        buckets.replace("2024-01", rows([1]))
        assert buckets.take("2024-01").time.tolist() == [START + HOUR]
        buckets.replace("2024-01", rows([]))
        assert buckets.months == ["2024-02"]
        assert buckets.times("2024-01").tolist() == []
    assert list(tmp_path.iterdir()) == []
