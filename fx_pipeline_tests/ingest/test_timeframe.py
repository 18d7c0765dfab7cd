"""Files whose bars are longer than a minute, in a part of them; and files with few bars, which are not."""

from pathlib import Path

import numpy as np
import pytest

from fx_pipeline.ingest.importers import read_candles
from fx_pipeline.ingest.timeframe import Steps
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.errors import DataError
from fx_pipeline_tests.ingest.made import fx_minutes, ns, walk, write_csv

MINUTES = fx_minutes("2024-01-02 00:00", "2024-01-12 22:00")


def coarse(minutes: int, start: str, end: str) -> np.ndarray:
    """The minutes, with one bar in so many between two times."""
    inside = (ns(start) <= MINUTES) & (ns(end) > MINUTES)
    return MINUTES[~inside | (MINUTES // MINUTE_NS % minutes == 0)]


def refusal(times: np.ndarray, stretches: int = 3) -> str:
    steps = Steps()
    for part in np.array_split(times, stretches):
        steps.add(part)
    with pytest.raises(DataError, match=r"a\.csv") as refused:
        steps.check("a.csv")
    return str(refused.value)


@pytest.mark.parametrize(
    ("minutes", "start", "end", "says"),
    [
        (5, "2024-01-01", "2024-01-09 12:00", "M5 bars up to 2024-01-09 11:55, M1 from 2024-01-09 12:00 UTC on: cut"),
        (60, "2024-01-01", "2024-01-05 00:00", "H1 bars up to 2024-01-04 23:00, M1 from 2024-01-05 00:00 UTC on"),
        (240, "2024-01-01", "2024-01-06 00:00", "H4 bars up to 2024-01-05 20:00, M1 from 2024-01-07 22:00 UTC on"),
        (3, "2024-01-01", "2024-01-03 00:00", "M3 bars up to 2024-01-02 23:57, M1 from 2024-01-03 00:00 UTC on"),
        (5, "2024-01-10", "2024-01-13", "M1 bars up to 2024-01-10 00:00, M5 from 2024-01-10 00:05 UTC on: cut"),
        (2, "2024-01-04", "2024-01-05", "M2 bars from 2024-01-04 00:02 to 2024-01-04 23:58 UTC; M1 bars begin at 2024"),
        (15, "2024-01-04", "2024-01-05", "M15 bars from 2024-01-04 00:15 to 2024-01-04 23:45 UTC; M1 bars begin at"),
        (1440, "2024-01-01", "2024-01-05", "D bars up to 2024-01-04 00:00, M1 from 2024-01-05 00:00 UTC on: cut"),
        (240, "2024-01-04", "2024-01-05", "H4 bars from 2024-01-04 04:00 to 2024-01-04 20:00 UTC; M1 bars begin at"),
        (30, "2024-01-04", "2024-01-05", "2024-01-02 00:00, 2024-01-05 00:00: cut these parts out"),
    ],
)
def test_a_part_with_longer_bars_is_refused(minutes: int, start: str, end: str, says: str) -> None:
    assert f"is not M1 throughout: {'' if says[0] == '2' else says}" in refusal(coarse(minutes, start, end))
    assert says in refusal(coarse(minutes, start, end), stretches=1)


def test_parts_of_several_lengths_are_told_apart() -> None:
    times = coarse(60, "2024-01-01", "2024-01-04")
    inside = (times >= ns("2024-01-04")) & (times < ns("2024-01-06"))
    said = refusal(times[~inside | (times // MINUTE_NS % 5 == 0)])
    assert (
        "H1 bars from 2024-01-02 00:00 to 2024-01-03 23:00; M5 bars from 2024-01-04 00:05 to 2024-01-05 21:55" in said
    )


def test_a_part_with_shorter_bars_is_refused() -> None:
    seconds = np.arange(ns("2024-01-05 10:00"), ns("2024-01-05 10:20"), 10**10)
    assert "S10 bars from 2024-01-05 10:00 to 2024-01-05 10:1" in refusal(np.union1d(MINUTES, seconds))


@pytest.mark.parametrize("density", [0.9, 0.5, 0.2, 0.05])
def test_missing_minutes_are_no_longer_bars(density: float) -> None:
    chosen = np.random.default_rng(3).random(len(MINUTES)) < density
    steps = Steps()
    steps.add(MINUTES[chosen])
    steps.check("a.csv")
    assert steps.coarse() == []


def test_the_refusal_of_a_file_names_its_rows(tmp_path: Path) -> None:
    path = write_csv(walk(coarse(5, "2024-01-01", "2024-01-05 12:00")), tmp_path / "EURUSD.csv")
    with pytest.raises(DataError, match=r"M5 bars up to 2024-01-05 11:55 \(row 1009\), M1 from .* \(row 1010\) UTC on"):
        read_candles(path, "csv", "EUR_USD")
