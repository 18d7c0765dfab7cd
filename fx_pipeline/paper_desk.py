"""The command `fx-pipeline broker`: from candles and options to a paper broker that serves until it is interrupted."""

import contextlib
import datetime as dt
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.control import create_control_app
from fx_pipeline.broker.paper.desk.times import time_text
from fx_pipeline.broker.paper.embedded import listening, serve
from fx_pipeline.broker.paper.exchange import Exchange
from fx_pipeline.broker.paper.faults import Faults
from fx_pipeline.broker.paper.hours import HoursOf, TradingHours
from fx_pipeline.broker.paper.journal import holding, put_aside
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline.broker.paper.server import create_app
from fx_pipeline.broker.paper.service import check_token
from fx_pipeline.broker.paper.start import data_span, default_start
from fx_pipeline.broker.paper.wire import parse_time
from fx_pipeline.ingest.importers import common_instrument, held_instrument, import_files
from fx_pipeline.ingest.layout import paper_store
from fx_pipeline.market.atomic import atomic_write_bytes, atomic_write_json
from fx_pipeline.market.disk import clear_disk_errors
from fx_pipeline.market.errors import ConfigurationError, DataError
from fx_pipeline.market.instrument import known_instruments
from fx_pipeline.settings import Settings, readable_by_others

Say = Callable[[str], None]

_ACCOUNT = re.compile(r"\d+-\d+-\d+-\d+")
_FINANCING = re.compile(r"(\w+)=([^,]+),([^,]+)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_LONGEST_TOKEN = 4096
_MANIFEST = "files.json"
#: Says in a folder that all of it was made here, and may be deleted.
_OURS = "made-by-fx-pipeline"


@dataclass(frozen=True)
class BrokerOptions:
    """What the command line says; None where it says nothing.

    Attributes
    ----------
    token : str
        Bearer token.
    candles : Path or None
        Store, data folder, or file or folder of candle files.
    speed : float or None
        Market seconds in a second; 0 for a clock that is stepped.
    start : str or None
        Where a new account begins.
    state : Path or None
        Folder of the account's journal.
    new : bool
        Whether the account there is put aside.
    terms : dict of str to Any
        Fields of `AccountConfig` that were given.
    wall_clock : bool
        Whether the market stands at the machine's time, all candles being history.
    """

    token: str = field(repr=False)
    candles: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8700
    control_port: int | None = None
    public: bool = False
    speed: float | None = None
    start: str | None = None
    state: Path | None = None
    new: bool = False
    terms: dict[str, Any] | None = None
    wall_clock: bool = False


def run_broker(options: BrokerOptions, settings: Settings, say: Say) -> None:
    """Serve until SIGINT or SIGTERM.

    Parameters
    ----------
    options : BrokerOptions
    settings : Settings
        The data folder, the calendar, and the instruments of a synthetic market.
    say : callable
        Gets each line for the person at the terminal.

    Raises
    ------
    ConfigurationError
        If an option cannot be used, a port is taken, or the state folder is in use.
    DataError
        If no candle file can be used, or the journal is damaged.
    """
    if options.wall_clock and (options.speed is not None or options.start or options.state or options.new):
        raise ConfigurationError("--wall-clock keeps no account: leave --speed, --start, --state and --new out.")
    check_token(options.token)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listening(options.host, options.port, options.public))
        surface = None
        if options.control_port is not None:
            surface = stack.enter_context(listening(options.host, options.control_port, options.public))
        exchange = _open_exchange(options, settings, say)
        stack.callback(exchange.close)
        faults = Faults()
        broker = create_app(exchange, options.token, faults)
        apps = [(broker, listener)]
        host = f"[{options.host}]" if ":" in options.host else options.host
        say(f"paper broker: http://{host}:{listener.getsockname()[1]} (FX_PAPER_URL); Ctrl-C stops")
        if surface is not None:
            apps.append((create_control_app(exchange, faults, options.token, broker.state.commit), surface))
            say(f"control surface: http://{host}:{surface.getsockname()[1]}")
        serve(apps)


