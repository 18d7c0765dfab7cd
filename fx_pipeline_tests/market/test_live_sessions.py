"""Sessions as a live trader has them: nothing that comes after a bar decides whether one has begun by then."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fx_pipeline.environment.lockstep import LockstepEnvironment
from fx_pipeline.features.temporal9.closes import features_of_closes
from fx_pipeline.market.arrays import SESSION_BARS, MarketArrays
from fx_pipeline.market.calendar import MINUTE_NS, FxCalendar, open_minutes, week_minutes
from fx_pipeline.market.costs import CostConfig, build_fills
from fx_pipeline.market.hours import instrument_calendar
from fx_pipeline.market.instrument import instrument
from fx_pipeline.market.live_sessions import MAX_GAP_MINUTES, live_starts, session_lengths
from fx_pipeline.sessions.index import valid_starts
from fx_pipeline.sessions.table import thin
from fx_pipeline.validation.baselines import Flat, RandomTrader, Turnover, buy_and_hold, turnover
from fx_pipeline.validation.costs import reprice
from fx_pipeline.validation.parity import replay_at_broker
from fx_pipeline.validation.random_traders import random_moments
from fx_pipeline.validation.rollout import Rollout, rollout

#: Sunday 17:00 New York, in winter.
SUNDAY = int(np.datetime64("2024-02-04T22:00", "ns").astype(np.int64))
FILES = {"EUR_USD": "EUR_USD_M1_2024-01.parquet", "GBP_JPY": "GBP_JPY_M1_2016-04_2016-06.parquet"}
EVERY = Turnover(0.05, 0.1, 0.5)


def market_of(time: np.ndarray, close: np.ndarray, name: str = "GBP_JPY", warm: bool = True) -> MarketArrays:
    features, sigma = np.zeros((len(time), 9), np.float32), np.ones(len(time))
    opened = np.append(close[:1], close[:-1])
    high, low = np.maximum(opened, close), np.minimum(opened, close)
    if not warm:
        features, sigma = features_of_closes(close, time, instrument(name).pip)
    return MarketArrays(
        name, instrument(name).pip, time, opened, high, low, close, opened, opened, close, close, features, sigma, "t"
    )


def walk(time: np.ndarray, seed: int = 0) -> MarketArrays:
    steps = np.random.default_rng(seed).choice([-0.01, 0.01, 0.02, -0.02], len(time))
    return market_of(time, np.round(187.0 + np.cumsum(steps), 3))


@pytest.fixture(params=FILES)
def real(request: pytest.FixtureRequest, shared_data: Path) -> MarketArrays:
    frame = pd.read_parquet(shared_data / FILES[request.param])[:60_000]
    time = pd.DatetimeIndex(frame["time"]).as_unit("ns").asi8.copy()
    o, h, low, c = (frame[name].to_numpy(np.float64) for name in ("open", "high", "low", "close"))
    features, sigma = features_of_closes(c, time, instrument(request.param).pip)
    return MarketArrays(
        request.param, instrument(request.param).pip, time, o, h, low, c, o, o, c, c, features, sigma, "t"
    )


def test_cutting_the_future_off_changes_no_session_that_has_begun(real: MarketArrays) -> None:
    calendar, span = instrument_calendar(real.instrument), (int(real.time[2_000]), int(real.time[-1]) + MINUTE_NS)
    starts = live_starts(real, calendar, *span)
    lengths = session_lengths(real.time, starts)
    ends = starts + lengths - 1
    assert len(starts) > 40 and (starts[1:] > ends[:-1]).all()
    cuts = np.random.default_rng(1).choice(np.arange(2_000, len(real)), 150, replace=False)
    # Beside bars drawn at random, those around which sessions begin and end.
    for cut in sorted({*cuts.tolist(), *(starts + 1).tolist(), *(ends + 1).tolist(), *ends.tolist()}):
        part = real.slice(0, cut)
        known = starts[starts < cut]
        assert live_starts(part, calendar, *span).tolist() == known.tolist()
        over = ends[: len(known)] < cut
        assert (session_lengths(part.time, known)[over] == lengths[: len(known)][over]).all()
    # The filter of training does know the future: some of what it would have begun by then depends on it.
    filtered = thin(valid_starts(real))
    assert any(
        thin(valid_starts(real.slice(0, cut))).tolist() != filtered[filtered < cut].tolist() for cut in cuts.tolist()
    )


def test_a_session_ends_by_the_rule(real: MarketArrays) -> None:
    starts = live_starts(real, instrument_calendar(real.instrument), 0, int(real.time[-1]) + MINUTE_NS)
    for start, length in zip(starts.tolist(), session_lengths(real.time, starts).tolist(), strict=True):
        inside = real.time[start : start + length]
        gaps, week = np.diff(inside) > MAX_GAP_MINUTES * MINUTE_NS, week_minutes(inside)
        # No gap, and no end of a week, lies before the last bar; there is a reason for each end.
        assert not gaps[:-1].any() and (week[:-1] < 7_190).all()
        why = (length == SESSION_BARS, bool(gaps[-1:].any()), bool(week[-1] >= 7_190), start + length == len(real))
        assert any(why)


def test_who_buys_before_gaps_pays_for_them() -> None:
    """Each day has a gap in which the price falls by two hundred pips: sessions chosen afterwards never meet it."""
    minutes = open_minutes(SUNDAY, SUNDAY + 3 * 10_080 * MINUTE_NS)
    of_day = np.arange(len(minutes)) % 1_440
    kept = (of_day < 700) | (of_day >= 715)
    close = 187.0 + 0.001 * np.arange(len(minutes)) - (of_day >= 715) * 2.0 - np.arange(len(minutes)) // 1_440 * 2.0
    close += 0.02 * (np.arange(len(minutes)) % 2)
    market = market_of(minutes[kept], np.round(close[kept], 3))
    fills = build_fills(market, CostConfig(fixed_pips=0.1))
    live = live_starts(market, FxCalendar(), 0, int(market.time[-1]) + MINUTE_NS)
    filtered = thin(valid_starts(market))
    afterwards, known = (rollout(market, fills, starts, buy_and_hold()) for starts in (filtered, live))
    assert afterwards.pnl_pips.sum() > 0 > known.pnl_pips.sum()
    assert (known.pnl_pips < -50).sum() >= 10 and (afterwards.pnl_pips > -50).all()


@pytest.fixture
def broken() -> tuple[MarketArrays, np.ndarray]:
    """A market with gaps of all kinds, and sessions that end at them."""
    minutes = open_minutes(SUNDAY, SUNDAY + 2 * 10_080 * MINUTE_NS)
    rng = np.random.default_rng(3)
    kept = rng.random(len(minutes)) < 0.97
    for begin in rng.choice(len(minutes), 30, replace=False):
        kept[begin : begin + int(rng.integers(5, 60))] = False
    market = walk(minutes[kept])
    starts = live_starts(market, FxCalendar(), 0, int(market.time[-1]) + MINUTE_NS)
    assert len(set(session_lengths(market.time, starts).tolist())) > 5
    return market, starts


def sessions_of(done: Rollout) -> list[list[tuple]]:
    names = [name for name in done.trades.dtype.names if name != "session"]
    return [done.trades[done.trades["session"] == row][names].tolist() for row in range(done.sessions)]


@pytest.mark.parametrize("fill", ["next_open", "close"])
def test_sessions_of_different_lengths_play_as_each_would_alone(
    broken: tuple[MarketArrays, np.ndarray], fill: str
) -> None:
    market, starts = broken
    costs = CostConfig(fixed_pips=0.3, financing_long_pips=0.2, fill=fill)  # type: ignore[arg-type]
    fills, lengths = build_fills(market, costs), session_lengths(market.time, starts)
    together = rollout(market, fills, starts, RandomTrader(EVERY, 1), batch=7)
    alone = [
        rollout(
            market.slice(0, start + length),
            build_fills(market, costs)._replace(
                **{n: getattr(fills, n)[: start + length] for n in fills._fields if n != "at_close"}
            ),
            [start],
            RandomTrader(EVERY, 1),
        )
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
    ]
    assert len(together.trades) > 100
    assert sessions_of(together) == [sessions_of(one)[0] for one in alone]
    assert together.reward_pips == pytest.approx(sum(one.reward_pips for one in alone), abs=1e-9)
    assert together.lengths.tolist() == lengths.tolist() and together.decisions == int(lengths.sum()) == together.bars
    assert together.overlapping_sessions == 0 and int(together.action_counts.sum()) == together.decisions
    assert (together.trades["exit_bar"] <= together.ends[together.trades["session"]]).all()
    # The prices of a second program, and the broker's, are those of the rollout.
    assert np.abs(reprice(together, market, fills) - together.pnl_pips).max() < 1e-9
    parity = replay_at_broker(together, market, costs)
    assert (parity.differing, parity.replayed, parity.left_out) == (0, len(together.trades), 0)


def test_exact_moments_of_random_traders_know_the_lengths(broken: tuple[MarketArrays, np.ndarray]) -> None:
    market, starts = broken
    fills, lengths = build_fills(market, CostConfig(fixed_pips=0.3)), session_lengths(market.time, starts)
    found = random_moments(market, fills, starts, lengths, EVERY)
    for row, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
        one = random_moments(market, fills, np.array([start]), length, EVERY)
        assert np.array_equal(found.pips[row], one.pips[0]) and found.trades[row] == one.trades[0]
    measured = turnover(rollout(market, fills, starts, RandomTrader(EVERY, 1)))
    assert measured.entry_probability == pytest.approx(EVERY.entry_probability, rel=0.15)
    assert measured.exit_probability == pytest.approx(EVERY.exit_probability, rel=0.15)
    assert rollout(market, fills, starts, Flat()).exposure == 0.0


def test_no_session_begins_that_a_scheduled_pause_would_cut() -> None:
    """Gold pauses for an hour a day, currencies at the end of the week; a holiday is known as well."""
    week = open_minutes(SUNDAY, SUNDAY + 10_080 * MINUTE_NS)
    end = int(week[-1]) + MINUTE_NS
    gold = instrument_calendar("XAU_USD")
    traded = walk(week[gold.is_expected(week)])
    starts = live_starts(traded, gold, 0, end)
    lengths = session_lengths(traded.time, starts)
    assert len(starts) >= 15 and (lengths == SESSION_BARS).all()
    assert (
        np.diff(traded.time)[np.concatenate([np.arange(s, s + n - 1) for s, n in zip(starts, lengths, strict=True)])]
        <= MAX_GAP_MINUTES * MINUTE_NS
    ).all()
    plain = walk(week)
    all_days = live_starts(plain, FxCalendar(), 0, end)
    assert week_minutes(plain.time[all_days]).max() <= 7_198 - SESSION_BARS - MAX_GAP_MINUTES
    closed = FxCalendar(holidays=frozenset({int((SUNDAY + 86_400 * 10**9) // (86_400 * 10**9)) + 1}))
    fewer = live_starts(plain, closed, 0, end)
    assert 0 < len(fewer) < len(all_days)


def test_only_warm_moving_markets_inside_the_span_begin_sessions() -> None:
    week = open_minutes(SUNDAY, SUNDAY + 10_080 * MINUTE_NS)
    market = walk(week)
    first, end = int(week[3_000]), int(week[5_000])
    starts = live_starts(market, FxCalendar(), first, end)
    assert starts.tolist() == [3_000, 3_360, 3_720, 4_080, 4_440]
    cold = walk(week)
    cold.features[3_500] = np.nan
    assert live_starts(cold, FxCalendar(), first, end).tolist() == [3_000, 3_360, 3_720, 4_080, 4_440]
    cold.features[3_360] = np.nan
    assert live_starts(cold, FxCalendar(), first, end).tolist()[:3] == [3_000, 3_360 + 32, 3_752]
    still = market_of(week, np.full(len(week), 187.0))
    assert live_starts(still, FxCalendar(), first, end).tolist() == []
    assert live_starts(market.slice(0, 0), FxCalendar(), first, end).tolist() == []


def test_lengths_that_cannot_be_are_refused() -> None:
    market = walk(open_minutes(SUNDAY, SUNDAY + 2_000 * MINUTE_NS))
    environment = LockstepEnvironment(market, build_fills(market, CostConfig()))
    for lengths in ([0], [361], [1, 2]):
        with pytest.raises(ValueError, match="lengths must be"):
            environment.reset(np.array([100]), np.array(lengths))
