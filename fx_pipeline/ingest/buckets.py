"""Rows by UTC month, in memory up to a limit and beyond it in a temporary file: memory does not grow with a file."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.months import month_bounds, month_of

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

IN_MEMORY_BYTES = 128 << 20


@dataclass(frozen=True)
class Rows:
    """Rows of a file that may become candles.

    Attributes
    ----------
    time : (N,) int64
        UTC nanoseconds.
    row : (N,) integer
        Number of each row in the file: four bytes each in buckets.
    volume : (N,) int64
    modelled : (N,) bool
        Whether bid and ask come from the cost model.
    prices : (K, N) float64
        The sides that the file gives, rounded.
    """

    time: Int64
    row: npt.NDArray[np.signedinteger[Any]]
    volume: Int64
    modelled: npt.NDArray[np.bool_]
    prices: Float64

    def __len__(self) -> int:
        return len(self.time)

    @property
    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """All arrays, in the order of the attributes."""
        return self.time, self.row, self.volume, self.modelled, self.prices

    def part(self, kept: slice | npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Self:
        """Return some of the rows."""
        return type(self)(*(array[..., kept] for array in self.arrays))

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join parts in order."""
        if len(parts) == 1:
            return parts[0]
        columns = zip(*(part.arrays for part in parts), strict=True)
        return cls(*(np.concatenate(arrays, axis=-1) for arrays in columns))


class _Spilled(NamedTuple):
    # Where rows lie in the temporary file.
    offset: int
    rows: int
    sides: int


class Buckets:
    """Rows of a file by UTC month.

    Parameters
    ----------
    in_memory_bytes : int
        About how much is held in memory; what exceeds it goes to a temporary file without a name, which is gone when
        the process is, however it ends.
    folder : Path, optional
        Where the temporary file is made; by default where the system makes them.
    """

    def __init__(self, in_memory_bytes: int = IN_MEMORY_BYTES, folder: Path | None = None) -> None:
        self._limit = in_memory_bytes
        self._folder = folder
        self._parts: dict[str, list[Rows | _Spilled]] = {}
        self._held = 0
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def months(self) -> list[str]:
        """Months with rows, in order."""
        return sorted(self._parts)

    def add(self, rows: Rows) -> None:
        """Add rows in any order."""
        for month, part in _by_month(replace(rows, row=rows.row.astype(np.int32))):
            self._parts.setdefault(month, []).append(part)
            self._held += _bytes(part)
        if self._held > self._limit:
            self._spill()

    def take(self, month: str) -> Rows:
        """Return the rows of a month that has some: those of each `add` sorted by time, one `add` after another."""
        return Rows.concatenate([self._read(part) for part in self._parts[month]])

    def parts(self, month: str) -> Iterator[Rows]:
        """Yield the rows of `take` piece by piece; none of a month without rows."""
        for part in self._parts.get(month, []):
            yield self._read(part)

    def times(self, month: str) -> Int64:
        """Return the times alone, in the order of `take`; none of a month without rows."""
        parts = [part.time if isinstance(part, Rows) else self._times(part) for part in self._parts.get(month, [])]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def replace(self, month: str, rows: Rows) -> None:
        """Put other rows in place of those of a month; none take the month away."""
        self._held -= sum(_bytes(part) for part in self._parts.pop(month, []) if isinstance(part, Rows))
        if not len(rows):
            return
        self._parts[month] = [rows]
        self._held += _bytes(rows)
        if self._held > self._limit:
            self._spill()

    def _spill(self) -> None:
        if self._file is None:
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        for month, parts in self._parts.items():
            self._parts[month] = [self._write(self._file, part) if isinstance(part, Rows) else part for part in parts]
        self._file.flush()
        self._held = 0

    @staticmethod
    def _write(file: IO[bytes], rows: Rows) -> _Spilled:
        offset = file.seek(0, os.SEEK_END)
        # The widest first: what is read back is aligned.
        for array in (rows.time, rows.volume, rows.prices, rows.row.astype(np.int32, copy=False), rows.modelled):
            file.write(np.ascontiguousarray(array).data)
        return _Spilled(offset, len(rows), len(rows.prices))

    def _times(self, part: _Spilled) -> Int64:
        return np.frombuffer(self._bytes_at(part.offset, 8 * part.rows), np.int64)

    def _read(self, part: Rows | _Spilled) -> Rows:
        if isinstance(part, Rows):
            return part
        count, wide = part.rows, (2 + part.sides) * part.rows
        data = self._bytes_at(part.offset, 8 * wide + 5 * count)
        words = np.frombuffer(data, np.int64, 2 * count).reshape(2, -1)
        prices = np.frombuffer(data, np.float64, part.sides * count, offset=16 * count).reshape(part.sides, -1)
        row = np.frombuffer(data, np.int32, count, offset=8 * wide)
        modelled = np.frombuffer(data, np.bool_, count, offset=8 * wide + 4 * count)
        return Rows(words[0], row, words[1], modelled, prices)

    def _bytes_at(self, offset: int, size: int) -> bytes:
        assert self._file is not None
        data = os.pread(self._file.fileno(), size, offset)
        if len(data) != size:
            raise OSError(f"the temporary file of the import gave {len(data)} of {size} bytes.")
        return data


def months_of(time_ns: Int64) -> list[str]:
    """Return the months in which the times lie, in order."""
    return np.unique(time_ns.astype("datetime64[ns]").astype("datetime64[M]")).astype(str).tolist()


def _by_month(rows: Rows) -> Iterator[tuple[str, Rows]]:
    if len(rows) and np.any(np.diff(rows.time) < 0):
        rows = rows.part(np.argsort(rows.time, kind="stable"))
    first = 0
    while first < len(rows):
        month = month_of(int(rows.time[first]))
        last = int(np.searchsorted(rows.time, month_bounds(month)[1]))
        yield month, rows.part(slice(first, last))
        first = last


def _bytes(rows: Rows) -> int:
    return sum(array.nbytes for array in rows.arrays)
