"""What a journal says that is whole, and yet not what this version writes."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from fx_pipeline.broker.paper.exchange import Exchange
from fx_pipeline.broker.paper.journal import FILE_NAME, holding
from fx_pipeline.market.errors import DataError
from fx_pipeline_tests.broker.paper.conftest import open_exchange


def record(kind: str, **content: Any) -> bytes:
    body = orjson.dumps({"kind": kind, **content})
    return b"%08x %b\n" % (zlib.crc32(body), body)


@pytest.fixture
def lines(tmp_path: Path) -> list[dict[str, Any]]:
    """The records of an account with two orders; they are in the folder `state`."""
    exchange = open_exchange(tmp_path, state_dir=tmp_path / "state")
    for units in ("100", "-100"):
        exchange.desk.create_order({"type": "MARKET", "instrument": "EUR_USD", "units": units}, 0, "1")
    exchange.close()
    return [orjson.loads(line[9:]) for line in (tmp_path / "state" / FILE_NAME).read_bytes().splitlines()]


def reopened(folder: Path, lines: list[dict[str, Any]]) -> Exchange:
    (folder / "state" / FILE_NAME).write_bytes(b"".join(record(**line) for line in lines))
    return open_exchange(folder, state_dir=folder / "state")


def test_the_account_goes_on(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    exchange = reopened(tmp_path, lines)
    assert exchange.resumed and exchange.desk.last_transaction_id == "7"
    exchange.close()


@pytest.mark.parametrize(
    ("version", "age"), [(2, "newer"), (99, "newer"), (0, "other"), ("1", "other"), (None, "other")]
)
def test_another_version_is_named(tmp_path: Path, lines: list[dict[str, Any]], version: Any, age: str) -> None:
    lines[0]["version"] = version
    with pytest.raises(DataError, match=rf"journal.jsonl is of version {version!r}.* the {age} fx-pipeline.*--new"):
        reopened(tmp_path, lines)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[0].pop("version"),
        lambda lines: lines[0].pop("account"),
        lambda lines: lines[0].update(account=None),
        lambda lines: lines[0]["account"].pop("balance"),
        lambda lines: lines[0]["account"].update(balance="much"),
        lambda lines: lines[0]["account"].update(leverage=30),
        lambda lines: lines[0].update(start_ns="now"),
        lambda lines: lines.pop(0),
        lambda lines: lines[1].pop("transactions"),
        lambda lines: lines[1].update(time_ns=None),
        lambda lines: lines[1].update(transactions=5),
        lambda lines: lines.pop(1),
        lambda lines: lines[2]["transactions"][0].pop("timeInForce"),
        lambda lines: lines[2]["transactions"][1].update(orderID="77"),
        lambda lines: lines[2]["transactions"][1].update(pl="none"),
        lambda lines: lines[2].update(trailing={"99": "1.1"}),
        lambda lines: lines[3].update(kind="split"),
    ],
)
def test_what_is_not_as_written_is_refused_with_the_file_and_what_to_do(
    tmp_path: Path, lines: list[dict[str, Any]], change: Callable[[list[dict[str, Any]]], Any]
) -> None:
    change(lines)
    with pytest.raises(DataError, match=r"journal.jsonl.*--new"):
        reopened(tmp_path, lines)
    # The folder is free again.
    with holding(tmp_path / "state"):
        pass
