"""What makes clients fail in reality, each a switch of the paper broker that is off until it is asked for."""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


class FaultError(ValueError):
    """A switch that does not exist, or a value that it does not take."""


def _switch(default: Any, meaning: str, low: float = 0, high: float = 3600) -> Any:
    return dataclasses.field(default=default, metadata={"meaning": meaning, "low": low, "high": high})


@dataclass
class Faults:
    """The switches. Set attributes directly, or by `set`, which checks them; what each does is in `describe()`."""

    complete_delay_s: float = _switch(0.0, "A candle turns complete this many seconds after its end.", high=45)
    missing_minutes: float = _switch(0.0, "This share of the minutes has no candle, always the same ones.", high=1)
    partial_page: bool = _switch(False, "A page of candles holds fewer than were asked for, though there are more.")
    clock_skew_s: float = _switch(
        0.0,
        "The server's clock, in the header Date and for candles, is ahead by this; no future shows.",
        low=-86_400,
        high=86_400,
    )
    refuse_token: bool = _switch(False, "Every token is refused with 401.")
    status_429: int = _switch(0, "This many of the next requests are answered with 429.", high=10**9)
    status_503: int = _switch(0, "This many of the next requests are answered with 503 and HTML.", high=10**9)
    status_504: int = _switch(0, "This many of the next requests are answered with 504.", high=10**9)
    lose_reply: int = _switch(
        0, "This many of the next writes are applied, and their connection is cut without a reply.", high=10**9
    )
    path: str = _switch("", "The four counts above touch only requests whose path contains this text.")
    slow_reply_s: float = _switch(0.0, "Every request waits this long before it is worked on.")
    late_reply_s: float = _switch(0.0, "A write is applied at once, and its reply leaves after this.")
    drip_s: float = _switch(0.0, "The body of every reply but a stream's arrives in pieces over this long.")
    read_lag_s: float = _switch(0.0, "Orders and trades stay invisible to reads for this long after they were made.")
    duplicate_client_ids: bool = _switch(False, "Client ids of pending orders and open trades may be used again.")
    empty_books: bool = _switch(False, "Prices have empty lists of bids and asks.")
    pricing_stream: Literal["", "drop", "stall", "end"] = _switch(
        "", 'What happens to price streams: "drop" cuts them, "stall" keeps them open and silent, "end" ends them.'
    )
    transactions_stream: Literal["", "drop", "stall", "end"] = _switch(
        "", "The same for transaction streams; the other kind lives on."
    )
    heartbeats_only: bool = _switch(False, "Price streams have heartbeats and no prices.")
    rate_limit: bool = _switch(
        False, "More than 120 requests a second or 20 streams are answered with 429, as OANDA's."
    )

    def set(self, values: Mapping[str, Any]) -> None:
        """Set switches by name: all of them, or none when one of the values is refused.

        Raises
        ------
        FaultError
            If a name is unknown or a value is of the wrong type or out of bounds.
        """
        checked = {name: _checked(name, value) for name, value in values.items()}
        for name, value in checked.items():
            setattr(self, name, value)

    def reset(self) -> None:
        """Switch everything off."""
        for name, field in _FIELDS.items():
            setattr(self, name, field.default)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return value, default, type, bounds or choices, and meaning of each switch, by name."""
        described = {}
        for name, field in _FIELDS.items():
            kind = _TYPES[name]
            entry: dict[str, Any] = {"value": getattr(self, name), "default": field.default}
            if typing.get_origin(kind) is Literal:
                entry |= {"type": "str", "choices": list(typing.get_args(kind))}
            else:
                entry["type"] = kind.__name__
                if kind in (int, float):
                    entry |= {"minimum": field.metadata["low"], "maximum": field.metadata["high"]}
            described[name] = {**entry, "meaning": field.metadata["meaning"]}
        return described

    def take(self, name: str, path: str) -> bool:
        """Use up one of a counted switch, such as `status_503`, if it has any left for a request to `path`."""
        left: int = getattr(self, name)
        if left <= 0 or self.path not in path:
            return False
        setattr(self, name, left - 1)
        return True


_FIELDS = {field.name: field for field in dataclasses.fields(Faults)}
_TYPES = typing.get_type_hints(Faults)


def _checked(name: str, value: Any) -> Any:
    if name not in _FIELDS:
        raise FaultError(f"there is no switch {name!r}: choose from {', '.join(_FIELDS)}.")
    kind, metadata = _TYPES[name], _FIELDS[name].metadata
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            raise FaultError(f"{name} is one of {', '.join(map(repr, choices))}, not {value!r}.")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise FaultError(f"{name} is of type {kind.__name__}; {value!r} is not.")
    # NaN fails both comparisons, so it is refused too.
    if kind in (int, float) and not metadata["low"] <= value <= metadata["high"]:
        raise FaultError(f"{name} lies between {metadata['low']} and {metadata['high']}; {value!r} does not.")
    return value
