import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fx_pipeline.market.errors import DataError
from fx_pipeline.validation.bootstrap import equity_paths, optimal_block, stationary_indices
from fx_pipeline.validation.montecarlo import compare_with_iid, simulate_equity

GOLDEN_DRAWS = {
    1.0: [95, 33, 87, 70, 90, 46, 6, 96],
    1.5: [95, 96, 87, 70, 90, 91, 92, 93],
    4.0: [95, 96, 97, 98, 99, 0, 1, 2],
}
PNL = np.random.default_rng(5).normal(0.2, 5.0, 120)


def test_paths_do_not_depend_on_threads():
    one, two, seven = (equity_paths(PNL, 200, 6.0, 11, [0, 60, 120], threads=n) for n in (1, 2, 7))
    for left, right in ((one, two), (one, seven)):
        assert all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


# IID, element by element, pieces of at most 8 and 16.
@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-50, 50), min_size=1, max_size=40),
    st.sampled_from([1.0, 1.3, 3.3, 9.0, 1e6]),
    st.integers(1, 90),
    st.integers(0, 2**40),
    st.sets(st.integers(0, 90), max_size=5),
)
@example([1.0], 3.3, 1, 0, {0, 1})
@example(PNL.tolist(), 3.3, 90, 3, set(range(91)))
@example([3.0, -7.0, 2.0], 1.0, 5, 1, {0, 1, 2, 3, 4, 5})
@example(PNL.tolist(), 9.0, 90, 3, set(range(91)))
@example(PNL.tolist(), 1.3, 90, 3, set(range(91)))
def test_paths_agree_with_numpy_on_the_same_indices(pnl, block, steps, seed, marks):
    grid = sorted(mark for mark in marks if mark <= steps)
    indices = stationary_indices(len(pnl), 20, block, seed, steps=steps)
    assert indices.min() >= 0 and indices.max() < len(pnl)
    equity = np.cumsum(np.pad(np.array(pnl)[indices], ((0, 0), (1, 0))), axis=1)
    paths = equity_paths(pnl, 20, block, seed, grid, steps=steps)
    falls = np.maximum.accumulate(equity, axis=1) - equity
    assert np.allclose(paths.terminal_pips, equity[:, -1], atol=1e-9)
    assert np.allclose(paths.max_drawdown_pips, falls.max(axis=1), atol=1e-9)
    assert np.allclose(paths.equity_pips, equity[:, grid], atol=1e-9)


def test_paths_can_be_drawn_in_parts():
    whole = stationary_indices(50, 12, 4.0, 3)
    assert np.array_equal(whole[7:], stationary_indices(50, 5, 4.0, 3, first_path=7))


@pytest.mark.parametrize("block", [1.4, 3.0, 8.0])
def test_whole_blocks_are_geometric_however_they_are_cut(block):
    n, paths = 20_000, 60
    indices = stationary_indices(n, paths, block, 4)
    ends = np.flatnonzero((np.diff(indices, axis=1) % n != 1).ravel())
    lengths = np.diff(ends[ends % (n - 1) > 200])
    lengths = lengths[lengths < 200]
    for beyond in (1, 2, 3, 5, 10, 16, 17, 20, 33):
        expected = (1 - 1 / block) ** beyond
        error = np.sqrt(expected * (1 - expected) / len(lengths))
        assert (lengths > beyond).mean() == pytest.approx(expected, abs=4.5 * error + 2e-4)


def test_draws_are_the_same_on_every_machine():
    assert stationary_indices(100, 1, 1.0, 7)[0, :8].tolist() == GOLDEN_DRAWS[1.0]
    assert stationary_indices(100, 1, 1.5, 7)[0, :8].tolist() == GOLDEN_DRAWS[1.5]
    assert stationary_indices(100, 1, 4.0, 7)[0, :8].tolist() == GOLDEN_DRAWS[4.0]


