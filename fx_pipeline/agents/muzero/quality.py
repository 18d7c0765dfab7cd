"""What the steps of the replay are worth (SPEC section 9), and which episodes may go.

The quality of a step adds up what can be learned there: a trade that closed, a change of the position, the session's
end, a surprise, a reward, a session that paid. A trade's profit is the sum of the rewards of its steps: its AMDDP1.
"""

import numba
import numpy as np
import numpy.typing as npt

#: Least share of episodes with a trade.
TRADE_QUOTA = 0.3
#: Share of the capacity that is evicted at a time.
EVICTED_SHARE = 0.02
SUCCESS_PIPS = 5.0
SUCCESS_STEPS = 1000

_PROFIT_SHARE, _LOSS_SHARE = 0.5, 0.1
_PROFITABLE_CLOSE, _LOSING_CLOSE = 5.0, 1.0
_POSITION_CHANGE = 3.0
_TERMINAL = 1.5
_REWARD_SHARE, _REWARD_MOST = 0.1, 2.0
_TD_SHARE, _TD_MOST = 0.15, 5.0
_EXPECTANCY_SHARE, _EXPECTANCY_MOST = 0.3, 3.0


@numba.njit(cache=True, nogil=True)
def settle(  # type: ignore[no-untyped-def]
    rows, first, last, held, actions, targets, rewards, qualities, trade_counts, trade_pips, shares_reward
):
    """Rate the steps [first, last) of `rows`, and count their trades. A trade begins no sooner than its session.

    A trade is from flat to flat, or to the other side. A step that turns a position belongs to both of its trades.

    Parameters
    ----------
    rows : (B,) int64
    first, last : int
        Steps before `first` have been settled before.
    held : (E, T) float32
        Exposure when each step was decided.
    actions : (E, T) int8
    targets : (A,) float64
        Exposure that each action asks for, NaN for what is held.
    rewards : (E, T) float32
        With `shares_reward`, each step of a trade that closes gets the sum of the trade's rewards.
    qualities : (E, T) float32
        Written: all of a step's quality that does not change later.
    trade_counts : (E,) int64
        Added to: trades closed.
    trade_pips : (E,) float64
        Added to: sum of their profits.
    shares_reward : bool
    """
    end = actions.shape[1] - 1
    for row in rows:
        for step in range(first, last):
            before, reward = held[row, step], rewards[row, step]
            after = np.float32(targets[actions[row, step]])
            if after != after:
                after = before
            quality = _TERMINAL if step == end else 0.0
            if reward > 0.0:
                quality += min(reward * _REWARD_SHARE, _REWARD_MOST)
            if after != before:
                quality += _POSITION_CHANGE
            if before != 0.0 and before * after <= 0.0:
                entry = step - 1
                while entry > 0 and held[row, entry] * before > 0.0:
                    entry -= 1
                pips = 0.0
                for part in range(entry, step + 1):
                    pips += rewards[row, part]
                if shares_reward:
                    for part in range(entry, step + 1):
                        rewards[row, part] = pips
                profitable = pips > 0.0
                quality += pips * (_PROFIT_SHARE if profitable else _LOSS_SHARE)
                quality += _PROFITABLE_CLOSE if profitable else _LOSING_CLOSE
                trade_counts[row] += 1
                trade_pips[row] += pips
            qualities[row, step] = quality


def whole_quality(
    qualities: npt.NDArray[np.float32],
    td_errors: npt.NDArray[np.float32],
    trade_counts: npt.NDArray[np.int64],
    trade_pips: npt.NDArray[np.float64],
) -> npt.NDArray[np.float32]:
    """Quality (E, T) of each step: what `settle` wrote, the newest TD error, and the session's expectancy."""
    expectancy = trade_pips / np.maximum(trade_counts, 1)
    session = np.minimum(expectancy * _EXPECTANCY_SHARE, _EXPECTANCY_MOST).astype(np.float32)
    surprise = np.minimum(td_errors, np.float32(_TD_MOST)) * np.float32(_TD_SHARE)
    return qualities + surprise + session[:, None]


def successes(
    rewards: npt.NDArray[np.float32], lengths: npt.NDArray[np.int64], serials: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The newest successes, as flat places in (E, T).

    Parameters
    ----------
    rewards : (E, T) float32
    lengths : (E,) int64
        Steps recorded.
    serials : (E,) int64
        Number of each episode.
    """
    session = rewards.shape[1]
    recorded = np.arange(session) < lengths[:, None]
    places = np.flatnonzero(recorded & (rewards > SUCCESS_PIPS))
    order = np.lexsort((places % session, serials[places // session]))
    return places[order[-SUCCESS_STEPS:]]


def worst(
    count: int,
    rows: npt.NDArray[np.int64],
    mean_qualities: npt.NDArray[np.floating],
    traded: npt.NDArray[np.bool_],
    remembered: npt.NDArray[np.bool_],
    serials: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Choose `count` of the episodes `rows` (N,) to evict; the other arrays (N,) describe them.

    The least mean quality goes first, the older one of two alike; one with a success only when no other is left. One
    with a trade is passed over while the share of episodes with a trade would fall below `TRADE_QUOTA` without it.
    """
    order = list(np.lexsort((serials, mean_qualities, remembered)))
    traders, held = int(traded.sum()), len(rows)
    chosen: list[int] = []
    for _ in range(count):
        keeps_quota = (
            place for place, index in enumerate(order) if not traded[index] or traders - 1 >= TRADE_QUOTA * (held - 1)
        )
        index = order.pop(next(keeps_quota, 0))
        traders -= int(traded[index])
        held -= 1
        chosen.append(int(rows[index]))
    return np.array(chosen, dtype=np.int64)
