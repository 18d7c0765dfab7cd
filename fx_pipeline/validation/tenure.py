"""Whether a champion stays: what it made on bars after its record, weighed against what the record promises.

The statistics are those of `demotion`; here is which sessions they see. Every session counts once, whatever windows it
lies in, and only from the end of the bars that the champion was promoted for.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.calendar import trading_day
from fx_pipeline.validation.champion import Champion, Standing
from fx_pipeline.validation.context import SYNTHETIC
from fx_pipeline.validation.demotion import (
    Promise,
    SessionShapes,
    demotion_statistic,
    demotion_threshold,
    drawdown_limit,
    promise_of,
)
from fx_pipeline.validation.promotion_config import PromotionConfig

#: Of which a record is a share, in trading days.
YEAR_DAYS = 252


@dataclass(frozen=True)
class PromisedRecord:
    """The sessions that a champion was promoted for, in order, none of them twice.

    Attributes
    ----------
    shapes : SessionShapes
        Of its S sessions; `total` is the result of each, at the costs at which it was judged.
    cost_pips : float
        What its turnover costs, a session on average.
    looks : tuple of float
        Information fractions at which it was judged.
    lucky_z : float
        What the number of trials took off.
    """

    shapes: SessionShapes
    cost_pips: float
    looks: tuple[float, ...]
    lucky_z: float = 0.0


@dataclass(frozen=True)
class Tenure:
    """How a champion stands after its newest window.

    Attributes
    ----------
    window : str
        The newest on which it was judged.
    windows, sessions : int
        On which it was judged since its record.
    total_pips, promised_pips : float
        What it made in them, and what was promised, less the error of the record.
    evidence, threshold : float
        That its edge is gone, summed over the windows; at the threshold it is demoted.
    drawdown_pips : float
        Bar by bar, on the newest window.
    drawdown_limit_pips : float or None
        What its record allows there.
    """

    window: str
    windows: int
    sessions: int
    total_pips: float
    promised_pips: float
    evidence: float
    threshold: float
    drawdown_pips: float
    drawdown_limit_pips: float | None


def looks_of(session_ns: npt.NDArray[np.int64]) -> tuple[float, ...]:
    """Return the one look at a record of which nothing else is known: its share of a year's trading days."""
    days = len(np.unique(trading_day(session_ns)))
    return (min(max(days, 1) / YEAR_DAYS, 1.0),)


def shapes_of_trades(
    sessions: int,
    session: npt.ArrayLike,
    pnl_pips: npt.ArrayLike,
    max_drawdown_pips: npt.ArrayLike,
    peak_pips: npt.ArrayLike,
    low_pips: npt.ArrayLike | None = None,
) -> SessionShapes:
    """Return how the equity moved within each session, from what is known of each trade bar by bar.

    Parameters
    ----------
    sessions : int
        S.
    session : (N,) array-like of int
        Session of each trade; trades in order.
    pnl_pips, max_drawdown_pips, peak_pips : (N,) array-like
        Result of each trade, its largest fall from its own high-water mark while it was open, and that mark.
    low_pips : (N,) array-like, optional
        Its low-water mark, 0 included. Reports of earlier versions do not say: the largest fall is then taken to have
        come last, from the highest mark.
    """
    peaks, falls = np.asarray(peak_pips, dtype=np.float64), np.asarray(max_drawdown_pips, dtype=np.float64)
    lows = np.maximum(peaks, 0.0) - falls if low_pips is None else np.asarray(low_pips, dtype=np.float64)
    total, lowest, highest, fall = (np.zeros(sessions) for _ in range(4))
    for row, pnl, fell, peak, mark in zip(
        np.asarray(session, dtype=np.int64),
        np.asarray(pnl_pips, dtype=np.float64),
        falls,
        peaks,
        lows,
        strict=True,
    ):
        low = total[row] + min(0.0, pnl, mark)
        fall[row] = max(fall[row], highest[row] - low, fell)
        lowest[row] = min(lowest[row], low)
        highest[row] = max(highest[row], total[row] + max(peak, pnl, 0.0))
        total[row] += pnl
        fall[row] = max(fall[row], highest[row] - total[row])
    return SessionShapes(total, lowest, highest, fall)


