"""Where candles came from, in words: what a name in the column `source` is worth as evidence."""

from collections.abc import Iterable

#: Sources that a broker answers for. A file may hold anything, and a generated market is known to.
BROKER_SOURCES = frozenset({"practice", "live"})
_SENTENCES = {
    "imported": "files that a user imported: nobody but their author vouches for them, and a planted market would look "
    "the same",
    "synthetic": "a generated market: no broker ever quoted these prices",
    "practice": "OANDA's practice server, as it answered",
    "live": "OANDA's live server, as it answered",
}


def sources_of(source: str) -> tuple[str, ...]:
    """Return the single names in the source of a span: "imported+live" has two."""
    return tuple(sorted({name for name in source.split("+") if name}))


def source_of(names: Iterable[str]) -> str:
    """Return the source of a span that has candles of these: as good as the weakest of them."""
    found = sorted(set(names))
    return "synthetic" if "synthetic" in found else "+".join(found)


def candle_origin(source: str) -> str:
    """Say where the candles of a span came from.

    Parameters
    ----------
    source : str
        Of the candles: "imported", "synthetic", "practice" or "live", several with a plus between them.

    Returns
    -------
    str
        A sentence.
    """
    said = [_SENTENCES.get(name, f"{name}, a source that this version does not know") for name in sources_of(source)]
    return f"The candles came from {', and from '.join(said) or 'a source that was not written down'}."


def is_from_broker(source: str) -> bool:
    """Whether every candle of a span came from a broker: one file among them, and nobody vouches for the whole."""
    names = sources_of(source)
    return bool(names) and BROKER_SOURCES.issuperset(names)