def find_token(given: str | None, file: Path | None, settings: Settings, say: Say) -> str:
    """Find the token that clients must show: that of `--token-file`, of `--token`, or FX_PAPER_TOKEN.

    Parameters
    ----------
    given : str or None
        What the command line says; it shows in the list of processes, which is said.
    file : Path or None
        A file whose first line is the token; `-` is the standard input.

    Raises
    ------
    ConfigurationError
        If there is none, there are two, or the file cannot be read.
    """
    if given is not None and file is not None:
        raise ConfigurationError("--token and --token-file are both given: leave one out.")
    if given is not None:
        say(
            "--token shows in this machine's list of processes: FX_PAPER_TOKEN (in the environment or in .env) and "
            "--token-file do not"
        )
        return given
    if file is not None:
        return _token_of(file, say)
    if settings.paper_token is None:
        raise ConfigurationError(
            "the broker needs a token that clients must show: set FX_PAPER_TOKEN in the environment or in .env, or "
            "give --token-file."
        )
    return settings.paper_token.get_secret_value()


def _token_of(file: Path, say: Say) -> str:
    try:
        if str(file) == "-":
            line = sys.stdin.readline(_LONGEST_TOKEN)
        else:
            with file.open(encoding="utf-8") as opened:
                line = opened.readline(_LONGEST_TOKEN)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(
            f"--token-file {file} cannot be read ({reason}): its first line is the token."
        ) from None
    if not line.strip():
        raise ConfigurationError(f"--token-file {file} is empty: its first line is the token.")
    if readable_by_others(file):
        say(f"other users of this machine may read {file}: chmod 600 {file}")
    return line.rstrip("\r\n")


def find_candles(given: Path | None, settings: Settings) -> tuple[Path, list[Path]]:
    """Find out what `--candles` names.

    Returns
    -------
    (Path, list of Path)
        A store and no files; or the given path and the candle files in it, which are to be imported.

    Raises
    ------
    DataError
        If there is nothing of the kind.
    """
    if given is None:
        return settings.layout.paper_store, []
    for store in (given, paper_store(given)):
        if any(store.glob("candles*/")):
            return store, []
    if given.is_file():
        return given, [given]
    if not given.is_dir():
        raise DataError(f"{given} does not exist: --candles takes a store, a data folder, or candle files.")
    files = sorted(path for path in given.iterdir() if path.is_file() and not path.name.startswith("."))
    if not files:
        raise DataError(f"{given} holds neither a store nor candle files: leave --candles out for the data folder's.")
    return given, files


def import_folder(files: list[Path], target: Path, now_ns: int, say: Say) -> Path:
    """Import candle files into a store of their own, unless that was done and they are still the same.

    Parameters
    ----------
    target : Path
        Folder that then has the store, and nothing else: what an earlier import left there is deleted.
    now_ns : int
        The machine's time; bars after it are quarantined.

    Returns
    -------
    Path
        The store.

    Raises
    ------
    DataError
        If no file can be used.
    ConfigurationError
        If the target has files that were not made here, or the given files lie in it.
    """
    _check_target(files, target)
    store, manifest = paper_store(target), target / _MANIFEST
    stamps = {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in files}
    skipped: dict[str, str] = {}
    known = _manifest(manifest)
    if known is not None and known[0] == stamps:
        _report_left_out(known[1], say)
        return store
    # What a file that is gone or has changed brought in must go too.
    _clear(target)
    for path in files:
        try:
            name = common_instrument([path], None, held_instrument)
            report = import_files([path], name, None, target, now_ns=now_ns)
            say(f"imported {report.imported:,} candles of {name} from {path.name}")
        except (DataError, ConfigurationError) as error:
            skipped[path.name] = str(error)
    _report_left_out(skipped, say)
    if not candle_store.instruments(store):
        raise DataError(f"none of the {len(files)} files can be used: {next(iter(skipped.values()))}")
    atomic_write_json(manifest, {"files": stamps, "skipped": skipped})
    return store