def test_a_path_does_not_depend_on_how_many_are_drawn():
    assert np.array_equal(stationary_indices(40, 3, 5.0, 2), stationary_indices(40, 30, 5.0, 2)[:3])


def test_seeds_and_paths_differ():
    a, b = stationary_indices(40, 30, 5.0, 2), stationary_indices(40, 30, 5.0, 3)
    assert len({row.tobytes() for row in np.concatenate([a, b])}) == 60


@pytest.mark.parametrize("block", [1.0, 1.5, 4.0, 12.5, 40.0])
def test_blocks_have_the_mean_length_and_cover_evenly(block):
    n = 500
    indices = stationary_indices(n, 400, block, 1)
    breaks = np.diff(indices, axis=1) % n != 1
    # A new block starts at the next index by chance once in n.
    assert 1 / breaks.mean() == pytest.approx(block, rel=0.02)
    counts = np.bincount(indices.ravel(), minlength=n)
    assert indices.min() == 0 and indices.max() == n - 1
    # The variance of a count under blocks of mean b is about (2 b - 1) times the Poisson one.
    assert np.abs(counts - 400).max() < 5.5 * np.sqrt(400 * (2 * block - 1))


def test_the_mean_total_is_the_total():
    paths = equity_paths(PNL, 20_000, 5.0, 3)
    error = paths.terminal_pips.std() / np.sqrt(20_000)
    assert abs(paths.terminal_pips.mean() - PNL.sum()) < 4 * error


def test_block_length_agrees_with_arch(lcg_normals):
    innovations, ar1 = lcg_normals(500, 7), np.zeros(500)
    for t in range(1, 500):
        ar1[t] = 0.6 * ar1[t - 1] + innovations[t]
    assert optimal_block(ar1) == pytest.approx(10.052166377925873, abs=1e-9)
    assert optimal_block(innovations) == pytest.approx(1.083766213111498, abs=1e-9)


def test_block_length_is_clamped_on_short_lists(reference_trades):
    assert optimal_block(reference_trades) == 10.0
    assert optimal_block([1.0, -2.0, 3.0]) == 1.0
    assert optimal_block([2.0] * 30) == 1.0


def test_iid_resampling_flatters_when_losses_come_in_streaks():
    pnl = np.tile(np.repeat([4.0, -3.5], 15), 10)
    blocks = simulate_equity(pnl, 2_000, seed=1)
    iid = compare_with_iid(pnl, blocks)
    assert blocks.block_length > 5
    assert iid.drawdown_flattered_pips > 20
    assert iid.max_drawdown_p95_pips + iid.drawdown_flattered_pips == pytest.approx(blocks.max_drawdown_pips[95])


def test_simulation_of_winners_only():
    result = simulate_equity([2.0] * 40, 500, seed=1)
    assert result.probability_not_positive == 0.0
    assert set(result.terminal_pips.values()) == {80.0}
    assert set(result.max_drawdown_pips.values()) == {0.0}
    assert result.fan_grid[0] == 0 and result.fan_grid[-1] == 40
    assert result.drawdown_counts.sum() == 500


def test_simulation_is_repeatable_and_ordered():
    one, two = (simulate_equity(PNL, 1_000, seed=9) for _ in range(2))
    assert one.terminal_pips == two.terminal_pips and one.max_drawdown_pips == two.max_drawdown_pips
    assert list(one.terminal_pips.values()) == sorted(one.terminal_pips.values())
    assert simulate_equity(PNL, 1_000, seed=10).terminal_pips != one.terminal_pips


@pytest.mark.parametrize(("pnl", "seed"), [([], 1), ([1.0, np.nan], 1), ([1.0, 2.0], -1)])
def test_bad_input_is_refused(pnl, seed):
    with pytest.raises(DataError):
        simulate_equity(pnl, 10, seed=seed)


@pytest.mark.parametrize("block", [0.9, np.nan, np.inf])
def test_block_lengths_that_mean_nothing_are_refused(block):
    with pytest.raises(DataError, match="block length"):
        equity_paths(PNL, 10, block, 1)
