"""Which instrument and which price side files hold: by what the user says, by their own words, by their names."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from fx_pipeline.ingest.naming import file_names, side_of
from fx_pipeline.ingest.sides import Side
from fx_pipeline.market.candles import SIDES
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.instrument import instrument as find_instrument
from fx_pipeline.market.instrument import known_instruments

_SIDE = re.compile(rf"(?<![A-Z])({'|'.join(SIDES).upper()}|OFFER)S?(?![A-Z])")
#: What a file itself says that it holds, or None.
Held = Callable[[Path], str | None]


def guess_instrument(path: Path) -> str:
    """Return the instrument whose name stands in the file's name, as `GBP_JPY`, `GBPJPY` or `GBP-JPY`.

    Raises
    ------
    DataError
        If no known instrument's name stands there, or several do.
    """
    found = named_instruments(path)
    if len(found) != 1:
        says = "names no known instrument" if not found else f"names {' and '.join(found)}"
        raise DataError(f"the file name {path.name!r} {says}: give --instrument, like GBP_JPY.")
    return found[0]


def named_instruments(path: Path) -> list[str]:
    """Return the known instruments whose names stand in the file's name."""
    names = [name.upper() for name in file_names(path)]
    return [
        known
        for known in known_instruments()
        if any(re.search(rf"(?<![A-Z]){known[:3]}[_-]?{known[4:]}(?![A-Z])", name) for name in names)
    ]


def named_side(path: Path) -> Side | None:
    """Return the price side whose name stands in the file's name as a word, if one does."""
    found = {side_of(side) for name in file_names(path) for side in _SIDE.findall(name.upper())}
    return found.pop() if len(found) == 1 else None


def common_instrument(files: Sequence[Path], given: str | None, held: Held | None = None) -> str:
    """Return the instrument of files that are imported together: the given one, or the one that all of them say.

    Parameters
    ----------
    given : str or None
        What the user says.
    held : callable, optional
        What a file itself says, which counts for more than its name.

    Raises
    ------
    DataError
        If the files say different instruments, in them or in their names, or one says another than the given; if none
        is given and one says none; or if the given one is unknown.
    """
    if given is not None:
        find_instrument(given)
    own = {path: held(path) if held is not None and path.is_file() else None for path in files}
    for path in files:
        names, inside = named_instruments(path), own[path]
        if inside is not None and given is not None and inside != given:
            raise DataError(f"{path} says in its rows that it holds {inside}, not {given}: give --instrument {inside}.")
        if inside is not None and names and inside not in names and given is None:
            raise DataError(
                f"{path} says in its rows that it holds {inside}, and its name says {' and '.join(names)}: give "
                f"--instrument {inside}, if its rows are right."
            )
        # Rows and user together outweigh a name.
        if given is not None and names and given not in names and inside is None:
            raise DataError(
                f"the file name {path.name!r} names {' and '.join(names)}, not {given}: leave the file out, or rename "
                f"it if it does hold {given}."
            )
    if given is not None:
        return given
    said = {path: own[path] or guess_instrument(path) for path in files}
    if len(set(said.values())) > 1:
        listed = ", ".join(f"{path.name} ({name})" for path, name in said.items())
        raise DataError(f"the files are of different instruments: {listed}. Import each instrument by itself.")
    return said[files[0]]


def instrument_source(path: Path, inside: str | None) -> str:
    """Return in a clause what says which instrument a file holds."""
    names = named_instruments(path)
    sources = [*(["its rows"] if inside else []), *(["its name"] if names and inside in (None, *names) else [])]
    return f"as {' and '.join(sources)} {'say' if inside else 'says'}" if sources else "as given"


def common_side(path: Path, given: Side | None, inside: str | None, usual: Side) -> tuple[Side, str]:
    """Return the price side that a file with a single one holds, and in a clause what says so.

    Parameters
    ----------
    given : str or None
        What the user says.
    inside : str or None
        What the file itself says.
    usual : str
        That of its format.

    Raises
    ------
    DataError
        If they contradict one another.
    """
    said = {"--side": given, "its rows": inside, "its name": named_side(path)}
    found = {source: side for source, side in said.items() if side is not None}
    if len(set(found.values())) > 1:
        listed = ", ".join(
            f"{source} {'say' if source == 'its rows' else 'says'} {side}" for source, side in found.items()
        )
        raise DataError(f"{path} cannot hold one price side where {listed}: rename it, or leave --side out.")
    if not found:
        return usual, "assumed, as usual in this form"
    source, side = next(iter(found.items()))
    return side, "as given" if source == "--side" else f"as {source} {'say' if source == 'its rows' else 'says'}"  # type: ignore[return-value]
