"""M1 bars as arrays, the form in which the paper server keeps them in memory."""

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fx_pipeline.market.candles import CANDLE_SCHEMA, PRICE_COLUMNS


class Bars(NamedTuple):
    """M1 bars in order of time.

    Attributes
    ----------
    time : (T,) int64
        Open of each bar, UTC nanoseconds.
    prices : (T, 12) float64
        Columns as in `PRICE_COLUMNS`: bid, mid and ask, each open, high, low, close.
    volume : (T,) int64
        Ticks in the minute.
    quotes_modelled : (T,) bool
        Whether bid and ask come from the cost model.
    """

    time: npt.NDArray[np.int64]
    prices: npt.NDArray[np.float64]
    volume: npt.NDArray[np.int64]
    quotes_modelled: npt.NDArray[np.bool_]

    @classmethod
    def empty(cls) -> Self:
        """No bars."""
        return cls(
            np.empty(0, np.int64), np.empty((0, len(PRICE_COLUMNS))), np.empty(0, np.int64), np.empty(0, np.bool_)
        )

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Take the columns of a `CANDLE_SCHEMA` table."""
        return cls(
            table["time"].to_numpy().astype("datetime64[ns]").astype(np.int64),
            np.stack([table[name].to_numpy() for name in PRICE_COLUMNS], axis=1),
            table["volume"].to_numpy(),
            table["quotes_modelled"].to_numpy(),
        )

    @classmethod
    def concatenate(cls, parts: list[Self]) -> Self:
        """Join parts that follow one another."""
        if not parts:
            return cls.empty()
        return cls(
            np.concatenate([part.time for part in parts]),
            np.concatenate([part.prices for part in parts]),
            np.concatenate([part.volume for part in parts]),
            np.concatenate([part.quotes_modelled for part in parts]),
        )

    def part(self, first: int, last: int) -> Self:
        """Return the bars [first, last)."""
        kept = slice(first, last)
        return type(self)(self.time[kept], self.prices[kept], self.volume[kept], self.quotes_modelled[kept])

    def between(self, start_ns: int, end_ns: int) -> Self:
        """Return the bars that open in [start, end)."""
        return self.part(*np.searchsorted(self.time, [start_ns, end_ns]))

    def table(self, source: str) -> pa.Table:
        """Return a `CANDLE_SCHEMA` table whose rows name `source`."""
        columns = [
            pa.array(self.time).cast(CANDLE_SCHEMA.field("time").type),
            *(pa.array(np.ascontiguousarray(column)) for column in self.prices.T),
            pa.array(self.volume),
            pa.array(self.quotes_modelled),
            pa.array([source] * len(self.time), pa.string()),
        ]
        return pa.Table.from_arrays(columns, schema=CANDLE_SCHEMA)
