"""Trading hours by instrument: the calendar in which its candles are expected and its orders fill.

Sources, all times New York's unless said otherwise:

- Currency pairs: Sunday 17:03 to Friday 16:58, closed 16:58 to 17:03 a day (OANDA's page "Hours of operation" for the
  United States, mid-2022).
- Pairs with the New Zealand dollar, besides: five minutes from 06:58 Auckland time, when New Zealand's day rolls (same
  page). The page gives "12:58 New York" for it, which is New York's winter; the clock that it follows is Auckland's.
- Metals: Sunday 18:00 to Friday 17:00, closed 17:00 to 18:00 a day, as COMEX. OANDA's own gold candles of 2006 to 2015
  go on to 17:15, as COMEX did until September 2015: those minutes count as unexpected.
- Crypto: around the clock, weekends and holidays included (same page, "24/7"; its maintenance hours are announced).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fx_pipeline.market.calendar import DailyBreak, FxCalendar, parse_break
from fx_pipeline.market.errors import ConfigurationError, DataError
from fx_pipeline.market.holidays import default_holidays
from fx_pipeline.market.instrument import instrument as find_instrument

Break = tuple[int, int]

#: Of currency pairs: minutes after midnight in New York.
CURRENCY_BREAK: Break = (16 * 60 + 58, 17 * 60 + 3)
METAL_BREAK: Break = (17 * 60, 18 * 60)
NZD_BREAK = DailyBreak(6 * 60 + 58, 7 * 60 + 3, "Pacific/Auckland")


@dataclass(frozen=True)
class DailyBreaks:
    """The daily breaks that a user asks for.

    Attributes
    ----------
    currencies : (int, int)
        That of currency pairs; equal minutes for none.
    by_instrument : mapping of str to (int, int)
        Those of single instruments, in place of all that the instrument would have.
    """

    currencies: Break = CURRENCY_BREAK
    by_instrument: Mapping[str, Break] = field(default_factory=dict)


def instrument_calendar(
    name: str, breaks: DailyBreaks | None = None, holidays: frozenset[int] | None = None
) -> FxCalendar:
    """Return when candles of an instrument are expected.

    Parameters
    ----------
    name : str
        OANDA name.
    breaks : DailyBreaks, optional
        Absent: those that OANDA published.
    holidays : frozenset of int, optional
        Closed trading days; absent: 25 December and 1 January. Crypto has none.

    Raises
    ------
    DataError
        If the name is unknown.
    """
    breaks, kind = breaks or DailyBreaks(), find_instrument(name).kind
    closed = default_holidays() if holidays is None else holidays
    own = breaks.by_instrument.get(name)
    if kind == "crypto":
        return FxCalendar(*(own or (0, 0)), frozenset(), weekends=True)
    if own is not None:
        return FxCalendar(*own, closed)
    if kind == "metal":
        return FxCalendar(*METAL_BREAK, closed)
    start, end = breaks.currencies
    second = NZD_BREAK if "NZD" in name.split("_") and start != end else None
    return FxCalendar(start, end, closed, second)


def parse_breaks(text: str) -> DailyBreaks:
    """Read the daily breaks of a setting: `16:58-17:03` for currency pairs, `XAU_USD=17:00-18:00` for one instrument.

    Several are separated by commas. Where none is given for currency pairs, they keep OANDA's; an empty text is no
    break for them, and `XAU_USD=` none for gold.

    Raises
    ------
    ConfigurationError
        If one is not two times of a day, an instrument is unknown, or something is given twice.
    """
    if not text.strip():
        return DailyBreaks(currencies=(0, 0))
    currencies: Break | None = None
    by_instrument: dict[str, Break] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, given = item.rpartition("=")
        if not equals:
            if currencies is not None:
                raise ConfigurationError(f"{text!r} has two breaks for currency pairs: keep one.")
            currencies = parse_break(item)
            continue
        name = name.strip()
        try:
            find_instrument(name)
        except DataError as error:
            raise ConfigurationError(str(error)) from error
        if name in by_instrument:
            raise ConfigurationError(f"{text!r} has two breaks for {name}: keep one.")
        by_instrument[name] = parse_break(given)
    return DailyBreaks(CURRENCY_BREAK if currencies is None else currencies, by_instrument)
