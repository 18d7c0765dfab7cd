"""The paper server's candle store."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.broker.paper.synthetic import synthetic_bars
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.files import table_bytes
from fx_pipeline.market.months import month_bounds, month_of, months_between


@pytest.fixture(scope="module")
def candles() -> pa.Table:
    start, _ = month_bounds("2024-01")
    _, end = month_bounds("2024-02")
    return synthetic_bars("EUR_USD", start + 20 * 86_400_000_000_000, end).table("imported")


def changed(table: pa.Table, row: int) -> pa.Table:
    volumes = table["volume"].to_pylist()
    volumes[row] += 1
    return table.set_column(table.schema.get_field_index("volume"), table.schema.field("volume"), pa.array(volumes))


def test_candles_come_back_as_they_went_in(tmp_path: Path, candles: pa.Table) -> None:
    done = candle_store.upsert(tmp_path, "EUR_USD", candles)
    assert (done.added, done.unchanged, done.changed) == (len(candles), 0, 0)
    assert candle_store.months(tmp_path, "EUR_USD") == ["2024-01", "2024-02"] == list(done.written)
    back = pa.concat_tables([candle_store.read_month(tmp_path, "EUR_USD", month) for month in done.written])
    assert back.equals(candles)
    assert candle_store.instruments(tmp_path) == ["EUR_USD"]
    assert candle_store.span(tmp_path, "EUR_USD") == (candles["time"][0].value, candles["time"][-1].value)
    assert candle_store.row_count(tmp_path, "EUR_USD") == len(candles)
    assert candle_store.span(tmp_path, "GBP_JPY") is None


def test_values_come_with_the_hash_of_their_file(tmp_path: Path, candles: pa.Table) -> None:
    candle_store.upsert(tmp_path, "EUR_USD", candles)
    table, sha256 = candle_store.read_values(tmp_path, "EUR_USD", "2024-02")
    path = candle_store.month_path(tmp_path, "EUR_USD", "2024-02")
    assert table.equals(candle_store.read_month(tmp_path, "EUR_USD", "2024-02").drop_columns(["source"]))
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def _column(table: pa.Table, name: str, change: Callable[[list[Any]], Any]) -> pa.Table:
    values = table[name].to_pylist()
    change(values)
    at = table.schema.get_field_index(name)
    return table.set_column(at, pa.field(name, table.schema.field(name).type), pa.array(values, table[name].type))


def _damaged(candles: pa.Table, kind: str) -> bytes:
    data = table_bytes(candles)
    middle = len(data) // 2
    nan = float("nan")
    made: dict[str, Callable[[], bytes | pa.Table]] = {
        "empty": lambda: b"",
        "zeros": lambda: bytes(len(data)),
        "cut at its end": lambda: data[:-9],
        "cut in the middle": lambda: data[:middle],
        "a block of zeros": lambda: data[:middle] + bytes(4096) + data[middle + 4096 :],
        "a footer of zeros": lambda: data[:-400] + bytes(392) + data[-8:],
        "no parquet": lambda: b"time,open\n2024-01-01,1.1\n",
        "no candle": lambda: candles.slice(0, 0),
        "a column less": lambda: candles.drop_columns(["bid_o"]),
        "times as text": lambda: candles.set_column(0, "time", candles["time"].cast(pa.string())),
        "another month": lambda: candles.slice(len(candles) - 5),
        "two months": lambda: candles,
        "out of order": lambda: pa.concat_tables([candles.slice(5, 5), candles.slice(0, 5)]),
        "a time twice": lambda: pa.concat_tables([candles.slice(0, 5), candles.slice(4, 5)]),
        "a price missing": lambda: _column(candles.slice(0, 9), "ask_c", lambda values: values.__setitem__(3, None)),
        "a price of 0": lambda: _column(candles.slice(0, 9), "ask_c", lambda values: values.__setitem__(3, 0.0)),
        "a price of NaN": lambda: _column(candles.slice(0, 9), "mid_o", lambda values: values.__setitem__(3, nan)),
    }
    found = made[kind]()
    if isinstance(found, bytes):
        return found
    sink = io.BytesIO()
    pq.write_table(found, sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    "damage",
    ["empty", "zeros", "cut at its end", "cut in the middle", "a block of zeros", "a footer of zeros", "no parquet",
     "no candle", "a column less", "times as text", "another month", "two months", "out of order", "a time twice",
     "a price missing", "a price of 0", "a price of NaN", "folder"],
)  # fmt: skip
def test_a_month_that_cannot_be_served_is_named(tmp_path: Path, candles: pa.Table, damage: str) -> None:
    path = candle_store.month_path(tmp_path, "EUR_USD", "2024-01")
    path.parent.mkdir(parents=True)
    path.mkdir() if damage == "folder" else path.write_bytes(_damaged(candles, damage))
    for read in (candle_store.read_values, candle_store.read_month):
        with pytest.raises(DataError, match=r"2024-01\.parquet .*move it away and import the candles again"):
            read(tmp_path, "EUR_USD", "2024-01")
    if damage in ("empty", "zeros", "no parquet", "folder"):
        with pytest.raises(DataError, match=r"2024-01\.parquet .*move it away"):
            candle_store.row_count(tmp_path, "EUR_USD")


def test_only_whole_files_of_months_count(tmp_path: Path, candles: pa.Table) -> None:
    assert candle_store.months(tmp_path, "EUR_USD") == []
    candle_store.upsert(tmp_path, "EUR_USD", candles)
    for name in (".tmp-17-abc-2024-03.parquet", "2024-03.parquet.part", "notes.parquet", "2024-04"):
        (candle_store.candles_folder(tmp_path, "EUR_USD") / name).touch()
    assert candle_store.months(tmp_path, "EUR_USD") == ["2024-01", "2024-02"]


def test_the_same_again_touches_nothing(tmp_path: Path, candles: pa.Table) -> None:
    candle_store.upsert(tmp_path, "EUR_USD", candles)
    path = candle_store.month_path(tmp_path, "EUR_USD", "2024-01")
    before = path.stat().st_mtime_ns, path.read_bytes()
    done = candle_store.upsert(tmp_path, "EUR_USD", candles)
    assert (done.added, done.unchanged, done.changed, done.written) == (0, len(candles), 0, ())
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before


def test_parts_in_any_order_give_the_same_bytes(tmp_path: Path, candles: pa.Table) -> None:
    candle_store.upsert(tmp_path / "a", "EUR_USD", candles)
    for part in (candles.slice(9000), candles.slice(0, 4000), candles.slice(3000, 8000)):
        candle_store.upsert(tmp_path / "b", "EUR_USD", part)
    for month in ("2024-01", "2024-02"):
        whole, parts = (candle_store.month_path(tmp_path / side, "EUR_USD", month) for side in "ab")
        assert whole.read_bytes() == parts.read_bytes()


def test_a_changed_bar_is_reported(tmp_path: Path, candles: pa.Table) -> None:
    candle_store.upsert(tmp_path, "EUR_USD", candles)
    done = candle_store.upsert(tmp_path, "EUR_USD", changed(candles, 5))
    assert (done.added, done.changed, done.unchanged) == (0, 1, len(candles) - 1)
    assert done.changed_times == (candles["time"][5].value,)
    assert done.written == ("2024-01",)


def test_unsorted_candles_and_broken_files_are_refused(tmp_path: Path, candles: pa.Table) -> None:
    with pytest.raises(DataError, match="sorted and unique"):
        candle_store.upsert(tmp_path, "EUR_USD", candles.sort_by([("time", "descending")]))
    candle_store.upsert(tmp_path, "EUR_USD", candles)
    path = candle_store.month_path(tmp_path, "EUR_USD", "2024-01")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"2024-01\.parquet .* import the candles again"):
        candle_store.read_month(tmp_path, "EUR_USD", "2024-01")


def test_months() -> None:
    start, end = month_bounds("2023-12")
    assert (month_of(start), month_of(end - 1), month_of(end)) == ("2023-12", "2023-12", "2024-01")
    assert months_between(start, end + 1) == ["2023-12", "2024-01"]
    assert months_between(end, end) == []
    with pytest.raises(DataError, match="2024-01"):
        month_bounds("2024-13")
