"""The account's transactions, kept as JSON: an account may have millions, and most are never looked at again."""

import sys
from dataclasses import dataclass, field
from typing import Any, overload

import orjson

Transaction = dict[str, Any]


@dataclass(slots=True)
class Log:
    """All transactions of an account, index = id - 1; each look at one makes it anew.

    Attributes
    ----------
    lines : list of bytes
        The transactions as JSON.
    kinds : list of str
        Their types.
    """

    lines: list[bytes] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    def append(self, transaction: Transaction) -> None:
        """Add the next transaction."""
        # A copy: the encoder's own object keeps the room that it set aside for more, several kilobytes.
        self.lines.append(bytes(memoryview(orjson.dumps(transaction))))
        self.kinds.append(sys.intern(transaction["type"]))

    def __len__(self) -> int:
        """Return how many there are; a thread that reads beside `append` finds both parts of each."""
        return len(self.kinds)

    @overload
    def __getitem__(self, place: int) -> Transaction: ...

    @overload
    def __getitem__(self, place: slice) -> list[Transaction]: ...

    def __getitem__(self, place: int | slice) -> Transaction | list[Transaction]:
        """Return a transaction, or a list of several."""
        if isinstance(place, slice):
            return [orjson.loads(line) for line in self.lines[place]]
        found: Transaction = orjson.loads(self.lines[place])
        return found
