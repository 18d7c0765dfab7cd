"""Bring the session index up to date: only what new, changed or missing bars can have changed is written again.

What holds: after each update the rows are, to the bit, those of a full rebuild. A valid start depends on the bars of
its session and on the `window_bars` - 1 before it, so bars of a month change no session that ends before it. Where it
stops: rows are told from others by a checksum a month, which finds damage, not a forger.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import duckdb
import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fx_pipeline.features.names import DEFAULT_SET, FeatureTable
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.instrument import instrument as find_instrument
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.market.timeframe import M1, Timeframe
from fx_pipeline.market.warehouse import insert_tables, transaction, unreadable
from fx_pipeline.sessions.index import scan_sessions
from fx_pipeline.sessions.names import SessionTable
from fx_pipeline.sessions.table import session_schema

#: What sessions are found in.
_COLUMNS = ("time", "warm", "high", "low")
_ALL = "0001-01-01"


def _schema(table: SessionTable) -> str:
    return f"""{session_schema(table)}
CREATE TABLE IF NOT EXISTS {table.months} (
    instrument VARCHAR NOT NULL, month VARCHAR NOT NULL, sha256 VARCHAR NOT NULL, version INTEGER NOT NULL,
    rules VARCHAR NOT NULL, bars BIGINT NOT NULL, sessions BIGINT NOT NULL, checksum UBIGINT NOT NULL,
    apart BIGINT NOT NULL, last_apart BIGINT NOT NULL, PRIMARY KEY (instrument, month)
);
"""


@dataclass(frozen=True)
class SessionUpdate:
    """What an update did: months and rows written, rows of the instrument, and how many of them do not overlap."""

    months: tuple[str, ...]
    written: int
    sessions: int
    apart: int


def update_sessions(
    connection: duckdb.DuckDBPyConnection,
    instrument: str,
    feature_set: str = DEFAULT_SET,
    timeframe: Timeframe = M1,
    rules: SessionRules = SessionRules(),
) -> SessionUpdate:
    """Bring an instrument's sessions up to date with its features, in one transaction.

    Raises
    ------
    DataError
        If there are no features, or they do not have the bars that they say they have.
    """
    table = SessionTable(FeatureTable(feature_set, timeframe), rules)
    connection.execute(_schema(table))
    months = _feature_months(connection, table.features, instrument)
    known = _known(connection, table, instrument)
    wanted = {month: (sha256, version, table.rules_text) for month, sha256, version, _ in months}
    found = _checksums(connection, table, instrument, _ALL)
    stale = [
        month
        for month in sorted({*known, *wanted, *found})
        if month not in known
        or known[month]["made"] != wanted.get(month)
        or found.get(month, (0, 0)) != (known[month]["sessions"], known[month]["checksum"])
    ]
    if not stale:
        last = known[months[-1][0]]
        return SessionUpdate((), 0, sum(row["sessions"] for row in known.values()), last["apart"])
    # Bars before the first stale month end no session of which they do not know the end.
    ends = np.cumsum([bars for *_, bars in months])
    before = int(sum(bars for month, *_, bars in months if month < stale[0]))
    first = int(np.searchsorted(ends, max(before - rules.bars + 1, 0), side="right"))
    written = _rewrite(connection, table, instrument, months, first, known)
    rows = _known(connection, table, instrument)
    return SessionUpdate(
        tuple(month for month, *_ in months[first:]),
        written,
        sum(row["sessions"] for row in rows.values()),
        rows[months[-1][0]]["apart"],
    )


def _feature_months(
    connection: duckdb.DuckDBPyConnection, features: FeatureTable, instrument: str
) -> list[tuple[str, str, int, int]]:
    query = f"SELECT month, sha256, version, bars FROM {features.months} WHERE instrument = ? ORDER BY month"
    try:
        months: list[tuple[str, str, int, int]] = connection.execute(query, [instrument]).fetchall()
    except duckdb.CatalogException as error:
        raise features.missing(instrument) from error
    if not months:
        raise DataError(f"{instrument} has no bars in the asked span: materialise {features.asset} first.")
    return months


def _known(connection: duckdb.DuckDBPyConnection, table: SessionTable, instrument: str) -> dict[str, dict[str, Any]]:
    query = (
        f"SELECT month, sha256, version, rules, sessions, checksum, apart, last_apart FROM {table.months} "
        "WHERE instrument = ?"
    )
    return {
        month: {"made": tuple(made), "sessions": sessions, "checksum": checksum, "apart": apart, "last": last}
        for month, *made, sessions, checksum, apart, last in connection.execute(query, [instrument]).fetchall()
    }


def _checksums(
    connection: duckdb.DuckDBPyConnection, table: SessionTable, instrument: str, begin: str
) -> dict[str, tuple[int, int]]:
    # By month from `begin` on: how many rows there are, and their checksum.
    query = (
        "SELECT year(start_time) AS year, month(start_time) AS month, count(*), "
        f"bit_xor(hash(start_time, last_time, range_pips)) FROM {table.name} "
        "WHERE instrument = ? AND start_time >= CAST(? AS TIMESTAMP) GROUP BY year, month"
    )
    rows = connection.execute(query, [instrument, begin]).fetchall()
    return {f"{year:04d}-{month:02d}": (count, checksum) for year, month, count, checksum in rows}


def _rewrite(
    connection: duckdb.DuckDBPyConnection,
    table: SessionTable,
    instrument: str,
    months: list[tuple[str, str, int, int]],
    first: int,
    known: dict[str, dict[str, Any]],
) -> int:
    rules, timeframe = table.rules, table.features.timeframe
    # Sessions that start in the months from `first` on; the windows of the first ones begin in months before.
    begins = np.concatenate(([0], np.cumsum([bars for *_, bars in months]))).astype(np.int64)
    context = first
    while context and begins[first] - begins[context] < rules.window_bars - 1:
        context -= 1
    columns = connection.execute(
        f"SELECT epoch_ns(time) AS time, warm, high, low FROM {table.features.name} WHERE instrument = ? "
        "AND time >= CAST(? AS TIMESTAMP) ORDER BY time",
        [instrument, f"{months[context][0]}-01"],
    ).fetchnumpy()
    if len(columns["time"]) != begins[-1] - begins[context]:
        raise unreadable(connection, f"{instrument} has not the bars that were written of it")
    pip, origin = find_instrument(instrument).pip, int(begins[context])
    before = known[months[first - 1][0]] if first else {"apart": 0, "last": -rules.bars}
    states = [(before["apart"], before["last"])]

    def found() -> Iterator[pa.Table]:
        # Month by month, each with the bars before and after it that its sessions know.
        for begin, end in pairwise((begins[first:] - origin).tolist()):
            lead = max(begin - rules.window_bars + 1, 0)
            part = slice(lead, end + rules.bars - 1)
            time, warm, high, low = (np.ascontiguousarray(columns[name][part]) for name in _COLUMNS)
            starts, ranges = scan_sessions(time, warm, high, low, pip, rules, timeframe)
            starts += lead
            inside = (starts >= begin) & (starts < end)
            starts, ranges = starts[inside], ranges[inside]
            states.append(_keep_apart(starts + origin, rules.bars, *states[-1]))
            yield _rows(instrument, columns["time"], starts, ranges, rules.bars)

    with transaction(connection):
        begin = f"{months[first][0]}-01" if first else _ALL
        connection.execute(
            f"DELETE FROM {table.name} WHERE instrument = ? AND start_time >= CAST(? AS TIMESTAMP)",
            [instrument, begin],
        )
        connection.execute(
            f"DELETE FROM {table.months} WHERE instrument = ? AND month >= ?", [instrument, begin[:7] if first else ""]
        )
        insert_tables(connection, table.name, found())
        sums = _checksums(connection, table, instrument, begin)
        for (month, sha256, version, bars), state in zip(months[first:], states[1:], strict=True):
            connection.execute(
                f"INSERT INTO {table.months} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [instrument, month, sha256, version, table.rules_text, bars, *sums.get(month, (0, 0)), *state],
            )
    return sum(count for count, _ in sums.values())


def _rows(
    instrument: str,
    time: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    ranges: npt.NDArray[np.float64],
    session_bars: int,
) -> pa.Table:
    return pa.table(
        {
            "instrument": pa.array([instrument] * len(starts), pa.string()),
            "start_time": pa.array((time[starts] // 1000).astype("datetime64[us]")),
            "last_time": pa.array((time[starts + session_bars - 1] // 1000).astype("datetime64[us]")),
            "range_pips": pa.array(ranges),
        }
    )


@numba.njit(cache=True, nogil=True)
def _keep_apart(starts, stride, count, last):  # type: ignore[no-untyped-def]
    """Count on as `thin` keeps: how many starts lie at least `stride` bars after the one kept before."""
    for start in starts:
        if start >= last + stride:
            last = start
            count += 1
    return count, last
