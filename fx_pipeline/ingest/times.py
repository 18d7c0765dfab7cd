"""Times in text, in the forms that people have: one column or two, with a zone in each cell or without.

The form is told by the first block of a file, and is that of the whole file. A form that can be read in two ways is
refused, unless the file itself shows which one is meant.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fx_pipeline.ingest.clock import NO_TIME
from fx_pipeline.ingest.columns import TimeColumn
from fx_pipeline.ingest.text import read_times, to_nanoseconds
from fx_pipeline.market.errors import DataError

Int64 = npt.NDArray[np.int64]
Cells = Mapping[str, pa.StringArray]

_NUMBER = re.compile(r"^\d+(?:\.\d+)?$")
#: Without minutes, an offset is one only after a time of the day: dates end in two digits, too.
OFFSET = re.compile(r"(?:Z|[+-]\d\d:?\d\d|:\d\d(?:\.\d+)?[+-]\d\d)$")
#: Times that need no parser: most files have nothing else.
_NAIVE = (
    ("YYYY-MM-DD hh:mm:ss", "YYYY-MM-DD hh:mm"), ("YYYY-MM-DDThh:mm:ss", "YYYY-MM-DDThh:mm"),
    ("YYYY.MM.DD hh:mm:ss", "YYYY.MM.DD hh:mm"), ("YYYYMMDD hhmmss", "YYYYMMDD hhmm"),
    ("DD.MM.YYYY hh:mm:ss.000", "DD.MM.YYYY hh:mm:ss", "DD.MM.YYYY hh:mm"),
)  # fmt: skip
_ZONED = (
    ("YYYY-MM-DD hh:mm:ssZ", "YYYY-MM-DD hh:mm:ss+00:00"), ("YYYY-MM-DDThh:mm:ssZ", "YYYY-MM-DDThh:mm:ss+00:00"),
)  # fmt: skip
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAMED_MONTH = re.compile(r"(?i)^(?:\d{1,2}[ -])?(?:" + "|".join(_MONTHS) + r")[a-z]*\.?[ ,-]+\d")
_TWO_WAYS = re.compile(r"^(\d{1,2})([/-])(\d{1,2})[/-](\d{4})")
_SHORT_YEAR = re.compile(r"^\d{1,2}([/.-])\d{1,2}[/.-]\d\d(?:\D|$)")
_CLOCK = re.compile(
    r"(?i)^\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?[ap]\.?m\.?)?(?: ?(?:utc|gmt|z)?(?:[+-]\d\d:?\d\d)?)?$"
)
_DIGITS = re.compile(r"^\d{1,6}$")
_DATE = re.compile(r"^(?:\d{8}|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4})$")
_DAY_ALONE = re.compile(r"(?i)^(?:\d{1,2}[ -])?[a-z]{3,9}\.?[ ,-]+\d{1,4}(?:,? \d{4})?$")
_MIDNIGHT = r"[ T]+0?0:00(?::00(?:\.0+)?)?$"
_ZONE_WORD = re.compile(r"\d ?(?:[A-Z]{2,5}T|[A-Za-z]+/[A-Za-z_/]+)$")
_SERIAL = re.compile(r"^[34567]\d{4}(?:\.\d+)?$")
#: Of the rows with a date that can be read in two ways, at least this share must show the order.
_SHARE_OF_PROOF = 0.01

Rule = tuple[str, str]
_PADS: tuple[Rule, ...] = (
    (r"^(\d{4})-(\d)-", r"\1-0\2-"),
    (r"^(\d{4}-\d\d)-(\d)([ T])", r"\1-0\2\3"),
    (r"^(\S+)[ T]+(\d):", r"\1 0\2:"),
)
_TAILS: tuple[Rule, ...] = (
    (r"(:\d\d)[.,]0+(\D|$)", r"\1\2"),
    (r"\s*(?:GMT|UTC)\s*([+-])(\d)$", r"\10\2:00"),
    (r"\s*(?:GMT|UTC)\s*([+-]\d\d):?(\d\d)?$", r"\1:\2"),
    (r"([+-]\d\d):$", r"\1:00"),
    (r"\s+([+-]\d\d):?(\d\d)$", r"\1:\2"),
    (r"(?i)\s*(?:GMT|UTC|Z)$", "+00:00"),
)
_NOON: tuple[Rule, ...] = (
    (r"(?i) 12(:\d\d(?::\d\d)?) ?a\.?m\.?$", r" 00\1"),
    (r"(?i)( 12:\d\d(?::\d\d)?) ?p\.?m\.?$", r"\1"),
    (r"(?i)( \d?\d:\d\d(?::\d\d)?) ?a\.?m\.?$", r"\1"),
    *((rf"(?i) 0?{hour}(:\d\d(?::\d\d)?) ?p\.?m\.?$", rf" {hour + 12}\1") for hour in range(1, 12)),
)


@dataclass(frozen=True)
class TimeForm:
    """How the times of a file are read.

    Attributes
    ----------
    columns : tuple of TimeColumn
        One, or a date and a time of the day.
    rules : tuple
        What turns a cell into an ISO time: patterns and replacements, in order.
    scale : int or None
        Nanoseconds of a unit, of times that are numbers since 1970.
    zoned : bool
        Whether each time carries a zone.
    assumptions : tuple of str
    """

    path: Path
    columns: tuple[TimeColumn, ...]
    rules: tuple[Rule, ...] = ()
    scale: int | None = None
    zoned: bool = False
    assumptions: tuple[str, ...] = ()

    def read(self, cells: Cells) -> Int64:
        """Return wall-clock nanoseconds, or UTC of times with a zone; `NO_TIME` where unreadable."""
        united = _united(self.columns, cells)
        if self.scale is not None:
            return epochs(_integers(united), self.scale)
        usual = self._usual(united)
        return self._odd(_rewritten(united, self.rules)) if usual is None else usual

    def _usual(self, cells: pa.StringArray) -> Int64 | None:
        for form in _ZONED if self.zoned else _NAIVE:
            times = read_times(cells, *form)
            if not (times == NO_TIME).any():
                return times
        return None

    def _odd(self, cells: pa.StringArray) -> Int64:
        usual = self._usual(cells)
        if usual is not None:
            return usual
        texts = pd.Series(cells.to_pylist(), dtype=object)
        # Among ISO times a number is an epoch, even where its digits would make a date (1512120700); and what still
        # has day or month first has another form than the rest of the file.
        dates = texts.where(~texts.str.fullmatch(_NUMBER) & texts.str.match(r"\d{4}"))
        parsed = pd.to_datetime(dates, format="ISO8601", utc=True, errors="coerce")
        carried = texts[parsed.notna()].str.contains(OFFSET)
        if (carried != self.zoned).any():
            raise DataError(f"{self.path}: some times carry a zone and others do not: make them alike.")
        return datetimes(parsed)


def time_form(
    path: Path, candidates: Sequence[TimeColumn], cells: Cells, every: Callable[[], Iterable[Cells]], row: str = ""
) -> TimeForm:
    """Tell how the times of a file are read.

    Parameters
    ----------
    candidates : sequence of TimeColumn
        Columns that may hold them, the likeliest first.
    cells : mapping of str to (N,) string
        Of the first block, by column.
    every : callable
        Returns the same of all blocks: read where the first cannot tell the order of day and month.
    row : str
        Where the columns' names stand, for messages.

    Raises
    ------
    DataError
        If they hold no time, or one that can be read in two ways.
    """
    columns = _chosen(path, candidates, cells, row)
    united = _united(columns, cells)
    numbers = united.filter(pc.match_substring_regex(united, _NUMBER.pattern))
    compact = _share(united, r"^(?:19|20)\d{10}(?:\d\d)?$") > 0.5
    if 2 * len(numbers) > len(united) and not compact:
        if _share(united, _SERIAL.pattern) > 0.5:
            raise DataError(
                f"{path}: the times are Excel's day numbers, like {united[0].as_py()!r}: give the column the format "
                "yyyy-mm-dd hh:mm in Excel, and save it as CSV again."
            )
        return TimeForm(path, columns, scale=epoch_scale(_integers(numbers)))
    dates, assumptions = _date_rules(path, columns, united, every)
    clocks = _clock_rules(path, _rewritten(united, dates))
    half_days = _share(united, r"(?i)[ap]\.?m\.?$") > 0
    united = _rewritten(united, dates + clocks)
    tails: list[Rule] = []
    for rule in _TAILS:
        if _share(united, rule[0]) > 0:
            tails.append(rule)
            united = _rewritten(united, [rule])
    if _share(united, _ZONE_WORD.pattern) > 0.5:
        raise DataError(
            f"{path}: times like {_first(cells[columns[-1].name])!r} end with the name of a zone, which tells no "
            "offset: write the offset (-05:00), or leave the zone out and give it as --utc-offset (America/New_York)."
        )
    rules = (*dates, *clocks, *_PADS, *tails, *(_NOON if half_days else ()))
    zoned = _share(united, OFFSET.pattern) > 0
    form = TimeForm(path, columns, rules, zoned=zoned, assumptions=assumptions)
    if not columns[0].named:
        _check_unnamed(path, form.read(cells), row)
    return form


def epoch_scale(values: npt.NDArray[np.float64] | Int64) -> int:
    """Return the nanoseconds of a unit: seconds to nanoseconds since 1970, told apart by the size of most."""
    finite = np.isfinite(values) & (np.abs(values) < 2**62)
    typical = float(np.median(np.abs(values[finite]))) if finite.any() else 0.0
    return next(scale for limit, scale in ((1e11, 10**9), (1e14, 10**6), (1e17, 10**3), (np.inf, 1)) if typical < limit)


def epochs(values: npt.NDArray[np.float64] | Int64, scale: int) -> Int64:
    """Return numbers since 1970 as nanoseconds, `NO_TIME` where there is none."""
    finite = np.isfinite(values) & (np.abs(values) < 2**62)
    return to_nanoseconds(np.where(finite, np.where(finite, values, 0).astype(np.int64), NO_TIME), scale)


def datetimes(times: pd.Series) -> Int64:
    """Return times of pandas as nanoseconds."""
    index = pd.DatetimeIndex(times)
    return to_nanoseconds(np.asarray(index.asi8), {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[index.unit])


def _chosen(path: Path, candidates: Sequence[TimeColumn], cells: Cells, row: str) -> tuple[TimeColumn, ...]:
    # The column that has the whole time, or those that have the date and the time of the day.
    kinds = {column: _kind(cells[column.name]) for column in candidates}
    first: dict[str, TimeColumn] = {}
    for column in candidates:
        first.setdefault(kinds[column], column)
    full, date, clock = (first.get(kind) for kind in ("full", "date", "clock"))
    if full is not None and clock is not None and _share(cells[full.name], _MIDNIGHT) == 1:
        full, date = None, full
    if full is not None:
        return (full,)
    if date is not None and clock is not None:
        return date, clock
    only = date or clock
    assert only is not None
    if not only.named:
        raise _unnamed(path, row)
    held = cells[only.name]
    if only is date and 2 * len(held.unique()) > len(held):
        # Days that follow one another: bars of a day are refused for what they are.
        return (date,)
    lacks = "the time of the day" if only is date else "the date"
    raise DataError(
        f"{path}{row}: the column {only.name!r} lacks {lacks} ({held[0].as_py()!r}), and no other column has it: "
        "write times like 2024-01-05 19:00."
    )


def _kind(cells: pa.StringArray) -> str:
    if _share(cells, _DATE.pattern) > 0.5 or _share(cells, _DAY_ALONE.pattern) > 0.5:
        return "date"
    if _share(cells, _CLOCK.pattern) > 0.5 or _share(cells, _DIGITS.pattern) > 0.5:
        return "clock"
    return "full"


def _share(cells: pa.StringArray, pattern: str) -> float:
    # Of the cells that hold something.
    known = cells.filter(pc.not_equal(cells, ""))
    return float(pc.mean(pc.match_substring_regex(known, pattern)).as_py()) if len(known) else 0.0


def _united(columns: Sequence[TimeColumn], cells: Cells) -> pa.StringArray:
    parts = [pc.utf8_trim_whitespace(cells[column.name]) for column in columns]
    if len(parts) == 1:
        return parts[0]
    date, clock = parts
    if pc.any(pc.match_substring(date, ":")).as_py():
        date = pc.replace_substring_regex(date, _MIDNIGHT, "")
    return pc.binary_join_element_wise(date, clock, " ")


def _rewritten(cells: pa.StringArray, rules: Iterable[Rule]) -> pa.StringArray:
    for pattern, replacement in rules:
        cells = pc.replace_substring_regex(cells, pattern, replacement)
    return cells


def _date_rules(
    path: Path, columns: Sequence[TimeColumn], cells: pa.StringArray, every: Callable[[], Iterable[Cells]]
) -> tuple[tuple[Rule, ...], tuple[str, ...]]:
    # What turns the usual date of a file into year-month-day, and what had to be assumed for it.
    space = (r"^(\d{4}-\d\d?-\d\d?)[ ,;T]+", r"\1 ")
    families: tuple[tuple[str, str], ...] = (
        (r"^(\d{4})-(\d{1,2})-(\d{1,2})", r"\1-\2-\3"),
        (r"^(\d{4})[./](\d{1,2})[./](\d{1,2})", r"\1-\2-\3"),
        (r"^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)$", r"\1-\2-\3 \4:\5"),
        (r"^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$", r"\1-\2-\3 \4:\5:\6"),
        (r"^(\d{4})(\d\d)(\d\d)[ ,;_T-]+", r"\1-\2-\3 "),
    )
    for rule in families:
        if _share(cells, rule[0]) > 0.5:
            return (rule, space), ()
    day_first = (r"^(\d{1,2})[./-](\d{1,2})[./-](\d{4})", r"\3-\2-\1")
    if _share(cells, r"^\d{1,2}\.\d{1,2}\.\d{4}") > 0.5:
        return (day_first, space), (f"dates: those like {_first(cells)[:10]!r}, with points, are day.month.year",)
    if _share(cells, _TWO_WAYS.pattern) > 0.5:
        is_day_first, said = _order(path, columns, every)
        month_first = (day_first[0], r"\3-\1-\2")
        return (day_first if is_day_first else month_first, space), (said,)
    if _share(cells, _SHORT_YEAR.pattern) > 0.5:
        raise DataError(
            f"{path}: dates like {_first(cells)!r}, with a year of two digits, can be read in several ways: write "
            "2024-01-05."
        )
    if _share(cells, _NAMED_MONTH.pattern) > 0.5:
        named = [
            rule
            for number, month in enumerate(_MONTHS, start=1)
            for rule in (
                (rf"(?i)^(\d{{1,2}})[ -]{month}[a-z]*\.?[ ,-]+(\d{{4}})", rf"\2-{number:02d}-\1"),
                (rf"(?i)^{month}[a-z]*\.? +(\d{{1,2}}),? +(\d{{4}}),?", rf"\2-{number:02d}-\1"),
            )
        ]
        return (*named, space), ()
    return (), ()


def _order(path: Path, columns: Sequence[TimeColumn], every: Callable[[], Iterable[Cells]]) -> tuple[bool, str]:
    # Whether days come before months in dates like 01/05/2024: only the whole file can show it.
    rows = days = months = alike = 0
    example = ""
    for cells in every():
        united = _united(columns, cells)
        found = united.filter(pc.match_substring_regex(united, _TWO_WAYS.pattern))
        if not len(found):
            continue
        example = example or str(found[0])
        pattern = r"^(?P<first>\d{1,2})[/-](?P<second>\d{1,2})[/-]\d{4}"
        numbers = pc.extract_regex(found, pattern)
        first, second = (
            np.asarray(pc.struct_field(numbers, name).cast(pa.int64()).to_numpy(zero_copy_only=False))
            for name in ("first", "second")
        )
        rows += len(found)
        days += int(((first > 12) & (second <= 12)).sum())
        months += int(((second > 12) & (first <= 12)).sum())
        alike += int((first == second).sum())
    date = example.split(" ")[0]
    one, two, year = re.split("[/-]", _TWO_WAYS.match(example)[0])  # type: ignore[index]
    if days and months:
        raise DataError(
            f"{path}: of its dates like {date!r}, {days:,} can only have the day first and {months:,} only the month: "
            f"write all of them like {year}-{one.zfill(2)}-{two.zfill(2)}."
        )
    told = max(days, months)
    if (told < _SHARE_OF_PROOF * rows and alike < rows) or not rows:
        proof = f"only {told:,} of {rows:,} rows tell" if told else "no row tells"
        iso, other = f"{year}-{one.zfill(2)}-{two.zfill(2)}", f"{year}-{two.zfill(2)}-{one.zfill(2)}"
        raise DataError(
            f"{path}: dates like {date!r} can be read in two ways: write {iso}, or {other} if that is what they mean "
            f"({proof})."
        )
    meant = "day/month/year" if days else "month/day/year"
    return bool(days), f"dates: those like {date!r} are {meant}, as {told:,} of {rows:,} rows cannot be read otherwise"


def _first(cells: pa.StringArray) -> str:
    return next((text for text in cells.to_pylist() if text), "")


def _clock_rules(path: Path, cells: pa.StringArray) -> tuple[Rule, ...]:
    # Times of the day without marks, 1900 or 190000, of which a program may have dropped the zeros in front.
    pattern = r"^\d{4}-\d{1,2}-\d{1,2}[ T]+(?P<clock>\d{1,6})$"
    if _share(cells, pattern) <= 0.5:
        return ()
    found = pc.struct_field(pc.extract_regex(cells, pattern), "clock").drop_null()
    lengths = set(pc.unique(pc.utf8_length(found)).to_pylist())
    if lengths <= {4}:
        width = 4
    elif lengths <= {6}:
        width = 6
    else:
        number = np.asarray(found.cast(pa.int64()).to_numpy(zero_copy_only=False))
        minutes = (number // 100 < 24) & (number % 100 < 60)
        seconds = (number // 10_000 < 24) & (number // 100 % 100 < 60) & (number % 100 == 0)
        fits = [width for width, good in ((4, minutes), (6, seconds)) if good.all()]
        if len(fits) == 2:
            raise DataError(
                f"{path}: times of the day like {str(found[-1])!r} can be read in two ways, with seconds or without: "
                "write 19:00."
            )
        width = fits[0] if fits else 4 if max(lengths) <= 4 else 6
    pads = [(rf"^(\S+)[ T]+(\d{{{n}}})$", r"\1 " + "0" * (width - n) + r"\2") for n in range(1, width)]
    marks = (r"^(\S+)[ T]+" + r"(\d\d)" * (width // 2) + "$", r"\1 \2:\3" + (r":\4" if width == 6 else ""))
    return (*pads, marks)


def _check_unnamed(path: Path, times: Int64, row: str) -> None:
    # Numbers of rows are no times, though they could be some since 1970.
    known = times[times != NO_TIME]
    if (
        2 * len(known) < len(times)
        or not len(known)
        or np.median(known) < int(np.datetime64("1990-01-01", "ns").astype(int))
    ):
        raise _unnamed(path, row)


def _unnamed(path: Path, row: str) -> DataError:
    return DataError(
        f"{path}{row}: no time column: the first column has no name. Call it time if it holds the times, and write "
        "them like 2024-01-05 19:00."
    )


def _integers(cells: pa.StringArray) -> npt.NDArray[np.float64] | Int64:
    try:
        return np.asarray(cells.cast(pa.int64()).to_numpy(zero_copy_only=False))
    except pa.ArrowInvalid:
        numbers = pd.to_numeric(pd.Series(cells.to_pylist(), dtype=object), errors="coerce")
        return np.asarray(numbers.to_numpy())
