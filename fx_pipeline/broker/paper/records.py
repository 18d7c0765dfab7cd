"""What the journal's records say, and how an account is rebuilt from them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Self

from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.desk import Batch
from fx_pipeline.market.errors import DataError

_VERSION = 1


def account_fields(config: AccountConfig, start_ns: int) -> dict[str, Any]:
    """Return the content of a journal's first record, which opens the account."""
    return {"version": _VERSION, "start_ns": start_ns, "account": _plain(asdict(config))}


def batch_fields(batch: Batch) -> dict[str, Any]:
    """Return the content of the record of a batch of transactions."""
    return batch._asdict()


@dataclass
class History:
    """What a journal holds, in the form in which it is applied.

    Attributes
    ----------
    config : AccountConfig
        Terms of the account.
    start_ns : int
        When it was opened.
    resume_ns : int
        Latest time of a record.
    batches : list of Batch
        All transactions.
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
    batches: list[Batch] = field(default_factory=list)
    settled: list[dict[str, Any]] = field(default_factory=list)
    open: list[dict[str, Any]] = field(default_factory=list)
    traded: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, records: Iterable[dict[str, Any]]) -> Self | None:
        """Read a journal's records; None when there are none.

        Raises
        ------
        DataError
            If they do not begin with the opening of an account, or are of another version of the journal.
        """
        found: Self | None = None
        for record in records:
            if found is None:
                if record["kind"] != "open" or record["version"] != _VERSION:
                    raise DataError(
                        "the journal does not begin as one of this version does: start a new account with --new."
                    )
                start = record["start_ns"]
                found = cls(_config(record["account"]), start, start, start)
            else:
                found._take(record)
        return found

    def _take(self, record: dict[str, Any]) -> None:
        match record["kind"]:
            case "batch":
                self.batches.append(Batch(record["time_ns"], record["transactions"], record["trailing"]))
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
                raise DataError(f"the journal has a record of the unknown kind {kind!r}: use the newer version.")
        self.resume_ns = max(self.resume_ns, record["time_ns"])


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
