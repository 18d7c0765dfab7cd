"""Clocks of the market: none of them ever goes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fx_pipeline.broker.paper.clock import MAXIMUM_SPEED, ReplayClock, SteppedClock, WallClock, market_clock
from fx_pipeline.market.errors import ConfigurationError

START_NS = 1_704_700_800_000_000_000


class Machine:
    """A monotonic clock that is told how much time passes."""

    def __init__(self) -> None:
        self.time_ns = 5

    def __call__(self) -> int:
        return self.time_ns


def test_a_replay_runs_at_its_speed() -> None:
    machine = Machine()
    clock = ReplayClock(START_NS, 60.0, machine)
    machine.time_ns += 1_000_000_000
    assert clock.now_ns() == START_NS + 60_000_000_000


@given(st.lists(st.integers(0, 10**15), max_size=30), st.floats(1e-3, MAXIMUM_SPEED))
def test_a_replay_never_goes_back_and_stays_a_time_of_64_bits(passes: list[int], speed: float) -> None:
    machine = Machine()
    clock = ReplayClock(START_NS, speed, machine)
    latest = clock.now_ns()
    for passed in passes:
        machine.time_ns += passed
        now = clock.now_ns()
        assert latest <= now < 2**63 - 10 * 365 * 86_400 * 10**9
        latest = now


def test_a_stepped_clock_moves_only_when_told_and_only_forward() -> None:
    clock = SteppedClock(START_NS)
    clock.move_to(START_NS + 10)
    clock.move_to(START_NS + 20)
    assert clock.now_ns() == START_NS + 20
    with pytest.raises(ConfigurationError, match="cannot go back"):
        clock.move_to(START_NS + 19)
    assert clock.now_ns() == START_NS + 20


def test_the_wall_clock_stands_still_when_the_machines_is_set_back() -> None:
    readings = iter([100, 50, 60, 120])
    clock = WallClock(lambda: next(readings))
    assert [clock.now_ns() for _ in range(4)] == [100, 100, 100, 120]


def test_speed_0_is_a_stepped_clock_and_a_negative_one_is_refused() -> None:
    assert isinstance(market_clock(START_NS, 0), SteppedClock)
    assert isinstance(market_clock(START_NS, 0.5), ReplayClock)
    for speed in (-1.0, float("inf"), float("nan"), 1.1 * MAXIMUM_SPEED):
        with pytest.raises(ConfigurationError, match="positive number"):
            market_clock(START_NS, speed)
