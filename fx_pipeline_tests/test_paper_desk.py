"""The command `fx-pipeline broker`: what it serves, where its account is kept, and what it refuses."""

import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import requests
from pydantic import SecretStr

from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.exchange import Exchange
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline.broker.paper.synthetic import synthetic_bars
from fx_pipeline.market.errors import ConfigurationError, DataError
from fx_pipeline.paper_desk import (
    BrokerOptions,
    account_terms,
    find_candles,
    find_token,
    import_folder,
    parse_start,
    run_broker,
)
from fx_pipeline.settings import Settings, load_settings

TOKEN = "the-secret-token"
NOON_NS = int(np.datetime64("2024-03-13T12:00", "ns").astype(np.int64))
NOW_NS = int(np.datetime64("2024-06-01", "ns").astype(np.int64))


def bars(name: str, first: str, last: str) -> Any:
    times = (int(np.datetime64(text, "ns").astype(np.int64)) for text in (first, last))
    return synthetic_bars(name, *times).table("imported")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Candle files of two instruments, and two files that are none."""
    found = tmp_path / "files"
    found.mkdir()
    pq.write_table(bars("EUR_USD", "2024-01-08", "2024-01-10"), found / "EUR_USD_M1.parquet")
    pq.write_table(bars("GBP_JPY", "2024-01-08", "2024-01-10"), found / "GBPJPY.parquet")
    (found / "EUR_USD_notes.txt").write_text("hello\n")
    (found / "README.md").write_text("# Candles\n")
    return found


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in [name for name in os.environ if name.startswith("FX_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return load_settings(data_dir=tmp_path / "data")


def test_candles_are_a_store_a_data_folder_or_files(settings: Settings, tmp_path: Path, folder: Path) -> None:
    store = settings.layout.paper_store
    assert find_candles(None, settings) == (store, [])
    candle_store.upsert(store, "EUR_USD", bars("EUR_USD", "2024-01-08", "2024-01-09"))
    assert find_candles(store, settings) == (store, [])
    assert find_candles(settings.data_dir, settings) == (store, [])
    source, files = find_candles(folder, settings)
    assert source == folder and len(files) == 4
    assert find_candles(files[0], settings) == (files[0], [files[0]])
    with pytest.raises(DataError, match="does not exist"):
        find_candles(tmp_path / "nowhere", settings)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="neither a store nor candle files"):
        find_candles(tmp_path / "empty", settings)


def test_files_are_imported_once_and_again_when_they_change(tmp_path: Path, folder: Path) -> None:
    said: list[str] = []
    files = sorted(folder.iterdir())
    store = import_folder(files, tmp_path / "import", NOW_NS, said.append)
    assert candle_store.instruments(store) == ["EUR_USD", "GBP_JPY"]
    assert sum(line.startswith("imported") for line in said) == 2
    left_out = [line for line in said if line.startswith("left out")]
    assert len(left_out) == 2 and "EUR_USD_notes.txt" in left_out[0] and "README.md" in left_out[1]
    said.clear()
    import_folder(files, tmp_path / "import", NOW_NS, said.append)
    assert not any(line.startswith("imported") for line in said) and [*left_out] == said[:2]
    # What a file that is gone brought in goes too.
    (folder / "GBPJPY.parquet").unlink()
    import_folder(sorted(folder.iterdir()), tmp_path / "import", NOW_NS, said.append)
    assert candle_store.instruments(store) == ["EUR_USD"]
    with pytest.raises(DataError, match="none of the 2 files can be used"):
        import_folder([folder / "README.md", folder / "EUR_USD_notes.txt"], tmp_path / "none", NOW_NS, said.append)


def test_what_the_broker_did_not_make_is_never_deleted(tmp_path: Path, folder: Path) -> None:
    files = sorted(folder.iterdir())
    mine = tmp_path / "project" / "import"
    mine.mkdir(parents=True)
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigurationError, match="not made by the broker"):
        import_folder(files, mine, NOW_NS, lambda line: None)
    assert (mine / "thesis.txt").read_text() == "years of work" and len(list(mine.iterdir())) == 1
    # The given files themselves, or a folder around them, in one that the broker made too.
    for target in (folder, folder.parent):
        (target / "made-by-fx-pipeline").touch()
        with pytest.raises(ConfigurationError, match="lies in"):
            import_folder(files, target, NOW_NS, lambda line: None)
    assert all(path.is_file() for path in files)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="no folder"):
        import_folder(files, tmp_path / "file", NOW_NS, lambda line: None)


def test_an_import_that_was_killed_is_done_again(tmp_path: Path, folder: Path) -> None:
    target = tmp_path / "import"

    def kill(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_folder(sorted(folder.iterdir()), target, NOW_NS, kill)
    said: list[str] = []
    store = import_folder(sorted(folder.iterdir()), target, NOW_NS, said.append)
    assert candle_store.instruments(store) == ["EUR_USD", "GBP_JPY"]
    assert sum(line.startswith("imported") for line in said) == 2


def test_a_start_is_a_date_or_a_time() -> None:
    assert parse_start("2024-01-09") == parse_start("2024-01-09T00:00:00Z") == 1_704_758_400_000_000_000
    assert parse_start("1704758400") == parse_start("2024-01-09T02:00:00+02:00")
    for wrong in ("yesterday", "2024-13-01", "2024-1-9"):
        with pytest.raises(ConfigurationError, match="--start"):
            parse_start(wrong)


def test_terms_that_an_account_can_have() -> None:
    assert account_terms(None, None, None, None, None) == {}
    assert account_terms("1-2-3-4", "GBP", "1e3", "0", True) == {
        "account": "1-2-3-4",
        "home_currency": "GBP",
        "balance": Decimal(1000),
        "conversion_charge": Decimal(0),
        "hedging": True,
    }
    assert account_terms(None, None, None, None, None, "0.05", ["EUR_USD=-0.02,0.004", "GBP_JPY=0,-0.03"]) == {
        "margin_rate": Decimal("0.05"),
        "financing_long": {"EUR_USD": Decimal("-0.02"), "GBP_JPY": Decimal(0)},
        "financing_short": {"EUR_USD": Decimal("0.004"), "GBP_JPY": Decimal("-0.03")},
    }
    for text in ("EUR_USD", "EUR_USD=1", "EUR_XXX=0,0", "EUR_USD=a,b"):
        with pytest.raises(ConfigurationError, match=r"^--financing"):
            account_terms(None, None, None, None, None, None, [text])
    for wrong in (("me",), (None, "XXX"), (None, None, "much"), (None, None, None, "nan")):
        with pytest.raises(ConfigurationError, match=r"^--"):
            account_terms(*(*wrong, None, None, None, None)[:5])


def write_journal(state: Path) -> None:
    Exchange.open(PaperMarket(state / "none"), AccountConfig(), ["EUR_USD"], NOON_NS, 0.0, state).close()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"wall_clock": True, "speed": 2.0}, "--wall-clock keeps no account"),
        ({"start": "2030-01-01"}, "lies outside the candles"),
        ({"host": "0.0.0.0"}, "--public"),
        ({"candles": Path("nowhere")}, "does not exist"),
        ({"terms": {"balance": Decimal(-1)}}, "positive amount"),
        ({"terms": {"balance": Decimal("1e30")}}, "positive amount"),
        ({"terms": {"margin_rate": Decimal(2)}}, "margin_rate=2"),
        ({"terms": {"financing_long": {"EUR_USD": Decimal("NaN")}}}, "financing rate NaN of EUR_USD"),
        ({"speed": -2.0}, "positive number"),
        ({"speed": 1e7}, "positive number up to 1e"),
        *(({"token": token}, "needs a token") for token in ("", " x", "x\n", "a\tb", "ü")),
    ],
)
def test_options_that_cannot_be_used_put_no_account_aside(
    settings: Settings, options: dict[str, Any], says: str
) -> None:
    state = settings.layout.desk(settings.layout.paper_store)
    write_journal(state)
    options = {"token": TOKEN, "port": 0, "new": not options.get("wall_clock"), **options}
    with pytest.raises((ConfigurationError, DataError), match=says):
        run_broker(BrokerOptions(**options), settings, lambda line: None)
    assert [path.name for path in state.glob("*.jsonl")] == ["journal.jsonl"]


class Broker:
    """A running `fx-pipeline broker`."""

    def __init__(self, folder: Path, *options: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FX_")}
        command = [str(Path(sys.executable).with_name("fx-pipeline")), "broker", "--port", "0", *options]
        self.process = subprocess.Popen(
            command, cwd=folder, env={**environment, "FX_PAPER_TOKEN": TOKEN}, stderr=subprocess.PIPE, text=True
        )
        self.said: list[str] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip())
            if found := re.match(r"paper broker: http://127\.0\.0\.1:(\d+) ", line):
                self.port = int(found[1])
                break

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(
            method,
            f"/v3/accounts/101-001-1000000-001{path}",
            None if body is None else json.dumps(body),
            {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        )
        reply = connection.getresponse()
        found: dict[str, Any] = json.loads(reply.read())
        connection.close()
        assert reply.status < 300, found
        return found

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        code = self.process.wait(30)
        assert self.process.stderr is not None
        self.said += self.process.stderr.read().splitlines()
        self.process.stderr.close()
        return code


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Starts brokers in a folder of their own, and ends what is left of them."""
    started: list[Broker] = []

    def run(*options: str) -> Broker:
        started.append(Broker(tmp_path, *options))
        return started[-1]

    yield run
    for broker in started:
        if broker.process.poll() is None:
            broker.end(signal.SIGKILL)


