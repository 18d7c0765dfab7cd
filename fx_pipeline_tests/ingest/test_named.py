"""Forms of tables that people have: what has one meaning is read, and what has none or two is named."""

import gzip
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fx_pipeline.ingest.importers import guess_format, read_candles
from fx_pipeline.market.errors import ConfigurationError, DataError

FIELDS = ["open", "high", "low", "close"]


@pytest.fixture(scope="module")
def bars(mids: pd.DataFrame) -> pd.DataFrame:
    """Ten hours around a weekend, as text: time (UTC), open, high, low, close, volume."""
    within = (mids["time"] >= "2024-03-08 18:00+00:00") & (mids["time"] < "2024-03-11 02:00+00:00")
    frame = mids[within].reset_index(drop=True)
    for name in FIELDS:
        frame[name] = frame[name].map("{:.5f}".format)
    return frame


def lines(frame: pd.DataFrame, row: Callable[[pd.Timestamp, list[str], int], str], zone: str = "UTC") -> list[str]:
    times = pd.DatetimeIndex(frame["time"]).tz_convert(zone)
    prices, volume = frame[FIELDS].to_numpy().tolist(), frame["volume"].tolist()
    return [row(at, prices[number], volume[number]) for number, at in enumerate(times)]


def check(path: Path, frame: pd.DataFrame, side: str, offset: str | None = None, instrument: str = "EUR_USD") -> None:
    found = read_candles(path, guess_format(path), instrument, offset)
    table = found.candles.to_pandas()
    assert (found.rows, len(found.quarantine)) == (len(frame), 0)
    np.testing.assert_array_equal(table["time"], frame["time"])
    for name in FIELDS:
        np.testing.assert_allclose(table[f"{side}_{name[0]}"], frame[name].astype(float), atol=1e-9)


def write(path: Path, text: list[str], end: str = "\r\n", encoding: str = "ascii") -> Path:
    path.write_bytes((end.join(text) + end).encode(encoding))
    return path


def joined(*cells: object, mark: str = ",") -> str:
    return mark.join(str(cell) for cell in cells)


TWO_COLUMNS = [
    ("Date,Time,Open,High,Low,Close,Volume", "%Y-%m-%d", "%H:%M:%S"),
    ("DATE;TIME;OPEN;HIGH;LOW;CLOSE;VOL", "%Y/%m/%d", "%H:%M"),
    ("Date,Time,Open,High,Low,Close,Volume", "%Y%m%d", "%H%M"),
    ("date\ttime\topen\thigh\tlow\tclose\tvolume", "%Y%m%d", "%H%M%S"),
    ("Date|Time|O|H|L|C|V", "%d.%m.%Y", "%H:%M:%S.000"),
    ("Day,Time (UTC),Open,High,Low,Close,Volume", "%d-%b-%Y", "%I:%M %p"),
    ("<DTYYYYMMDD>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>", "%Y%m%d", "%H%M%S"),
    ("date,time,open,high,low,close,volume", "%B %d %Y", "%H:%M"),
]


@pytest.mark.parametrize(("header", "date", "clock"), TWO_COLUMNS)
@pytest.mark.parametrize("swapped", [False, True])
def test_date_and_time_in_two_columns(
    tmp_path: Path, bars: pd.DataFrame, header: str, date: str, clock: str, swapped: bool
) -> None:
    mark = next(mark for mark in ",;\t|" if mark in header)
    names = header.split(mark)
    order = [2, 0, 1, *range(3, 7)] if swapped else list(range(7))
    text = [mark.join(names[place] for place in order)]

    def row(at: pd.Timestamp, prices: list[str], volume: int) -> str:
        cells = [at.strftime(date), at.strftime(clock), *prices, volume]
        return joined(*(cells[place] for place in order), mark=mark)

    check(write(tmp_path / "EURUSD.csv", text + lines(bars, row)), bars, "mid")


def test_a_program_may_drop_the_zeros_before_a_time(tmp_path: Path, bars: pd.DataFrame) -> None:
    def row(at: pd.Timestamp, prices: list[str], volume: int) -> str:
        return joined(at.strftime("%Y%m%d"), int(at.strftime("%H%M")), *prices)

    check(write(tmp_path / "EURUSD.csv", ["date,time,open,high,low,close", *lines(bars, row)]), bars, "mid")
    hour = bars[(bars["time"].dt.minute == 0)].head(2)
    text = ["date,time,open,high,low,close", *lines(hour, lambda at, p, v: joined(at.strftime("%Y%m%d"), 100, *p))]
    with pytest.raises(DataError, match="'100' can be read in two ways, with seconds or without: write 19:00"):
        read_candles(write(tmp_path / "few.csv", text), "csv", "EUR_USD")


