"""The DuckDB feature tables: bars and their features, rebuilt only from the first month that changed.

There is one for each feature set and timeframe (`features.names`).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fx_pipeline.features.compute import compute_features
from fx_pipeline.features.feature_set import PRICES as READABLE
from fx_pipeline.features.feature_set import Bars
from fx_pipeline.features.names import DEFAULT_SET, FeatureTable
from fx_pipeline.features.sigma import SIGMA_BARS, outcome_sigma
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.disk import read_stored
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.instrument import instrument as find_instrument
from fx_pipeline.market.lake_month import decode_lake_month, read_lake_month, rebuild
from fx_pipeline.market.timeframe import M1, Timeframe
from fx_pipeline.market.units import price_unit
from fx_pipeline.market.warehouse import insert_tables, transaction, unreadable

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


def _schema(table: FeatureTable) -> str:
    return f"""
CREATE TABLE IF NOT EXISTS {table.name} (
    instrument VARCHAR NOT NULL, time TIMESTAMP NOT NULL, {", ".join(f"{name} DOUBLE NOT NULL" for name in PRICES)},
    volume BIGINT NOT NULL, quotes_modelled BOOLEAN NOT NULL, source VARCHAR NOT NULL,
    {", ".join(f"{name} FLOAT" for name in table.definition.names)}, outcome_sigma DOUBLE, warm BOOLEAN NOT NULL,
    PRIMARY KEY (instrument, time)
);
CREATE TABLE IF NOT EXISTS {table.months} (
    instrument VARCHAR NOT NULL, month VARCHAR NOT NULL, sha256 VARCHAR NOT NULL, version INTEGER NOT NULL,
    bars BIGINT NOT NULL, PRIMARY KEY (instrument, month)
);
CREATE TABLE IF NOT EXISTS {table.sources} (
    instrument VARCHAR NOT NULL, sha256 VARCHAR NOT NULL, source VARCHAR NOT NULL, PRIMARY KEY (instrument, sha256)
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
    def of(cls, path: Path, sources: Mapping[str, str] | None = None) -> "Month":
        """Describe the file of a month, which is named YYYY-MM.

        Parameters
        ----------
        path : Path
        sources : mapping of str to str, optional
            By sha256, the source of the candles of files that were read before: these are not decoded again.

        Raises
        ------
        DataError
            If it cannot be read.
        """
        data = read_stored(path, rebuild(path))
        sha256 = hashlib.sha256(data).hexdigest()
        source = (sources or {}).get(sha256)
        if source is None:
            source = decode_lake_month(data, path, ["source"])["source"][0].as_py()
        return cls(path.stem, path, sha256, source)


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


def ensure_schema(connection: duckdb.DuckDBPyConnection, table: FeatureTable) -> None:
    """Create the tables of a feature set and timeframe if they do not exist, or are of other features."""
    rows = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index", [table.name]
    ).fetchall()
    own = ["outcome_sigma", "warm"]
    found = [name for (name,) in rows]
    if found and found[found.index("source") + 1 :] != [*table.definition.names, *own]:
        # All of it can be made again, and months whose rows are gone are computed anew.
        for name in (table.name, table.months, table.sources):
            connection.execute(f"DROP TABLE IF EXISTS {name}")
    connection.execute(_schema(table))


def update_features(
    connection: duckdb.DuckDBPyConnection,
    instrument: str,
    months: Sequence[Month],
    force: bool = False,
    feature_set: str = DEFAULT_SET,
    timeframe: Timeframe = M1,
) -> FeatureUpdate:
    """Bring an instrument's rows up to date with the lake, in one transaction.

    Rows from the first month that is new, changed or gone are computed again; earlier ones stay untouched.

    Parameters
    ----------
    connection : DuckDBPyConnection
        Open for writing.
    instrument : str
    months : sequence of Month
        All months of the lake of that timeframe, in any order.
    force : bool
        Compute everything again.
    feature_set : str
    timeframe : Timeframe

    Raises
    ------
    DataError
        If there are no bars at all, or a month of the lake cannot be read.
    """
    table = FeatureTable(feature_set, timeframe)
    version = table.definition.version_of(instrument)
    ensure_schema(connection, table)
    months = sorted(months, key=lambda month: month.key)
    known = {
        key: (sha256, number)
        for key, sha256, number in connection.execute(
            f"SELECT month, sha256, version FROM {table.months} WHERE instrument = ?", [instrument]
        ).fetchall()
    }
    wanted = {month.key: (month.sha256, version) for month in months}
    if not months:
        raise DataError(f"{instrument} has no {timeframe} parquet: materialise {timeframe.slug}_candles first.")
    stale = [key for key in sorted({*known, *wanted}) if force or known.get(key) != wanted.get(key)]
    computed = [month for month in months if stale and month.key >= stale[0]]
    history = months[: len(months) - len(computed)]
    written = 0
    sources = {month.sha256: month.source for month in months if month.source}
    if stale or sources != known_sources(connection, instrument, feature_set, timeframe):
        with transaction(connection):
            connection.execute(f"DELETE FROM {table.sources} WHERE instrument = ?", [instrument])
            if sources:
                pairs = [[instrument, *pair] for pair in sources.items()]
                connection.executemany(f"INSERT INTO {table.sources} VALUES (?, ?, ?)", pairs)
            if stale:
                where = [instrument, f"{stale[0]}-01"]
                connection.execute(
                    f"DELETE FROM {table.name} WHERE instrument = ? AND time >= CAST(? AS TIMESTAMP)", where
                )
                where = [instrument, stale[0]]
                connection.execute(f"DELETE FROM {table.months} WHERE instrument = ? AND month >= ?", where)
            # Month by month, so that memory does not grow with the history.
            counts: dict[str, int] = {}

            def rows() -> Iterator[pa.Table]:
                for month, part in computed_rows(instrument, table, history, computed):
                    counts[month.key] = part.num_rows
                    yield part

            insert_tables(connection, table.name, rows())
            for month in computed:
                connection.execute(
                    f"INSERT INTO {table.months} VALUES (?, ?, ?, ?, ?)",
                    [instrument, month.key, month.sha256, version, counts[month.key]],
                )
            written = sum(counts.values())
    found = connection.execute(
        f"SELECT count(*), count(*) FILTER (warm), min(time), max(time) FROM {table.name} WHERE instrument = ?",
        [instrument],
    ).fetchone()
    if not found or not found[0]:
        raise DataError(f"{instrument} has no bars in {len(months)} month(s) of {timeframe} parquet.")
    return FeatureUpdate(
        tuple(month.key for month in computed),
        tuple(month.key for month in history),
        written,
        found[0],
        found[1],
        str(found[2]),
        str(found[3]),
    )