def _manifest(path: Path) -> tuple[Any, dict[str, str]] | None:
    # What was imported and what was left out; None where that is not known, and all is imported again.
    try:
        known = json.loads(path.read_bytes())
        return known["files"], {str(name): str(reason) for name, reason in known["skipped"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _check_target(files: list[Path], target: Path) -> None:
    inside = [path for path in files if path.resolve().is_relative_to(target.resolve())]
    if inside:
        raise ConfigurationError(
            f"{inside[0]} lies in {target}, which the broker fills and empties itself: give another --state folder."
        )
    if target.is_dir() and any(target.iterdir()) and not (target / _OURS).is_file():
        raise ConfigurationError(
            f"{target} has files that were not made by the broker, and would be deleted: give another --state folder."
        )
    if target.exists() and not target.is_dir():
        raise ConfigurationError(f"{target} is no folder: give another --state folder.")


def _clear(target: Path) -> None:
    with clear_disk_errors(target):
        target.mkdir(parents=True, exist_ok=True)
        # Before anything else, and never deleted: a kill at any point leaves a folder that says whose it is.
        atomic_write_bytes(target / _OURS, b"")
        # First, lest the manifest speak of a store that is gone.
        (target / _MANIFEST).unlink(missing_ok=True)
        for path in target.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != _OURS:
                path.unlink()


def _report_left_out(skipped: dict[str, str], say: Say) -> None:
    for name, reason in skipped.items():
        say(f"left out {name}: {reason}")
    if skipped:
        say("(what an option would mend: run fx-pipeline import on the file with it, and leave --candles out)")


def parse_start(text: str) -> int:
    """Read a date (its midnight, UTC), an RFC 3339 time or UNIX seconds; return UTC nanoseconds.

    Raises
    ------
    ConfigurationError
        If it is none of them.
    """
    try:
        return parse_time(f"{dt.date.fromisoformat(text)}T00:00:00Z" if _DATE.fullmatch(text) else text)
    except ValueError as error:
        raise ConfigurationError(
            f"--start {text!r} is not a time: write 2024-01-09 or 2024-01-09T14:30:00Z."
        ) from error


def account_terms(
    account: str | None,
    home_currency: str | None,
    balance: str | None,
    conversion_charge: str | None,
    hedging: bool | None,
    margin_rate: str | None = None,
    financing: Sequence[str] = (),
) -> dict[str, Any]:
    """Check the options that say with which terms an account is opened; return those that were given.

    Raises
    ------
    ConfigurationError
        If one cannot be used.
    """
    if account is not None and not _ACCOUNT.fullmatch(account):
        raise ConfigurationError(f"--account {account!r} is not an account id: write it like 101-001-1000000-001.")
    currencies = {part for name in known_instruments() for part in name.split("_")} - {"XAU", "XAG", "BTC"}
    if home_currency is not None and home_currency not in currencies:
        raise ConfigurationError(
            f"--home-currency {home_currency!r} is unknown: use one of {', '.join(sorted(currencies))}."
        )
    given: dict[str, Any] = {
        "account": account,
        "home_currency": home_currency,
        "balance": None if balance is None else _decimal("--balance", balance),
        "conversion_charge": None if conversion_charge is None else _decimal("--conversion-charge", conversion_charge),
        "hedging": hedging,
        "margin_rate": None if margin_rate is None else _decimal("--margin-rate", margin_rate),
    }
    if financing:
        rates = dict(_financing(text) for text in financing)
        given["financing_long"] = {name: long for name, (long, _) in rates.items()}
        given["financing_short"] = {name: short for name, (_, short) in rates.items()}
    return {name: value for name, value in given.items() if value is not None}


def _financing(text: str) -> tuple[str, tuple[Decimal, Decimal]]:
    found = _FINANCING.fullmatch(text)
    if not found or found[1] not in known_instruments():
        raise ConfigurationError(
            f"--financing {text!r} is not understood: write an instrument and its annual rates for long and short "
            "trades, like EUR_USD=-0.021,0.004."
        )
    return found[1], (_decimal("--financing", found[2]), _decimal("--financing", found[3]))


def _open_exchange(options: BrokerOptions, settings: Settings, say: Say) -> Exchange:
    terms = options.terms or {}
    config = replace(AccountConfig(), **terms)
    source, files = find_candles(options.candles, settings)
    state = options.state or settings.layout.desk(source)
    store = source
    if files:
        with holding(state):
            store = import_folder(files, state / "import", time.time_ns(), say)
    held = [name for name in candle_store.instruments(store) if name in known_instruments()]
    # Prices and fills are made of minutes.
    stored = [name for name in held if candle_store.months(store, name)]
    if others := [name for name in held if name not in stored]:
        say(f"history only, no minutes to trade on: {', '.join(others)}")
    if options.wall_clock:
        say(f"market: the machine's time; the candles of {store} are history, and nothing can be traded")
        return Exchange.history(PaperMarket(store), config, known_instruments())
    market = PaperMarket(store, synthetic=not stored)
    instruments = stored or list(settings.instruments)

    def hours(name: str) -> TradingHours:
        return TradingHours.of(settings.calendar_of(name))

    start_ns = _start(options.start, market, instruments, hours)
    speed = 1.0 if options.speed is None else options.speed
    if options.new:
        # An account without a journal: whatever is wrong with the options shows before the old account goes.
        Exchange.open(market, config, instruments, start_ns, speed, None, hours).close()
        now = dt.datetime.now(dt.UTC)
        aside = put_aside(state, now.strftime("%Y%m%dT%H%M%SZ"))
        if aside:
            say(f"the old account was put aside: {aside}")
    exchange = Exchange.open(market, config, instruments, start_ns, speed, state, hours)
    try:
        if exchange.resumed:
            _check_continued(exchange, options, terms, state)
        _introduce(exchange, market, store, state, speed, say)
    except BaseException:
        exchange.close()
        raise
    return exchange


def _start(given: str | None, market: PaperMarket, instruments: list[str], hours: HoursOf) -> int:
    if given is None:
        return default_start(market, instruments, hours)
    start_ns = parse_start(given)
    spans = [data_span(market, name) for name in instruments]
    first, last = min(span[0] for span in spans), max(span[1] for span in spans)
    if not first <= start_ns < last:
        raise ConfigurationError(
            f"--start {given} lies outside the candles, which reach from {_shown(first)} to {_shown(last)}."
        )
    return start_ns


def _check_continued(exchange: Exchange, options: BrokerOptions, terms: dict[str, Any], state: Path) -> None:
    differing = [
        f"{name.replace('_', ' ')} {getattr(exchange.config, name)}"
        for name, value in terms.items()
        if getattr(exchange.config, name) != value
    ]
    if options.start is not None:
        differing.append(f"market time {_shown(exchange.clock.now_ns())}")
    if differing:
        raise ConfigurationError(
            f"the account in {state} has {', '.join(differing)}, which an option contradicts: leave the option out to "
            "continue that account, or give --new for a fresh one."
        )


def _introduce(exchange: Exchange, market: PaperMarket, store: Path, state: Path, speed: float, say: Say) -> None:
    config = exchange.config
    summary = exchange.desk.summary().body["account"]
    origin = "continued" if exchange.resumed else "new"
    balance = f"{summary['balance']} {config.home_currency}"
    say(f"account: {config.account}, {origin}, balance {balance}; state in {state.resolve()}")
    pace = "moved by the control surface only" if speed == 0 else f"at {speed:g} times real time"
    if exchange.dropped_bytes:
        say(f"a last record of {exchange.dropped_bytes} bytes was cut short: it was never acknowledged, and is dropped")
    say(f"market time: {_shown(exchange.clock.now_ns())}, {pace}")
    if market.source(exchange.instruments[0]) == "synthetic":
        say("candles: none are stored, so the market is SYNTHETIC (give --candles, or run fx-pipeline import)")
    else:
        say(f"candles: {store}")
    for name in exchange.instruments:
        first, last = data_span(market, name)
        say(f"  {name} {_shown(first)} to {_shown(last)}")
    exchange.desk.home_conversions(exchange.instruments)
    for name, rate in exchange.desk.assumed_rates.items():
        say(f"no candles convert at {name}: a fixed rate of {rate:f}, the level of early 2024, is ASSUMED")


def _shown(time_ns: int) -> str:
    return f"{time_text(time_ns)[:16].replace('T', ' ')} UTC"


def _decimal(name: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise ConfigurationError(f"{name} {text!r} is not a number.") from error
    if not value.is_finite():
        raise ConfigurationError(f"{name} {text!r} is not a finite number.")
    return value
