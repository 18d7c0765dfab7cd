"""The rolling sigma gate: no entry while the price has hardly moved.

The move of the last k bars is held against what chance would have made of it, the standard deviation of the one-bar
changes of the observation window times the root of k. Below a threshold the gate is closed, and an action that would
open a position, or one on the other side, acts as if nothing were done (or as if the position were closed). Positions
may always be left.

The threshold is the quantile of the training sessions at which the gate is closed at the wanted share of their bars. It
is kept with the checkpoint, and nothing else is ever looked at to find it. Changes are read from the observation, so
that training, validation and live compute one and the same gate, to the bit.
"""

import math

import numba
import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.ppo.config import GateConfig
from fx_pipeline.features.registry import feature_set
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.errors import ConfigurationError

Float64 = npt.NDArray[np.float64]
#: Names that the change of a bar has in feature sets.
CHANGES = ("price_change_pips", "return_short")


def change_column(config: GateConfig, feature_set_name: str) -> int:
    """Return the column of the feature that is the change of a bar.

    Raises
    ------
    ConfigurationError
        If the set has none.
    """
    names = feature_set(feature_set_name).names
    for name in CHANGES if config.feature is None else (config.feature,):
        if name in names:
            return names.index(name)
    raise ConfigurationError(
        f"the gate on entries needs a feature that is the change of a bar ({', '.join(CHANGES)}, or gate.feature), and "
        f"{feature_set_name} has {', '.join(names)}: use another feature set, or a preset without the gate."
    )


def moves(temporal: npt.NDArray[np.float32], column: int, bars: int) -> Float64:
    """Return the moves of the last `bars` bars of windows (B, W, F), in standard deviations of chance, (B,)."""
    return _moves(np.ascontiguousarray(temporal[:, :, column]), bars)


def market_moves(market: MarketArrays, column: int, window_bars: int, bars: int) -> Float64:
    """Return the moves at every bar of a market (T,), as `moves` has them; 0 where there is no whole window."""
    change = np.ascontiguousarray(market.features[:, column])
    found = np.zeros(len(market))
    if len(market) >= window_bars:
        windows = np.lib.stride_tricks.sliding_window_view(change, window_bars)
        found[window_bars - 1 :] = _moves(windows, bars)
    return found


def threshold(moves_of_market: Float64, starts: npt.NDArray[np.int64], session_bars: int, rate: float) -> float:
    """Return the move below which the gate is closed: the quantile `rate` of the bars of these sessions."""
    edges = np.zeros(len(moves_of_market) + 1, dtype=np.int64)
    np.add.at(edges, starts, 1)
    np.add.at(edges, starts + session_bars, -1)
    inside = np.cumsum(edges)[:-1] > 0
    return float(np.quantile(moves_of_market[inside], rate, method="inverted_cdf"))


@numba.njit(cache=True, nogil=True)
def _moves(changes, bars):  # type: ignore[no-untyped-def]
    # Row by row and bar by bar: a row's result does not depend on the others, nor on where it lies in memory.
    found = np.zeros(len(changes))
    window = changes.shape[1]
    for row in range(len(changes)):
        total = 0.0
        for bar in range(window):
            total += changes[row, bar]
        mean, squares, move = total / window, 0.0, 0.0
        for bar in range(window):
            squares += (changes[row, bar] - mean) ** 2
        for bar in range(window - bars, window):
            move += changes[row, bar]
        sigma = math.sqrt(squares / window)
        if sigma > 0.0:
            found[row] = abs(move) / (sigma * math.sqrt(bars))
    return found


@numba.njit(cache=True, nogil=True)
def allowed(action, held, targets, rest, flat):  # type: ignore[no-untyped-def]
    """Return what an action becomes where the gate is closed, for an exposure that is held."""
    target = targets[action]
    # Not a number is the action that keeps.
    if target != target or target == 0.0 or held * target > 0.0:
        return action
    return rest if held == 0.0 else flat
