"""Prices beside one another: bad bars, another instrument's part, blocks that come twice; real turmoil stays."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fx_pipeline.ingest.importers import read_candles
from fx_pipeline.ingest.neighbours import FAR, WILD
from fx_pipeline.market.errors import DataError
from fx_pipeline_tests.ingest.made import FIELDS, fx_minutes, ns, walk, write_csv

MINUTES = fx_minutes("2024-01-30 00:00", "2024-02-06 12:00")
SUNDAY = int(np.searchsorted(MINUTES, ns("2024-02-04 22:00")))


def scaled(factor: float, start: int, end: int) -> pd.DataFrame:
    frame = walk(MINUTES)
    frame.loc[start : end - 1, FIELDS] = (frame.loc[start : end - 1, FIELDS] * factor).round(5)
    return frame


def read(frame: pd.DataFrame, folder: Path, instrument: str = "EUR_USD"):
    return read_candles(write_csv(frame, folder / f"{instrument}.csv"), "csv", instrument)


@pytest.mark.parametrize(
    ("factor", "start", "end"),
    [
        (1.03, 4000, 4001),
        (0.01, 4000, 4005),
        (1.1, 0, 2),
        (1.1, len(MINUTES) - 1, len(MINUTES)),
        (0.97, SUNDAY, SUNDAY + 3),
    ],
)
def test_a_few_bad_bars_go_to_the_quarantine(tmp_path: Path, factor: float, start: int, end: int) -> None:
    found = read(scaled(factor, start, end), tmp_path)
    assert found.quarantine["reason"].to_pylist() == [FAR] * (end - start)
    assert found.quarantine["row"].to_pylist() == list(range(start + 2, end + 2))
    assert len(found.candles) == len(MINUTES) - (end - start)


def test_a_high_or_low_that_cannot_be_goes_to_the_quarantine(tmp_path: Path) -> None:
    frame = walk(MINUTES)
    frame.loc[3000, "low"], frame.loc[5000, "high"] = 0.11, 11.0
    assert read(frame, tmp_path).quarantine["reason"].to_pylist() == [WILD, WILD]


@pytest.mark.parametrize(
    ("factor", "start"),
    # Markets do move by two percent over a weekend, and not within a session.
    [(1.02, 2880), *((factor, start) for factor in (1.16, 0.85, 0.01, 100.0) for start in (3000, SUNDAY))],
)
def test_another_instruments_part_is_refused(tmp_path: Path, factor: float, start: int) -> None:
    with pytest.raises(DataError, match=rf"prices (jump from|about).*(row {start + 2}\)|another instrument)"):
        read(scaled(factor, start, len(MINUTES)), tmp_path)


def test_two_instruments_by_turns_are_refused(tmp_path: Path) -> None:
    frame = walk(MINUTES)
    frame.loc[::2, FIELDS] = (frame.loc[::2, FIELDS] * 1.16).round(5)
    with pytest.raises(DataError, match=r"jump to and fro [\d,]+ times, first from .* it holds several instruments"):
        read(frame, tmp_path)


def test_turmoil_is_no_jump_of_the_file(tmp_path: Path) -> None:
    # The franc in January 2015: twenty percent in minutes, each of them wide.
    frame = walk(MINUTES, price=1.2)
    for k in range(60):
        place = 4000 + k
        last = frame.loc[place - 1, "close"]
        close = last * (0.985 if k < 15 else 1.001)
        low = min(last * 0.985, close) - 0.02 * (k < 30)
        frame.loc[place, FIELDS] = [last * 0.985, last * 1.004, low, close]
    frame.loc[4060:, FIELDS] += frame.loc[4059, "close"] - frame.loc[4060, "open"]
    found = read(frame.round(dict.fromkeys(FIELDS, 5)), tmp_path, "EUR_CHF")
    assert len(found.quarantine) == 0


@pytest.mark.parametrize(("first", "again", "bars"), [(0, 1440, 240), (0, 4320, 1440), (2000, 6500, 400)])
def test_bars_that_stand_in_the_file_twice_are_refused(tmp_path: Path, first: int, again: int, bars: int) -> None:
    frame = walk(MINUTES)
    names = [*FIELDS, "volume"]
    copied = frame.loc[first : first + bars - 1, names].to_numpy()
    # What is copied follows on, as it does where a level is met again.
    frame.loc[again : again + bars - 1, names] = copied
    with pytest.raises(DataError, match="the same bars stand in it twice"):
        read(frame, tmp_path)


def test_a_made_up_wave_is_no_copy_of_itself(tmp_path: Path) -> None:
    frame = walk(MINUTES)
    wave = 1.1 + 0.01 * np.sin(np.arange(len(frame)) * 2 * np.pi / 120)
    frame["open"] = frame["close"] = wave.round(5)
    frame["high"], frame["low"] = (wave + 0.0001).round(5), (wave - 0.0001).round(5)
    assert len(read(frame, tmp_path).candles) == len(frame)