def test_an_account_goes_on_after_an_end_and_after_a_kill(
    start: Callable[..., Broker], settings: Settings, folder: Path
) -> None:
    first = start("--candles", str(folder), "--speed", "60")
    assert any("account: 101-001-1000000-001, new, balance 100000.0000 USD" in line for line in first.said)
    # EUR_USD and GBP_JPY know no way from yen to dollars.
    assert [line.split()[4] for line in first.said if "ASSUMED" in line] == ["GBP_USD:", "JPY_USD:"]
    bought = first.ask(
        "POST", "/orders", {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "1000", "timeInForce": "FOK"}}
    )
    shown = bought["orderFillTransaction"]["time"]
    options = BrokerOptions(TOKEN, folder, port=0)
    with pytest.raises(ConfigurationError, match=f"in use by process {first.process.pid}"):
        run_broker(options, settings, lambda line: None)
    assert first.end(signal.SIGKILL) == -signal.SIGKILL

    second = start("--candles", str(folder))
    assert any("continued" in line for line in second.said) and not any(
        line.startswith("imported") for line in second.said
    )
    (trade,) = second.ask("GET", "/openTrades")["trades"]
    assert (trade["id"], trade["price"]) == (
        bought["orderFillTransaction"]["id"],
        bought["orderFillTransaction"]["price"],
    )
    closed = second.ask("PUT", f"/trades/{trade['id']}/close", {"units": "ALL"})
    assert closed["orderFillTransaction"]["time"] > shown
    assert second.end(signal.SIGTERM) == 0

    with pytest.raises(ConfigurationError, match="has balance 100000, which an option contradicts"):
        run_broker(replace(options, terms={"balance": Decimal(5)}), settings, lambda line: None)

    fresh = start(
        "--candles", str(folder), "--new", "--balance", "5000", "--speed", "0", "--start", "2024-01-08T14:00:00Z"
    )
    assert any("put aside" in line for line in fresh.said)
    summary = fresh.ask("GET", "/summary")["account"]
    assert (summary["balance"], summary["createdTime"]) == ("5000.0000", "2024-01-08T14:00:00.000000000Z")
    assert fresh.end(signal.SIGINT) == 0
    assert not any(TOKEN in line for broker in (first, second, fresh) for line in broker.said)


