"""The chain over the rows of the trial ledger: a row's hash holds the one before, so none can go or change unseen.

``hash_0 = sha256(ledger id)``, ``hash_n = sha256(hash_{n-1}, n, table, key of the row, its content)``. The last hash,
the head, stands for all rows. It is written down elsewhere, too (`ledger_witness`), as whoever can write the file can
make a new chain.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: Tables whose rows are chained, and the column that names a row. Not the rowid: a VACUUM may give new ones.
CHAINED = {
    "trials": "trial_key",
    "series": "trial_key",
    "evidence": "trial_key",
    "days": "days_sha256",
    "reports": "id",
    "sealed_openings": "id",
    "events": "id",
}
#: Sentences about single rows; more are counted only.
_NAMED = 3


@dataclass(frozen=True)
class Head:
    """What stands for all rows of a ledger.

    Attributes
    ----------
    ledger_id : str
        Made with the file.
    rows : int
        Length of the chain.
    hash : str
        Of its last row.
    """

    ledger_id: str
    rows: int
    hash: str


def head(connection: sqlite3.Connection) -> Head:
    """Read the head; that of a ledger without rows is made of its id."""
    found = connection.execute("SELECT ledger_id FROM identity").fetchone()
    ledger_id = "" if found is None else str(found[0])
    last = connection.execute("SELECT number, hash FROM chain ORDER BY number DESC LIMIT 1").fetchone()
    return Head(ledger_id, 0, _genesis(ledger_id)) if last is None else Head(ledger_id, int(last[0]), str(last[1]))


def hash_at(connection: sqlite3.Connection, row: int) -> str | None:
    """Return the hash of the chain at a row, 0 for its beginning; None where it is shorter."""
    if row == 0:
        return _genesis(head(connection).ledger_id)
    found = connection.execute("SELECT hash FROM chain WHERE number = ?", (row,)).fetchone()
    return None if found is None else str(found[0])


def append(connection: sqlite3.Connection, table: str, key: Any) -> None:
    """Chain a row that was just written."""
    cursor = connection.execute(f"SELECT * FROM {table} WHERE {CHAINED[table]} = ?", (key,))
    names = [column[0] for column in cursor.description]
    last = head(connection)
    number = last.rows + 1
    linked = _link(last.hash, number, table, str(key), _content(names, tuple(cursor.fetchone())))
    connection.execute(
        "INSERT INTO chain (number, name, row_key, hash) VALUES (?, ?, ?, ?)", (number, table, str(key), linked)
    )


def verify(connection: sqlite3.Connection) -> list[str]:
    """Walk the whole chain, and return what is wrong with it, a sentence each; empty when all rows are as written.

    Nothing is remembered of earlier walks: what the file says of itself could be written by anyone.
    """
    found: list[str] = []
    rows: dict[tuple[str, str], bytes] = {}
    for table in CHAINED:
        rows.update(_contents(connection, table))
    ledger_id = head(connection).ledger_id
    if not ledger_id:
        found.append("it has no id: the row that it was made with was removed.")
    last, expected, gone, changed = _genesis(ledger_id), 1, [], []
    for number, table, key, linked in connection.execute(
        "SELECT number, name, row_key, hash FROM chain ORDER BY number"
    ):
        if number != expected:
            found.append(f"its chain lacks rows {expected} to {number - 1}.")
        content = rows.pop((table, key), None)
        if content is None:
            gone.append(f"row {number} ({table} {key})")
        elif _link(last, number, table, key, content) != linked:
            changed.append(f"row {number} ({table} {key})")
        # From the recorded hash on: one changed row is one sentence, and not one for each that follows.
        last, expected = linked, number + 1
    added = [f"{table} {key}" for table, key in rows]
    for names, what in ((gone, "removed"), (changed, "changed, or the row before it was"), (added, "added beside it")):
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            found.append(f"{', '.join(names[:_NAMED])}{more} was {what}.")
    return found


def _contents(connection: sqlite3.Connection, table: str) -> Iterator[tuple[tuple[str, str], bytes]]:
    cursor = connection.execute(f"SELECT * FROM {table}")
    names = [column[0] for column in cursor.description]
    key = names.index(CHAINED[table])
    for row in cursor:
        values = tuple(row)
        yield (table, str(values[key])), _content(names, values)


def _content(names: list[str], values: tuple[Any, ...]) -> bytes:
    """Hash the columns that have a value, by name: a column that a later version adds changes no earlier row."""
    plain = {
        name: hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else value
        for name, value in zip(names, values, strict=True)
        if value is not None
    }
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).digest()


def _genesis(ledger_id: str) -> str:
    return hashlib.sha256(f"fx_pipeline ledger {ledger_id}".encode()).hexdigest()


def _link(last: str, number: int, table: str, key: str, content: bytes) -> str:
    return hashlib.sha256(f"{last} {number} {table} {key} ".encode() + content).hexdigest()
