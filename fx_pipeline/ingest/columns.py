"""What the columns of a table of candles are, by their names."""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from fx_pipeline.ingest.clock import Clock, parse_clock
from fx_pipeline.market.candles import SIDES
from fx_pipeline.market.errors import ConfigurationError, DataError

EXPECTED = "time, open, high, low, close and optionally volume, or bid_open .. ask_close"
Subject = Literal["instrument", "base", "quote", "side", "timeframe"]

_TIME = (
    "time",
    "timestamp",
    "datetime",
    "date",
    "opentime",
    "timeopen",
    "bartime",
    "starttime",
    "windowstart",
    "dtyyyymmdd",
    "yyyymmdd",
    "ts",
    "t",
    "day",
)
_VOLUME = ("volume", "tickvolume", "tickvol", "tickqty", "ticks", "vol")
_FIELDS = ("open", "high", "low", "close")
_TAGS: dict[str, Subject] = {
    **dict.fromkeys(
        ("symbol", "symbols", "ticker", "tickers", "instrument", "instruments", "pair", "pairs", "currencypair", "sym",
         "currencypairs", "fxpair", "ccypair", "symbolname", "tickername", "instrumentname", "instrumentid"),
        "instrument",
    ),
    **dict.fromkeys(("base", "basecurrency", "baseccy", "basesymbol", "fromcurrency", "fromsymbol"), "base"),
    **dict.fromkeys(("quote", "quotecurrency", "quoteccy", "countercurrency", "tocurrency", "tosymbol"), "quote"),
    **dict.fromkeys(("side", "offerside", "pricetype", "priceside", "quotetype", "bidask"), "side"),
    **dict.fromkeys(("timeframe", "tf", "per", "granularity", "interval"), "timeframe"),
}  # fmt: skip
#: Zones that a column's name tells without a doubt. Of EST and its like nobody knows whether they keep summer time.
_ZONES = {
    "utc": Clock(), "gmt": Clock(), "z": Clock(), "eet": Clock("Europe/Athens"), "cet": Clock("Europe/Berlin"),
    "msk": Clock("Europe/Moscow"), "jst": Clock("Asia/Tokyo"),
}  # fmt: skip
#: Words for a clock that the file does not name.
_UNTOLD = (
    "local",
    "server",
    "broker",
    "est",
    "edt",
    "et",
    "ny",
    "pst",
    "pdt",
    "cst",
    "cdt",
    "bst",
    "ist",
    "cest",
    "eest",
)
_UNNAMED = re.compile(r"(?:unnamed: 0|__index_level_0__|index)?")
_IN_BRACKETS = re.compile(r"(.*?)\s*[(\[]\s*([^()\[\]]+?)\s*[)\]]")
_TICKS = {"bid", "ask", "bidprice", "askprice", "price", "last", "bestbid", "bestask", "offer"}


class TimeColumn(NamedTuple):
    """A column that holds times, or a part of them.

    Attributes
    ----------
    name : str
    zone : str
        Zone that the column's name tells, as it stands there; empty if it tells none.
    named : bool
        Whether the column has a name at all.
    """

    name: str
    zone: str = ""
    named: bool = True


@dataclass(frozen=True)
class Columns:
    """The columns that are read.

    Attributes
    ----------
    times : tuple of TimeColumn
        Columns that may hold the time, the likeliest first.
    prices : dict of str to str
        Column name, by price name: `bid_o` .. `ask_c`, or `one_o` .. `one_c` of a side that is not named.
    volume : str or None
    tags : dict of str to str
        Of columns that say what the rows are (instrument, side, timeframe): the subject, by column name.
    """

    times: tuple[TimeColumn, ...]
    prices: dict[str, str]
    volume: str | None
    tags: dict[str, Subject]

    @property
    def side(self) -> str | None:
        """The only price side that the columns name."""
        sides = {name.split("_")[0] for name in self.prices}
        return sides.pop() if len(sides) == 1 and "one" not in sides else None


def plain_names(cells: Sequence[str]) -> list[str]:
    """Return the names of a header's cells: in lower case, without what stands around them."""
    return [
        " ".join(re.sub(r"^<(.*)>$", r"\1", cell.strip().strip('"').strip().lstrip("#")).lower().split())
        for cell in cells
    ]


def distinct_names(path: Path, names: Sequence[str], row: str = ", row 1") -> list[str]:
    """Return the names, each once: of several columns named alike that are not read, later ones get a number.

    Raises
    ------
    DataError
        If a time, a price or the volume stands twice.
    """
    found: dict[str, int] = {}
    result = []
    for name in names:
        found[name] = found.get(name, 0) + 1
        if found[name] > 1 and (_price(name) or _time(name) or _key(name) in (*_VOLUME, *_TAGS)):
            raise DataError(f"{path}{row}: the column {name!r} stands twice: leave one of them only.")
        result.append(name if found[name] == 1 else f"{name}#{found[name]}")
    return result


def is_header(names: Sequence[str]) -> bool:
    """Whether a first line's cells, as of `plain_names`, name columns rather than hold values."""
    return any(_price(name) or _key(name) in _VOLUME or _time(name) for name in names)


