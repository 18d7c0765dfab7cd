"""The DuckDB feature table: bars and their features, rebuilt only from the first month that changed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from fx_pipeline.features.kernel import FEATURE_NAMES, WARMUP_BARS, compute_features, version_of
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.disk import read_stored
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.instrument import instrument as find_instrument
from fx_pipeline.market.lake_month import decode_lake_month, read_lake_month, rebuild
from fx_pipeline.market.units import price_unit
from fx_pipeline.market.warehouse import transaction, unreadable

PRICES = {
    "open": "mid_o",
    "high": "mid_h",
    "low": "mid_l",
    "close": "mid_c",
    "bid_open": "bid_o",
    "ask_open": "ask_o",
    "bid_close": "bid_c",
    "ask_close": "ask_c",
}
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS features (
    instrument VARCHAR NOT NULL, time TIMESTAMP NOT NULL, {", ".join(f"{name} DOUBLE NOT NULL" for name in PRICES)},
    volume BIGINT NOT NULL, quotes_modelled BOOLEAN NOT NULL, source VARCHAR NOT NULL,
    {", ".join(f"{name} FLOAT" for name in FEATURE_NAMES)}, outcome_sigma DOUBLE, warm BOOLEAN NOT NULL,
    PRIMARY KEY (instrument, time)
);
CREATE TABLE IF NOT EXISTS feature_months (
    instrument VARCHAR NOT NULL, month VARCHAR NOT NULL, sha256 VARCHAR NOT NULL, version INTEGER NOT NULL,
    bars BIGINT NOT NULL, PRIMARY KEY (instrument, month)
);
"""


@dataclass(frozen=True)
class Month:
    """One month of the lake: `key` YYYY-MM, the parquet file, its hash, and the source of its candles."""

    key: str
    path: Path
    sha256: str
    source: str = ""

    @classmethod
    def of(cls, path: Path) -> "Month":
        """Describe the file of a month, which is named YYYY-MM.

        Raises
        ------
        DataError
            If it cannot be read.
        """
        data = read_stored(path, rebuild(path))
        source = decode_lake_month(data, path, ["source"])["source"]
        return cls(path.stem, path, hashlib.sha256(data).hexdigest(), source[0].as_py())


@dataclass(frozen=True)
class FeatureUpdate:
    """What an update did: months recomputed and kept, rows written, rows of the instrument, warm rows."""

    computed_months: tuple[str, ...]
    kept_months: tuple[str, ...]
    rows_written: int
    rows: int
    warm_rows: int
    first_time: str
    last_time: str