def test_without_candles_the_market_is_synthetic_and_says_so(start: Callable[..., Broker], tmp_path: Path) -> None:
    broker = start("--control-port", "0")
    assert any("SYNTHETIC" in line for line in broker.said)
    assert any(line.startswith("control surface: http://127.0.0.1:") for line in broker.said) or broker.process.stderr
    prices = broker.ask("GET", "/pricing?instruments=GBP_JPY,EUR_USD")["prices"]
    assert [price["tradeable"] for price in prices] == [True, True]
    assert broker.end(signal.SIGTERM) == 0
    shutil.rmtree(tmp_path / "data")


def test_at_the_wall_clock_candles_are_history(start: Callable[..., Broker]) -> None:
    broker = start("--wall-clock")
    (price,) = broker.ask("GET", "/pricing?instruments=GBP_JPY")["prices"]
    assert price["tradeable"] is False
    candles = broker.ask("GET", "/instruments/GBP_JPY/candles?granularity=M1&count=5")["candles"]
    assert len(candles) == 5
    assert broker.end(signal.SIGTERM) == 0


def test_the_token_is_nowhere_but_in_the_heads_of_clients(tmp_path: Path, settings: Settings) -> None:
    token = "unique-8f3a61-token"
    store = settings.layout.paper_store
    candle_store.upsert(store, "EUR_USD", bars("EUR_USD", "2024-01-08", "2024-01-12"))
    command = [str(Path(sys.executable).with_name("fx-pipeline")), "broker", "--port", "0", "--control-port", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FX_")}
    environment |= {"FX_PAPER_TOKEN": token, "PYTHONFAULTHANDLER": "1"}
    with (tmp_path / "out").open("w+") as out, (tmp_path / "err").open("w+") as err:
        process = subprocess.Popen([*command, "--speed", "0"], cwd=tmp_path, env=environment, stdout=out, stderr=err)
        try:
            deadline = time.monotonic() + 30
            while not (found := re.findall(r"http://127\.0\.0\.1:(\d+)", (tmp_path / "err").read_text()))[1:]:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
            broker, control = (f"http://127.0.0.1:{port}" for port in found)
            headers = {"Authorization": f"Bearer {token}"}

            def status(method: str, url: str, **more: Any) -> int:
                given = {"headers": headers, **more}
                return requests.request(method, url, timeout=20, **given).status_code

            account = f"{broker}/v3/accounts/101-001-1000000-001"
            market = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "1"}}
            assert status("POST", f"{account}/orders", json=market) == 201
            assert status("GET", f"{account}/orders", headers={"Authorization": f"Bearer {token}x"}) == 401
            assert status("GET", f"{account}/orders", headers={**headers, "Host": "\xff bad, {token}"}) in (200, 400)
            assert status("GET", f"{account}/orders?token=x", data=b"not json", headers=headers) == 200
            assert status("POST", f"{account}/orders", data=b"not json") == 400
            assert status("POST", f"{control}/price", json={"instrument": "EUR_USD", "pips": "x"}) == 400
            for wrong in (b"GET / HTTP/9.9\r\nAuthorization: Bearer %b\r\n\r\n", b"\x16\x03\x01 Bearer %b\r\n\r\n"):
                with socket.create_connection(("127.0.0.1", int(found[0])), timeout=20) as line:
                    line.sendall(wrong % token.encode())
                    line.recv(4096)
            candles = f"{broker}/v3/instruments/EUR_USD/candles?count=5"
            assert status("GET", candles) == 200
            (month,) = (store / "candles").rglob("*.parquet")
            month.write_bytes(b"no parquet")
            assert status("GET", candles) == 500
            month.unlink()
            month.mkdir()
            assert status("GET", candles) == 500
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    said = (tmp_path / "err").read_text()
    assert "is no file (Is a directory)" in said
    assert "Traceback" not in said and "account: 101-001-1000000-001" in said
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "journal.jsonl" for path in kept)
    assert not [path for path in kept if token.encode() in path.read_bytes()]
    assert token not in repr(BrokerOptions(token))


