"""How many things were chosen among on the days of a trial: the number that a good result is deflated by.

Counted is what somebody could have picked because it did well on these bars, under whatever name they were judged:

- each configuration that has a score on bars that overlap those of the trial's record, by their time under the same
  instrument, or by their content under any (`market.prints`);
- each further candidate of a configuration that a report was made on: a training again on the same days, or the same
  weights on days that end elsewhere or on candles that were changed;
- each further year of days on which anything has been judged under the instrument's name, before or after: who tries
  another configuration on another year until one does well has chosen the year;
- each trial that a lost ledger had and that could not be carried over.

Seeds are no choice, as all of them are judged, and neither is a champion's replay on newer days, which was chosen
before. A training that chooses among its own weights does so on days before those of its window; where they are days of
the record, its configuration counts, as any other.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.prints import Days, delayed, full, no_days, overlap, same_but_for_the_clock, same_candles

#: Times (UTC nanoseconds) and mid closes.
Bars = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]
#: A record: what lies within a year before its end.
_DAY_NS = 86_400 * 1_000_000_000
RECORD_NS = 365 * _DAY_NS
#: Trading days of a year.
YEAR_DAYS = 252
#: Days that are compared with those of a record at a time.
_CHUNK = 4_096


@dataclass(frozen=True)
class Look:
    """A score that somebody saw, as far as it matters here.

    Attributes
    ----------
    key, instrument, window, config_hash, checkpoint_hash, data_fingerprint : str
    start_ns, end_ns : int
        Span of its bars, UTC; 0 where it is not known.
    days : str
        Under which its days are known; empty where they are not.
    reported : bool
        Whether a report was made on it.
    choice : bool
        Whether it stands in a window that candidates are chosen on.
    """

    key: str
    instrument: str
    window: str
    config_hash: str
    checkpoint_hash: str
    data_fingerprint: str
    start_ns: int
    end_ns: int
    days: str
    reported: bool
    choice: bool


@dataclass(frozen=True)
class Choices:
    """What was chosen among.

    Attributes
    ----------
    configurations : int
        This one among them.
    candidates, years, lost : int
        As the module says.
    instruments : int
        Names under which the candles were judged; it adds nothing.
    """

    configurations: int
    candidates: int
    years: int
    lost: int
    instruments: int

    @property
    def total(self) -> int:
        """The number of trials that deflates."""
        return self.configurations + self.candidates + self.years + self.lost

    def words(self) -> dict[str, int]:
        """Return the parts by what they are called on a page."""
        return {
            "configurations": self.configurations,
            "further candidates": self.candidates,
            "further years": self.years,
            "lost trials": self.lost,
            "instruments": self.instruments,
        }


def record_start_ns(own: Look, looks: Iterable[Look]) -> int:
    """Return where the record of a trial begins: its configuration's first window within a year before its end."""
    starts = [look.start_ns for look in looks if _of_record(own, look)]
    return min([own.start_ns, *starts])


def count_choices(
    own: Look, looks: Sequence[Look], days: Mapping[str, Days], lost: int, bars: Bars | None = None
) -> Choices:
    """Count what was chosen among on the record that ends with a trial.

    Parameters
    ----------
    own : Look
        The trial, which need not be among `looks` yet.
    looks : sequence of Look
        All of the ledger, but for replays.
    days : Mapping of str to (D,) array of `market.prints.DAY`
        The days of `own` and of `looks`.
    lost : int
        Trials of lost ledgers that could not be carried over.
    bars : (T,) int64, (T,) float64, optional
        Times and mid closes of the trial's own bars: with them, candles are found whose clock was put forward.
    """
    others = [look for look in looks if look.key != own.key]
    seen = [own, *_overlapping(own, others, days, bars)]
    return Choices(
        configurations=len({look.config_hash for look in seen}),
        candidates=_further_candidates([look for look in seen if look.choice and (look.reported or look is own)]),
        years=_further_years(own, others, days),
        lost=lost,
        instruments=len({look.instrument for look in seen}),
    )


