"""Data frames to Arrow tables of a given schema."""

import numpy as np
import pandas as pd
import pyarrow as pa

from fx_pipeline.ingest.clock import NO_TIME


def frame_table(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """Return the columns of `frame` that `schema` names, in its order and types.

    A price that is NaN stays NaN (pyarrow's own conversion makes it a null); a missing time becomes a null.
    """
    columns: list[pa.Array] = []
    for field in schema:
        if pa.types.is_timestamp(field.type):
            nanoseconds = np.asarray(pd.DatetimeIndex(frame[field.name]).as_unit("ns").asi8)
            columns.append(pa.array(nanoseconds, mask=nanoseconds == NO_TIME).cast(field.type))
        elif pa.types.is_string(field.type):
            columns.append(pa.array(frame[field.name].tolist(), field.type))
        else:
            columns.append(pa.array(frame[field.name].to_numpy(), field.type, from_pandas=False))
    return pa.Table.from_arrays(columns, schema=schema)
