"""What a lake table must satisfy, as a pandera schema, and as a list of problems for asset checks."""

import pandera.pandas as pa_schema
import pyarrow as pa

from fx_pipeline.market.candles import CANDLE_SCHEMA, PRICE_COLUMNS, SIDES, SOURCES, bad_bar_reasons
from fx_pipeline.market.timeframe import M1, Timeframe

#: Candles: types, sorted unique times, positive prices, known sources, and bars that can be.
CANDLES = pa_schema.DataFrameSchema(
    {
        "time": pa_schema.Column("datetime64[ns, UTC]", unique=True),
        **{name: pa_schema.Column("float64", pa_schema.Check.gt(0)) for name in PRICE_COLUMNS},
        "volume": pa_schema.Column("int64", pa_schema.Check.ge(0)),
        "quotes_modelled": pa_schema.Column("bool"),
        "source": pa_schema.Column("str", pa_schema.Check.isin(SOURCES)),
    },
    checks=[
        pa_schema.Check(lambda frame: frame["time"].is_monotonic_increasing, name="sorted", error="times not sorted"),
        *(
            pa_schema.Check(
                lambda frame, side=side: frame[f"{side}_h"] >= frame[[f"{side}_{x}" for x in "olc"]].max(axis=1),
                name=f"{side}_high",
                error=f"{side} high is not the highest",
            )
            for side in SIDES
        ),
        *(
            pa_schema.Check(
                lambda frame, side=side: frame[f"{side}_l"] <= frame[[f"{side}_{x}" for x in "ohc"]].min(axis=1),
                name=f"{side}_low",
                error=f"{side} low is not the lowest",
            )
            for side in SIDES
        ),
    ],
    strict=True,
    ordered=True,
)


def check_candles(table: pa.Table, timeframe: Timeframe = M1) -> list[str]:
    """Return what is wrong with a table of candles, one line a problem; an empty list when nothing is.

    Parameters
    ----------
    table : Table
        It should have `CANDLE_SCHEMA`.
    timeframe : Timeframe
        Of the bars.
    """
    if not table.schema.equals(CANDLE_SCHEMA):
        return [f"the columns are {table.schema.names} of types {table.schema.types}, not those of the candle schema"]
    frame = table.to_pandas()
    problems: list[str] = []
    try:
        CANDLES.validate(frame, lazy=True)
    except pa_schema.errors.SchemaErrors as failure:
        cases = failure.failure_cases
        for (column, check), rows in cases.groupby(["column", "check"], dropna=False, sort=True):
            problems.append(f"{column}: {check} ({len(rows)} cases, the first in row {rows['index'].iloc[0]})")
    reasons = bad_bar_reasons(frame, timeframe=timeframe)
    problems += [f"{count} bars: {reason}" for reason, count in _counts(reasons[reasons != ""]).items()]
    return problems


def _counts(reasons: object) -> dict[str, int]:
    counts: dict[str, int] = {}
    for reason in reasons:  # type: ignore[attr-defined]
        counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items()))
