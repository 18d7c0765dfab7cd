"""Clocks against the FX week: changes in the middle of a file, wrong daylight saving, stray ticks."""

import numpy as np
import pandas as pd
import pytest

from fx_pipeline.ingest.clock import Clock, parse_clock
from fx_pipeline.ingest.plausible import check_clock, check_spread, clock_evidence
from fx_pipeline.ingest.timeframe import Steps
from fx_pipeline.market.calendar import MINUTE_NS, open_minutes
from fx_pipeline.market.errors import DataError

YEAR = ("2023-01-01", "2024-01-01")


def week_bars(start: str, end: str) -> np.ndarray:
    """Every fifth minute of the trading week, UTC nanoseconds."""
    first, last = (pd.Timestamp(day, tz="UTC").as_unit("ns").value for day in (start, end))
    return open_minutes(first, last)[::5]


def on_clock(utc_ns: np.ndarray, clock: str) -> np.ndarray:
    """Wall-clock nanoseconds, as a file on that clock has them."""
    read = parse_clock(clock)
    wall = pd.DatetimeIndex(utc_ns.astype("datetime64[ns]"), tz="UTC").tz_convert(read.zone).tz_localize(None)
    return np.asarray(wall.as_unit("ns").asi8) + round(read.hours * 60) * MINUTE_NS


def check(local_ns: np.ndarray, said: str) -> int:
    return check_clock("a.csv", 0, clock_evidence(local_ns), parse_clock(said))


@pytest.mark.parametrize(
    ("written", "said", "fits"),
    [
        ("-5", "America/New_York", "-5"),
        ("America/New_York", "-5", "America/New_York"),
        ("+2", "Europe/Athens", r"\+2"),
        # They differ for four weekends of the year.
        ("Europe/Athens", "America/New_York+7", "Europe/Athens"),
        ("America/New_York+7", "Europe/Athens", r"America/New_York\+7"),
    ],
)
def test_daylight_saving_that_is_wrong_for_a_part_of_the_year(written: str, said: str, fits: str) -> None:
    local = on_clock(week_bars(*YEAR), written)
    with pytest.raises(DataError, match=rf"a\.csv cannot be on the clock .* would fit --utc-offset {fits}\."):
        check(local, said)
    assert check(local, written)


@pytest.mark.parametrize("written", ["0", "+1", "-5", "America/New_York", "+5:30"])
@pytest.mark.parametrize("span", [("2023-07-03", "2023-07-12"), ("2023-01-09", "2023-01-28")])
def test_a_file_of_few_weeks_on_the_wrong_clock(written: str, span: tuple[str, str]) -> None:
    local = on_clock(week_bars(*span), written)
    with pytest.raises(DataError, match=r"cannot be on the clock \+3: \d of its \d FX weekends"):
        check(local, "+3")
    assert check(local, written)


@pytest.mark.parametrize("at", ["2023-05-15", "2023-12-11"])
def test_a_clock_that_changes_within_the_file(at: str) -> None:
    bars = week_bars(*YEAR)
    change = pd.Timestamp(at, tz="UTC").as_unit("ns").value
    clocks = ("America/New_York", "America/New_York+7")
    local = np.concatenate([on_clock(bars[bars < change], clocks[0]), on_clock(bars[bars >= change], clocks[1])])
    with pytest.raises(DataError, match=rf"would fit --utc-offset {clocks[0]} before {at[:7]}.* split the file there"):
        check(local, clocks[0])


def test_stray_ticks_in_a_few_weekends_are_let_pass() -> None:
    stray = np.concatenate([
        np.arange(start, start + 60 * MINUTE_NS, 5 * MINUTE_NS)
        for day in ("2023-02-11", "2023-06-17", "2023-12-30")
        for start in [pd.Timestamp(day, tz="UTC").as_unit("ns").value]
    ])  # fmt: skip
    local = on_clock(np.sort(np.concatenate([week_bars(*YEAR), stray])), "America/New_York")
    assert check(local, "America/New_York")


def test_bitcoin_and_single_weeks_have_no_weekend_to_tell_by() -> None:
    local = on_clock(week_bars("2023-01-09", "2023-01-12"), "0")
    assert not check(local, "0")
    assert not check_clock("a.csv", None, clock_evidence(np.arange(0, 10**16, 300 * 10**9)), Clock())


def test_steps_are_counted_over_stretches() -> None:
    steps = Steps()
    for first in (0, 10**15):
        steps.add(first + np.array([0, 1, 2, 3, 4, 9, 14, 19]) * MINUTE_NS)
    steps.check("a.csv")
    steps.add(2 * 10**15 + np.arange(12) * 5 * MINUTE_NS)
    with pytest.raises(DataError, match=r"a\.csv holds M5 bars \(most are 300 seconds apart\)"):
        steps.check("a.csv")


@pytest.mark.parametrize(
    ("instrument", "level", "spreads", "says"),
    [
        ("GBP_USD", 1.57, [(0.0, 0.0), (0.0, 0.0)], "the asks equal the bids in every row"),
        ("GBP_USD", 1.57, [(0.1, 0.1)], "10 percent of the price apart, and GBP_USD is quoted about 0.01"),
        ("EUR_USD", 1.1, [(0.0091, 0.01)], "0.91 percent"),
        ("XAU_USD", 2050.0, [(0.02, 0.02)], "2 percent"),
    ],
)
def test_bids_and_asks_that_are_no_quotes_are_refused(instrument: str, level: float, spreads, says: str) -> None:
    with pytest.raises(DataError, match=says):
        check_spread("a.csv", instrument, level, spreads)


@pytest.mark.parametrize(
    ("instrument", "level", "spreads"),
    # No quotes; an account that pays a commission; a night; a lira in turmoil; gold of 2006.
    [
        ("EUR_USD", 1.1, []),
        ("EUR_USD", 1.1, [(0.0, 2e-5)]),
        ("EUR_USD", 1.1, [(4e-4, 0.02)]),
        ("USD_TRY", 13.0, [(0.02, 0.1)]),
        ("XAU_USD", 550.0, [(0.0045, 0.02)]),
    ],
)
def test_quotes_that_can_be(instrument: str, level: float, spreads) -> None:
    check_spread("a.csv", instrument, level, spreads)
