import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fx_pipeline.market.candles import CANDLE_SCHEMA, PRICE_COLUMNS, QUARANTINE_SCHEMA, bad_bar_reasons


def good(rows: int = 4, sides: tuple[str, ...] = ("bid", "mid", "ask")) -> pd.DataFrame:
    frame = pd.DataFrame({"time": pd.date_range("2024-01-03 10:00", periods=rows, freq="min", tz="UTC", unit="ns")})
    for number, side in enumerate(sides):
        for field, price in zip("ohlc", (187.10, 187.20, 187.00, 187.15), strict=True):
            frame[f"{side}_{field}"] = price + 0.01 * number
    return frame


def reasons(frame: pd.DataFrame, now_ns: int | None = None) -> list[str]:
    return bad_bar_reasons(frame, now_ns).tolist()


@pytest.mark.parametrize("sides", [("bid", "mid", "ask"), ("mid",), ("bid",)])
def test_good_bars_have_no_reason(sides: tuple[str, ...]) -> None:
    assert reasons(good(sides=sides)) == [""] * 4


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("mid_c", np.nan, "not finite"),
        ("ask_h", np.inf, "not finite"),
        ("bid_l", 0.0, "not positive"),
        ("mid_l", -1.0, "not positive"),
        ("mid_h", 186.0, "high below low"),
        ("mid_o", 188.0, "open or close outside the range"),
        ("mid_o", 186.9, "open or close outside the range"),
        ("bid_c", 188.0, "open or close outside the range"),
        ("ask_c", 187.0, "open or close outside the range"),
    ],
)
def test_impossible_prices(column: str, value: float, reason: str) -> None:
    frame = good()
    frame.loc[2, column] = value
    assert reasons(frame) == ["", "", reason, ""]


@pytest.mark.parametrize("field", ["o", "c"])
def test_ask_below_bid_at_the_open_or_the_close(field: str) -> None:
    frame = good()
    frame.loc[1, f"ask_{field}"] = frame.loc[1, f"bid_{field}"] - 0.001
    assert reasons(frame) == ["", "ask below bid", "", ""]


def test_ask_equal_to_bid_is_possible() -> None:
    frame = good()
    for field in "ohlc":
        frame[f"ask_{field}"] = frame[f"bid_{field}"]
    assert reasons(frame) == [""] * 4


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_in_every_resolution(unit: str) -> None:
    frame = good()
    frame["time"] = frame["time"].dt.as_unit(unit)
    now_ns = int(pd.Timestamp("2024-01-03 10:03", tz="UTC").as_unit("ns").value)
    assert reasons(frame, now_ns) == ["", "", "", "time in the future"]
    frame["time"] += pd.Timedelta(seconds=1)
    assert reasons(frame) == ["time off the minute"] * 4


def test_a_missing_time_is_refused() -> None:
    frame = good()
    frame.loc[0, "time"] = pd.NaT
    assert reasons(frame) == ["time off the minute", "", "", ""]


def test_duplicate_times_with_other_prices_are_all_refused_and_equal_ones_are_not() -> None:
    frame = good(5)
    frame.loc[1, "time"] = frame.loc[0, "time"]  # the same bar said twice
    frame.loc[3, "time"] = frame.loc[2, "time"]
    frame.loc[3, "mid_c"] = 187.11
    frame.loc[4, "time"] = frame.loc[2, "time"]
    refused = "duplicate time with other prices"
    assert reasons(frame) == ["", "", refused, refused, refused]


def test_the_first_reason_that_applies_is_given() -> None:
    frame = good()
    frame.loc[0, ["mid_o", "mid_h"]] = [np.nan, -1.0]
    assert reasons(frame)[0] == "not finite"


def test_an_empty_frame_has_no_reasons() -> None:
    assert reasons(good(0)) == []


def test_the_schemas_hold_every_side_and_the_reason() -> None:
    assert CANDLE_SCHEMA.names == ["time", *PRICE_COLUMNS, "volume", "quotes_modelled", "source"]
    assert CANDLE_SCHEMA.field("time").type == pa.timestamp("ns", tz="UTC")
    assert QUARANTINE_SCHEMA.names == [*CANDLE_SCHEMA.names, "reason"]
