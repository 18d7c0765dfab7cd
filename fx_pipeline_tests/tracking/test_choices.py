"""How many things were chosen among on the days of a record."""

from dataclasses import replace

import numpy as np
import pytest

from fx_pipeline.market.prints import Days, day_prints, no_days
from fx_pipeline.tracking.choices import Choices, Look, count_choices

DAY_NS = 86_400 * 1_000_000_000
MINUTES = 1_440


def bars(first_day: int, days: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bars of a market that is the same wherever one begins to look at it."""
    steps = np.random.default_rng(seed).normal(size=1_200 * MINUTES)
    price = np.cumsum(steps)[first_day * MINUTES : (first_day + days) * MINUTES]
    return (first_day * MINUTES + np.arange(days * MINUTES)) * (DAY_NS // MINUTES), price


def look(number: int, first_day: int = 400, length: int = 10, **changes: object) -> Look:
    span = {"start_ns": first_day * DAY_NS, "end_ns": (first_day + length) * DAY_NS}
    known = {"instrument": "EUR_USD", "window": f"w{first_day}", "config_hash": "c", "days": ""}
    rest = {"data_fingerprint": f"d{first_day}", "reported": False, "choice": True}
    return Look(**{"key": str(number), "checkpoint_hash": f"weights {number}", **span, **known, **rest, **changes})


OWN = look(0, reported=True)


def count(*looks: Look, days: dict[str, Days] | None = None, own: Look = OWN, lost: int = 0) -> Choices:
    return count_choices(own, looks, {"": no_days(), **(days or {})}, lost)


def test_a_trial_alone_was_chosen_among_one() -> None:
    assert count() == count(OWN) == Choices(1, 0, 0, 0, 1) and count().total == 1


def test_seeds_choose_nothing_and_configurations_do() -> None:
    seeds = [look(number) for number in range(1, 5)]
    assert count(*seeds).total == 1
    others = [look(10 + number, config_hash=f"other {number % 3}") for number in range(9)]
    assert count(*seeds, *others).configurations == 4


@pytest.mark.parametrize(
    ("first_day", "counted"), [(380, False), (390, False), (391, True), (409, True), (410, False), (800, False)]
)
def test_what_was_judged_on_other_days_of_the_instrument_is_no_choice(first_day: int, counted: bool) -> None:
    assert count(look(1, first_day, config_hash="b")).total == 1 + counted


def test_the_days_are_those_of_the_whole_record_and_of_no_more_than_a_year() -> None:
    windows = [look(1, 300), look(2, 30)]
    on_record, before = look(3, 300, config_hash="b"), look(4, 30, config_hash="d")
    assert count(on_record, before).total == 1
    assert count(on_record, before, *windows).configurations == 2


def test_the_same_candles_count_under_any_name_and_date() -> None:
    here, there = day_prints(*bars(400, 10)), day_prints(*bars(405, 5))
    _, price = bars(400, 10)
    moved = day_prints(bars(900, 10)[0], 120.0 / (50_000.0 + price))
    strange = day_prints(*bars(400, 10, seed=1))
    days = {"own": here, "part": there, "moved": moved, "strange": strange}
    own = replace(OWN, days="own")
    copies = [
        look(1, 405, 5, instrument="XAU_USD", config_hash="part", days="part"),
        look(2, 900, instrument="BTC_USD", config_hash="moved", days="moved"),
        look(3, 900, config_hash="moved in the same name", days="moved"),
    ]
    assert count(*copies, own=own, days=days) == Choices(4, 0, 0, 0, 3)
    stranger = look(4, instrument="GBP_USD", config_hash="other", days="strange", data_fingerprint="x")
    assert count(stranger, own=own, days=days).total == 1
    # Of a file that kept no days, the same data is known by its fingerprint.
    assert count(look(5, instrument="GBP_USD", config_hash="b", data_fingerprint="d400")).total == 2


def test_the_same_candles_by_another_clock_count_where_the_bars_are_there_to_search() -> None:
    time, price = bars(400, 10)
    copy = day_prints(time + 437 * (DAY_NS // MINUTES), -price)
    own, days = replace(OWN, days="own"), {"": no_days(), "own": day_prints(time, price), "late": copy}
    late = look(1, 900, instrument="BTC_USD", config_hash="b", days="late")
    assert count(late, own=own, days=days).total == 1
    assert count_choices(own, [late], days, 0, (time, price)).total == 2


def test_where_the_bars_are_not_known_they_are_taken_for_the_same() -> None:
    unknown = look(1, config_hash="b", start_ns=0, end_ns=0)
    assert count(unknown).total == 2
    assert count(replace(unknown, instrument="GBP_USD", data_fingerprint="x")).total == 1


def test_a_training_again_on_the_same_days_counts_when_a_report_was_made_of_it() -> None:
    again = [look(number, reported=True) for number in (1, 2)]
    assert count(*again).candidates == 2
    assert count(*(replace(found, reported=False) for found in again)).candidates == 0
    # The same weights again, at other costs or by other code, are no other candidate.
    assert count(replace(OWN, key="1")).candidates == 0
    # The candidate of another window is none, however many windows there are; one more in any of them is.
    windows = [look(number, 300 + 10 * number, reported=True) for number in range(1, 10)]
    assert count(*windows).candidates == 0
    assert count(*windows, look(20, 330, reported=True)).candidates == 1
    # Spans that overlap are one choice after the other on the same days.
    assert count(look(1, 395, reported=True), look(2, 390, reported=True)).candidates == 1


def test_a_training_again_under_another_name_of_the_candles_counts_too() -> None:
    own = replace(OWN, days="own")
    copy = look(1, 900, instrument="BTC_USD", days="own", reported=True)
    assert count(copy, own=own, days={"own": day_prints(*bars(400, 10))}) == Choices(1, 1, 0, 0, 2)


def test_what_a_training_chose_by_counts_where_it_lies_in_the_record() -> None:
    chosen_by = look(1, 400, config_hash="b", choice=False, reported=False)
    assert count(chosen_by).configurations == 2 and count(replace(chosen_by, config_hash="c")).total == 1


def test_each_further_year_of_days_is_another_look() -> None:
    first = {str(day): day_prints(*bars(day, 10)) for day in range(0, 600, 10)}
    rows = [look(day, day, days=str(day), reported=True) for day in range(0, 600, 10)]

    def years(windows: int) -> int:
        *before, own = rows[:windows]
        return count(*before, own=own, days=first).years

    # Ten days a window; of the first of all, the first quarter hour is not known, and the day is.
    assert [years(windows) for windows in (1, 25, 26, 50, 51)] == [0, 0, 1, 1, 2]


def test_a_year_is_another_look_whatever_was_tried_in_it_and_in_whatever_order() -> None:
    days = {str(day): day_prints(*bars(day, 252)) for day in (0, 252, 504)}
    rows = [look(day, day, 252, days=str(day), config_hash=f"of {day}", reported=True) for day in (0, 252, 504)]
    newest, middle, oldest = rows[2], rows[1], rows[0]
    assert count(oldest, middle, own=newest, days=days).years == 2
    # From the newest year to the oldest, and with one and the same configuration.
    assert count(newest, middle, own=oldest, days=days).years == 2
    same = [replace(found, config_hash="c") for found in rows]
    assert count(*same[1:], own=same[0], days=days).years == 2
    elsewhere = replace(middle, instrument="GBP_USD")
    assert count(elsewhere, own=newest, days=days).years == 0


def test_the_same_weights_on_days_that_end_elsewhere_are_another_candidate() -> None:
    longer = replace(OWN, key="1", end_ns=OWN.end_ns + 5 * DAY_NS)
    assert count(longer).candidates == 1
    assert count(longer, replace(OWN, key="2", end_ns=OWN.end_ns - 5 * DAY_NS)).candidates == 2
    # A bar that came or went is no choice, nor is a row of which the days are not known.
    assert count(replace(OWN, key="1", end_ns=OWN.end_ns + DAY_NS // 8)).candidates == 0
    windows = [look(number, 300 + 10 * number, reported=True) for number in range(1, 10)]
    assert count(*windows, replace(OWN, key="20", end_ns=OWN.end_ns + 5 * DAY_NS)).candidates == 1


def test_the_same_weights_on_candles_that_were_changed_are_another_candidate() -> None:
    again = [replace(OWN, key=str(number), data_fingerprint=f"noise {number}") for number in (1, 2, 3)]
    assert count(*again).candidates == 3


def test_lost_trials_count_one_each() -> None:
    assert count(lost=404).total == 405