def known_sources(
    connection: duckdb.DuckDBPyConnection, instrument: str, feature_set: str = DEFAULT_SET, timeframe: Timeframe = M1
) -> dict[str, str]:
    """Return the source of the candles of each month's file that the features are made of, by the file's sha256."""
    query = f"SELECT sha256, source FROM {FeatureTable(feature_set, timeframe).sources} WHERE instrument = ?"
    try:
        rows = connection.execute(query, [instrument])
    except duckdb.CatalogException:
        # Of before there was such a table.
        return {}
    return {sha256: source for sha256, source in rows.fetchall()}


def computed_rows(
    instrument: str, table: FeatureTable, history: Sequence[Month], computed: Sequence[Month]
) -> Iterator[tuple[Month, pa.Table]]:
    """Yield the rows of each month, computed from its bars and as many before them as the warm-up takes."""
    definition, unit = table.definition, price_unit(instrument)
    behind = max(definition.warmup_bars(table.timeframe), SIGMA_BARS + 1)
    columns = list(dict.fromkeys(("time", "mid_c", *(PRICES[name] for name in definition.reads))))
    context: list[pa.Table] = []
    # Walk back until the first new bar has its whole warm-up behind it.
    for month in reversed(history):
        context.insert(0, read_lake_month(month.path, columns))
        if sum(part.num_rows for part in context) >= behind:
            break
    before = pa.concat_tables(context) if context else None
    for month in computed:
        candles = read_lake_month(month.path)
        parts = candles.select(columns)
        # No more than the warm-up is computed again with each month.
        bars = (
            parts if before is None else pa.concat_tables([before.slice(max(len(before) - behind, 0)), parts])
        ).combine_chunks()
        cold = bars.num_rows - candles.num_rows
        time = bars["time"].to_numpy().astype("int64")
        unread = np.full(len(time), np.nan)
        prices = {name: bars[PRICES[name]].to_numpy() if name in definition.reads else unread for name in READABLE}
        features = compute_features(definition, Bars(instrument, table.timeframe, unit, time, **prices))
        sigma = outcome_sigma(bars["mid_c"].to_numpy())
        yield month, _rows(instrument, table, candles, features[cold:], sigma[cold:])
        before = bars


def _rows(
    instrument: str,
    table: FeatureTable,
    candles: pa.Table,
    features: npt.NDArray[np.float32],
    sigma: npt.NDArray[np.float64],
) -> pa.Table:
    columns: dict[str, pa.Array | pa.ChunkedArray] = {"instrument": pa.array([instrument] * len(candles), pa.string())}
    columns["time"] = candles["time"].cast(pa.timestamp("ns")).cast(pa.timestamp("us"))
    columns |= {name: candles[column] for name, column in PRICES.items()}
    columns |= {name: candles[name] for name in ("volume", "quotes_modelled", "source")}
    for number, name in enumerate(table.definition.names):
        columns[name] = pa.array(features[:, number], from_pandas=True)
    columns["outcome_sigma"] = pa.array(sigma, from_pandas=True)
    columns["warm"] = pa.array(np.isfinite(features).all(axis=1))
    return pa.table(columns)


