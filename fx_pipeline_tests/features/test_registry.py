"""A feature set is a folder and a line: one from a temporary folder goes all the way to a table and its sessions."""

import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest

from fx_pipeline.defs.features import feature_assets
from fx_pipeline.features import registry
from fx_pipeline.features.feature_set import FeatureSet
from fx_pipeline.features.names import FeatureTable
from fx_pipeline.features.registry import FEATURE_SETS, feature_set
from fx_pipeline.features.sample import causal_bars
from fx_pipeline.features.table import load_market, load_newest, update_features
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.market.timeframe import H1, M1, M5
from fx_pipeline.sessions.index import valid_starts
from fx_pipeline.sessions.table import read_starts
from fx_pipeline.sessions.update import update_sessions
from fx_pipeline_tests.features.lake import write_lake

#: What CONTRIBUTING.md tells a stranger to write, to the letter.
PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"


def entry_of_the_page() -> str:
    """The one block of Python in the section on feature sets."""
    (section,) = re.findall(r"### A feature set\n(.*?)\n## ", PAGE.read_text(), re.DOTALL)
    (block,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert "`fx_pipeline/features/NAME/`" in section and '"NAME": "fx_pipeline.features.NAME.entry",' in section
    return textwrap.dedent(block).replace("NAME", "toy")


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FeatureSet]:
    folder = tmp_path / "code" / "toy_features"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "entry.py").write_text(entry_of_the_page())
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.setitem(FEATURE_SETS, "toy", "toy_features.entry")
    yield feature_set("toy")
    for name in ("toy_features", "toy_features.entry"):
        sys.modules.pop(name, None)


def test_its_folder_and_a_line_suffice(toy: FeatureSet, tmp_path: Path) -> None:
    months = write_lake(tmp_path, M5, 3_000)
    connection = duckdb.connect()
    update = update_features(connection, "GBP_JPY", months, feature_set="toy", timeframe=M5)
    assert (update.rows, update.warm_rows) == (3_000, 2_999)
    market = load_market(connection, "GBP_JPY", feature_set="toy", timeframe=M5)
    assert market.features.shape == (3_000, 2) and (market.feature_set, market.timeframe) == ("toy", M5)
    assert load_newest(connection, "GBP_JPY", 5, "toy", M5).features.tobytes() == market.features[-5:].tobytes()
    assert causal_bars(connection, "GBP_JPY", 20, 1, "toy", M5) == (20, [])
    rules = SessionRules(bars=48, window_bars=4)
    assert update_sessions(connection, "GBP_JPY", "toy", M5, rules).sessions > 1_000
    assert read_starts(connection, market, rules).tolist() == valid_starts(market, rules).tolist()
    tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    assert tables == {
        *("features_toy_m5", "feature_months_toy_m5", "month_sources_toy_m5"),
        *("sessions_toy_m5_bars_48_window_bars_4", "session_months_toy_m5_bars_48_window_bars_4"),
    }


def test_its_assets_are_there(toy: FeatureSet) -> None:
    features, sessions = feature_assets("toy", H1, SessionRules(bars=48, window_bars=4))
    assert features.key.path == ["features_toy_h1"] and sessions.key.path == ["sessions_toy_h1_bars_48_window_bars_4"]
    assert [key.path for key in features.keys_by_input_name.values()] == [["h1_candles"]]
    columns = features.metadata_by_key[features.key]["dagster/column_schema"].columns
    assert {column.name: column.description for column in columns}["close_in_bar"] == "0 at the low, 1 at the high."
    # Another recipe on the same data has the very same assets.
    again, others = feature_assets("toy", H1, SessionRules(bars=24))
    assert again is features and others is not sessions


def test_what_is_not_registered_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"'toy' is unknown: use temporal9, picco17, wavelet67, hybrid"):
        feature_set("toy")
    monkeypatch.setitem(FEATURE_SETS, "toy", "fx_pipeline.features.temporal9.entry")
    with pytest.raises(ConfigurationError, match=r"temporal9\.entry has no FEATURE_SET that is named 'toy'"):
        registry.feature_set("toy")
    with pytest.raises(ConfigurationError, match="picco17 is not defined for M1: use M5, H1"):
        FeatureTable("picco17", M1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "Toy Set"}, "cannot name a table"),
        ({"names": ("close_in_bar", "close_in_bar")}, "a name of its own"),
        ({"names": ("close", "change_units")}, "none of"),
        ({"notes": {}}, "a note and bounds"),
        ({"mirror": ("keep",)}, "a mirror rule for each"),
        ({"reads": ("closes",)}, "not closes"),
        ({"timeframes": ("M2",)}, "not M2"),
    ],
)
def test_a_set_that_cannot_be_says_why(toy: FeatureSet, changes: dict, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        replace(toy, **changes)


def test_a_kernel_of_another_shape_is_named(toy: FeatureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys.modules["toy_features.entry"],
        "FEATURE_SET",
        replace(toy, compute=lambda bars: np.zeros((len(bars), 3), np.float32)),
    )
    with pytest.raises(ConfigurationError, match=r"toy computed \(300, 3\) float32 of 300 bars: \(300, 2\)"):
        update_features(duckdb.connect(), "GBP_JPY", write_lake(tmp_path, M5, 300), feature_set="toy", timeframe=M5)
