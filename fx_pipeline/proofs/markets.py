"""Three synthetic markets: two with an edge of known size, and one with none.

Bars stand in the minutes of the real FX calendar, so that sessions, weekends and clock features are as in reality.
Each bar opens at the close before it, over weekends too: an order that fills at the next open fills at the close at
which it was decided, and the optimum does not depend on the convention.
"""

import hashlib
import math
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from fx_pipeline.features.registry import feature_set
from fx_pipeline.features.temporal9.closes import features_of_closes
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.calendar import MINUTE_NS, FxCalendar
from fx_pipeline.market.costs import CostConfig
from fx_pipeline.market.errors import ConfigurationError

Float64 = npt.NDArray[np.float64]
MarketName = Literal["ou", "regime", "walk"]

MARKETS: tuple[MarketName, ...] = get_args(MarketName)
TITLES = {
    "ou": "a price that returns to its mean",
    "regime": "a trend whose direction is hidden",
    "walk": "a random walk, on which nothing can be earned",
}
BARS = 400_000
#: Charged on entry; fills at mid.
COST_PIPS = 4.0
COSTS = CostConfig(kind="fixed", fixed_pips=COST_PIPS)
PIP = 0.0001
#: Price of 0 pips, so high that no path comes near zero.
LEVEL = 10.0

#: `ou`: x[t + 1] = OU_RHO x[t] + OU_SIGMA_PIPS eps, and the close is x.
OU_RHO, OU_SIGMA_PIPS = 0.90, 5.0
OU_SD_PIPS = OU_SIGMA_PIPS / math.sqrt(1.0 - OU_RHO**2)
#: `regime`: the close moves by REGIME_DRIFT_PIPS s[t] + REGIME_SIGMA_PIPS eps; s changes its sign with REGIME_FLIP.
REGIME_DRIFT_PIPS, REGIME_SIGMA_PIPS, REGIME_FLIP = 0.6, 2.0, 1.0 / 90.0
#: `walk`: the close moves by WALK_SIGMA_PIPS eps.
WALK_SIGMA_PIPS = 2.5

# Sunday 2020-01-05 17:00 in New York.
_FIRST_TIME_NS = 1_578_261_600_000_000_000
_WEEK_NS = 7 * 1_440 * MINUTE_NS
#: Fewest minutes that the calendar expects of a week, with two holidays in it.
_WEEK_BARS = 4_000


def proof_market(name: MarketName, seed: int, bars: int = BARS) -> MarketArrays:
    """Make a synthetic market.

    Parameters
    ----------
    name : str
        One of `MARKETS`.
    seed : int
        Of the path.
    bars : int
        T.

    Returns
    -------
    MarketArrays
        Named `SYNTHETIC_OU` and so on; bid and ask equal mid.
    """
    close = LEVEL + PIP * path_pips(name, seed, bars)
    opens = np.concatenate([close[:1], close[:-1]])
    weeks = -(-bars // _WEEK_BARS)
    time = FxCalendar().expected_minutes(_FIRST_TIME_NS, _FIRST_TIME_NS + weeks * _WEEK_NS)[:bars]
    features, sigma = features_of_closes(close, time, PIP)
    digest = hashlib.sha256(f"{name} {feature_set('temporal9').version}".encode() + time.tobytes() + close.tobytes())
    return MarketArrays(
        instrument=f"SYNTHETIC_{name.upper()}",
        pip=PIP,
        time=time,
        open=opens,
        high=np.maximum(opens, close),
        low=np.minimum(opens, close),
        close=close,
        bid_open=opens,
        ask_open=opens,
        bid_close=close,
        ask_close=close,
        features=features,
        outcome_sigma=sigma,
        fingerprint=digest.hexdigest(),
    )


def known_market(name: str) -> MarketName:
    """Return the name if it is one of `MARKETS`.

    Raises
    ------
    ConfigurationError
        If it is not.
    """
    for market in MARKETS:
        if name == market:
            return market
    raise ConfigurationError(f"unknown proof market {name!r}: known are {', '.join(MARKETS)}.")


def path_pips(name: MarketName, seed: int, bars: int = BARS) -> Float64:
    """Draw the closes of a market, (T,) in pips from its level."""
    draw = np.random.default_rng(seed)
    noise = draw.standard_normal(bars)
    if name == "ou":
        innovations = OU_SIGMA_PIPS * noise
        innovations[0] = OU_SD_PIPS * noise[0]
        return np.asarray(lfilter([1.0], [1.0, -OU_RHO], innovations), dtype=np.float64)
    if name == "regime":
        turns = np.cumsum(draw.random(bars) < REGIME_FLIP) + draw.integers(2)
        return np.cumsum(REGIME_DRIFT_PIPS * np.where(turns % 2 == 0, 1.0, -1.0) + REGIME_SIGMA_PIPS * noise)
    return np.cumsum(WALK_SIGMA_PIPS * noise)


def closes_in_pips(market: MarketArrays) -> Float64:
    """Return the closes (T,) of a market of this module in pips from its level."""
    return (market.close - LEVEL) / PIP