ONE_COLUMN = [
    ("time", "%Y-%m-%d %H:%M:%S"),
    ("Date/Time", "%Y.%m.%d %H:%M:%S"),
    ("datetime", "%Y/%m/%d %H:%M"),
    ("timestamp", "%Y%m%d %H:%M:%S"),
    ("Time", "%Y%m%d %H%M%S"),
    ("Time", "%Y%m%d%H%M%S"),
    ("Time", "%Y%m%d%H%M"),
    ("Time", "%Y%m%dT%H%M%S"),
    ("Date", "%d.%m.%Y %H:%M"),
    ("Date", "%d %b %Y %H:%M:%S"),
    ("Date", "%b %d, %Y %I:%M %p"),
    ("Gmt time", "%d.%m.%Y %H:%M:%S.000"),
    ("time", "%Y-%m-%dT%H:%M:%S.000Z"),
    ("time", "%Y-%m-%d %H:%M:%S UTC"),
    ("Open time", "%Y-%m-%d %H:%M:%S+0000"),
    ("date_time", "%-d.%-m.%Y %-H:%M"),
    ("time_utc", "%Y-%-m-%-d %-H:%M"),
]


@pytest.mark.parametrize(("name", "form"), ONE_COLUMN)
def test_times_in_one_column(tmp_path: Path, bars: pd.DataFrame, name: str, form: str) -> None:
    text = [f"{name};open;high;low;close", *lines(bars, lambda at, p, v: joined(at.strftime(form), *p, mark=";"))]
    check(write(tmp_path / "EURUSD.csv", text), bars, "mid")


ZONES = [
    ("Time (EET)", "Europe/Athens", "%Y.%m.%d %H:%M:%S"),
    ("Time (UTC)", "UTC", "%Y.%m.%d %H:%M:%S"),
    ("Time (UTC+2)", "Etc/GMT-2", "%Y-%m-%d %H:%M"),
    ("time (America/New_York)", "America/New_York", "%Y-%m-%d %H:%M:%S"),
    ("cet_time", "Europe/Berlin", "%d.%m.%Y %H:%M"),
    ("datetime_utc", "UTC", "%Y-%m-%d %H:%M:%S"),
]


@pytest.mark.parametrize(("name", "zone", "form"), ZONES)
def test_a_zone_in_the_name_of_the_column(tmp_path: Path, bars: pd.DataFrame, name: str, zone: str, form: str) -> None:
    text = [f"{name},Open,High,Low,Close", *lines(bars, lambda at, p, v: joined(at.strftime(form), *p), zone)]
    path = write(tmp_path / "EURUSD.csv", text)
    check(path, bars, "mid")
    assert any("as the name of its column says" in said for said in read_candles(path, "csv", "EUR_USD").assumptions)


@pytest.mark.parametrize("name", ["Local time", "Time (EST)", "server_time"])
def test_a_zone_that_is_none_must_be_given(tmp_path: Path, bars: pd.DataFrame, name: str) -> None:
    row = lambda at, p, v: joined(at.strftime("%Y-%m-%d %H:%M"), *p)  # noqa: E731
    path = write(tmp_path / "EURUSD.csv", [f"{name},Open,High,Low,Close", *lines(bars, row, "America/New_York")])
    with pytest.raises(ConfigurationError, match=r"EURUSD\.csv: .* does not say which zone.* Give --utc-offset"):
        read_candles(path, "csv", "EUR_USD")
    check(path, bars, "mid", "America/New_York")


@pytest.mark.parametrize(
    ("form", "zone"),
    [
        ("%d.%m.%Y %H:%M:%S.000 GMT%z", "Etc/GMT-2"),
        ("%d.%m.%Y %H:%M:%S.000 GMT%z", "America/New_York"),
        ("%Y-%m-%d %H:%M:%S %z", "Europe/London"),
        ("%Y-%m-%d %H:%M:%S GMT%z", "Asia/Tokyo"),
    ],
)
def test_each_row_may_name_its_offset(tmp_path: Path, bars: pd.DataFrame, form: str, zone: str) -> None:
    text = lines(bars, lambda at, p, v: joined(at.strftime(form), *p, v / 10), zone)
    path = write(tmp_path / "EURUSD_Candlestick_1_M_BID.csv", ["Local time,Open,High,Low,Close,Volume", *text])
    check(path, bars, "bid")


