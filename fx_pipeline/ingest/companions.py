"""Files that lie beside files of candles and hold none: reports about them, weeks in which nothing came."""

from collections.abc import Sequence
from pathlib import Path

from fx_pipeline.ingest.container import is_report, read_head


def reports_among(files: Sequence[Path]) -> list[Path]:
    """Return those files that are words about another of the files: of its name, with another suffix.

    HistData's archives hold `DAT_ASCII_EURUSD_M1_2017.csv` and a report of its gaps, `DAT_ASCII_EURUSD_M1_2017.txt`.

    Raises
    ------
    DataError
        If a file that has such a pair cannot be read.
    """
    by_stem: dict[str, list[Path]] = {}
    for path in files:
        by_stem.setdefault(path.stem.lower(), []).append(path)
    found: list[Path] = []
    for pair in by_stem.values():
        reports = [path for path in pair if is_report(path.name, read_head(path))] if len(pair) > 1 else []
        found += reports if len(reports) < len(pair) else []
    return found
