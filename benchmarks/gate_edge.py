"""Planted edges: are they promoted within a year, do they stay, and does one go whose edge is gone?

A configuration is trained anew in each window, with five seeds. Its true t is that of a year: the mean of a session
over its standard deviation, after costs, times the root of 252. Seeds follow the same edge and differ by chance: their
trades are correlated by 0.7. About six trades a session, at 1.5 pips each.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.gate_judge import Judgement, hand_in
from benchmarks.gate_world import SESSIONS, WINDOWS, Attempt, Market, Trades, evidence_of
from fx_pipeline.tracking.ledger import Ledger
from fx_pipeline.validation.demotion import (
    SessionShapes,
    demotion_statistic,
    demotion_threshold,
    drawdown_limit,
    promise_of,
)

SEEDS = 5
CORRELATION = 0.7
TRADES, TRADE_SD_PIPS, COST_PIPS = 6.0, 12.0, 1.5
YEAR_DAYS = 252
T_VALUES = (3.0, 4.0, 6.0)
GONE_WITHIN = 3


@dataclass(frozen=True)
class Life:
    """What became of a planted edge.

    Attributes
    ----------
    true_t : float
    promoted_after : int
        Windows; 0 when it was not within a year.
    failed : tuple of str
        At the last window, when it was not.
    good_windows : int
        Windows that it lived as a champion, of a year at most.
    good_demoted : bool
        By chance, within a year.
    gone_after : int
        Windows after which it was demoted once its edge was gone; 0 when it was not within a year.
    """

    true_t: float
    promoted_after: int
    failed: tuple[str, ...]
    good_windows: int
    good_demoted: bool
    gone_after: int


class Edge:
    """The trades of the seeds of a configuration with an edge, window by window."""

    def __init__(self, market: Market, true_t: float, seed: int) -> None:
        self.market = market
        self._draw = np.random.default_rng([seed, 7])
        # Of the sum of a Poisson number of trades; the mean adds to it a little.
        spread = TRADE_SD_PIPS * np.sqrt(TRADES)
        self.net_pips = true_t / np.sqrt(YEAR_DAYS) * spread / TRADES

    def window(self, window: int, gross_pips: float | None = None) -> list[Trades]:
        """Trades of each seed; their mean before costs is the edge's, or what is said."""
        gross = self.net_pips + COST_PIPS if gross_pips is None else gross_pips
        slots = self._draw.poisson(TRADES / 0.8, SESSIONS)
        session = np.repeat(np.arange(SESSIONS), slots)
        count = len(session)
        # Tails of a t with five degrees of freedom, scaled to a standard deviation of 1.
        common = self._draw.standard_t(5, count) * np.sqrt(3 / 5)
        found = []
        for _ in range(SEEDS):
            own = self._draw.standard_t(5, count) * np.sqrt(3 / 5)
            noise = np.sqrt(CORRELATION) * common + np.sqrt(1 - CORRELATION) * own
            taken = self._draw.random(count) < 0.8
            bars = self._draw.integers(5, 60, count)
            found.append(Trades(session[taken], gross + TRADE_SD_PIPS * noise[taken], bars[taken]))
        return found


def live(true_t: float, seed: int) -> Life:
    """Train, validate and judge a configuration window by window; then let its champion trade on."""
    market = Market(seed, COST_PIPS)
    edge = Edge(market, true_t, seed)
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        ledger = Ledger(Path(folder) / "ledger.db", who="benchmark")
        for window in range(WINDOWS):
            attempts = [
                Attempt("edge", number, window, "", evidence_of(market, window, trades, COST_PIPS))
                for number, trades in enumerate(edge.window(window))
            ]
            ledger.record_many([attempt.trial(market) for attempt in attempts])
            judged = hand_in(ledger, market, attempts[0])
            if judged.promoted:
                break
    if not judged.promoted:
        return Life(true_t, 0, judged.failed, 0, False, 0)
    demoted = champion(judged)
    good = demoted([pips_of(edge, None) for _ in range(WINDOWS)])
    gone = demoted([pips_of(edge, 0.0) for _ in range(WINDOWS)])
    return Life(true_t, window + 1, (), good or WINDOWS, bool(good), gone)


def pips_of(edge: Edge, gross_pips: float | None) -> np.ndarray:
    """Net results (S,) of the sessions of a later window: of one seed, the champion."""
    trades = edge.window(0, gross_pips)[0]
    return np.bincount(trades.session, trades.gross_pips - COST_PIPS, SESSIONS)


def champion(judged: Judgement) -> Callable[[list[np.ndarray]], int]:
    """Return what says after how many of some later windows a champion is demoted; 0 for none of them."""
    record = judged.record
    pips = record.session_pnl_pips
    cost = COST_PIPS * len(record.pnl_pips) / len(pips)
    promise = promise_of(pips, cost, record.looks, deflation=judged.z - judged.deflated_z, seed=1)
    threshold = demotion_threshold(promise, pips, SESSIONS, seed=2)
    limit = drawdown_limit(SessionShapes.of_totals(pips), promise, SESSIONS, seed=3)

    def demoted(windows: list[np.ndarray]) -> int:
        reached = demotion_statistic(windows, promise) >= threshold
        falls = np.array([SessionShapes.of_totals(window).deepest() for window in windows])
        hit = reached | (falls > (np.inf if limit is None else limit))
        return int(hit.argmax()) + 1 if hit.any() else 0

    return demoted
