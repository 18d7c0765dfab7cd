"""A day of candles is recognised under another name, and not taken for another day."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from fx_pipeline.market.prints import LEAST_KNOWN, MOST_DIFFERENT, day_prints, full, no_days, overlap, same_candles

MINUTE_NS = 60_000_000_000
DAY_NS = 1_440 * MINUTE_NS


def walk(days: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    steps = np.random.default_rng(seed).normal(0.0, 1e-4, days * 1_440)
    return np.arange(days * 1_440) * MINUTE_NS, 1.2 + np.cumsum(steps)


CHANGES = {
    "another scale": lambda time, price: (time, 137.0 * price),
    "shifted by a pip": lambda time, price: (time, price + 1e-4),
    "upside down": lambda time, price: (time, 3.0 - price),
    "the other currency first": lambda time, price: (time, 1.0 / price),
    "rounded to pips": lambda time, price: (time, np.round(price, 4)),
    "noise of a third of a pip": lambda time, price: (
        time,
        price + np.random.default_rng(9).normal(0.0, 3e-5, len(price)),
    ),
    "100 days earlier": lambda time, price: (time - 100 * DAY_NS, price),
    "its days in another order": lambda time, price: (time, price.reshape(-1, 1_440)[::-1].ravel()),
    "every second minute": lambda time, price: (time[::2], price[::2]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_same_candles_are_recognised(change) -> None:
    time, price = walk(8, 1)
    ours, theirs = full(day_prints(time, price)), full(day_prints(*change(time, price)))
    assert len(ours) == len(theirs) == 8
    assert same_candles(ours, theirs).any(axis=1).all() and overlap(ours, theirs)


def test_a_span_that_shares_its_last_days_overlaps_whatever_their_dates() -> None:
    (time, price), (_, strange) = walk(12, 1), walk(9, 2)
    ours = full(day_prints(time, price))
    moved = time + 500 * DAY_NS
    assert overlap(ours, full(day_prints(moved, np.concatenate([price[-3 * 1_440 :], strange]))))
    # Two days are too few to tell, and so are three that are alike only now and then.
    assert not overlap(ours, full(day_prints(moved, np.concatenate([price[-2 * 1_440 :], strange, strange[:1_440]]))))
    assert not overlap(ours, full(day_prints(moved, np.concatenate([strange, price[-3 * 1_440 :]]))))


def test_other_candles_are_not_recognised() -> None:
    days = [full(day_prints(*walk(60, seed))) for seed in range(10)]
    # 45 pairs of spans, 162,000 pairs of days: not one is expected.
    assert not any(same_candles(a, b).any() for a, b in combinations(days, 2))


def test_the_chance_of_taking_strange_days_for_the_same_is_what_is_said() -> None:
    worst = max(2 * binom.cdf(np.floor(n * MOST_DIFFERENT), n, 0.5) for n in range(LEAST_KNOWN, 97))
    assert worst < 4e-8 and 2 * binom.cdf(16, 96, 0.5) < 3e-11


def test_nothing_is_known_of_a_quarter_hour_without_a_bar_or_a_change() -> None:
    time, price = walk(2, 1)
    price[600:660] = price[600]
    (first, second) = day_prints(np.delete(time, slice(300, 315)), np.delete(price, slice(300, 315)))
    # The first of all has none before it; one is missing, and the next has none before it; three stand still.
    assert np.bitwise_count(first["known"]).sum() == 96 - 1 - 2 - 3
    assert np.bitwise_count(second["known"]).sum() == 96
    assert len(day_prints(time[:1], price[:1])) == 0 and len(day_prints(time, np.full(len(time), np.nan))) == 0


def test_stubs_of_days_are_compared_with_nothing() -> None:
    time, price = walk(3, 1)
    stub = day_prints(time[: 12 * 60], price[: 12 * 60])
    assert len(stub) == 1 and len(full(stub)) == 0
    assert not same_candles(stub, stub).any() and not overlap(no_days(), full(day_prints(time, price)))


def test_real_instruments_are_not_taken_for_one_another_and_their_copies_are(shared_data: Path) -> None:
    known = {}
    for path in sorted(shared_data.glob("*_M1_*.parquet")):
        frame = pd.read_parquet(path, columns=["time", "close"]).sort_values("time")
        time = pd.DatetimeIndex(frame["time"]).as_unit("ns").asi8
        known[path.name] = (time, frame["close"].to_numpy(float))
    days = {name: full(day_prints(*bars)) for name, bars in known.items()}
    assert len(days) >= 8 and all(len(found) >= 19 for found in days.values())
    for one, other in combinations(days, 2):
        assert not overlap(days[one], days[other]), (one, other)
    for name, (time, price) in known.items():
        assert overlap(days[name], full(day_prints(time + 37 * DAY_NS, 150.0 / price))), name
    # Pairs of one currency are near: EUR_USD and GBP_USD move alike on single days.
    same = same_candles(days["EUR_USD_M1_2024-01.parquet"], days["GBP_USD_M1_2024-01.parquet"])
    assert 0 < same.any(axis=1).sum() < len(same) / 2
