"""What the journal's records say, and how an account is rebuilt from them."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.desk import Batch
from fx_pipeline.broker.paper.journal import damaged
from fx_pipeline.market.errors import DataError, FxPipelineError

_VERSION = 1


def account_fields(config: AccountConfig, start_ns: int) -> dict[str, Any]:
    """Return the content of a journal's first record, which opens the account."""
    return {"version": _VERSION, "start_ns": start_ns, "account": _plain(asdict(config))}


def batch_fields(batch: Batch) -> dict[str, Any]:
    """Return the content of the record of a batch of transactions."""
    return batch._asdict()


def batches_of(records: Iterable[dict[str, Any]]) -> Iterator[Batch]:
    """Yield the batches of transactions among a journal's records, in order."""
    for record in records:
        if record["kind"] == "batch":
            yield Batch(record["time_ns"], record["transactions"], record["trailing"])


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what goes wrong with records that are whole, but not as this version writes them, into a clear error.

    Raises
    ------
    DataError
        Naming the file and what can be done.
    """
    try:
        yield
    except FxPipelineError as error:
        if str(path) in str(error):
            raise
        raise damaged(path, str(error).rstrip(".")) from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise damaged(
            path, f"its records are whole, but not as this version writes them ({type(error).__name__}: {error})"
        ) from error


@dataclass
class History:
    """What a journal holds beside its transactions, of which an account may have millions.

    Attributes
    ----------
    config : AccountConfig
        Terms of the account.
    start_ns : int
        When it was opened.
    resume_ns : int
        Latest time of a record.
    batches : int
        How many batches of transactions there are.
    settled_ns : int
        Time of the last batch.
    settled : list of dict
        Jumps and halts before the last batch.
    open : list of dict
        Those after it.
    traded : set of str
        Instruments that transactions, jumps and halts name, in no order.
    """

    config: AccountConfig
    start_ns: int
    resume_ns: int
    settled_ns: int
    batches: int = 0
    settled: list[dict[str, Any]] = field(default_factory=list)
    open: list[dict[str, Any]] = field(default_factory=list)
    traded: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, records: Iterable[dict[str, Any]], path: Path) -> Self | None:
        """Read a journal's records; None when there are none.

        Raises
        ------
        DataError
            If they do not begin with the opening of an account, or are of another version of the journal.
        """
        found: Self | None = None
        with readable(path):
            for record in records:
                if found is None:
                    _check_version(record, path)
                    start = record["start_ns"]
                    found = cls(_config(record["account"]), start, start, start)
                else:
                    found._take(record, path)
        return found

    def _take(self, record: dict[str, Any], path: Path) -> None:
        match record["kind"]:
            case "batch":
                self.batches += 1
                self.traded.update(entry["instrument"] for entry in record["transactions"] if "instrument" in entry)
                self.settled_ns = record["time_ns"]
                self.settled += self.open
                self.open = []
            case "jump" | "halt":
                self.open.append(record)
                self.traded.add(record["instrument"])
            case "step" | "speed":
                pass
            case kind:
                raise DataError(
                    f"{path} has a record of the unknown kind {kind!r}: continue the account with the newer version of "
                    "fx-pipeline that wrote it, or start a new one with --new, which keeps this one beside it."
                )
        self.resume_ns = max(self.resume_ns, record["time_ns"])


def _check_version(record: dict[str, Any], path: Path) -> None:
    if record["kind"] != "open":
        raise damaged(path, "line 1: the account's opening is missing")
    version = record["version"]
    if version != _VERSION:
        age = "newer" if isinstance(version, int) and version > _VERSION else "other"
        raise DataError(
            f"{path} is of version {version!r} of the journal, and this fx-pipeline reads version {_VERSION}: continue "
            f"the account with the {age} fx-pipeline that wrote it, or start a new one with --new, which keeps this "
            "one beside it."
        )


def _config(fields: dict[str, Any]) -> AccountConfig:
    rates = {
        name: {key: Decimal(value) for key, value in fields[name].items()}
        for name in ("financing_long", "financing_short")
    }
    margin_rate = fields["margin_rate"]
    return AccountConfig(
        **{
            **fields,
            **rates,
            "balance": Decimal(fields["balance"]),
            "conversion_charge": Decimal(fields["conversion_charge"]),
            "margin_rate": None if margin_rate is None else Decimal(margin_rate),
        }
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return str(value) if isinstance(value, Decimal) else value
