"""The handed files of forms and of instruments: read, or refused in words that lead somewhere."""

from pathlib import Path

import pandas as pd
import pytest

from fx_pipeline.import_command import run_import
from fx_pipeline.market.errors import DataError

READ = {
    "a-iso/EURUSD.csv": ("mid", None),
    "b-numbers/EURUSD.csv": ("mid", None),
    "d-ticker/EURUSD.txt": ("mid", None),
    "e-decimal-comma/EURUSD.csv": ("mid", None),
    "g-jforex/EURUSD_1 Min_Bid_2024.01.05_2024.01.08.csv": ("bid", None),
    "h-dukascopy-local/EURUSD_Candlestick_1_M_BID_05.01.2024-08.01.2024.csv": ("bid", None),
    "i-tradingview/OANDA_EURUSD, 1.csv": ("mid", None),
    "j-quoted/EURUSD.csv": ("mid", None),
    "m-quoted-lines/EURUSD_M1.csv": ("bid", "America/New_York+7"),
    "n-pandas-index/EURUSD.csv": ("mid", None),
    "o-excel-sep/EURUSD.csv": ("mid", None),
}
REFUSED = {
    "12-refusals-that-do-not-help/c-us/EURUSD.csv": r"'01/05/2024' can be read in two ways: write 2024-01-05",
    "12-refusals-that-do-not-help/f-fxcm/EURUSD_2024_1.csv": r"'01/05/2024' can be read in two ways: write 2024-01-05",
    "12-refusals-that-do-not-help/k-ticks/DAT_ASCII_EURUSD_T_202401.csv": "these are ticks .*: download the one-minute",
    "12-refusals-that-do-not-help/l-truefx/EURUSD-2024-01.csv": "these are ticks .*: download the one-minute bars",
    "02-symbol-column/EURUSD_and_more.csv": "several instruments: .* 'EURUSD' in row 2 and 'GBPUSD' in row 362",
    "02-symbol-column/EURUSD.csv": "says in its rows that it holds GBP_USD, and its name says EUR_USD",
}


@pytest.fixture
def shared_cases() -> Path:
    folder = Path(__file__).resolve().parents[3] / "shared" / "cases"
    if not folder.is_dir():
        pytest.skip("../shared/cases is not there")
    return folder


@pytest.mark.parametrize("name", READ)
def test_handed_forms_are_read(shared_cases: Path, tmp_path: Path, name: str) -> None:
    side, offset = READ[name]
    report = run_import([shared_cases / "12-refusals-that-do-not-help" / name], tmp_path, utc_offset=offset)
    assert (report.instrument, report.side, report.imported, report.quarantined) == ("EUR_USD", side, 360, 0)
    assert report.first == pd.Timestamp("2024-01-05T19:00Z").as_unit("ns").value
    assert report.last == pd.Timestamp("2024-01-08T00:59Z").as_unit("ns").value
    assert report.clock_checked


@pytest.mark.parametrize("name", REFUSED)
def test_handed_forms_are_refused_in_words_that_help(shared_cases: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=REFUSED[name]):
        run_import([shared_cases / name], tmp_path)
    assert not list(tmp_path.rglob("*.parquet"))
