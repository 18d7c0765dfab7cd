"""The switches: what they take, what they refuse, how counted ones are used up."""

import dataclasses
import math

import pytest

from fx_pipeline.broker.paper.faults import FaultError, Faults


def test_everything_is_off_at_first_and_after_a_reset() -> None:
    faults = Faults()
    assert not any(dataclasses.astuple(faults))
    faults.set({"status_503": 2, "pricing_stream": "drop", "clock_skew_s": -3, "path": "candles"})
    assert (faults.status_503, faults.pricing_stream, faults.clock_skew_s) == (2, "drop", -3.0)
    faults.reset()
    assert faults == Faults()


def test_each_switch_is_described() -> None:
    described = Faults(status_429=3).describe()
    assert set(described) == {field.name for field in dataclasses.fields(Faults)}
    assert all(entry["meaning"].endswith((".", "OANDA's.")) for entry in described.values())
    assert described["status_429"]["value"] == 3
    assert described["status_429"]["type"] == "int"
    assert described["complete_delay_s"]["maximum"] == 45
    assert described["pricing_stream"]["choices"] == ["", "drop", "stall", "end"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("no_such_switch", 1),
        ("complete_delay_s", 46),
        ("complete_delay_s", math.nan),
        ("complete_delay_s", True),
        ("missing_minutes", -0.1),
        ("missing_minutes", "0.5"),
        ("status_503", 1.0),
        ("status_503", -1),
        ("refuse_token", 1),
        ("pricing_stream", "explode"),
        ("pricing_stream", None),
        ("path", 5),
    ],
)
def test_a_wrong_value_is_refused_and_changes_nothing(name: str, value: object) -> None:
    faults = Faults()
    with pytest.raises(FaultError, match=name):
        faults.set({"lose_reply": 1, name: value})
    assert faults == Faults()


def test_counted_switches_are_used_up_by_the_paths_they_concern() -> None:
    faults = Faults(status_504=2, path="/orders")
    assert not faults.take("status_504", "/v3/instruments/EUR_USD/candles")
    assert [faults.take("status_504", "/v3/accounts/1/orders") for _ in range(3)] == [True, True, False]