def load_market(
    connection: duckdb.DuckDBPyConnection,
    instrument: str,
    start_ns: int | None = None,
    end_ns: int | None = None,
    feature_set: str = DEFAULT_SET,
    timeframe: Timeframe = M1,
) -> MarketArrays:
    """Load the bars of [start, end) as contiguous arrays; the fingerprint is the hash of what was loaded.

    Raises
    ------
    DataError
        If there is no bar in the span, or no feature table.
    """
    table = FeatureTable(feature_set, timeframe)
    names = table.definition.names
    select = ["epoch_ns(time) AS time", *PRICES, *names, "outcome_sigma"]
    where, parameters = ["instrument = ?"], [instrument]
    for bound, operator in ((start_ns, ">="), (end_ns, "<")):
        if bound is not None:
            where.append(f"epoch_ns(time) {operator} {int(bound)}")
    query = f"SELECT {', '.join(select)} FROM {table.name} WHERE {' AND '.join(where)} ORDER BY time"
    try:
        columns = connection.execute(query, parameters).fetchnumpy()
    except duckdb.CatalogException as error:
        raise table.missing(instrument) from error
    try:
        time = np.ascontiguousarray(columns["time"], dtype=np.int64)
        features = np.stack([_filled(columns[name], np.float32) for name in names], axis=1)
        prices = {name: _filled(columns[name], np.float64) for name in PRICES}
        sigma = _filled(columns["outcome_sigma"], np.float64)
    except (ValueError, TypeError) as error:
        raise unreadable(connection, error) from error
    if len(time) == 0:
        raise DataError(f"{instrument} has no bars in the asked span: materialise {table.asset} first.")
    digest = hashlib.sha256(table.identity(instrument).encode())
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
        timeframe=timeframe,
        feature_set=feature_set,
    )


def load_times(
    connection: duckdb.DuckDBPyConnection, instrument: str, feature_set: str = DEFAULT_SET, timeframe: Timeframe = M1
) -> npt.NDArray[np.int64]:
    """Load the open times of all bars of an instrument, ascending, (T,) int64.

    Raises
    ------
    DataError
        If there is no feature table.
    """
    table = FeatureTable(feature_set, timeframe)
    query = f"SELECT epoch_ns(time) AS time FROM {table.name} WHERE instrument = ?"
    try:
        times = connection.execute(query, [instrument]).fetchnumpy()["time"]
    except duckdb.CatalogException as error:
        raise table.missing(instrument) from error
    times = np.ascontiguousarray(times, dtype=np.int64)
    # Rows are written in order, which is cheaper to see than to ask for.
    return times if (np.diff(times) > 0).all() else np.sort(times)


def count_bars(
    connection: duckdb.DuckDBPyConnection,
    instrument: str,
    start_ns: int,
    end_ns: int,
    feature_set: str = DEFAULT_SET,
    timeframe: Timeframe = M1,
) -> int:
    """Count the bars of an instrument that open in [start, end)."""
    row = connection.execute(
        f"SELECT count(*) FROM {FeatureTable(feature_set, timeframe).name} WHERE instrument = ? "
        "AND time >= make_timestamp_ns(?) AND time < make_timestamp_ns(?)",
        [instrument, start_ns, end_ns],
    ).fetchone()
    return int(row[0]) if row else 0


def newest_bar(
    connection: duckdb.DuckDBPyConnection, instrument: str, feature_set: str = DEFAULT_SET, timeframe: Timeframe = M1
) -> int:
    """Return the open of the newest bar of an instrument, UTC nanoseconds.

    Raises
    ------
    DataError
        If there is none.
    """
    table = FeatureTable(feature_set, timeframe)
    try:
        row = connection.execute(
            f"SELECT max(epoch_ns(time)) FROM {table.name} WHERE instrument = ?", [instrument]
        ).fetchone()
    except duckdb.CatalogException as error:
        raise table.missing(instrument) from error
    if not row or row[0] is None:
        raise DataError(f"{instrument} has no bars: materialise {table.asset} first.")
    return int(row[0])


def load_newest(
    connection: duckdb.DuckDBPyConnection,
    instrument: str,
    bars: int,
    feature_set: str = DEFAULT_SET,
    timeframe: Timeframe = M1,
) -> MarketArrays:
    """Load the newest `bars` bars of an instrument, or all if there are fewer.

    Raises
    ------
    DataError
        If there are none.
    """
    table = FeatureTable(feature_set, timeframe)
    query = (
        f"SELECT min(t) FROM (SELECT epoch_ns(time) AS t FROM {table.name} WHERE instrument = ? "
        "ORDER BY time DESC LIMIT ?)"
    )
    try:
        row = connection.execute(query, [instrument, bars]).fetchone()
    except duckdb.CatalogException as error:
        raise table.missing(instrument) from error
    return load_market(connection, instrument, row[0] if row else None, None, feature_set, timeframe)


def _filled(column: np.ndarray, dtype: type) -> np.ndarray:
    """Nulls as NaN: DuckDB hands columns with nulls out as masked arrays."""
    if isinstance(column, np.ma.MaskedArray):
        return np.ascontiguousarray(np.ma.filled(column.astype(dtype), np.nan))
    return np.ascontiguousarray(column, dtype=dtype)
