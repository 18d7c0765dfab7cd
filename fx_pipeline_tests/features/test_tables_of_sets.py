"""Tables of every set: what they hold is what the kernel computes, month by month and after changes."""

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fx_pipeline.features.compute import bars_of, causal_mismatches, compute_features
from fx_pipeline.features.feature_set import FeatureSet
from fx_pipeline.features.names import FeatureTable
from fx_pipeline.features.registry import FEATURE_SETS, feature_set
from fx_pipeline.features.sample import causal_bars
from fx_pipeline.features.table import count_bars, load_market, load_times, newest_bar, update_features
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.timeframe import H1, M1, M5, Timeframe, timeframe
from fx_pipeline_tests.features.lake import write_lake

#: The last timeframe of a set that makes several months of few bars.
SETS = [
    pytest.param(feature_set(name), timeframe("H1" if "H1" in feature_set(name).timeframes else bars), id=name)
    for name in FEATURE_SETS
    for bars in feature_set(name).timeframes[-1:]
]
NAME = "GBP_JPY"


@pytest.mark.parametrize(("features", "bars"), SETS)
def test_month_by_month_equals_all_at_once(features: FeatureSet, bars: Timeframe, tmp_path: Path) -> None:
    which = (features.name, bars)
    count = features.warmup_bars(bars) + 700
    months = write_lake(tmp_path, bars, count)
    assert len(months) >= 2
    whole, grown = duckdb.connect(), duckdb.connect()
    assert update_features(whole, NAME, months, feature_set=which[0], timeframe=bars).rows_written == count
    for number in range(1, len(months) + 1):
        update = update_features(grown, NAME, months[:number], feature_set=which[0], timeframe=bars)
        assert update.computed_months == (months[number - 1].key,)
    market = load_market(whole, NAME, feature_set=which[0], timeframe=bars)
    again = load_market(grown, NAME, feature_set=which[0], timeframe=bars)
    assert market.features.tobytes() == again.features.tobytes() and market.fingerprint == again.fingerprint
    assert market.features.tobytes() == compute_features(features, bars_of(market)).tobytes()
    table = pa.concat_tables([pq.read_table(month.path) for month in months])
    assert market.bid_close.tolist() == table["bid_c"].to_pylist()
    assert causal_bars(whole, NAME, 5, 1, *which) == (5, []) and causal_mismatches(market, 5, 1) == []
    assert load_times(whole, NAME, *which).tolist() == market.time.tolist()
    assert newest_bar(whole, NAME, *which) == market.time[-1]
    assert count_bars(whole, NAME, int(market.time[10]), int(market.time[20]), *which) == 10
    update = update_features(grown, NAME, months[1:], feature_set=which[0], timeframe=bars)
    assert update.rows < count and update.computed_months == tuple(month.key for month in months[1:])
    whole.execute(f"UPDATE {FeatureTable(*which).name} SET {features.names[0]} = 0.123 WHERE warm")
    assert len(causal_bars(whole, NAME, 5, 1, *which)[1]) >= 4


def test_tables_do_not_mix(tmp_path: Path) -> None:
    connection = duckdb.connect()
    months = write_lake(tmp_path, M1, 1_600)
    update_features(connection, NAME, months)
    before = load_market(connection, NAME)
    with pytest.raises(DataError, match="no table of wavelet67 on M1 yet: materialise features_wavelet67_m1 of GBP_JP"):
        load_market(connection, NAME, feature_set="wavelet67")
    update_features(connection, NAME, months, feature_set="wavelet67")
    update_features(connection, NAME, write_lake(tmp_path, H1, 700, 4), timeframe=H1)
    other, hours = load_market(connection, NAME, feature_set="wavelet67"), load_market(connection, NAME, timeframe=H1)
    assert before.fingerprint == load_market(connection, NAME).fingerprint
    assert other.close.tobytes() == before.close.tobytes() and other.features.shape[1] == 67
    assert len({before.fingerprint, other.fingerprint, hours.fingerprint}) == 3 and len(hours) == 700
    with pytest.raises(DataError, match="no M5 parquet: materialise m5_candles first"):
        update_features(connection, NAME, [], feature_set="picco17", timeframe=M5)


def test_a_table_of_other_columns_is_made_anew(tmp_path: Path) -> None:
    connection = duckdb.connect()
    months = write_lake(tmp_path, M5, 2_000)
    update_features(connection, NAME, months, feature_set="picco17", timeframe=M5)
    features = load_market(connection, NAME, feature_set="picco17", timeframe=M5).features
    connection.execute("ALTER TABLE features_picco17_m5 RENAME COLUMN momentum TO of_before")
    update = update_features(connection, NAME, months, feature_set="picco17", timeframe=M5)
    assert update.rows_written == 2_000
    anew = load_market(connection, NAME, feature_set="picco17", timeframe=M5).features
    assert anew.tobytes() == features.tobytes() and np.isfinite(anew[1_727:]).all()
