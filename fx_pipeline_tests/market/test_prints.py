"""A day of candles is recognised under another name, and not taken for another day."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from fx_pipeline.market.prints import (
    CHANCE,
    LEAST_KNOWN,
    MOST_DIFFERENT,
    _most_apart,
    day_prints,
    delayed,
    full,
    no_days,
    overlap,
    same_but_for_the_clock,
    same_candles,
)

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
    "noise of a pip": lambda time, price: (time, price + np.random.default_rng(9).normal(0.0, 1e-4, len(price))),
    "a forged price in each quarter hour": lambda time, price: (
        time,
        price + np.where(time // MINUTE_NS % 15 == 14, np.random.default_rng(9).normal(0.0, 1e-3, len(price)), 0.0),
    ),
    "two minutes later": lambda time, price: (time + 2 * MINUTE_NS, price),
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
    most = _most_apart()
    assert most[:LEAST_KNOWN].max() == -1 and most[LEAST_KNOWN] == 0 and most[96] == 16
    allowed = np.array([2 * binom.cdf(most[n], n, 0.5) for n in range(LEAST_KNOWN, 97)])
    assert allowed.max() <= CHANCE and 2 * binom.cdf(16, 96, 0.5) < 3e-11
    # No more could be allowed, where it is not a sixth.
    more = [(n, 2 * binom.cdf(most[n] + 1, n, 0.5)) for n in range(1, 97) if most[n] < np.floor(n * MOST_DIFFERENT)]
    assert more and all(chance > CHANCE for _, chance in more)


def test_days_cut_short_are_recognised_and_hours_are_not_compared() -> None:
    time, price = walk(10, 1)
    half = (time % DAY_NS) // MINUTE_NS < 13 * 60
    ours, theirs = full(day_prints(time, price)), full(day_prints(time[half], price[half]))
    assert overlap(ours, theirs) and not overlap(full(day_prints(*walk(10, 2))), theirs)
    hours = (time % DAY_NS) // MINUTE_NS < 6 * 60
    assert len(day_prints(time[hours], price[hours])) == 10 and not len(full(day_prints(time[hours], price[hours])))


@pytest.mark.parametrize("minutes", [7, 12, 60, 433, 1_433])
def test_candles_whose_clock_was_put_forward_are_found(minutes: int) -> None:
    time, price = walk(8, 1)
    copy = full(day_prints(time + minutes * MINUTE_NS, 3.0 - price))
    strangers = [full(day_prints(*walk(8, seed))) for seed in range(2, 8)]
    theirs = np.concatenate([*strangers[:3], copy, *strangers[3:]])
    owner = np.repeat(np.arange(7), [*(len(found) for found in strangers[:3]), len(copy), *([8] * 3)])
    assert same_but_for_the_clock(*delayed(time, price), theirs, owner) == {3}


def test_nothing_is_known_of_a_quarter_hour_without_a_bar_or_a_change() -> None:
    time, price = walk(2, 1)
    price[600:660] = price[600]
    (first, second) = day_prints(np.delete(time, slice(300, 315)), np.delete(price, slice(300, 315)))
    # The first of all has none before it; one is missing, and the next has none before it; of four that stand still,
    # three do so beside the one before.
    assert np.bitwise_count(first["known"]).sum() == 96 - 1 - 2 - 3
    assert np.bitwise_count(second["known"]).sum() == 96
    assert len(day_prints(time[:1], price[:1])) == 0 and len(day_prints(time, np.full(len(time), np.nan))) == 0


def test_stubs_of_days_are_compared_with_nothing() -> None:
    time, price = walk(3, 1)
    stub = day_prints(time[: 6 * 60], price[: 6 * 60])
    assert len(stub) == 1 and len(full(stub)) == 0
    assert not same_candles(stub, stub).any() and not overlap(no_days(), full(day_prints(time, price)))


@pytest.mark.parametrize(("minutes", "days"), [(5, 8), (15, 8), (60, 12), (240, 48), (1_440, 250)])
def test_candles_of_every_timeframe_are_recognised_and_strange_ones_are_not(minutes: int, days: int) -> None:
    def bars(seed: int) -> tuple[np.ndarray, np.ndarray]:
        time, price = walk(days, seed)
        weekday = (time // DAY_NS + 3) % 7 < 5
        return time[weekday][::minutes], price[weekday][minutes - 1 :: minutes]

    (time, price), others = bars(1), [full(day_prints(*bars(seed))) for seed in range(2, 6)]
    ours = full(day_prints(time, price))
    assert len(ours) >= 5 and not np.isin((ours["day"] + 3) % 7, (5, 6)).any()
    for changed in ((time, 137.0 * price), (time, 3.0 - price), (time + 490 * DAY_NS, price)):
        assert overlap(ours, full(day_prints(*changed)))
    assert not any(overlap(ours, other) for other in others)
    if minutes < 1_440:
        copy = full(day_prints(time + 8 * 60 * MINUTE_NS, price))
        owner = np.repeat(np.arange(5), [*(len(other) for other in others), len(copy)])
        assert same_but_for_the_clock(*delayed(time, price), np.concatenate([*others, copy]), owner) == {4}


def test_minutes_that_were_thinned_out_to_hours_are_days_all_the_same() -> None:
    time, price = walk(20, 1)
    # Whatever timeframe they are said to be of.
    assert len(full(day_prints(time[::60], price[::60]))) >= 18


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
