"""Which steps of the replay an update starts from.

Places are flat: episode row * T + step. What can be drawn, and how likely it is, is worked out once for a state of the
replay, so a batch costs a few random numbers and binary searches.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.muzero.config import ReplayConfig
from fx_pipeline.market.errors import FxPipelineError

#: Least quality that counts in drawing, so that no step is out of reach, and recency of the oldest episode.
LEAST_QUALITY = 0.1
LEAST_RECENCY = 0.5


@dataclass(frozen=True)
class Choice:
    """Places (B,) that a batch starts from, and the weights (B,) float32 of their losses."""

    places: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]


class Sampler:
    """Draws places from one state of the replay.

    A batch is stratified: `in_trade_share` of it starts in open positions, `success_share` at successes, the rest
    anywhere.

    Parameters
    ----------
    config : ReplayConfig
    usable : (E, T) bool
        Steps that can be drawn.
    in_trade : (E, T) bool
        Steps with an open position.
    successes : (N,) int64
        Places.
    priorities : (E, T) float, optional
        Not negative. None: all steps alike.

    Raises
    ------
    FxPipelineError
        If there is nothing to draw.
    """

    def __init__(
        self,
        config: ReplayConfig,
        usable: npt.NDArray[np.bool_],
        in_trade: npt.NDArray[np.bool_],
        successes: npt.NDArray[np.int64],
        priorities: npt.NDArray[np.floating] | None,
    ) -> None:
        self.config = config
        self._anywhere = np.flatnonzero(usable)
        if len(self._anywhere) == 0:
            raise FxPipelineError("the replay holds no step to learn from: collect some first.")
        self._in_trade_mask = in_trade.ravel()
        self._in_trade = np.flatnonzero(usable & in_trade)
        self._successes = successes[usable.ravel()[successes]]
        self._success_mask = np.zeros(usable.size, dtype=np.bool_)
        self._success_mask[self._successes] = True
        self._densities: npt.NDArray[np.float64] | None = None
        if priorities is not None:
            drawn = np.where(usable, priorities, 0.0).ravel().astype(np.float64)
            mix = config.priority_weight
            self._densities = (1.0 - mix) / len(self._anywhere) + mix * drawn / drawn.sum()
            self._sums = np.cumsum(self._densities[self._anywhere])
            self._in_trade_sums = np.cumsum(self._densities[self._in_trade])

    def draw(self, batch: int, generator: np.random.Generator) -> Choice:
        """Draw B places."""
        in_trade, success = self._strata(batch)
        if self._densities is None:
            places = self._anywhere[generator.integers(len(self._anywhere), size=batch)]
            if in_trade:
                places[:in_trade] = self._in_trade[generator.integers(len(self._in_trade), size=in_trade)]
        else:
            places = _weighted(self._anywhere, self._sums, batch, generator)
            if in_trade:
                places[:in_trade] = _weighted(self._in_trade, self._in_trade_sums, in_trade, generator)
        if success:
            drawn = self._successes[generator.integers(len(self._successes), size=success)]
            places[in_trade : in_trade + success] = drawn
        return Choice(places, self._weights(places, batch, in_trade, success))

    def _strata(self, batch: int) -> tuple[int, int]:
        in_trade = round(batch * self.config.in_trade_share) if len(self._in_trade) else 0
        success = round(batch * self.config.success_share) if len(self._successes) else 0
        return in_trade, min(success, batch - in_trade)

    def _weights(
        self, places: npt.NDArray[np.int64], batch: int, in_trade: int, success: int
    ) -> npt.NDArray[np.float32]:
        """Likelihood without priorities and successes over likelihood with them, to the power `importance`.

        Of the whole mixture of strata, so that the weighted mean over a batch has the same expectation.
        """
        if not self.config.weighted or self.config.importance == 0.0:
            return np.ones(batch, dtype=np.float32)
        count, traded = len(self._anywhere), self._in_trade_mask[places]
        alike = (batch - in_trade) / batch / count + traded * (in_trade / batch / max(len(self._in_trade), 1))
        density = np.full(batch, 1.0 / count) if self._densities is None else self._densities[places]
        mass = len(self._in_trade) / count if self._densities is None else _total(self._in_trade_sums)
        drawn = (batch - in_trade - success) / batch * density
        drawn += traded * (in_trade / batch * density / (mass or 1.0))
        drawn += self._success_mask[places] * (success / batch / max(len(self._successes), 1))
        return np.power(alike / drawn, self.config.importance).astype(np.float32)


def recency(serials: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """1 for the newest episode, `LEAST_RECENCY` for the oldest, in equal steps by age; 0 for empty rows (-1)."""
    held = np.flatnonzero(serials >= 0)
    factors = np.zeros(len(serials))
    factors[held[np.argsort(serials[held])]] = np.linspace(LEAST_RECENCY, 1.0, len(held)) if len(held) > 1 else 1.0
    return factors


def _weighted(
    places: npt.NDArray[np.int64], sums: npt.NDArray[np.float64], count: int, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    index = np.searchsorted(sums, generator.random(count) * sums[-1], side="right")
    return places[np.minimum(index, len(places) - 1)]


def _total(sums: npt.NDArray[np.float64]) -> float:
    return float(sums[-1]) if len(sums) else 0.0
