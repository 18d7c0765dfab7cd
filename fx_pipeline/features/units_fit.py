"""How well an instrument's unit fits its data: whether changes saturate their feature, or sessions leave the axis.

A unit (`market.units`) is fixed beforehand, while prices and volatilities move by factors over the years.
"""

import math
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt

from fx_pipeline.market.arrays import SESSION_BARS
from fx_pipeline.market.units import CHANGE_UNITS, price_unit

#: Beyond twice `CHANGE_UNITS` units a change is all but 1 or -1: larger ones look alike.
SATURATED = math.tanh(2.0)
MOST_SATURATED = 0.05
MOST_BEYOND = 0.05
#: A typical session that moves by less of the axis than this is lost in its middle.
LEAST_USED = 0.005
#: Only the newest bars count: they are what is trained on next.
DAYS = 400


@dataclass(frozen=True)
class UnitsFit:
    """Of the newest `DAYS` days.

    Attributes
    ----------
    bars, sessions : int
        Bars with features, and stretches of 360 bars.
    unit : float
        In price units.
    saturated : float
        Share of bars whose `price_change_pips` is beyond `SATURATED`.
    beyond : float
        Share of the sessions whose closes span more than the value axis reaches; 0 without an axis.
    typical : float or None
        Median span of a session, as a share of that reach; None without an axis.
    """

    bars: int
    sessions: int
    unit: float
    saturated: float
    beyond: float
    typical: float | None

    @property
    def fits(self) -> bool:
        """Whether networks can see what happens."""
        used = self.typical is None or self.typical >= LEAST_USED
        return self.saturated <= MOST_SATURATED and self.beyond <= MOST_BEYOND and used

    def describe(self) -> str:
        """Say it in a line."""
        said = f"a unit of {self.unit:g}: {self.saturated:.1%} of {self.bars:,} price changes saturate their feature"
        if self.typical is None:
            return said
        return (
            f"{said}, {self.beyond:.1%} of {self.sessions:,} six-hour stretches span more than the value axis, and a "
            f"typical one {self.typical:.1%} of it"
        )


def units_fit(connection: duckdb.DuckDBPyConnection, instrument: str, support_units: float | None) -> UnitsFit | None:
    """Look at the newest bars of the feature table; None where there is no whole session of them.

    Parameters
    ----------
    support_units : float or None
        How far the agent's value axis reaches, in units of the instrument; None for one without.
    """
    found = connection.execute(
        "SELECT close, price_change_pips FROM features WHERE instrument = $name AND time >= (SELECT max(time) FROM "
        f"features WHERE instrument = $name) - INTERVAL {DAYS} DAY ORDER BY time",
        {"name": instrument},
    ).fetchnumpy()
    change = np.ma.filled(np.ma.asarray(found["price_change_pips"], np.float64), np.nan)
    return fit_of(np.asarray(found["close"], np.float64), change, price_unit(instrument), support_units)


def fit_of(
    close: npt.NDArray[np.float64], change: npt.NDArray[np.floating], unit: float, support_units: float | None
) -> UnitsFit | None:
    """Compute the fit of closes (T,) and their `price_change_pips` (T,), NaN while warming up."""
    sessions = len(close) // SESSION_BARS
    warm = change[np.isfinite(change)]
    if not sessions or not len(warm):
        return None
    saturated = float((np.abs(warm) >= SATURATED).mean())
    if support_units is None:
        return UnitsFit(len(warm), sessions, unit, saturated, 0.0, None)
    spans = np.ptp(close[: sessions * SESSION_BARS].reshape(sessions, SESSION_BARS), axis=1) / unit / support_units
    return UnitsFit(len(warm), sessions, unit, saturated, float((spans > 1).mean()), float(np.median(spans)))


#: What is asked of the change feature, for people.
WANTED = (
    f"at most {MOST_SATURATED:.0%} of changes beyond {2 * CHANGE_UNITS:g} units, at most {MOST_BEYOND:.0%} of the "
    f"stretches beyond the axis, and a typical one of {LEAST_USED:.1%} of it or more"
)