class Later(NamedTuple):
    """A standing after a champion's record.

    Attributes
    ----------
    standing : Standing
    fresh : bool (S,)
        Its sessions that no earlier one has, which may be none.
    """

    standing: Standing
    fresh: npt.NDArray[np.bool_]


def later_standings(champion: Champion, standings: Sequence[Standing]) -> list[Later]:
    """Return the standings that are about a champion after its record, by the end of their bars.

    Parameters
    ----------
    champion : Champion
    standings : sequence of Standing
        From `judge_standing`, in any order. Those of other models say nothing, nor does a synthetic market of a
        champion that was validated on real candles, nor bars that its record has.

    Returns
    -------
    list of Later
    """
    begin = champion.valid_end_ns or 0
    told = [
        standing
        for standing in standings
        if standing.weights_sha256 == champion.weights_sha256
        and _end_ns(standing) > begin
        and (standing.source != SYNTHETIC or champion.source == SYNTHETIC)
    ]
    until, kept = begin, []
    for standing in sorted(told, key=lambda found: (_end_ns(found), found.window)):
        times = np.asarray(standing.session_ns if standing.sound else (), dtype=np.int64)
        kept.append(Later(standing, times >= until))
        if kept[-1].fresh.any():
            until = max(until, _end_ns(standing))
    return kept


def judge_tenure(
    champion: Champion,
    standings: Sequence[Standing],
    record: PromisedRecord,
    config: PromotionConfig,
) -> Tenure | None:
    """Weigh what a champion made since its record.

    Parameters
    ----------
    champion, standings
        As in `later_standings`.
    record : PromisedRecord
    config : PromotionConfig

    Returns
    -------
    Tenure or None
        None before it was judged on a session after its record.

    Raises
    ------
    ValueError
        If the record promises nothing that could be kept or broken.
    """
    judged = [later for later in later_standings(champion, standings) if later.fresh.any()]
    if not judged:
        return None
    seed = int.from_bytes(hashlib.sha256(champion.weights_sha256.encode()).digest()[:4], "big") >> 1
    series = [np.asarray(found.session_pnl_pips, dtype=np.float64)[fresh] for found, fresh in judged]
    # A window of a usual length: the threshold is for windows of one length.
    usual = max(round(float(np.mean([len(pips) for pips in series]))), 1)
    promise, threshold = _weights(_frozen(record), usual, config.demotion_chance, seed)
    newest, fresh = judged[-1]
    shapes = shapes_of_standing(newest, fresh)
    limit = _limit(_frozen(record), promise, len(series[-1]), config.drawdown_percentile, seed)
    count = sum(len(pips) for pips in series)
    return Tenure(
        window=newest.window,
        windows=len(judged),
        sessions=count,
        total_pips=float(sum(pips.sum() for pips in series)),
        promised_pips=promise.good_pips * count,
        # At any of them: who reached the threshold is gone, whatever came after nobody looked.
        evidence=float(demotion_statistic(series, promise).max()),
        threshold=threshold,
        drawdown_pips=shapes.deepest(),
        drawdown_limit_pips=limit,
    )