def ensure_schema(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables of this room if they do not exist."""
    connection.execute(_SCHEMA)


def update_features(
    connection: duckdb.DuckDBPyConnection, instrument: str, months: Sequence[Month], force: bool = False
) -> FeatureUpdate:
    """Bring an instrument's rows up to date with the lake, in one transaction.

    Rows from the first month that is new, changed or gone are computed again; earlier ones stay untouched.

    Parameters
    ----------
    connection : DuckDBPyConnection
        Open for writing.
    instrument : str
    months : sequence of Month
        All months of the lake, in any order.
    force : bool
        Compute everything again.

    Raises
    ------
    DataError
        If there are no bars at all, or a month of the lake cannot be read.
    """
    unit, version = price_unit(instrument), version_of(instrument)
    ensure_schema(connection)
    months = sorted(months, key=lambda month: month.key)
    known = {
        key: (sha256, number)
        for key, sha256, number in connection.execute(
            "SELECT month, sha256, version FROM feature_months WHERE instrument = ?", [instrument]
        ).fetchall()
    }
    wanted = {month.key: (month.sha256, version) for month in months}
    if not months:
        raise DataError(f"{instrument} has no M1 parquet: materialise m1_candles first.")
    stale = [key for key in sorted({*known, *wanted}) if force or known.get(key) != wanted.get(key)]
    if stale:
        first = stale[0]
        computed = [month for month in months if month.key >= first]
        history = [month for month in months if month.key < first]
        table, bars = _compute(instrument, unit, history, computed)
        with transaction(connection):
            connection.execute(
                "DELETE FROM features WHERE instrument = ? AND time >= CAST(? AS TIMESTAMP)",
                [instrument, f"{first}-01"],
            )
            connection.execute("DELETE FROM feature_months WHERE instrument = ? AND month >= ?", [instrument, first])
            rows = [[instrument, m.key, m.sha256, version, count] for m, count in zip(computed, bars, strict=True)]
            if rows:
                connection.register("new_features", table)
                connection.execute(f"INSERT INTO features SELECT {', '.join(table.column_names)} FROM new_features")
                connection.unregister("new_features")
                connection.executemany("INSERT INTO feature_months VALUES (?, ?, ?, ?, ?)", rows)
        written = table.num_rows
    else:
        computed, history, written = [], months, 0
    found = connection.execute(
        "SELECT count(*), count(*) FILTER (warm), min(time), max(time) FROM features WHERE instrument = ?", [instrument]
    ).fetchone()
    if not found or not found[0]:
        raise DataError(f"{instrument} has no bars in {len(months)} month(s) of M1 parquet.")
    return FeatureUpdate(
        tuple(month.key for month in computed),
        tuple(month.key for month in history),
        written,
        found[0],
        found[1],
        str(found[2]),
        str(found[3]),
    )


def _compute(
    instrument: str, unit: float, history: Sequence[Month], computed: Sequence[Month]
) -> tuple[pa.Table, list[int]]:
    tables = [read_lake_month(month.path) for month in computed]
    context: list[pa.Table] = []
    # Walk back until the first new bar has its whole warm-up behind it.
    for month in reversed(history):
        context.insert(0, read_lake_month(month.path, ["time", "mid_c"]))
        if sum(part.num_rows for part in context) >= WARMUP_BARS:
            break
    before = sum(part.num_rows for part in context)
    parts = [*context, *(table.select(["time", "mid_c"]) for table in tables)]
    bars = pa.concat_tables(parts)
    close = bars["mid_c"].to_numpy()
    features, sigma = compute_features(close, bars["time"].to_numpy().astype("int64"), unit)
    features, sigma = features[before:], sigma[before:]
    candles = pa.concat_tables(tables) if tables else None
    rows = 0 if candles is None else candles.num_rows
    columns: dict[str, pa.Array | pa.ChunkedArray] = {"instrument": pa.array([instrument] * rows, pa.string())}
    if candles is not None:
        columns["time"] = candles["time"].cast(pa.timestamp("ns")).cast(pa.timestamp("us"))
        columns |= {name: candles[column] for name, column in PRICES.items()}
        columns |= {name: candles[name] for name in ("volume", "quotes_modelled", "source")}
        warm = np.isfinite(features).all(axis=1)
        for number, name in enumerate(FEATURE_NAMES):
            columns[name] = pa.array(features[:, number], from_pandas=True)
        columns["outcome_sigma"] = pa.array(sigma, from_pandas=True)
        columns["warm"] = pa.array(warm)
    return pa.table(columns), [table.num_rows for table in tables]


def load_market(
    connection: duckdb.DuckDBPyConnection, instrument: str, start_ns: int | None = None, end_ns: int | None = None
) -> MarketArrays:
    """Load the bars of [start, end) as contiguous arrays; the fingerprint is the hash of what was loaded.

    Raises
    ------
    DataError
        If there is no bar in the span, or no feature table.
    """
    select = ["epoch_ns(time) AS time", *PRICES, *FEATURE_NAMES, "outcome_sigma"]
    where, parameters = ["instrument = ?"], [instrument]
    for bound, operator in ((start_ns, ">="), (end_ns, "<")):
        if bound is not None:
            where.append(f"epoch_ns(time) {operator} {int(bound)}")
    query = f"SELECT {', '.join(select)} FROM features WHERE {' AND '.join(where)} ORDER BY time"
    try:
        columns = connection.execute(query, parameters).fetchnumpy()
    except duckdb.CatalogException as error:
        raise DataError(f"there is no feature table yet: materialise feature_table of {instrument} first.") from error
    try:
        time = np.ascontiguousarray(columns["time"], dtype=np.int64)
        features = np.stack([_filled(columns[name], np.float32) for name in FEATURE_NAMES], axis=1)
        prices = {name: _filled(columns[name], np.float64) for name in PRICES}
        sigma = _filled(columns["outcome_sigma"], np.float64)
    except (ValueError, TypeError) as error:
        raise unreadable(connection, error) from error
    if len(time) == 0:
        raise DataError(f"{instrument} has no bars in the asked span: materialise feature_table first.")
    digest = hashlib.sha256(f"{instrument} v{version_of(instrument)}".encode())
    for array in (time, *prices.values(), features):
        digest.update(np.ascontiguousarray(array).tobytes())
    return MarketArrays(
        instrument=instrument,
        pip=find_instrument(instrument).pip,
        time=time,
        **prices,
        features=features,
        outcome_sigma=sigma,
        fingerprint=digest.hexdigest(),
    )


def load_newest(connection: duckdb.DuckDBPyConnection, instrument: str, bars: int) -> MarketArrays:
    """Load the newest `bars` bars of an instrument, or all if there are fewer.

    Raises
    ------
    DataError
        If there are none.
    """
    query = (
        "SELECT min(t) FROM (SELECT epoch_ns(time) AS t FROM features WHERE instrument = ? ORDER BY time DESC LIMIT ?)"
    )
    try:
        row = connection.execute(query, [instrument, bars]).fetchone()
    except duckdb.CatalogException as error:
        raise DataError(f"there is no feature table yet: materialise feature_table of {instrument} first.") from error
    return load_market(connection, instrument, row[0] if row else None)


def _filled(column: np.ndarray, dtype: type) -> np.ndarray:
    """Nulls as NaN: DuckDB hands columns with nulls out as masked arrays."""
    if isinstance(column, np.ma.MaskedArray):
        return np.ascontiguousarray(np.ma.filled(column.astype(dtype), np.nan))
    return np.ascontiguousarray(column, dtype=dtype)
