"""What one rollout leaves behind for later judgements: trades, sessions and baselines of one model on one window.

It lies in the trial ledger as bytes, so that a record over many windows needs neither their reports nor their candles.
The bytes are a JSON head, then the arrays in its order, little-endian, compressed: the same rollout gives the same
bytes.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.errors import DataError
from fx_pipeline.validation.excursions import Excursions
from fx_pipeline.validation.risk import position_values
from fx_pipeline.validation.rollout import Rollout

FORMAT = "fx_pipeline.evidence/1"
_LEVEL = 6
#: Arrays of a session and of a trade, with the type in which they are written.
_BY_SESSION = {"session_ns": "<i8", "session_price": "<f8"}
_BY_TRADE = {
    "trade_session": "<i4",
    "trade_pnl_pips": "<f8",
    "trade_stressed_pips": "<f8",
    "trade_entry_price": "<f8",
    "trade_bars_held": "<i4",
    "trade_max_drawdown_pips": "<f8",
    "trade_peak_pips": "<f8",
    "trade_low_pips": "<f8",
}

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Evidence:
    """A rollout and its baselines; `S` sessions, `N` trades.

    Attributes
    ----------
    pip : float
        Size of a pip in price units.
    session_bars : int
        Decisions of a session.
    session_ns : (S,) int64
        First bar of each session, UTC, increasing.
    session_price : (S,) float64
        Close of that bar: what turns pips into returns.
    trade_session : (N,) int64
        Session of each trade, not decreasing.
    trade_pnl_pips, trade_stressed_pips : (N,) float64
        Result after the judged costs; and with at least a tick of slippage a fill.
    trade_entry_price : (N,) float64
        What a unit of it was worth (`position_values`).
    trade_bars_held : (N,) int64
    trade_max_drawdown_pips, trade_peak_pips, trade_low_pips : (N,) float64
        Largest fall from its own high-water mark, that mark, and the low-water mark, bar by bar while it was open.
    baselines : Mapping of str to (S,) float64
        What each baseline without randomness made in each session.
    random_moments : (S, 3) float64
        Mean, variance and third central moment of what random traders with its turnover make in each session; all 0
        where it did not trade.
    bar_minutes : int
        Length of a bar.
    """

    pip: float
    session_bars: int
    session_ns: IntArray
    session_price: FloatArray
    trade_session: IntArray
    trade_pnl_pips: FloatArray
    trade_stressed_pips: FloatArray
    trade_entry_price: FloatArray
    trade_bars_held: IntArray
    trade_max_drawdown_pips: FloatArray
    trade_peak_pips: FloatArray
    trade_low_pips: FloatArray
    baselines: Mapping[str, FloatArray]
    random_moments: FloatArray
    bar_minutes: int = 1

    @property
    def session_length_ns(self) -> int:
        """How long a session without a gap takes."""
        return self.session_bars * self.bar_minutes * MINUTE_NS

    @property
    def session_pnl_pips(self) -> FloatArray:
        """What was made in each session (S,), 0 where nothing was traded."""
        return np.bincount(self.trade_session, self.trade_pnl_pips, len(self.session_ns)).astype(np.float64)

    @property
    def excursions(self) -> Excursions:
        """How far each trade moved while it was open, in pips."""
        return Excursions(self.trade_low_pips, self.trade_peak_pips, self.trade_max_drawdown_pips)

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        arrays = {name: np.asarray(getattr(self, name), kind) for name, kind in (_BY_SESSION | _BY_TRADE).items()}
        names = sorted(self.baselines)
        head = {
            "format": FORMAT,
            "pip": self.pip,
            "session_bars": self.session_bars,
            "sessions": len(self.session_ns),
            "trades": len(self.trade_pnl_pips),
            "baselines": names,
        }
        if self.bar_minutes != 1:
            # What has minutes keeps the bytes that it had when there were no other bars.
            head["bar_minutes"] = self.bar_minutes
        parts = [array.tobytes() for array in arrays.values()]
        parts += [np.asarray(self.baselines[name], "<f8").tobytes() for name in names]
        parts.append(np.asarray(self.random_moments, "<f8").tobytes())
        text = json.dumps(head, sort_keys=True, allow_nan=False).encode()
        return zlib.compress(text + b"\n" + b"".join(parts), _LEVEL)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Evidence":
        """Read what `to_bytes` wrote.

        Raises
        ------
        DataError
            If these are not such bytes, or of a version that is not known.
        """
        try:
            head, _, body = zlib.decompress(data).partition(b"\n")
            known = json.loads(head)
            if known["format"] != FORMAT:
                raise DataError(
                    f"evidence of format {known['format']!r} cannot be read: use the version that wrote it."
                )
            return cls._read(known, body)
        except (zlib.error, ValueError, KeyError, TypeError) as error:
            raise DataError(f"the evidence of a trial is damaged ({error}): validate its window again.") from error

    @classmethod
    def _read(cls, head: Mapping[str, Any], body: bytes) -> "Evidence":
        place = 0
        arrays: dict[str, Any] = {}
        wanted = [(name, kind, head["sessions"]) for name, kind in _BY_SESSION.items()]
        wanted += [(name, kind, head["trades"]) for name, kind in _BY_TRADE.items()]
        wanted += [(f"baseline {name}", "<f8", head["sessions"]) for name in head["baselines"]]
        wanted.append(("random_moments", "<f8", 3 * head["sessions"]))
        for name, kind, count in wanted:
            part = np.frombuffer(body, kind, count, place)
            place += part.nbytes
            arrays[name] = part.astype(np.float64 if kind == "<f8" else np.int64)
        if place != len(body):
            raise ValueError(f"{len(body) - place} bytes too many")
        baselines = {name: arrays.pop(f"baseline {name}") for name in head["baselines"]}
        moments = arrays.pop("random_moments").reshape(-1, 3)
        return cls(
            pip=float(head["pip"]),
            session_bars=int(head["session_bars"]),
            bar_minutes=int(head.get("bar_minutes", 1)),
            baselines=baselines,
            random_moments=moments,
            **arrays,
        )


def evidence_of(
    done: Rollout,
    market: MarketArrays,
    stressed_pips: npt.ArrayLike,
    baselines: Mapping[str, FloatArray],
    random_moments: FloatArray,
) -> Evidence:
    """Take the evidence of a rollout.

    Parameters
    ----------
    done : Rollout
    market : MarketArrays
        Of the rollout.
    stressed_pips : (N,) array-like
        Result of each trade with at least a tick of slippage a fill.
    baselines : Mapping of str to (S,) float64
        Results of the baselines on the same sessions.
    random_moments : (S, 3) float64
        See `Evidence`.
    """
    trades = done.trades
    return Evidence(
        pip=market.pip,
        session_bars=done.session_bars,
        session_ns=np.asarray(market.time[done.starts], np.int64),
        session_price=np.asarray(market.close[done.starts], np.float64),
        trade_session=np.asarray(trades["session"], np.int64),
        trade_pnl_pips=done.pnl_pips,
        trade_stressed_pips=np.asarray(stressed_pips, np.float64),
        trade_entry_price=position_values(done, market),
        trade_bars_held=np.asarray(trades["bars_held"], np.int64),
        trade_max_drawdown_pips=np.ascontiguousarray(trades["max_drawdown_pips"]),
        trade_peak_pips=np.ascontiguousarray(trades["peak_pips"]),
        trade_low_pips=np.ascontiguousarray(trades["low_pips"]),
        baselines=dict(baselines),
        random_moments=random_moments,
        bar_minutes=market.timeframe.minutes,
    )
