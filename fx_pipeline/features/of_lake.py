"""Whether the rows of the feature table are those that the lake gives.

The table is a file like any other: who writes into it gives features that know the next bars, fills that nobody was
offered, or candles of a generated market the name of a broker's. So what is judged is made again and compared.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from fx_pipeline.features.table import Month, computed_rows
from fx_pipeline.market.units import price_unit


def differing_rows(connection: Any, instrument: str, months: Sequence[Month], start_ns: int, end_ns: int) -> int:
    """Count the rows of a span that the table has otherwise than the lake gives them, lacks, or has beside them.

    Parameters
    ----------
    connection : DuckDBPyConnection
    instrument : str
    months : sequence of Month
        Of the lake, up to the end of the span, oldest first; only those of the span and its warm-up are read.
    start_ns, end_ns : int
        UTC nanoseconds, end exclusive.
    """
    first = _month_of(start_ns)
    before = [month for month in months if month.key < first]
    inside = [month for month in months if first <= month.key <= _month_of(end_ns - 1)]
    rows = [table for _, table in computed_rows(instrument, price_unit(instrument), before, inside)]
    span = f"time >= make_timestamp_ns({int(start_ns)}) AND time < make_timestamp_ns({int(end_ns)})"
    stored = f"SELECT * FROM features WHERE instrument = '{instrument}' AND {span}"
    if not rows:
        return int(connection.execute(f"SELECT count(*) FROM ({stored})").fetchone()[0])
    connection.register("rows_of_lake", pa.concat_tables(rows))
    try:
        of_lake = f"SELECT * FROM rows_of_lake WHERE {span}"
        query = f"SELECT count(DISTINCT time) FROM (({stored} EXCEPT {of_lake}) UNION ALL ({of_lake} EXCEPT {stored}))"
        return int(connection.execute(query).fetchone()[0])
    finally:
        connection.unregister("rows_of_lake")


def _month_of(time_ns: int) -> str:
    from fx_pipeline.market.months import month_of

    return month_of(time_ns)