def columns_of(path: Path, names: Sequence[str], row: str = ", row 1") -> Columns:
    """Tell the columns by their names.

    Parameters
    ----------
    names : sequence of str
        Distinct, as of `plain_names`.
    row : str
        Where the names stand, for messages.

    Raises
    ------
    DataError
        If there is no time, or no side with all four prices.
    """
    prices = _prices(path, names, row)
    sides = dict.fromkeys(name.split("_")[0] for name in prices)
    complete = [side for side in sides if all(f"{side}_{field[0]}" in prices for field in _FIELDS)]
    partial = sides.keys() - set(complete) - {"one"}
    times = _times(names)
    if not prices and (ticks := [name for name in names if _key(name) in _TICKS]):
        raise DataError(
            f"{path}{row}: these are ticks ({', '.join(ticks)}): download the one-minute bars (M1) of the same "
            f"publisher. Expected are {EXPECTED}."
        )
    if not times or not complete or partial:
        short = partial or {*sides} - set(complete)
        missing = sorted(
            f"{side}_{field}".removeprefix("one_")
            for side in short
            for field in _FIELDS
            if f"{side}_{field[0]}" not in prices
        )
        wrong = "no time column" if not times else f"incomplete {' and '.join(sorted(partial)) or 'price'} columns"
        lacks = f" ({', '.join(missing)} missing)" if missing and times else ""
        raise DataError(f"{path}{row}: {wrong} in {', '.join(names)}{lacks}. Expected are {EXPECTED}.")
    prices = {name: source for name, source in prices.items() if name.split("_")[0] in complete}
    if {"bid", "ask"} <= set(complete) and "one" in complete:
        one = {name: prices.pop(name) for name in [f"one_{field[0]}" for field in _FIELDS]}
        if "mid" not in complete:
            prices |= {name.replace("one", "mid"): source for name, source in one.items()}
    used = {*prices.values(), *(column.name for column in times)}
    volume = next((name for key in _VOLUME for name in names if _key(name) == key and name not in used), None)
    tags = {name: _TAGS[_key(name)] for name in names if _key(name) in _TAGS}
    return Columns(times, prices, volume, tags)


def zone_clock(zone: str) -> Clock | None:
    """Return the clock that the words of a column's name tell, None if they leave it open."""
    word = zone.strip().lower()
    if word in _ZONES or not word:
        return _ZONES.get(word, Clock())
    if word in _UNTOLD:
        return None
    for spelling in (word.upper(), "/".join(part.title() for part in word.split("/"))):
        with contextlib.suppress(ConfigurationError):
            return parse_clock(spelling)
    return None


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name)


def _price(name: str) -> tuple[str, str] | None:
    # The side ("" if it names none) and the field of a column of prices.
    key = _key(name).replace("price", "").removeprefix("candles")
    for side in (*SIDES, ""):
        for word in ("ask", "offer") if side == "ask" else (side,):
            for field in _FIELDS:
                if key in (f"{word}{field}", f"{field}{word}", f"{word}{field[0]}", f"{field[0]}{word}"):
                    return side, field
    return None


def _prices(path: Path, names: Sequence[str], row: str) -> dict[str, str]:
    found: dict[str, str] = {}
    # A field spelled out comes before a letter, so that a stray column `o` beside `open` is not the price.
    for name in sorted(names, key=lambda name: len(_key(name)), reverse=True):
        price = _price(name)
        if price is None:
            continue
        # Columns without a side are the mid of a file that also has bid and ask.
        target = f"{price[0] or 'one'}_{price[1][0]}"
        other = found.setdefault(target, name)
        if other != name and len(_key(other)) == len(_key(name)):
            raise DataError(
                f"{path}{row}: the columns {other!r} and {name!r} are the same price: leave one of them only."
            )
    order = [f"{side or 'one'}_{field[0]}" for side in (*SIDES, "") for field in _FIELDS]
    return {target: found[target] for target in order if target in found}


def _time(name: str) -> TimeColumn | None:
    inner = _IN_BRACKETS.fullmatch(name)
    bare, zone = (inner[1], inner[2]) if inner else (name, "")
    words = re.split(r"[ _./\-]+", bare)
    if not zone and len(words) > 1:
        for place in (0, -1):
            if words[place] in (*_ZONES, *_UNTOLD):
                zone = words.pop(place)
                break
    elif not zone and (found := re.fullmatch(r"(utc|gmt|local)(.+)|(.+?)(utc|gmt)", bare)):
        words, zone = [found[2] or found[3]], found[1] or found[4]
    if "".join(words) in _TIME:
        return TimeColumn(name, zone)
    return TimeColumn(name, zone or bare) if bare in ("utc", "gmt") else None


def _times(names: Sequence[str]) -> tuple[TimeColumn, ...]:
    found = [(column, _rank(column)) for name in names if (column := _time(name))]
    times = tuple(column for column, _ in sorted(found, key=lambda item: item[1]))
    if times:
        return times
    # The index of a table that pandas or R wrote out has no name.
    return (TimeColumn(names[0], named=False),) if names and _UNNAMED.fullmatch(names[0]) else ()


def _rank(column: TimeColumn) -> tuple[int, int]:
    # A column that names its zone before one that does not, and one of a clock that nobody knows last.
    certain = 1 if not column.zone else 0 if zone_clock(column.zone) is not None else 2
    key = _key(column.name)
    places = [place for place, word in enumerate(_TIME) if key == word]
    return certain, places[0] if places else len(_TIME)
