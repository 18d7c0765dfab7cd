"""Closed trades as one structured array.

A trade is a position from flat to flat, or to the other side; between, it may grow and shrink. Its pips are weighted by
exposure, the signed share of the allowed position, so that results of trades add up to what the account made.
"""

import numpy as np

#: `session` indexes the starts of the episode's environments, bars index the market's arrays, times are UTC
#: nanoseconds (entry and exit are the times of the bars in which the first and the last order filled), prices are price
#: units. Peak and low are the highest and lowest result after costs at which the trade was marked, bar by bar, 0
#: included; bars held are those at whose end the position was open or, at the end of a session, closed. `exposure` is
#: the most that was held, `opened` all that was added to it (the same where it never grew again), entry and exit price
#: the averages over that: ``pnl_pips = side * opened * (exit_price - entry_price) / pip - cost_pips``.
TRADE_DTYPE = np.dtype(
    [
        ("session", "i4"),
        ("side", "i1"),
        ("entry_bar", "i8"),
        ("exit_bar", "i8"),
        ("entry_time", "i8"),
        ("exit_time", "i8"),
        ("entry_price", "f8"),
        ("exit_price", "f8"),
        ("cost_pips", "f8"),
        ("pnl_pips", "f8"),
        ("drawdown_pips", "f8"),
        ("max_drawdown_pips", "f8"),
        ("peak_pips", "f8"),
        ("low_pips", "f8"),
        ("bars_held", "i4"),
        ("amddp1", "f8"),
        ("exposure", "f8"),
        ("opened", "f8"),
    ]
)