def _of_record(own: Look, look: Look) -> bool:
    alike = (look.instrument, look.config_hash) == (own.instrument, own.config_hash)
    inside = own.end_ns - RECORD_NS <= look.start_ns and look.end_ns <= own.end_ns
    return alike and look.choice and inside and look.end_ns > 0


def _overlapping(own: Look, others: Sequence[Look], days: Mapping[str, Days], bars: Bars | None) -> list[Look]:
    start_ns = record_start_ns(own, others)
    by_time, unknown = [], []
    for look in others:
        named_so = look.instrument == own.instrument
        if look.data_fingerprint == own.data_fingerprint:
            by_time.append(look)
        elif named_so and (not look.end_ns or (look.start_ns < own.end_ns and start_ns < look.end_ns)):
            # Where the span of its bars is not known, nobody knows that they are others.
            by_time.append(look)
        elif look.days:
            unknown.append(look)
    ours = _days_of((look for look in [own, *others] if look is own or _of_record(own, look)), days)
    same = _same_content(ours, {look.days for look in unknown}, days, bars)
    return by_time + [look for look in unknown if look.days in same]


def _days_of(looks: Iterable[Look], days: Mapping[str, Days]) -> Days:
    names = dict.fromkeys(look.days for look in looks if look.days)
    if not names:
        return no_days()
    found = full(np.concatenate([days[name] for name in names]))
    return found[np.unique(found["day"], return_index=True)[1]]


def _same_content(ours: Days, names: set[str], days: Mapping[str, Days], bars: Bars | None) -> set[str]:
    theirs = {name: full(days[name]) for name in sorted(names)}
    theirs = {name: found for name, found in theirs.items() if len(found)}
    if not len(ours) or not theirs:
        return set()
    everything, order = np.concatenate(list(theirs.values())), list(theirs)
    owner = np.repeat(np.arange(len(order)), [len(found) for found in theirs.values()])
    parts = range(0, len(everything), _CHUNK)
    near = {
        int(found)
        for part in parts
        for found in owner[part : part + _CHUNK][same_candles(ours, everything[part : part + _CHUNK]).any(axis=0)]
    }
    # Nearly all share no day at all: only the rest is looked at closely.
    same = {order[number] for number in near if overlap(ours, theirs[order[number]])}
    if bars is not None and len(same) < len(order):
        probes, steps = delayed(*bars)
        for part in parts:
            piece = slice(part, part + _CHUNK)
            same |= {order[number] for number in same_but_for_the_clock(probes, steps, everything[piece], owner[piece])}
    return same


def _further_candidates(looks: Sequence[Look]) -> int:
    """Count the candidates beyond one for each stretch of days, configuration by configuration."""
    by_configuration: dict[str, list[Look]] = defaultdict(list)
    for look in looks:
        by_configuration[look.config_hash].append(look)
    further = 0
    for candidates in by_configuration.values():
        looked: dict[tuple[str, str], set[tuple[int, str]]] = defaultdict(set)
        for look in candidates:
            # The same weights over days that end elsewhere, or over candles that were changed: another draw.
            drawn = {(look.end_ns // _DAY_NS, look.data_fingerprint)} if look.end_ns else set()
            looked[look.instrument, look.checkpoint_hash] |= drawn
        names = {look.instrument for look in candidates}
        stretches = max(_disjoint([look for look in candidates if look.instrument == name]) for name in names)
        further += max(sum(max(len(found), 1) for found in looked.values()) - stretches, 0)
    return further


def _disjoint(looks: Sequence[Look]) -> int:
    """Count how many spans of bars there are at most that do not overlap."""
    count, reached_ns = 0, 0
    for start_ns, end_ns in sorted({(look.start_ns, look.end_ns) for look in looks if look.end_ns}, key=lambda x: x[1]):
        if start_ns >= reached_ns:
            count, reached_ns = count + 1, end_ns
    return count + len({look.window for look in looks if not look.end_ns})


def _further_years(own: Look, others: Sequence[Look], days: Mapping[str, Days]) -> int:
    judged = [look for look in others if look.instrument == own.instrument and look.choice]
    return max(len(_days_of([own, *judged], days)) - 1, 0) // YEAR_DAYS
