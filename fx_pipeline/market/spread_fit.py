"""The modelled spread beside the quoted one: by how much the cost model of an instrument is off."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.instrument import instrument as find_instrument
from fx_pipeline.market.spreads import modelled_spread_pips

#: A median that is further off than this factor is worth a look.
MAX_FACTOR = 1.5


@dataclass(frozen=True)
class SpreadFit:
    """Medians over the same bars, in pips.

    Attributes
    ----------
    bars : int
    quoted_pips, modelled_pips : float
    """

    bars: int
    quoted_pips: float
    modelled_pips: float

    @property
    def factor(self) -> float:
        """By how much the model is off, 1 or more; infinite where there is no quoted spread at all."""
        low, high = sorted((self.quoted_pips, self.modelled_pips))
        return high / low if low > 0 else math.inf

    @property
    def fits(self) -> bool:
        """Whether the model is near enough."""
        return self.factor <= MAX_FACTOR

    def describe(self) -> str:
        """Say both medians and how far they are apart."""
        medians = f"modelled {self.modelled_pips:.3g} pips, quoted {self.quoted_pips:.3g}"
        figures = f"{medians} (medians of {self.bars:,} bars)"
        if not math.isfinite(self.factor):
            return f"{figures}: there is no spread in the quotes"
        where = "too wide" if self.modelled_pips > self.quoted_pips else "too narrow"
        return f"{figures}: {where} by a factor of {self.factor:.2f}"


def fit_spread(
    instrument: str, time_ns: npt.NDArray[np.int64], bid: npt.NDArray[np.float64], ask: npt.NDArray[np.float64]
) -> SpreadFit | None:
    """Compare the modelled spread of an instrument with quotes, at the times and prices of the quotes.

    Parameters
    ----------
    instrument : str
        OANDA name.
    time_ns : (T,) int64
    bid, ask : (T,) float64
        As quoted; at the opens of bars, say.

    Returns
    -------
    SpreadFit or None
        None without quotes.
    """
    if not len(time_ns):
        return None
    pip = find_instrument(instrument).pip
    modelled = modelled_spread_pips(instrument, time_ns, (bid + ask) / 2)
    return SpreadFit(len(time_ns), float(np.median(ask - bid)) / pip, float(np.median(modelled)))


def fit_by_year(
    instrument: str, time_ns: npt.NDArray[np.int64], bid: npt.NDArray[np.float64], ask: npt.NDArray[np.float64]
) -> dict[int, SpreadFit]:
    """Return the same as `fit_spread` for each calendar year (UTC) that has quotes."""
    years = np.asarray(time_ns).astype("datetime64[ns]").astype("datetime64[Y]").astype(int) + 1970
    found: dict[int, SpreadFit] = {}
    for year in np.unique(years).tolist():
        rows = years == year
        fit = fit_spread(instrument, time_ns[rows], bid[rows], ask[rows])
        if fit is not None:
            found[year] = fit
    return found
