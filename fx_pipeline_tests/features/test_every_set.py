"""Proofs that run on every registered feature set and each of its timeframes, without being told of a new one."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from fx_pipeline.features.compute import IncrementalFeatures, causal_mismatches, compute_features
from fx_pipeline.features.feature_set import PRICES, Bars, FeatureSet, Float32
from fx_pipeline.features.registry import FEATURE_SETS, feature_set
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.timeframe import Timeframe, timeframe
from fx_pipeline_tests.features.markets import made_up_bars, upside_down

SETS = [
    pytest.param(feature_set(name), timeframe(bars), id=f"{name}-{bars}")
    for name in FEATURE_SETS
    for bars in feature_set(name).timeframes
]
every_set = pytest.mark.parametrize(("features", "bars_of"), SETS)
#: Bars after the warm-up.
MORE = 240


@cache
def market(name: str, bars_of: Timeframe) -> tuple[Bars, Float32]:
    """Bars and their features; (T), (T, F)."""
    features = feature_set(name)
    bars = made_up_bars(bars_of, features.warmup_bars(bars_of) + MORE)
    return bars, compute_features(features, bars)


def cut(bars: Bars, first: int, last: int) -> Bars:
    return replace(bars, time=bars.time[first:last], **{name: getattr(bars, name)[first:last] for name in PRICES})


def spoilt(bars: Bars, place: slice | int, value: float, names: tuple[str, ...] = PRICES) -> Bars:
    columns = {name: getattr(bars, name).copy() for name in names}
    for column in columns.values():
        column[place] = value
    return replace(bars, **columns)


@every_set
def test_only_the_warm_up_is_cold(features: FeatureSet, bars_of: Timeframe) -> None:
    bars, rows = market(features.name, bars_of)
    warm_up = features.warmup_bars(bars_of)
    assert rows.shape == (len(bars), len(features)) and rows.dtype == np.float32
    assert np.isnan(rows[: warm_up - 1]).all() and np.isfinite(rows[warm_up - 1 :]).all()


@every_set
def test_nothing_after_a_bar_is_read(features: FeatureSet, bars_of: Timeframe) -> None:
    """With the future replaced by NaN every row up to a bar is the same, to the bit."""
    bars, rows = market(features.name, bars_of)
    warm_up = features.warmup_bars(bars_of)
    for bar in (warm_up - 1, warm_up, warm_up + 17, warm_up + MORE - 2):
        unknown = compute_features(features, spoilt(bars, slice(bar + 1, None), np.nan))
        assert unknown[: bar + 1].tobytes() == rows[: bar + 1].tobytes(), f"cut after bar {bar}"
        # Nor does it take another road for bars that are there and are others.
        others = compute_features(features, spoilt(bars, slice(bar + 1, None), 250.0))
        assert others[: bar + 1].tobytes() == rows[: bar + 1].tobytes(), f"other bars after {bar}"


@every_set
def test_a_row_is_that_of_the_bars_of_its_warm_up(features: FeatureSet, bars_of: Timeframe) -> None:
    bars, rows = market(features.name, bars_of)
    warm_up = features.warmup_bars(bars_of)
    for bar in (warm_up - 1, warm_up, warm_up + 30, warm_up + 103, warm_up + MORE - 1):
        alone = compute_features(features, cut(bars, bar + 1 - warm_up, bar + 1))
        assert alone[-1].tobytes() == rows[bar].tobytes(), f"bar {bar}"
        # One bar fewer is too few.
        assert np.isnan(compute_features(features, cut(bars, bar + 2 - warm_up, bar + 1))).all()


@every_set
def test_a_stream_of_bars_gives_the_rows_of_the_table(features: FeatureSet, bars_of: Timeframe) -> None:
    bars, rows = market(features.name, bars_of)
    warm_up = features.warmup_bars(bars_of)
    stream = IncrementalFeatures(features, bars.instrument, bars_of, bars.unit)
    for t in range(warm_up + 12):
        row = stream.append(int(bars.time[t]), {name: float(getattr(bars, name)[t]) for name in features.reads})
        if t < warm_up - 1:
            assert row is None
        else:
            assert row is not None and row.tobytes() == rows[t].tobytes()


@every_set
@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
def test_a_price_that_is_none_spoils_the_rows_that_read_it(
    features: FeatureSet, bars_of: Timeframe, value: float
) -> None:
    bars, rows = market(features.name, bars_of)
    warm_up = features.warmup_bars(bars_of)
    place = len(bars) - 1 - warm_up // 2
    for name in features.reads:
        anew = compute_features(features, spoilt(bars, place, value, (name,)))
        assert np.isnan(anew[place:]).all(), name
        assert anew[:place].tobytes() == rows[:place].tobytes(), name
    first = compute_features(features, spoilt(bars, 0, value, features.reads))
    assert np.isnan(first[:warm_up]).all() and first[warm_up:].tobytes() == rows[warm_up:].tobytes()
    unread = tuple(name for name in PRICES if name not in features.reads)
    assert compute_features(features, spoilt(bars, place, value, unread)).tobytes() == rows.tobytes()


@every_set
@pytest.mark.parametrize("seed", [1, 2])
def test_values_keep_their_bounds(features: FeatureSet, bars_of: Timeframe, seed: int) -> None:
    bars = made_up_bars(bars_of, features.warmup_bars(bars_of) + MORE, seed)
    quiet = spoilt(bars, slice(None), 187.0)
    jump = spoilt(bars, slice(len(bars) - MORE // 2, None), 240.0)
    low, high = np.array(features.bounds, dtype=np.float32).T
    for made in (bars, quiet, jump):
        rows = compute_features(features, made)[features.warmup_bars(bars_of) - 1 :]
        assert np.isfinite(rows).all()
        assert (rows >= low).all() and (rows <= high).all()


@every_set
def test_the_market_upside_down_has_the_mirrored_features(features: FeatureSet, bars_of: Timeframe) -> None:
    if features.mirror is None:
        pytest.skip(f"{features.name} has no rule that turns the market upside down.")
    bars, rows = market(features.name, bars_of)
    mirrored = compute_features(features, upside_down(bars))
    rules = np.array(features.mirror)
    wanted = np.where(rules == "negate", -rows, np.where(rules == "complement", 1.0 - rows, rows))
    warm = slice(features.warmup_bars(bars_of) - 1, None)
    np.testing.assert_allclose(mirrored[warm], wanted[warm], atol=2e-5)


@every_set
def test_the_guard_finds_a_row_of_another_bar(features: FeatureSet, bars_of: Timeframe) -> None:
    bars, rows = market(features.name, bars_of)
    prices = {name: getattr(bars, name) for name in PRICES}
    honest = MarketArrays(
        instrument=bars.instrument,
        pip=0.01,
        time=bars.time,
        **prices,
        bid_open=bars.open,
        ask_open=bars.open,
        features=rows,
        outcome_sigma=bars.close,
        fingerprint="test",
        timeframe=bars_of,
        feature_set=features.name,
    )
    assert causal_mismatches(honest, 6, seed=1) == []
    ahead = replace(honest, features=np.concatenate([rows[1:], rows[-1:]]))
    assert len(causal_mismatches(ahead, 6, seed=1)) >= 5
    assert causal_mismatches(honest.slice(0, features.warmup_bars(bars_of) - 1), 6, seed=1) == []


def test_every_feature_is_described() -> None:
    for name in FEATURE_SETS:
        features = feature_set(name)
        assert features.title and all(features.notes[feature] for feature in features.names)
    assert {name: len(feature_set(name)) for name in ("temporal9", "picco17", "wavelet67", "hybrid")} == {
        "temporal9": 9,
        "picco17": 11,
        "wavelet67": 67,
        "hybrid": 76,
    }
