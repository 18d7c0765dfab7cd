"""Instruments and price sides as people write them, in names of files and in cells."""

import re
from pathlib import Path

from fx_pipeline.ingest.container import inner_name
from fx_pipeline.ingest.sides import Side
from fx_pipeline.market.instrument import known_instruments

_ALIASES = {"GOLD": "XAU_USD", "SILVER": "XAG_USD", "XBTUSD": "BTC_USD"}
#: `EURUSD`, `EUR/USD`, `C:EURUSD`, `OANDA:EUR_USD`, `EURUSD=X`, and with what brokers add: `#EURUSD`, `EURUSD.m`,
#: `EURUSDpro`.
_SYMBOL = re.compile(r"(?:\w[\w.]*:)?[#!.]?([A-Z]{3})[/_\- .]?([A-Z]{3})(?:=X|[.\-_#!+]\w*| [A-Za-z]+|[a-z]{1,4})?")
_SIDES: dict[str, Side] = {
    "bid": "bid", "bids": "bid", "b": "bid", "sell": "bid", "ask": "ask", "asks": "ask", "a": "ask", "offer": "ask",
    "buy": "ask", "mid": "mid", "mids": "mid", "m": "mid", "midpoint": "mid", "middle": "mid",
}  # fmt: skip


def instrument_of(text: str) -> str | None:
    """Return the known instrument that a cell names, None if it names none."""
    text = text.strip()
    if text.upper() in _ALIASES:
        return _ALIASES[text.upper()]
    # What a broker adds shows by its small letters: EURUSDm is EUR_USD, and BTCUSDT is not BTC_USD.
    for spelling in (text, text.upper() if text.islower() else text):
        if found := _SYMBOL.fullmatch(spelling):
            name = f"{found[1]}_{found[2]}"
            if name in known_instruments():
                return name
    return None


def side_of(text: str) -> Side | None:
    """Return the price side that a cell names, None if it names none."""
    return _SIDES.get(text.strip().lower())


def file_names(path: Path) -> list[str]:
    """Return the names under which a file's candles are known: the file's, and that of the file in a zip."""
    inside = inner_name(path) if path.is_file() else None
    return [path.name] if inside is None else [path.name, inside]
