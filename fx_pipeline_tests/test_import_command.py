"""`fx-pipeline import`: what it says it assumed, for people and as JSON, and what it asks."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from fx_pipeline.cli import app
from fx_pipeline_tests.ingest.made import fill, fx_minutes, walk, write_csv

KEYS = ["instrument", "side", "clock", "timeframe", "stamped", "candles", "quarantined", "filled_in", "costs"]


@pytest.fixture(autouse=True)
def data_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FX_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["import", *map(str, arguments)])


def test_json_says_what_was_assumed(tmp_path: Path) -> None:
    ticked = walk(fx_minutes("2024-01-05 12:00", "2024-01-08 04:00")).drop(index=range(100, 140))
    filled = fill(ticked.reset_index(drop=True), lambda minutes: minutes > 0)
    done = run(write_csv(filled, tmp_path / "EURUSD_bid.csv"), "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])
    assert list(said) == [*KEYS, "mended", "assumptions"]
    assert [said[key] for key in KEYS] == [
        "EUR_USD", "bid", "UTC", "M1", "open", len(ticked), 0, len(filled) - len(ticked), "modelled",
    ]  # fmt: skip
    text = "\n".join(said["assumptions"])
    for sentence in (
        "instrument: EUR_USD, as its name says",
        "side: bid, as its name says",
        "clock: UTC, assumed: the times carry no zone; checked: no bars in 1 weekend",
        "time frame: M1 throughout",
        "stamped: times are the opens of bars, assumed; checked: after 1 of 1 weekends the first bar stands at 17:00",
        f"filled in: {len(filled) - len(ticked):,} rows left out",
        "costs: modelled spreads",
    ):
        assert sentence in text


def test_people_read_the_same(tmp_path: Path) -> None:
    frame = walk(fx_minutes("2024-01-05 12:00", "2024-01-08 04:00"))
    both = frame.rename(columns={name: f"bid_{name}" for name in ("open", "high", "low", "close")})
    for name in ("open", "high", "low", "close"):
        both[f"ask_{name}"] = frame[name] + 0.0001
    path = write_csv(both, tmp_path / "EURUSD.csv", "1min")
    asked = run(path)
    assert asked.exit_code == 2 and "--bar-time end" in asked.stderr
    done = run(path, "--bar-time", "end")
    said = " ".join(done.stdout.split())
    assert "instrument EUR_USD, as its name says" in said
    assert "side bid and ask, each in columns of its own" in said
    assert "stamped times are the ends of bars, as given; checked: after 1 of 1 weekends" in said
    assert "costs bid and ask as quoted in the file" in said
    record = json.loads(run(path, "--bar-time", "end", "--json").stdout)
    assert (record["stamped"], record["side"], record["costs"]) == ("end", "bid and ask", "quoted")
    assert "--bar-time 'close' is unknown: use open or end" in run(path, "--bar-time", "close").stderr


def test_files_of_several_sources_are_told_apart(tmp_path: Path) -> None:
    frame = walk(fx_minutes("2024-01-05 12:00", "2024-01-08 04:00"))
    files = [write_csv(frame[:300], tmp_path / "EURUSD_a.csv"), write_csv(frame[300:], tmp_path / "EURUSD_b.csv")]
    said = json.loads(run(*files, "--json").stdout)["assumptions"]
    assert said.count("instrument: EUR_USD, as its name says") == 1
    assert any(text.startswith("EURUSD_a.csv: clock: UTC") and "no weekend inside" in text for text in said)
