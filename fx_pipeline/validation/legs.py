"""The orders of a rollout, taken apart by the trades that they open, resize and close.

An order that turns a position to the other side is two legs: it closes a trade and opens the next. Everything that asks
what the decisions would have made elsewhere (other costs, a broker) reads them from here.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fx_pipeline.validation.rollout import Rollout

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


class Legs(NamedTuple):
    """What changes of exposure did to trades. All arrays are (L,), by session and time.

    Attributes
    ----------
    trade : int64
        Index of the trade, as in `Rollout.trades`.
    session, step : int64
        Whose decision it was, and the how many-th.
    size : float64
        Exposure that was added, or let go.
    """

    trade: Int64
    session: Int64
    step: Int64
    size: Float64


def legs_of(done: Rollout) -> tuple[Legs, Legs]:
    """Return the legs that add to trades, and those that let go of them; both add up to the same in each trade."""
    before, after = done.held, done.wanted
    turned = before * after <= 0.0
    begins, ends = turned & (after != 0.0), turned & (before != 0.0)
    begun, ended = np.cumsum(begins).reshape(begins.shape), np.cumsum(ends).reshape(ends.shape)
    added = np.where(turned, np.abs(after), np.abs(after) - np.abs(before))
    gone = np.where(turned, np.abs(before), np.abs(before) - np.abs(after))
    return _legs(added, begun - 1), _legs(gone, ended - ends)


def _legs(size: Float64, trade: Int64) -> Legs:
    session, step = np.nonzero(size > 0.0)
    return Legs(trade[session, step], session, step, size[session, step])
