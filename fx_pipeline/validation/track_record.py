"""The walk-forward record of a configuration: what is judged is a year of unseen windows, not the newest one alone.

A configuration is trained anew in each window, and its candidate trades the days after. Those sessions, pooled over the
windows whose validation lies in the 365 days that end with the judged one, are its record. Nobody chooses what belongs
to it: every window with a reported candidate does; where a window had several, or windows share bars, the one with the
worst total counts, and a window that is missing in between is named. Newer windows are no part of the record of an
older one, so an old report never changes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.calendar import MINUTE_NS, day_name, trading_day
from fx_pipeline.market.errors import DataError
from fx_pipeline.provenance.evaluation import rolled_out_by
from fx_pipeline.validation.evidence import Evidence, FloatArray, IntArray
from fx_pipeline.validation.excursions import Excursions

#: A record reaches back so far from the end of its newest window.
YEAR_NS = 365 * 86_400 * 1_000_000_000
#: Trading days of that year: the information of a whole record.
YEAR_DAYS = 252


class Scored(Protocol):
    """A row of the trial ledger with its series and evidence (`ScoredTrial`)."""

    @property
    def key(self) -> str: ...
    @property
    def config_hash(self) -> str: ...
    @property
    def checkpoint_hash(self) -> str: ...
    @property
    def evaluation_code(self) -> str: ...
    @property
    def costs(self) -> Mapping[str, Any]: ...
    @property
    def seed(self) -> int: ...
    @property
    def window(self) -> str: ...
    @property
    def valid_start_ns(self) -> int: ...
    @property
    def valid_end_ns(self) -> int: ...
    @property
    def trades(self) -> int: ...
    @property
    def session_ns(self) -> IntArray: ...
    @property
    def session_pnl_pips(self) -> FloatArray: ...
    @property
    def evidence(self) -> bytes: ...
    @property
    def reported(self) -> bool: ...


class Planned(NamedTuple):
    """A window of the walk-forward plan: its key, and its validation span in UTC nanoseconds, end exclusive."""

    key: str
    valid_start_ns: int
    valid_end_ns: int


@dataclass(frozen=True, eq=False)
class RecordWindow:
    """What a window adds to a record.

    Attributes
    ----------
    window : str
        Its key.
    seed : int
    checkpoint : str
        Hash of the weights that count for it.
    candidates : int
        Distinct checkpoints of the configuration that were reported in it.
    kept : (S,) bool
        Sessions of the evidence that count: those that a window with a worse total has judged, too, do not.
    evidence : Evidence
    """

    window: str
    seed: int
    checkpoint: str
    candidates: int
    kept: npt.NDArray[np.bool_]
    evidence: Evidence

    @property
    def trades(self) -> npt.NDArray[np.bool_]:
        """Which trades (N,) of the evidence count."""
        return self.kept[self.evidence.trade_session]


@dataclass(frozen=True, eq=False)
class SeedRecord:
    """A seed of the configuration on the sessions of the record.

    Attributes
    ----------
    seed : int
        By the record of its trainings.
    checkpoints : tuple of str
        Hashes of its weights, by window.
    newest : bool
        Whether it was scored on the newest window.
    trades : int or None
        Closed on the sessions of the record; None where that is not known.
    session_pnl_pips : (T,) float64
        NaN in windows in which it was not scored.
    """

    seed: int
    checkpoints: tuple[str, ...]
    newest: bool
    trades: int | None
    session_pnl_pips: FloatArray

    @property
    def total_pips(self) -> float:
        """Over the sessions on which it was scored."""
        return float(np.nansum(self.session_pnl_pips))


@dataclass(frozen=True)
class WindowTrial:
    """A trial of the window on the sessions of this validation.

    Attributes
    ----------
    configuration : str
        The same for trials that differ in their seed only.
    seed : int
    session_pnl_pips : (T,) float64
    this : bool
        Whether it is the one that is validated.
    checkpoint : str
        Hash of its weights; empty where that is not known.
    trades : int or None
        Closed on these sessions; None where that is not known.
    """

    configuration: str
    seed: int
    session_pnl_pips: npt.NDArray[np.float64]
    this: bool
    checkpoint: str = ""
    trades: int | None = None


@dataclass(frozen=True, eq=False)
class TrackRecord:
    """A record of `T` sessions and `N` trades over its windows, oldest first; the last window is the judged one.

    Attributes
    ----------
    windows : tuple of RecordWindow
    seeds : tuple of SeedRecord
    family : tuple of WindowTrial
        This record and everything else in the ledger that was scored on all of its sessions.
    left_out : int
        Configurations and seeds that were scored on a part of its sessions only.
    missing : tuple of str
        What the record lacks, in words: windows without a candidate, and rows without evidence.
    """

    windows: tuple[RecordWindow, ...]
    seeds: tuple[SeedRecord, ...]
    family: tuple[WindowTrial, ...]
    left_out: int
    missing: tuple[str, ...]

    @cached_property
    def session_ns(self) -> IntArray:
        """First bar (T,) of each session."""
        return np.concatenate([one.evidence.session_ns[one.kept] for one in self.windows])

    @cached_property
    def session_pnl_pips(self) -> FloatArray:
        """Result (T,) of each session."""
        return np.concatenate([one.evidence.session_pnl_pips[one.kept] for one in self.windows])

    @property
    def pnl_pips(self) -> FloatArray:
        """Result (N,) of each trade."""
        return self._of_trades("trade_pnl_pips")

    @property
    def stressed_pips(self) -> FloatArray:
        """Result (N,) of each trade with at least a tick of slippage a fill."""
        return self._of_trades("trade_stressed_pips")

    @property
    def trade_returns(self) -> FloatArray:
        """Result (N,) of each trade as a fraction of the position's value at entry."""
        return np.asarray(self.pnl_pips * self.trade_values, np.float64)

    @property
    def excursions(self) -> Excursions:
        """How far each trade (N,) moved while it was open, in pips."""
        parts = [[part[one.trades] for part in one.evidence.excursions] for one in self.windows]
        return Excursions(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    @property
    def trade_values(self) -> FloatArray:
        """What a pip of each trade (N,) is of the position's value."""
        return np.concatenate([one.evidence.pip / one.evidence.trade_entry_price[one.trades] for one in self.windows])

    @property
    def spans(self) -> list[tuple[int, int]]:
        """First bar of the first session that counts in each window, and last bar of the last, UTC nanoseconds."""
        counted = [(one.evidence.session_ns[one.kept], _last_bar(one.evidence)) for one in self.windows]
        return [(int(sessions[0]), int(sessions[-1]) + more) for sessions, more in counted]

    @property
    def baselines(self) -> dict[str, FloatArray]:
        """What each baseline (T,) made that every window knows."""
        names = [
            name
            for name in self.windows[-1].evidence.baselines
            if all(name in one.evidence.baselines for one in self.windows)
        ]
        return {
            name: np.concatenate([one.evidence.baselines[name][one.kept] for one in self.windows]) for name in names
        }

    @property
    def random_moments(self) -> FloatArray:
        """Mean, variance and third central moment (3,) of the total of random traders."""
        parts = [one.evidence.random_moments[one.kept].sum(axis=0) for one in self.windows]
        return np.asarray(np.sum(parts, axis=0), np.float64)

    @property
    def looks(self) -> tuple[float, ...]:
        """Share of a year's trading days that had been seen after each window, increasing: when it was judged."""
        days: set[int] = set()
        shares: list[float] = []
        for one in self.windows:
            days.update(trading_day(one.evidence.session_ns[one.kept]).tolist())
            share = min(len(days) / YEAR_DAYS, 1.0)
            if share > (shares[-1] if shares else 0.0):
                shares.append(share)
        return tuple(shares)

    @property
    def days(self) -> int:
        """Trading days with a session."""
        return len(np.unique(trading_day(self.session_ns)))

    @property
    def shared_sessions(self) -> int:
        """Sessions of windows that share bars with a worse one: its sessions count."""
        return int(sum((~one.kept).sum() for one in self.windows))

    @property
    def overlapping_sessions(self) -> int:
        """Sessions that begin before the one before them can have ended."""
        ends = np.concatenate(
            [one.evidence.session_ns[one.kept] + one.evidence.session_length_ns for one in self.windows]
        )
        order = np.argsort(self.session_ns, kind="stable")
        return int((self.session_ns[order][1:] < ends[order][:-1]).sum())

    def _of_trades(self, name: str) -> FloatArray:
        return np.concatenate([getattr(one.evidence, name)[one.trades] for one in self.windows])


def record_of_window(
    evidence: Evidence,
    window: str,
    seed: int,
    checkpoint: str,
    trials: Sequence[WindowTrial] = (),
    left_out: int = 0,
) -> TrackRecord:
    """Return the record of one window, with the seeds and the family of the trials that are known of it.

    Parameters
    ----------
    evidence : Evidence
    window : str
    seed : int
    checkpoint : str
    trials : sequence of WindowTrial
        Those of the window that were judged as this one, which is among them; none where no ledger was asked.
    left_out : int
        Those that were judged otherwise.
    """
    only = RecordWindow(window, seed, checkpoint, 1, np.ones(len(evidence.session_ns), np.bool_), evidence)
    seeds = window_seeds(trials, len(evidence.trade_pnl_pips))
    return TrackRecord((only,), seeds, tuple(trials), left_out, ())


def window_seeds(trials: Sequence[WindowTrial], trades: int | None = None) -> tuple[SeedRecord, ...]:
    """Return the seeds of the judged configuration on its window; the worst checkpoint of each.

    `trades` are those of the judged trial, where its row does not know them.
    """
    own = next((trial.configuration for trial in trials if trial.this), None)
    worst: dict[int, WindowTrial] = {}
    for trial in trials:
        if trial.configuration == own:
            known = worst.get(trial.seed)
            if known is None or trial.session_pnl_pips.sum() < known.session_pnl_pips.sum():
                worst[trial.seed] = trial
    return tuple(
        SeedRecord(
            trial.seed,
            (trial.checkpoint,) if trial.checkpoint else (),
            True,
            trades if trial.this and trial.trades is None else trial.trades,
            trial.session_pnl_pips,
        )
        for _, trial in sorted(worst.items())
    )


def gather_record(
    own: Scored,
    evidence: Evidence,
    rows: Sequence[Scored],
    rivals: Iterable[Scored] = (),
    planned: Sequence[Planned] = (),
) -> TrackRecord:
    """Gather the record that ends with a trial.

    Parameters
    ----------
    own : Scored
        The trial that is judged.
    evidence : Evidence
        Of it, as it was scored now.
    rows : sequence of Scored
        Rows of its configuration over all windows, oldest first (`Ledger.of_configuration`), this one among them or
        not.
    rivals : iterable of Scored
        Rows of other configurations on windows that overlap.
    planned : sequence of Planned
        The walk-forward plan: what should have been judged.

    Returns
    -------
    TrackRecord
    """
    end = own.valid_end_ns
    mine = [row for row in rows if _within(row, end) and row.key != own.key]
    windows, missing = _windows(own, evidence, mine)
    missing += _lost_days(own, evidence, rows, planned)
    names = {one.window for one in windows}
    known = {row.window for row in mine} | names
    begin = min(int(one.evidence.session_ns[0]) for one in windows)
    for plan in planned:
        if plan.valid_end_ns <= end and plan.valid_start_ns >= begin and plan.key not in known:
            missing.append(f"window {plan.key} lies between, and was not validated")
    rivals = [row for row in rivals if _within(row, end)]
    missing += _passed_over(windows, rivals)
    record = TrackRecord(windows, (), (), 0, tuple(missing))
    seeds = _seeds(record, [*mine, own], own, evidence)
    family, left_out = _family(record, seeds, own, rivals)
    return replace(record, seeds=seeds, family=family, left_out=left_out)


def _within(row: Scored, end: int) -> bool:
    return row.valid_start_ns >= end - YEAR_NS and row.valid_end_ns <= end


def _last_bar(evidence: Evidence) -> int:
    return (evidence.session_bars - 1) * evidence.bar_minutes * MINUTE_NS


def _likeness(row: Scored, own: Scored) -> tuple[bool, bool]:
    # Costs of the ledger have been through JSON; what is equal there is the same.
    return rolled_out_by(row.evaluation_code) == rolled_out_by(own.evaluation_code), dict(row.costs) == dict(own.costs)


def _alike(rows: Sequence[Scored], own: Scored) -> Scored:
    """Of several scores of the same weights, the one that was judged most as `own` was; of those the worst."""
    best = max(_likeness(row, own) for row in rows)
    return min((row for row in rows if _likeness(row, own) == best), key=lambda row: float(row.session_pnl_pips.sum()))


def _windows(own: Scored, evidence: Evidence, rows: Sequence[Scored]) -> tuple[tuple[RecordWindow, ...], list[str]]:
    reported: dict[str, dict[str, list[Scored]]] = {own.window: {own.checkpoint_hash: [own]}}
    scored: dict[str, int] = {}
    for row in rows:
        scored.setdefault(row.window, row.valid_start_ns)
        if row.reported and not (row.window == own.window and row.checkpoint_hash == own.checkpoint_hash):
            reported.setdefault(row.window, {}).setdefault(row.checkpoint_hash, []).append(row)
    missing = [f"window {name} was scored, and has no report" for name in scored if name not in reported]
    chosen: list[tuple[Scored, int, Evidence]] = []
    for name, checkpoints in reported.items():
        found = [_alike(candidates, own) for candidates in checkpoints.values()]
        worst = min(found, key=lambda row: float(row.session_pnl_pips.sum()))
        if worst is own:
            chosen.append((own, len(found), evidence))
            continue
        if not worst.evidence:
            missing.append(f"window {name} was judged when no evidence was kept")
            continue
        chosen.append((worst, len(found), Evidence.from_bytes(worst.evidence)))
    # Windows that share bars are draws of the same days: the worse one keeps them, or who plans windows anew until one
    # does well would have chosen among them.
    chosen.sort(key=lambda one: (float(one[2].session_pnl_pips.sum()), one[0].window))
    windows: list[RecordWindow] = []
    starts, ends = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for row, candidates, shown in chosen:
        kept = ~_covered(shown, starts, ends)
        if kept.any():
            windows.append(RecordWindow(row.window, row.seed, row.checkpoint_hash, candidates, kept, shown))
            starts = np.concatenate((starts, shown.session_ns[kept]))
            ends = np.concatenate((ends, shown.session_ns[kept] + shown.session_length_ns))
            order = np.argsort(starts, kind="stable")
            starts, ends = starts[order], np.maximum.accumulate(ends[order])
    if not windows:
        raise DataError("no window of this configuration has evidence: validate it again.")
    windows.sort(key=lambda one: (int(one.evidence.session_ns[one.kept][0]), one.window))
    return tuple(windows), missing


def _lost_days(own: Scored, evidence: Evidence, rows: Sequence[Scored], planned: Sequence[Planned]) -> list[str]:
    """Say which days of the judged window were judged before by this code, and have no session now."""
    until = next((plan.valid_end_ns for plan in planned if plan.key == own.window), own.valid_end_ns)
    # Its own row is of the sessions on which it was scored first.
    before = [row for row in (*rows, own) if row.window == own.window and row.evaluation_code == own.evaluation_code]
    starts = np.concatenate([row.session_ns for row in before])
    lost = np.setdiff1d(trading_day(starts[starts < until]), trading_day(evidence.session_ns))
    if not len(lost):
        return []
    days = ", ".join(day_name(int(day)) for day in lost[:3]) + (f" and {len(lost) - 3} more" if len(lost) > 3 else "")
    return [f"window {own.window} was judged on {days} before, and has no session there now: bring the candles back"]


def _passed_over(windows: Sequence[RecordWindow], rivals: Sequence[Scored]) -> list[str]:
    """Say which windows another configuration was scored on lie within the record, on days that it has no session of.

    The plan is a file: who takes windows out of it, and tries another configuration on the rest, has chosen the days.
    """
    days = np.unique(np.concatenate([trading_day(one.evidence.session_ns) for one in windows]))
    found: dict[str, set[int]] = {}
    for row in rivals:
        seen = np.unique(trading_day(row.session_ns))
        inside = seen[(seen > days[0]) & (seen < days[-1])]
        lacking = np.setdiff1d(inside, days)
        # A short day has a session in one plan of windows and none in another.
        if len(lacking) > max(len(inside) // 2, 1):
            found.setdefault(row.window, set()).update(lacking.tolist())
    return [
        f"{len(lacking)} days from {day_name(min(lacking))} on, which others were scored on in window {name}, have no "
        "session of this configuration"
        for name, lacking in sorted(found.items())
    ]


def _covered(shown: Evidence, starts: IntArray, ends: IntArray) -> npt.NDArray[np.bool_]:
    """Which sessions share a bar with those that begin at `starts`, increasing; `ends` (exclusive) are the latest."""
    if not len(starts):
        return np.zeros(len(shown.session_ns), np.bool_)
    last = np.searchsorted(starts, shown.session_ns + shown.session_length_ns) - 1
    return np.asarray((last >= 0) & (ends[np.maximum(last, 0)] > shown.session_ns))


def _seeds(record: TrackRecord, rows: Sequence[Scored], own: Scored, evidence: Evidence) -> tuple[SeedRecord, ...]:
    names = [one.window for one in record.windows]
    found: dict[int, dict[str, dict[str, list[Scored]]]] = {}
    for row in rows:
        if row.window in names:
            found.setdefault(row.seed, {}).setdefault(row.window, {}).setdefault(row.checkpoint_hash, []).append(row)
    seeds = []
    for seed, by_window in sorted(found.items()):
        pnl = np.full(len(record.session_ns), np.nan)
        trades, hashes, unknown = 0, [], False
        for name in names:
            if name not in by_window:
                continue
            # Trained again from the same seed: the worse one counts.
            row = min(
                (_alike(alike, own) for alike in by_window[name].values()),
                key=lambda row: float(row.session_pnl_pips.sum()),
            )
            hashes.append(row.checkpoint_hash)
            places, own_places = _places(record.session_ns, row.session_ns)
            pnl[places] = row.session_pnl_pips[own_places]
            if len(places) == len(row.session_ns):
                trades += row.trades
            elif row is own or row.evidence:
                shown = evidence if row is own else Evidence.from_bytes(row.evidence)
                trades += int(np.isin(shown.session_ns[shown.trade_session], record.session_ns).sum())
            else:
                unknown = True
        seeds.append(SeedRecord(seed, tuple(hashes), own.window in by_window, None if unknown else trades, pnl))
    return tuple(seeds)


def _family(
    record: TrackRecord, seeds: Sequence[SeedRecord], own: Scored, rivals: Sequence[Scored]
) -> tuple[tuple[WindowTrial, ...], int]:
    times = record.session_ns
    this = WindowTrial(own.config_hash, own.seed, record.session_pnl_pips, True)
    family, left_out = [this], 0
    for seed in seeds:
        pnl = seed.session_pnl_pips
        if np.isnan(pnl).any():
            left_out += 1
        elif not np.array_equal(pnl, record.session_pnl_pips):
            family.append(WindowTrial(own.config_hash, seed.seed, pnl, False))
    others: dict[tuple[str, int], dict[str, list[Scored]]] = {}
    for row in rivals:
        others.setdefault((row.config_hash, row.seed), {}).setdefault(row.checkpoint_hash, []).append(row)
    for (configuration, number), checkpoints in others.items():
        pnl = np.full(len(times), np.nan)
        for row in sorted((_alike(rows, own) for rows in checkpoints.values()), key=lambda row: row.valid_start_ns):
            places, own_places = _places(times, row.session_ns)
            pnl[places] = np.fmin(pnl[places], row.session_pnl_pips[own_places])
        if np.isnan(pnl).all():
            continue
        if np.isnan(pnl).any():
            left_out += 1
        else:
            family.append(WindowTrial(configuration, number, pnl, False))
    return tuple(family), left_out


def _places(times: IntArray, others: IntArray) -> tuple[IntArray, IntArray]:
    """Places of the sessions that two lists have in common, in each of them."""
    _, left, right = np.intersect1d(times, others, assume_unique=True, return_indices=True)
    return np.asarray(left, np.int64), np.asarray(right, np.int64)