def decide_demotion(
    champion: Champion,
    standings: Sequence[Standing],
    record: PromisedRecord | str,
    config: PromotionConfig,
) -> str | None:
    """Decide whether a champion has to go, from how it did on bars after its record.

    Parameters
    ----------
    champion, standings
        As in `later_standings`.
    record : PromisedRecord or str
        What it was promoted for, or why that is not known.
    config : PromotionConfig

    Returns
    -------
    str or None
        Why it is demoted: the evidence that its edge is gone, summed over the windows since its record, reached the
        threshold; its drawdown on the newest window went beyond what its record allows; or it could not be judged on
        the newest `unjudged_windows`. None when it stays.
    """
    told = later_standings(champion, standings)
    recent = told[-config.unjudged_windows :]
    unjudged = [found.standing for found in recent if not found.standing.sound]
    if len(unjudged) == config.unjudged_windows:
        said = "; ".join(f"{found.window}: {' '.join(found.reasons)}" for found in unjudged)
        on = f"its newest {_windows(len(unjudged))}"
        return f"it cannot be judged on {on}, and what cannot be judged is no champion. {said}"
    sound = [found for found in told if found.fresh.any()]
    if not sound:
        return None
    try:
        if isinstance(record, str):
            raise ValueError(record)
        tenure = judge_tenure(champion, standings, record, config)
    except ValueError as error:
        if len(sound) < config.unjudged_windows:
            return None
        return f"it cannot be judged, and what cannot be judged is no champion: {error}"
    if tenure is None:
        return None
    since = (
        f"{tenure.total_pips:+.1f} pips in {tenure.sessions} sessions of {_windows(tenure.windows)} since its record, "
        f"which promises {tenure.promised_pips:+.1f} after its own error"
    )
    if tenure.evidence >= tenure.threshold:
        return (
            f"its edge is gone: {since}. The evidence came to {tenure.evidence:.2f}, and at {tenure.threshold:.2f} a "
            f"champion that keeps its promise would be demoted in {config.demotion_chance:.2%} of its windows."
        )
    limit = tenure.drawdown_limit_pips
    if limit is not None and tenure.drawdown_pips > limit:
        return (
            f"on window {tenure.window} it fell by {tenure.drawdown_pips:.1f} pips, bar by bar, beyond the {limit:.1f} "
            f"pips that {config.drawdown_percentile:g}% of the histories that its record allows stay within ({since})."
        )
    return None


def shapes_of_standing(standing: Standing, rows: npt.NDArray[np.bool_]) -> SessionShapes:
    """Return how the equity moved in the chosen sessions; where only results were kept, in one step each."""
    total = np.asarray(standing.session_pnl_pips, dtype=np.float64)
    known = [standing.session_lowest_pips, standing.session_highest_pips, standing.session_fall_pips]
    if any(values is None for values in known):
        return SessionShapes.of_totals(total[rows])
    lowest, highest, fall = (np.asarray(values, dtype=np.float64)[rows] for values in known)
    return SessionShapes(total[rows], lowest, highest, fall)


def _end_ns(standing: Standing) -> int:
    if standing.valid_end_ns is None:
        raise ValueError(f"the standing on window {standing.window} does not say until when: validate it again.")
    return standing.valid_end_ns


def _windows(count: int) -> str:
    return f"{count} {'window' if count == 1 else 'windows'}"


# A tick of the sensor asks the same again for every report.
_Frozen = tuple[bytes, bytes, bytes, bytes, float, tuple[float, ...], float]


def _frozen(record: PromisedRecord) -> _Frozen:
    shapes = record.shapes
    kept = (np.asarray(part, "<f8").tobytes() for part in (shapes.total, shapes.lowest, shapes.highest, shapes.fall))
    total, lowest, highest, fall = kept
    return total, lowest, highest, fall, record.cost_pips, record.looks, record.lucky_z


def _thawed(frozen: _Frozen) -> PromisedRecord:
    total, lowest, highest, fall = (np.frombuffer(part, "<f8") for part in frozen[:4])
    return PromisedRecord(SessionShapes(total, lowest, highest, fall), *frozen[4:])


@lru_cache(maxsize=32)
def _weights(frozen: _Frozen, sessions: int, chance: float, seed: int) -> tuple[Promise, float]:
    record = _thawed(frozen)
    total = record.shapes.total
    promise = promise_of(total, record.cost_pips, record.looks, deflation=record.lucky_z, seed=seed)
    return promise, demotion_threshold(promise, total, sessions, seed=seed, chance=chance)


@lru_cache(maxsize=32)
def _limit(frozen: _Frozen, promise: Promise, sessions: int, percentile: float, seed: int) -> float | None:
    return drawdown_limit(_thawed(frozen).shapes, promise, sessions, seed=seed, percentile=percentile)