def test_where_the_token_comes_from(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\nanother line\n")
    file.chmod(0o600)
    assert find_token(None, file, settings, said.append) == TOKEN and said == []
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{TOKEN}\r\n"))
    assert find_token(None, Path("-"), settings, said.append) == TOKEN and said == []
    file.chmod(0o644)
    assert find_token(None, file, settings, said.append) == TOKEN and f"chmod 600 {file}" in said.pop()
    assert find_token(TOKEN, None, settings, said.append) == TOKEN and "list of processes" in said.pop()
    known = settings.model_copy(update={"paper_token": SecretStr(TOKEN)})
    assert find_token(None, None, known, said.append) == TOKEN and said == []


@pytest.mark.parametrize(
    ("given", "content", "says"),
    [
        (None, None, "set FX_PAPER_TOKEN"),
        ("t", b"t", "leave one out"),
        (None, b"", "is empty"),
        (None, b"\n\nt", "is empty"),
        (None, b"\xff\xfe", "it is no text"),
        (None, "folder", "Is a directory"),
        (None, "missing", "No such file"),
    ],
)
def test_no_token_to_be_had(
    tmp_path: Path, settings: Settings, given: str | None, content: bytes | str | None, says: str
) -> None:
    file = tmp_path / "token"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content == "folder":
        file.mkdir()
    with pytest.raises(ConfigurationError, match=says):
        find_token(given, None if content is None else file, settings, lambda line: None)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"files": {}}', b'{"files": {}, "skipped": 3}', b"\xff", None])
def test_a_damaged_note_of_an_import_means_a_new_import(tmp_path: Path, folder: Path, content: bytes | None) -> None:
    files, said = sorted(folder.iterdir()), list[str]()
    store = import_folder(files, tmp_path / "import", NOW_NS, said.append)
    months = candle_store.months(store, "EUR_USD")
    said.clear()
    assert import_folder(files, tmp_path / "import", NOW_NS, said.append) == store
    assert not [line for line in said if line.startswith("imported")]
    note = tmp_path / "import" / "files.json"
    if content is None:
        note.unlink()
    else:
        note.write_bytes(content)
    assert import_folder(files, tmp_path / "import", NOW_NS, said.append) == store
    assert [line for line in said if line.startswith("imported")] and candle_store.months(store, "EUR_USD") == months