def test_jforex_writes_the_zone_and_fractions_of_volumes(tmp_path: Path, bars: pd.DataFrame) -> None:
    text = lines(bars, lambda at, p, v: joined(f"{at:%Y.%m.%d %H:%M:%S}", *p, f"{v / 1000:.4f}"), "Europe/Athens")
    path = write(tmp_path / "EURUSD_1 Min_Ask_2024.03.08.csv", ["Time (EET),Open,High,Low,Close,Volume ", *text])
    check(path, bars, "ask")
    assert read_candles(path, guess_format(path), "EUR_USD").candles["volume"].to_pylist() == [1] * len(bars)


SLASHES = ["%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%d-%m-%Y %H:%M", "%-m/%-d/%Y %-H:%M"]


@pytest.mark.parametrize("form", SLASHES)
def test_a_date_that_can_be_read_in_two_ways(tmp_path: Path, bars: pd.DataFrame, form: str) -> None:
    early = bars.assign(time=bars["time"] - pd.Timedelta(days=7))
    row = lambda at, p, v: joined(at.strftime(form), *p)  # noqa: E731
    path = write(tmp_path / "EURUSD.csv", ["time,open,high,low,close", *lines(early, row)])
    with pytest.raises(DataError, match=r"EURUSD\.csv: dates like '\d.*' can be read in two ways: write 2024-0\d-0\d"):
        read_candles(path, "csv", "EUR_USD")


@pytest.mark.parametrize("form", SLASHES)
def test_a_file_may_prove_the_order_of_day_and_month(
    tmp_path: Path, mids: pd.DataFrame, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from functools import partial

    from fx_pipeline.ingest import named
    from fx_pipeline.ingest.text import read_blocks

    # The proof stands in the last of many blocks.
    frame = mids[(mids["time"] >= "2024-03-07") & (mids["time"] < "2024-03-14")].iloc[::1].reset_index(drop=True)
    for name in FIELDS:
        frame[name] = frame[name].map("{:.5f}".format)
    monkeypatch.setattr(named, "read_blocks", partial(read_blocks, block_bytes=20_000))
    row = lambda at, p, v: joined(at.strftime(form), *p)  # noqa: E731
    path = write(tmp_path / "EURUSD.csv", ["time,open,high,low,close", *lines(frame, row)])
    check(path, frame, "mid")
    meant = "month/day/year" if form.startswith(("%m", "%-m")) else "day/month/year"
    assert any(meant in said for said in read_candles(path, "csv", "EUR_USD").assumptions)


def test_a_mistyped_date_proves_nothing(tmp_path: Path, mids: pd.DataFrame) -> None:
    frame = mids[(mids["time"] >= "2024-03-04") & (mids["time"] < "2024-03-08")].reset_index(drop=True)
    text = lines(frame, lambda at, p, v: joined(at.strftime("%m/%d/%Y %H:%M"), *p))
    text[100] = text[100].replace("03/04", "13/04")
    with pytest.raises(DataError, match=r"two ways: .*only 1 of [\d,]+ rows tell"):
        read_candles(write(tmp_path / "EURUSD.csv", ["time,open,high,low,close", *text]), "csv", "EUR_USD")
    text[-100] = text[-100].replace("03/07", "03/14")
    with pytest.raises(DataError, match="1 can only have the day first and 1 only the month: write all of them"):
        read_candles(write(tmp_path / "EURUSD.csv", ["time,open,high,low,close", *text]), "csv", "EUR_USD")


@pytest.mark.parametrize(
    ("time", "says"),
    [
        ("08/03/24 19:0{}", "year of two digits, can be read in several ways: write 2024-01-05"),
        ("45296.7916{}", "Excel's day numbers"),
        ("19:0{}", "the column 'time' lacks the date"),
        ("2024-03-08", "the column 'time' lacks the time of the day"),
        ("2024-03-08 19:0{} EST", "end with the name of a zone, which tells no offset"),
        ("20240308 19:00:0{} US/Eastern", "end with the name of a zone, which tells no offset"),
    ],
)
def test_times_that_cannot_be_read_are_named(tmp_path: Path, time: str, says: str) -> None:
    rows = [f"{time.format(number)},1.1,1.1,1.1,1.1" for number in range(9)]
    path = write(tmp_path / "EURUSD.csv", ["time,open,high,low,close", *rows])
    with pytest.raises(DataError, match=says) as refused:
        read_candles(path, guess_format(path), "EUR_USD")
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_decimal_commas_are_read(tmp_path: Path, bars: pd.DataFrame, mark: str) -> None:
    def row(at: pd.Timestamp, prices: list[str], volume: int) -> str:
        return joined(f"{at:%Y-%m-%d %H:%M}", *(price.replace(".", ",") for price in prices), f"{volume},0", mark=mark)

    path = write(tmp_path / "EURUSD.csv", [mark.join(["time", *FIELDS, "volume"]), *lines(bars, row)])
    check(path, bars, "mid")
    text = path.read_text().replace("\n", "\r\n").splitlines()
    text[7] = text[7].replace(",", ".", 1)
    found = read_candles(write(path, text), "csv", "EUR_USD")
    assert found.quarantine["text"].to_pylist() == [text[7]]


def test_decimal_commas_between_commas_are_named(tmp_path: Path, bars: pd.DataFrame) -> None:
    text = lines(bars, lambda at, p, v: joined(f"{at:%Y-%m-%d %H:%M}", *(price.replace(".", ",") for price in p), v))
    path = write(tmp_path / "EURUSD.csv", ["time,open,high,low,close,volume", *text])
    with pytest.raises(DataError, match=r"EURUSD\.csv, row 2: 10 cells stand below 6 names .* decimal comma"):
        read_candles(path, "csv", "EUR_USD")
    quoted = lines(
        bars,
        lambda at, p, v: joined(f"{at:%Y-%m-%d %H:%M}", *(f'"{price.replace(".", ",")}"' for price in p), v),
    )
    check(write(path, ["time,open,high,low,close,volume", *quoted]), bars, "mid")


def test_cells_are_shown_as_they_stand_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "EURUSD.csv", ["time;open;high;low;close", *["2024-03-08 19:00;1,2.3;?;1;1"] * 3])
    with pytest.raises(DataError, match=re.escape("(a price is not a number: '2024-03-08 19:00;1,2.3;?;1;1')")):
        read_candles(path, "csv", "EUR_USD")


