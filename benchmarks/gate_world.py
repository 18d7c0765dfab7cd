"""A market for the benchmark of the gate, and what traders make of it: arrays only, thousands of them at once.

A year is thirteen windows of twenty sessions, six hours a weekday, on a driftless path of five-minute bars. A trader is
known by its trades; what the pipeline's rollout leaves behind of them (`validation.evidence`) is made from those, so
that everything after it (ledger, record, figures, gate) is the product's own.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.prints import Days, day_prints
from fx_pipeline.tracking.ledger import Trial
from fx_pipeline.validation.evidence import Evidence

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

WINDOWS, SESSIONS = 13, 20
#: Minutes of a bar; bars of a session, and of a day.
MINUTES, STEPS, DAY_STEPS = 5, 72, 288
STEP_NS = MINUTES * 60 * 10**9
DAY_NS = DAY_STEPS * STEP_NS
#: First session: Monday, 2024-01-01, in the afternoon of New York's day.
START_NS = 1_704_067_200 * 10**9
_OPENS = 156
PIP, PRICE = 0.0001, 1.1
#: Standard deviation of a bar: about 60 pips a day.
STEP_PIPS = 3.5
TICK_PIPS = 0.1
INSTRUMENT = "EUR_USD"


@dataclass(frozen=True, eq=False)
class Market:
    """A driftless path; `W` windows of `S` sessions.

    Attributes
    ----------
    seed : int
    cost_pips : float
        Of a trade, opened and closed.
    windows : int
        Those of the second year continue the first.
    """

    seed: int
    cost_pips: float
    windows: int = WINDOWS

    @cached_property
    def session_ns(self) -> IntArray:
        """First bar (W, S) of each session: the weekdays."""
        day = np.arange(self.windows * SESSIONS)
        days = day // 5 * 7 + day % 5
        return (START_NS + days * DAY_NS + _OPENS * STEP_NS).reshape(self.windows, SESSIONS)

    @cached_property
    def pips(self) -> FloatArray:
        """Price (W * S * 288 + 1,) of every bar of the weekdays, in pips from the start."""
        draw = np.random.default_rng([self.seed, 0])
        moves = draw.normal(scale=STEP_PIPS, size=self.windows * SESSIONS * DAY_STEPS)
        return np.concatenate([[0.0], moves.cumsum()])

    @cached_property
    def moves(self) -> FloatArray:
        """Change (W, S, 72) of each bar of each session."""
        steps = np.diff(self.pips).reshape(self.windows, SESSIONS, DAY_STEPS)
        return steps[:, :, _OPENS : _OPENS + STEPS]

    @cached_property
    def prices(self) -> FloatArray:
        """Price (W, S) at the start of each session."""
        days = self.pips[:-1].reshape(self.windows, SESSIONS, DAY_STEPS)
        return PRICE + PIP * days[:, :, _OPENS]

    @cached_property
    def baselines(self) -> Mapping[str, FloatArray]:
        """Results (W, S) of holding and of following the last session's direction."""
        held = self.moves.sum(axis=2)
        before = np.sign(np.diff(self.pips[:: DAY_STEPS // 2])[: 2 * self.windows * SESSIONS : 2])
        trend = held * before.reshape(held.shape)
        return {
            "flat": np.zeros_like(held),
            "buy and hold": held - self.cost_pips,
            "sell and hold": -held - self.cost_pips,
            "SMA cross": trend - self.cost_pips,
        }

    def days(self, window: int) -> Days:
        """What the days of a window are recognised by."""
        return self._days[window]

    @cached_property
    def _days(self) -> list[Days]:
        per = SESSIONS * DAY_STEPS
        found = []
        for window in range(self.windows):
            starts = self.session_ns[window] - _OPENS * STEP_NS
            time = (starts[:, None] + np.arange(DAY_STEPS) * STEP_NS).ravel()
            found.append(day_prints(time, PRICE + PIP * self.pips[window * per + 1 : (window + 1) * per + 1]))
        return found

    def fingerprint(self, window: int) -> str:
        """Of the data of a window."""
        return digest("data", self.seed, window)


@dataclass(frozen=True, eq=False)
class Trades:
    """Trades of one trader in one window.

    Attributes
    ----------
    session : (N,) int64
        Not decreasing.
    gross_pips : (N,) float64
        Before the cost.
    bars : (N,) int64
        Minutes that each was held.
    """

    session: IntArray
    gross_pips: FloatArray
    bars: IntArray


def trades_of(positions: npt.NDArray[np.int8], moves: FloatArray) -> list[Trades]:
    """Read the trades off the positions (K, S, 72) that K traders hold in the bars of a window."""
    traders, sessions, steps = positions.shape
    padded = np.zeros((traders, sessions, steps + 2), dtype=np.int8)
    padded[:, :, 1:-1] = positions
    changed = np.diff(padded, axis=2) != 0
    opened = np.nonzero(changed[:, :, :-1] & (padded[:, :, 1:-1] != 0))
    closed = np.nonzero(changed[:, :, 1:] & (padded[:, :, 1:-1] != 0))
    path = np.concatenate([np.zeros((sessions, 1)), moves.cumsum(axis=1)], axis=1)
    trader, session, first = opened
    last = closed[2] + 1
    side = positions[trader, session, first].astype(np.float64)
    gross = side * (path[session, last] - path[session, first])
    ends = np.searchsorted(trader, np.arange(traders + 1))
    return [
        Trades(session[a:b].astype(np.int64), gross[a:b], (MINUTES * (last - first))[a:b].astype(np.int64))
        for a, b in pairwise(ends)
    ]


def evidence_of(market: Market, window: int, trades: Trades, cost_pips: float) -> Evidence:
    """What a rollout of these trades would have left behind, at this cost a trade."""
    net = trades.gross_pips - cost_pips
    exposure = trades.bars.sum() / (MINUTES * SESSIONS * STEPS)
    rate = len(net) / SESSIONS
    # A random trader with the same turnover pays for it, and is exposed as long.
    moments = np.zeros((SESSIONS, 3))
    moments[:, 0] = -rate * cost_pips
    moments[:, 1] = exposure * (market.moves[window] ** 2).sum(axis=1)
    return Evidence(
        pip=PIP,
        session_bars=MINUTES * STEPS,
        session_ns=market.session_ns[window],
        session_price=market.prices[window],
        trade_session=trades.session,
        trade_pnl_pips=net,
        trade_stressed_pips=net - 2 * TICK_PIPS,
        trade_entry_price=market.prices[window][trades.session],
        trade_bars_held=trades.bars,
        trade_max_drawdown_pips=np.maximum(-net, 0.0),
        trade_peak_pips=np.maximum(net, 0.0),
        trade_low_pips=np.minimum(net, 0.0),
        baselines={name: series[window] for name, series in market.baselines.items()},
        random_moments=moments,
    )


@dataclass(frozen=True)
class Attempt:
    """A training and its score, as the ledger is told of it.

    Attributes
    ----------
    configuration : str
    seed, window : int
    weights : str
        What makes the checkpoint another one.
    evidence : Evidence
    instrument : str
    costs : Mapping
    """

    configuration: str
    seed: int
    window: int
    weights: str
    evidence: Evidence
    instrument: str = INSTRUMENT
    costs: Mapping[str, Any] = field(default_factory=lambda: {"kind": "judged"})

    def trial(self, market: Market) -> Trial:
        """The row of the ledger."""
        shown = self.evidence
        net = shown.trade_pnl_pips
        spread = float(net.std(ddof=1)) if len(net) > 1 else 0.0
        return Trial(
            instrument=self.instrument,
            window=window_key(self.window),
            agent="benchmark",
            config_hash=digest("configuration", self.configuration),
            seed=self.seed,
            checkpoint_hash=digest("weights", self.configuration, self.seed, self.window, self.weights),
            data_fingerprint=digest(market.fingerprint(self.window), self.instrument),
            costs=dict(self.costs),
            trades=len(net),
            expectancy_pips=float(net.mean()) if len(net) else None,
            sharpe_per_trade=float(net.mean()) / spread if spread else None,
            session_ns=shown.session_ns,
            session_pnl_pips=shown.session_pnl_pips,
            evaluation_code="benchmark",
            valid_start_ns=int(shown.session_ns[0]),
            valid_end_ns=int(shown.session_ns[-1]) + STEPS * STEP_NS,
            days=market.days(self.window),
            evidence=shown.to_bytes(),
            trained_seed_sha=digest("seed", self.configuration, self.seed, self.window, self.weights),
        )


def window_key(window: int) -> str:
    """Name of a window: the day on which its validation begins."""
    days = window * SESSIONS // 5 * 7
    return str(np.datetime64("2024-01-01") + np.timedelta64(days, "D"))


def digest(*parts: object) -> str:
    """Name something by what it was made from."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()
