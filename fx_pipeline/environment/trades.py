"""Closed trades as one structured array."""

import numpy as np

#: `session` indexes the starts of the episode's environments, bars index the market's arrays, times are UTC
#: nanoseconds (entry and exit are the times of the bars in which the orders filled), prices are price units. Peak and
#: low are the highest and lowest result after costs at which the trade was marked, bar by bar, 0 included; bars held
#: are those at whose end the position was open or, at the end of a session, closed.
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
    ]
)
