"""Planted edges: are they promoted within a year, do they stay, and does one go whose edge is gone?

A configuration is trained anew in each window, with five seeds. Its true t is that of a year: the mean of a session
over its standard deviation, after costs, times the root of 252. Seeds follow the same edge and differ by chance: their
trades are correlated by 0.7. About six trades a session, at 1.5 pips each.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.gate_judge import Judgement, hand_in
from benchmarks.gate_world import DAY_NS, SESSIONS, STEP_NS, STEPS, WINDOWS, Attempt, Market, Trades, evidence_of
from fx_pipeline.tracking.ledger import Ledger
from fx_pipeline.validation.champion import Champion as Record
from fx_pipeline.validation.champion import Standing
from fx_pipeline.validation.demotion import SessionShapes
from fx_pipeline.validation.promotion_config import PromotionConfig
from fx_pipeline.validation.tenure import PromisedRecord, decide_demotion, shapes_of_trades

SHAPE = ("total", "lowest", "highest", "fall")
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
    champion = Champion(edge, judged)
    good = champion.lives(None)
    return Life(true_t, window + 1, (), good or WINDOWS, bool(good), champion.lives(0.0))


class Champion:
    """A promoted configuration: its newest weights, trading on in windows after its record."""

    def __init__(self, edge: Edge, judged: Judgement) -> None:
        self.edge, record = edge, judged.record
        self.end_ns = int(record.session_ns[-1]) + STEPS * STEP_NS
        parts = [one.evidence for one in record.windows]
        shapes = [
            shapes_of_trades(
                SESSIONS, one.trade_session, one.trade_pnl_pips, one.trade_max_drawdown_pips, one.trade_peak_pips
            )
            for one in parts
        ]
        joined = (np.concatenate([getattr(shape, name) for shape in shapes]) for name in SHAPE)
        cost = -sum(float(one.random_moments[:, 0].sum()) for one in parts) / (SESSIONS * len(parts))
        self.promised = PromisedRecord(SessionShapes(*joined), cost, record.looks, lucky_z=judged.z - judged.deflated_z)
        self.state = Record(
            instrument="EUR_USD",
            window=record.windows[-1].window,
            agent="benchmark",
            weights_sha256=record.windows[-1].checkpoint,
            model=Path(),
            source="imported",
            costs={},
            registered_model="",
            version="",
            registered_url="",
            valid_end_ns=self.end_ns,
        )

    def lives(self, gross_pips: float | None) -> int:
        """Return after how many windows it is demoted, of a year; 0 when it is not. Its edge is as it was, or this."""
        standings: list[Standing] = []
        for window in range(WINDOWS):
            standings.append(self.standing(window, gross_pips))
            if decide_demotion(self.state, standings, self.promised, PromotionConfig()) is not None:
                return window + 1
        return 0

    def standing(self, window: int, gross_pips: float | None) -> Standing:
        """What is kept of a replay on a later window."""
        trades = self.edge.window(0, gross_pips)[0]
        days = np.arange(SESSIONS)
        session_ns = self.end_ns + (window * 28 + days // 5 * 7 + days % 5) * DAY_NS
        return Standing(
            window=f"{window:03d}",
            weights_sha256=self.state.weights_sha256,
            costs={},
            source="imported",
            sound=True,
            valid_end_ns=int(session_ns[-1]) + STEPS * STEP_NS,
            session_ns=session_ns.tolist(),
            session_pnl_pips=np.bincount(trades.session, trades.gross_pips - COST_PIPS, SESSIONS).tolist(),
        )