FXCM = "DateTime,BidOpen,BidHigh,BidLow,BidClose,AskOpen,AskHigh,AskLow,AskClose"
QUOTED = [
    FXCM,
    "date,bid_open,bid_high,bid_low,bid_close,ask_open,ask_high,ask_low,ask_close",
    "time,bid.o,bid.h,bid.l,bid.c,ask.o,ask.h,ask.l,ask.c",
    "time,open_bid,high_bid,low_bid,close_bid,open_ask,high_ask,low_ask,close_ask",
    "time,Open (Bid),High (Bid),Low (Bid),Close (Bid),Open (Offer),High (Offer),Low (Offer),Close (Offer)",
]


@pytest.mark.parametrize("header", QUOTED)
def test_names_of_bid_and_ask(tmp_path: Path, bars: pd.DataFrame, header: str) -> None:
    def row(at: pd.Timestamp, prices: list[str], volume: int) -> str:
        asks = (f"{float(price) + 0.0002:.5f}" for price in prices)
        return joined(f"{at:%Y-%m-%d %H:%M:%S}.000", *prices, *asks)

    path = write(tmp_path / "EURUSD_2024_10.csv", [header, *lines(bars, row)])
    check(path, bars, "bid")
    table = read_candles(path, "csv", "EUR_USD").candles.to_pandas()
    np.testing.assert_allclose(table["ask_c"] - table["bid_c"], 0.0002, atol=1e-9)
    assert not table["quotes_modelled"].any()


@pytest.mark.parametrize("word", ["ask", "bid", "mid"])
@pytest.mark.parametrize("form", ["{0}_open,{0}_high,{0}_low,{0}_close", "Open{0},High{0},Low{0},Close{0}"])
def test_columns_of_one_named_side(tmp_path: Path, bars: pd.DataFrame, word: str, form: str) -> None:
    row = lambda at, p, v: joined(f"{at:%Y-%m-%d %H:%M:%S}", *p)  # noqa: E731
    path = write(tmp_path / "EURUSD.csv", [f"time,{form.format(word)}", *lines(bars, row)])
    check(path, bars, word)
    other = {"ask": "bid", "bid": "ask", "mid": "ask"}[word]
    with pytest.raises(DataError, match=other):
        read_candles(path, "csv", "EUR_USD", side=other)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=other):
        read_candles(path.rename(tmp_path / f"EURUSD-{other}.csv"), "csv", "EUR_USD")


