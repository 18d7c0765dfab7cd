"""What the rows of a file say they are, against what they are taken for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fx_pipeline.ingest.naming import instrument_of, side_of
from fx_pipeline.market.errors import DataError

_MEANINGS: dict[str, Callable[[str], str | None]] = {"instrument": instrument_of, "side": side_of}
_SEVERAL = {
    "instrument": "instruments", "base": "base currencies", "quote": "quote currencies", "side": "price sides",
    "timeframe": "time frames",
}  # fmt: skip


@dataclass
class Said:
    """What the columns that name instrument, side or time frame have said, block after block.

    Attributes
    ----------
    path : Path
    instrument : str
        The instrument that the file is read as.
    tags : dict of str to str
        What each such column tells.
    """

    path: Path
    instrument: str
    tags: dict[str, str]
    _first: dict[str, tuple[str, str, int]] = field(default_factory=dict)

    def add(self, values: dict[str, dict[str, int]], above: int) -> None:
        """Take the values of a block, `above` rows into the file.

        Raises
        ------
        DataError
            If a column has several, or names another instrument.
        """
        for column, rows in values.items():
            subject = self.tags[column]
            for value, row in sorted(rows.items(), key=lambda item: item[1]):
                meaning = _MEANINGS.get(subject, str.upper)(value) or value.upper()
                first = self._first.setdefault(column, (meaning, value, above + row))
                if meaning != first[0]:
                    raise DataError(
                        f"{self.path} holds several {_SEVERAL[subject]}: the column {column!r} says {first[1]!r} in "
                        f"row {first[2]} and {value!r} in row {above + row}. Split the file by that column, and import "
                        "each part by itself."
                    )
        for column, (meaning, value, row) in self._first.items():
            base, quote = self.instrument.split("_")
            held = {"instrument": self.instrument, "base": base, "quote": quote}.get(self.tags[column])
            if held is not None and meaning not in ("", held):
                raise DataError(
                    f"{self.path}, row {row}: the column {column!r} says {value!r}, and the file is read as "
                    f"{self.instrument}: give --instrument or rename the file if the column is right, take the column "
                    "out if it is not."
                )
