"""The page on costs has the figures of the code."""

import re
from pathlib import Path

import pytest

from fx_pipeline.market.instrument import known_instruments
from fx_pipeline.market.spreads import LONDON_SPREAD_PIPS, spread_model

PAGE = (Path(__file__).parents[2] / "docs" / "costs.md").read_text()
ROWS = [line for line in PAGE.split("## The check")[0].splitlines() if line.startswith("| ")]
CROSSES = next(line for line in ROWS if "other crosses" in line)


def row(name: str) -> str:
    """The row of an instrument, or of the currency that makes it dear."""
    words = (name, *(part for part in name.split("_") if part not in ("USD", "EUR", "GBP", "JPY", "CHF")))
    for word in words:
        for line in ROWS:
            if line != CROSSES and re.search(rf"\b{word}\b", line.split("|")[1]):
                return line
    return CROSSES


@pytest.mark.parametrize("name", known_instruments())
def test_figure_of_each_instrument_is_on_the_page(name: str) -> None:
    model = spread_model(name)
    if model.unit == "pips":
        shown = row(name) if name in LONDON_SPREAD_PIPS else CROSSES
        assert f"{model.london:.1f} pips" in shown
        return
    for _, value in model.values:
        assert re.search(rf"(?<![\d.]){value * 1e4:g}(\.0)?(?![\d.])", row(name)), row(name)
    assert ("approximate" in row(name)) is (model.certainty == "approximate")
    assert ("assumed" in row(name)) is (model.certainty == "unknown")