@pytest.mark.parametrize(
    "name",
    ["EURUSD_Candlestick_1_M_ASK_08.03.2024.csv", "eurusd-m1-ask-2024-03-08.csv", "EURUSD.ask.csv", "EURUSD_Offer.csv"],
)
def test_the_name_of_the_file_tells_the_side(tmp_path: Path, bars: pd.DataFrame, name: str) -> None:
    row = lambda at, p, v: joined(f"{at:%d.%m.%Y %H:%M:%S}.000", *p, v)  # noqa: E731
    path = write(tmp_path / name, ["Gmt time,Open,High,Low,Close,Volume", *lines(bars, row)])
    check(path, bars, "ask")
    epochs = [joined("timestamp", *FIELDS), *lines(bars, lambda at, p, v: joined(at.value // 10**6, *p))]
    check(write(path, epochs), bars, "ask")


def test_doubled_columns_matter_where_they_are_read(tmp_path: Path, bars: pd.DataFrame) -> None:
    row = lambda at, p, v: joined(at.value // 10**9, *p, v, "", 1, 2)  # noqa: E731
    names = "time,open,high,low,close,Volume,Volume MA,Plot,Plot"
    path = write(tmp_path / "OANDA_EURUSD, 1.csv", [names, *lines(bars, row)])
    check(path, bars, "mid")
    for doubled in ("close", "Volume", "time", "Close"):
        write(path, [names.replace("Volume MA", doubled), *lines(bars, row)])
        with pytest.raises(DataError, match=f"row 1: the column '{doubled.lower()}' stands twice"):
            read_candles(path, "csv", "EUR_USD")


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("quoted", ["cells", "texts", "lines", "lines of quoted cells"])
def test_quotes(tmp_path: Path, bars: pd.DataFrame, mark: str, quoted: str) -> None:
    def cells(values: list[object]) -> str:
        shown = [f'"{value}"' if quoted != "lines" and (quoted != "texts" or not number) else str(value)
                 for number, value in enumerate(values)]  # fmt: skip
        line = mark.join(shown)
        return f'"{line}"' if quoted == "lines" else '"' + line.replace('"', '""') + '"' if "of" in quoted else line

    rows = lines(bars, lambda at, p, v: cells([f"{at:%Y-%m-%d %H:%M:%S}", *p, v]))
    check(write(tmp_path / "EURUSD.csv", [cells(["time", *FIELDS, "volume"]), *rows]), bars, "mid")


def test_quoted_lines_of_metatrader(tmp_path: Path, bars: pd.DataFrame) -> None:
    header = "\t".join(f"<{n}>" for n in ("DATE", "TIME", "OPEN", "HIGH", "LOW", "CLOSE", "TICKVOL", "VOL", "SPREAD"))
    row = lambda at, p, v: joined(f'"{at:%Y.%m.%d}', f"{at:%H:%M:%S}", *p, v, 0, '12"', mark="\t")  # noqa: E731
    path = write(tmp_path / "EURUSD_M1.csv", [f'"{header}"', *lines(bars, row, "Etc/GMT-3")])
    assert guess_format(path) == "metatrader"
    check(path, bars, "bid", "+3")


def test_quoted_numbers_with_groups_of_digits(tmp_path: Path) -> None:
    rows = [
        f'2024-03-08 19:{minute:02d},"2,045.12","2,045.50","2,045.00","2,045.{minute + 10}","1,234"'
        for minute in range(9)
    ]
    path = write(tmp_path / "XAUUSD.csv", ["time,open,high,low,close,volume", *rows])
    table = read_candles(path, "csv", "XAU_USD").candles.to_pandas()
    assert table["mid_o"].tolist() == [2045.12] * 9
    assert table["volume"].tolist() == [1234] * 9


def test_an_index_without_a_name(tmp_path: Path, bars: pd.DataFrame) -> None:
    frame = bars.set_index("time")
    frame.index.name = None
    path = tmp_path / "EURUSD.csv"
    frame.to_csv(path)
    check(path, bars, "mid")
    frame.tz_localize(None).to_csv(path)
    check(path, bars, "mid")
    bars.to_csv(path)
    check(path, bars, "mid")
    bars.rename(columns={"time": "moment"}).to_csv(path)
    with pytest.raises(
        DataError, match=r"EURUSD\.csv, row 1: no time column: the first column has no name\. Call it time"
    ):
        read_candles(path, "csv", "EUR_USD")


def test_a_column_that_names_its_zone_comes_first(tmp_path: Path, bars: pd.DataFrame) -> None:
    def row(at: pd.Timestamp, prices: list[str], volume: int) -> str:
        here = at + pd.Timedelta(hours=2)
        return joined(f"{here:%Y-%m-%d %H:%M}", f"{here:%H:%M}", f"{at:%Y-%m-%d %H:%M}", *prices)

    path = write(tmp_path / "EURUSD.csv", ["time,local_time,time_utc,open,high,low,close", *lines(bars, row)])
    check(path, bars, "mid")


def test_remarks_above_a_table_are_not_its_header(tmp_path: Path, bars: pd.DataFrame) -> None:
    row = lambda at, p, v: joined(f"{at:%Y-%m-%d %H:%M}", *p)  # noqa: E731
    for above in (["# exported by a program", "", "// on a day, at an hour"], []):
        path = write(tmp_path / "EURUSD.csv", [*above, "#time,open,high,low,close", *lines(bars, row), "x,1,1,1,1"])
        found = read_candles(path, guess_format(path), "EUR_USD")
        assert len(found.candles) == len(bars)
        assert found.quarantine["row"].to_pylist() == [len(above) + 2 + len(bars)]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_line_for_excel_above_the_header(tmp_path: Path, bars: pd.DataFrame, mark: str) -> None:
    row = lambda at, p, v: joined(f"{at:%Y-%m-%d %H:%M}", *p, mark=mark)  # noqa: E731
    text = [f"sep={mark}", "", mark.join(["time", *FIELDS]), *lines(bars, row)]
    path = write(tmp_path / "EURUSD.csv", text)
    check(path, bars, "mid")
    text[9] = text[9][:-3] + "x"
    found = read_candles(write(path, text), "csv", "EUR_USD")
    assert found.quarantine["row"].to_pylist() == [10]


def test_rows_may_end_with_a_delimiter(tmp_path: Path, bars: pd.DataFrame) -> None:
    row = lambda at, p, v: joined(f"{at:%Y-%m-%d %H:%M}", *p, "")  # noqa: E731
    check(write(tmp_path / "EURUSD.csv", [",".join(["time", *FIELDS]), *lines(bars, row)]), bars, "mid")
    check(write(tmp_path / "EURUSD.csv", [",".join(["time", *FIELDS, ""]), *lines(bars, row)]), bars, "mid")
    write(tmp_path / "EURUSD.csv", [",".join(["time", *FIELDS]), *[line + "7" for line in lines(bars, row)]])
    with pytest.raises(DataError, match=r"row 2: 6 cells stand below 5 names .*do not fit together"):
        read_candles(tmp_path / "EURUSD.csv", "csv", "EUR_USD")


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("time,bid,ask", "2024-03-08 19:00:01,1.1,1.2"),
        ("Gmt time,Ask,Bid,AskVolume,BidVolume", "08.03.2024 19:00:01.123,1.2,1.1,1,1"),
        ("<DATE>\t<TIME>\t<BID>\t<ASK>\t<LAST>\t<VOLUME>", "2024.03.08\t19:00:01.123\t1.1\t1.2\t\t"),
        ("timestamp,askPrice,bidPrice", "1709924401123,1.2,1.1"),
        ("", "20240308 140001123,1.09502,1.09512,0"),
        ("", "20240308 140001;1.09502;0"),
        ("", "20240308 140001 1230000;1.09502;1.09502;1.09512;0"),
        ("", "EUR/USD,20240308 14:00:01.407,1.09502,1.09512"),
        ("", "2024-03-08 14:00:01.407,1.09502,1.09512"),
        ("", "2024.03.08,14:00:01.407,1.09502,1.09512"),
    ],
)
def test_ticks_are_named(tmp_path: Path, header: str, row: str) -> None:
    path = write(tmp_path / "EURUSD.csv", [*([header] if header else []), *[row] * 20])
    with pytest.raises(DataError, match=r"EURUSD\.csv.*: these are ticks .*: download the one-minute bars") as refused:
        read_candles(path, guess_format(path), "EUR_USD", "0")
    assert str(path) in str(refused.value)


def test_utf_16_without_a_mark(tmp_path: Path, bars: pd.DataFrame) -> None:
    row = lambda at, p, v: joined(f"{at:%Y-%m-%d %H:%M}", *p)  # noqa: E731
    for encoding in ("utf-16-le", "utf-16-be"):
        text = [",".join(["time", *FIELDS]), *lines(bars, row)]
        check(write(tmp_path / "EURUSD.csv", text, encoding=encoding), bars, "mid")


def histdata(bars: pd.DataFrame) -> bytes:
    text = lines(bars, lambda at, p, v: joined(f"{at:%Y%m%d %H%M%S}", *p, 0, mark=";"), "America/New_York")
    return ("\n".join(text) + "\n").encode()


def test_a_zip_or_gzip_with_one_file_of_candles(tmp_path: Path, bars: pd.DataFrame) -> None:
    content = histdata(bars)
    packed = tmp_path / "HISTDATA_COM_ASCII_M1.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("DAT_ASCII_EURUSD_M1_202403.csv", content)
        archive.writestr("DAT_ASCII_EURUSD_M1_202403.txt", "HistData.com\nGap of 62s found between 2 and 3.\n")
        archive.writestr("__MACOSX/._DAT_ASCII_EURUSD_M1_202403.csv", b"\x00\x05")
    check(packed, bars, "bid")
    squeezed = tmp_path / "DAT_ASCII_EURUSD_M1_202403.csv.gz"
    squeezed.write_bytes(gzip.compress(content, mtime=0))
    check(squeezed, bars, "bid")


def test_the_instrument_may_stand_in_a_column_alone(tmp_path: Path, bars: pd.DataFrame) -> None:
    table = pa.Table.from_pandas(bars.assign(symbol="EUR/USD", **{n: bars[n].astype(float) for n in FIELDS}))
    pq.write_table(table, tmp_path / "candles.parquet")
    check(tmp_path / "candles.parquet", bars, "mid")
    with pytest.raises(DataError, match=r"the column 'symbol' says 'EUR/USD', and the file is read as GBP_USD"):
        read_candles(tmp_path / "candles.parquet", "parquet", "GBP_USD")


def test_two_time_columns_of_parquet(tmp_path: Path, bars: pd.DataFrame) -> None:
    prices = {name: bars[name].astype(float) for name in FIELDS}
    times = pd.DatetimeIndex(bars["time"]).tz_localize(None)
    for date, clock in (
        (times.date, times.time),
        (times.strftime("%Y-%m-%d"), times.strftime("%H:%M")),
        (times.strftime("%Y%m%d").astype(int), times.strftime("%H%M").astype(int)),
        (times.normalize(), times.strftime("%H:%M:%S")),
    ):
        path = tmp_path / "EURUSD.parquet"
        pd.DataFrame({"date": date, "time": clock, **prices}).to_parquet(path)
        check(path, bars, "mid")
    pd.DataFrame(prices).set_index(times).to_parquet(path)
    check(path, bars, "mid")


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_every_kind_of_line_end(tmp_path: Path, bars: pd.DataFrame, end: str) -> None:
    row = lambda at, p, v: joined(f'"{at:%Y-%m-%d %H:%M}"', *p)  # noqa: E731
    check(write(tmp_path / "EURUSD.csv", [",".join(["time", *FIELDS]), *lines(bars, row)], end), bars, "mid")


@pytest.mark.parametrize(
    "content",
    [
        "time,op\ren,high,low,close\n1,1,1,1,1\n",
        f"time,open,high,low,close\n{'9' * 200_000},1,1,1,1\n",
        'sep="\ntime,o\n',
    ],
)
def test_odd_characters_are_an_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "EURUSD.csv"
    path.write_bytes(content.encode())
    with pytest.raises(DataError, match=r"EURUSD\.csv"):
        read_candles(path, guess_format(path), "EUR_USD")


def test_a_close_of_another_name_is_named_and_not_taken_for_ticks(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD.csv"
    path.write_text("Date,Price,Open,High,Low\n2024-01-05 19:00,1.09502,1.09501,1.09505,1.095\n")
    with pytest.raises(DataError, match=r"incomplete price columns in date, price, open.*\(close missing\)"):
        read_candles(path, "csv", "EUR_USD")
