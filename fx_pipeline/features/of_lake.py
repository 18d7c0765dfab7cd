"""Whether the rows of the feature table are those that the lake gives.

The table is a file like any other: who writes into it gives features that know the next bars, fills that nobody was
offered, or candles of a generated market the name of a broker's. So what is judged is made again and compared.
"""

import contextlib
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from fx_pipeline.features.names import FeatureTable
from fx_pipeline.features.table import Month, computed_rows
from fx_pipeline.market.months import month_of


def differing_rows(
    connection: duckdb.DuckDBPyConnection,
    instrument: str,
    table: FeatureTable,
    months: Sequence[Month],
    start_ns: int,
    end_ns: int,
) -> int:
    """Count the rows of a span that the table has otherwise than the lake gives them, lacks, or has beside them.

    Parameters
    ----------
    connection : DuckDBPyConnection
    instrument : str
    table : FeatureTable
    months : sequence of Month
        Of the lake, up to the end of the span, oldest first; only those of the span and its warm-up are read.
    start_ns, end_ns : int
        UTC nanoseconds, end exclusive.
    """
    first, last = month_of(start_ns), month_of(end_ns - 1)
    before = [month for month in months if month.key < first]
    inside = [month for month in months if first <= month.key <= last]
    rows = [part for _, part in computed_rows(instrument, table, before, inside)]
    span = f"time >= make_timestamp_ns({int(start_ns)}) AND time < make_timestamp_ns({int(end_ns)})"
    stored = f"SELECT * FROM {table.name} WHERE instrument = '{instrument}' AND {span}"
    # Its own: nothing can be registered with a connection of which some result was not fetched to its end.
    with contextlib.closing(connection.cursor()) as own:
        if not rows:
            return len(own.execute(stored).fetchall())
        own.register("rows_of_lake", pa.concat_tables(rows))
        of_lake = f"SELECT * FROM rows_of_lake WHERE {span}"
        both = f"({stored} EXCEPT {of_lake}) UNION ALL ({of_lake} EXCEPT {stored})"
        ((found,),) = own.execute(f"SELECT count(DISTINCT time) FROM ({both})").fetchall()
        return int(found)
