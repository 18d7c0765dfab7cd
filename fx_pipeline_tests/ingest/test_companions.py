"""Files that lie beside files of candles do not keep them from being imported."""

from pathlib import Path

import pandas as pd
import pytest

from fx_pipeline.import_command import run_import
from fx_pipeline.market.errors import DataError

REPORT = "HistData.com (c)\n\nFile: DAT_ASCII_EURUSD_M1_2024.csv Status Report\n\nGap of 62s found between 1 and 2.\n"


def histdata(folder: Path, name: str, mids: pd.DataFrame) -> Path:
    times = pd.DatetimeIndex(mids["time"]).tz_convert("America/New_York").strftime("%Y%m%d %H%M%S")
    path = folder / name
    mids.assign(time=times).to_csv(path, sep=";", header=False, index=False, float_format="%.5f")
    return path


@pytest.mark.parametrize("report_first", [False, True])
def test_a_report_beside_its_file_is_left_out(tmp_path: Path, mids: pd.DataFrame, report_first: bool) -> None:
    files = [histdata(tmp_path, "DAT_ASCII_EURUSD_M1_2024.csv", mids), tmp_path / "DAT_ASCII_EURUSD_M1_2024.txt"]
    files[1].write_text(REPORT)
    report = run_import(files[::-1] if report_first else files, tmp_path / "data")
    assert (report.imported, report.quarantined) == (len(mids), 0)
    assert "left out: DAT_ASCII_EURUSD_M1_2024.txt, a report about the candles beside it" in report.assumptions
    with pytest.raises(DataError, match="import the file of candles that it came with"):
        run_import(files[1:], tmp_path / "data")


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("content", ["", "\r\n", "time,open,high,low,close\n"])
def test_an_empty_week_among_many_is_left_out(tmp_path: Path, mids: pd.DataFrame, place: int, content: str) -> None:
    files = [histdata(tmp_path, f"EURUSD_{part}.csv", mids[part * 500 : part * 500 + 500]) for part in range(2)]
    empty = tmp_path / "EURUSD_empty.csv"
    empty.write_text(content)
    files.insert(place, empty)
    report = run_import(files, tmp_path / "data", utc_offset="America/New_York")
    assert report.imported == 1000
    assert "left out: EURUSD_empty.csv, which holds no rows" in report.assumptions


def test_empty_files_alone_are_refused(tmp_path: Path) -> None:
    files = [tmp_path / "EURUSD_1.csv", tmp_path / "EURUSD_2.csv"]
    for path in files:
        path.write_text("time,open,high,low,close\n")
    with pytest.raises(DataError, match=r"EURUSD_1\.csv holds a header and no rows"):
        run_import(files, tmp_path / "data")
