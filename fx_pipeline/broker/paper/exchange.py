"""The paper broker below HTTP: a market that passes, the account's desk in it, and the journal that outlives both."""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from fx_pipeline.broker.paper.clock import Clock, ReplayClock, SteppedClock, WallClock, market_clock
from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.desk import Batch, Desk
from fx_pipeline.broker.paper.desk.times import time_text
from fx_pipeline.broker.paper.hours import HoursOf, instrument_hours
from fx_pipeline.broker.paper.journal import Journal
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline.broker.paper.quotes import Quote
from fx_pipeline.broker.paper.records import History, account_fields, batch_fields, batches_of, readable
from fx_pipeline.broker.paper.ticks import DAY_NS, STALE_MINUTES, Feed
from fx_pipeline.market.calendar import trading_day, trading_day_start
from fx_pipeline.market.errors import ConfigurationError, DataError

_NEVER_NS = 2**63 - 1
_YEAR_NS = 366 * DAY_NS
#: How far ahead the market's time is reserved, in seconds of the machine: after a kill it goes on from there, and so
#: never back.
RESERVE_S = 1.0

QuoteListener = Callable[[Quote], None]
TransactionListener = Callable[[dict[str, Any]], None]
ClockMaker = Callable[[int, float], Clock]


class Exchange:
    """Moves the market's quotes through the desk in order of time; open one with `open` or `history`.

    Attributes
    ----------
    desk : Desk
    market : PaperMarket
    clock : Clock
    instruments : tuple of str
        What can be traded.
    config : AccountConfig
        The account's terms.
    history_only : bool
        Whether stored candles are all past: every quote is then non-tradeable, and time brings no tick.
    resumed : bool
        Whether the account was found in the state folder.
    """

    def __init__(
        self,
        market: PaperMarket,
        config: AccountConfig,
        instruments: Sequence[str],
        clock: Clock,
        hours: HoursOf,
        journal: Journal | None = None,
        make_clock: ClockMaker = market_clock,
        history_only: bool = False,
        stale_minutes: int = STALE_MINUTES,
    ) -> None:
        self.market, self.config, self.clock = market, config, clock
        self.instruments = tuple(instruments)
        self.history_only = history_only
        self.resumed = False
        self._hours, self._journal, self._make_clock = hours, journal, make_clock
        self._stale_minutes = stale_minutes
        self._feeds: dict[str, Feed] = {}
        self._latest: dict[str, Quote] = {}
        self._queue: deque[Quote] = deque()
        self._done_ns = self._queued_ns = self._due_ns = 0
        self._roll_day, self._roll_ns = 0, 0
        self._quote_listeners: dict[QuoteListener, frozenset[str]] = {}
        self._transaction_listeners: dict[TransactionListener, None] = {}
        self.desk = Desk(config, self.instruments, self._record)

    @classmethod
    def open(
        cls,
        market: PaperMarket,
        config: AccountConfig,
        instruments: Sequence[str],
        start_ns: int,
        speed: float = 1.0,
        state_dir: Path | None = None,
        hours: HoursOf = instrument_hours,
        make_clock: ClockMaker = market_clock,
        stale_minutes: int = STALE_MINUTES,
    ) -> Self:
        """Open an account in a market that is replayed, or continue the one in the state folder.

        Parameters
        ----------
        market : PaperMarket
        config : AccountConfig
            Terms of a new account; one that is continued keeps its own.
        instruments : sequence of str
            What can be traded; what the account has traded before stays tradeable.
        start_ns : int
            Time at which a new account is opened, UTC nanoseconds.
        speed : float
            Market seconds in a second; 0 for a clock that moves only by `step`.
        state_dir : Path, optional
            Folder of the journal; absent, nothing is kept.
        hours : callable
            Trading hours by instrument.
        make_clock : callable
            Makes the clock from its first time and the speed.
        stale_minutes : int
            How long an instrument without a bar is traded on.

        Raises
        ------
        DataError
            If the journal is damaged, or an instrument has no candles.
        ConfigurationError
            If another process holds the state folder, or the speed is not usable.
        """
        journal = None if state_dir is None else Journal(state_dir)
        try:
            history = History.of(journal.records(), journal.path) if journal else None
            if history is None:
                clock = make_clock(start_ns, speed)
                found = cls(market, config, instruments, clock, hours, journal, make_clock, stale_minutes=stale_minutes)
            else:
                names = tuple(dict.fromkeys((*instruments, *sorted(history.traded))))
                clock = make_clock(max(history.resume_ns, journal.reserved_ns if journal else 0), speed)
                found = cls(
                    market, history.config, names, clock, hours, journal, make_clock, stale_minutes=stale_minutes
                )
            for name in found.instruments:
                found._feed(name)
            if history is None:
                found._begin(start_ns)
            else:
                found._continue(history)
            found.advance()
        except BaseException:
            if journal:
                journal.close()
            raise
        return found

    @classmethod
    def history(
        cls, market: PaperMarket, config: AccountConfig, instruments: Sequence[str], clock: Clock | None = None
    ) -> Self:
        """Open an exchange at the machine's time, for which all candles are history; nothing is kept."""
        found = cls(market, config, instruments, clock or WallClock(), instrument_hours, history_only=True)
        found.desk.open(found.clock.now_ns())
        return found

    def advance(self) -> int:
        """Bring desk and listeners to the clock's time; return that time, UTC nanoseconds."""
        now = self.clock.now_ns()
        if not self.history_only:
            self._reserve(now)
            if now >= self._due_ns:
                self._run_to(now)
            self._expire(now)
        return now

    def next_due_ns(self) -> int | None:
        """Return the market's time of the next tick, daily financing or expiry; None when the data have ended."""
        if self.history_only:
            return None
        due = min(self._due_ns, self.desk.next_expiry_ns() or _NEVER_NS)
        return None if due == _NEVER_NS else due

    def quote(self, instrument: str) -> Quote:
        """Return the newest quote of an instrument.

        Raises
        ------
        DataError
            If the instrument is not traded here or has no candles.
        """
        if instrument not in self.instruments:
            raise DataError(f"{instrument} is not traded here: {', '.join(self.instruments)} are.")
        if self.history_only:
            return self._feed(instrument).newest(self.clock.now_ns())._replace(tradeable=False)
        return self._latest.get(instrument) or self._feed(instrument).newest(self._done_ns)

    def subscribe_quotes(
        self, listener: QuoteListener, instruments: Collection[str] | None = None
    ) -> Callable[[], None]:
        """Call `listener` with every further tick, in order; return a function that ends this.

        Parameters
        ----------
        instruments : collection of str, optional
            Whose ticks; absent, all.
        """
        self._quote_listeners[listener] = frozenset(self.instruments if instruments is None else instruments)
        return lambda: _forget(self._quote_listeners, listener)

    def subscribe_transactions(self, listener: TransactionListener) -> Callable[[], None]:
        """Call `listener` with every further transaction, once it is in the journal; return a function that ends this.

        The transaction may not have taken effect yet, and the journal may not be flushed to disk yet. The listener
        must not raise: the desk would not do what the journal says.
        """
        self._transaction_listeners[listener] = None
        return lambda: _forget(self._transaction_listeners, listener)

    def jump_price(self, instrument: str, pips: Decimal) -> None:
        """Move all further prices of an instrument; stored candles stay as they are.

        Raises
        ------
        ConfigurationError
            If the jump is finer than the displayed decimals or leaves no positive price.
        """
        now = self._control_time()
        self.quote(instrument)
        feed = self._feed(instrument)
        feed.check_jump(pips, now)
        self._write("jump", {"time_ns": now, "instrument": instrument, "pips": str(pips)})
        feed.jump(pips, now)
        self._take(feed.newest(now))

    def halt(self, instrument: str, halted: bool) -> None:
        """Halt trading of an instrument, or end the halt."""
        now = self._control_time()
        self.quote(instrument)
        self._write("halt", {"time_ns": now, "instrument": instrument, "halted": halted})
        self._feed(instrument).halt(halted, now)
        self._take(self._feed(instrument).newest(now))

    def set_speed(self, speed: float) -> None:
        """Go on at another speed from now; 0 stops the clock, which then moves by `step`.

        Raises
        ------
        ConfigurationError
            If the speed is not usable.
        """
        now = self._control_time()
        clock = self._make_clock(now, speed)
        self._write("speed", {"time_ns": now, "speed": speed})
        if self._journal:
            # The old speed's reserve may reach far beyond what the new one will show.
            self._journal.reserve(now)
        self.clock = clock

    def step(self, to_ns: int) -> None:
        """Move a stopped clock to a time, through everything that happens until then.

        Raises
        ------
        ConfigurationError
            As `check_step`.
        """
        clock = self.check_step(to_ns)
        self._write("step", {"time_ns": to_ns})
        clock.move_to(to_ns)
        self.advance()

    def check_step(self, to_ns: int) -> SteppedClock:
        """Return the stopped clock if it may move to a time.

        Raises
        ------
        ConfigurationError
            If the clock runs by itself, or the time lies in the past or over a year after the data end.
        """
        now = self._control_time()
        if not isinstance(self.clock, SteppedClock):
            raise ConfigurationError("the market's clock runs by itself: set its speed to 0 before stepping it.")
        if to_ns < now:
            raise ConfigurationError(f"the market's clock cannot go back by {(now - to_ns) / 1e9:g} s.")
        end_ns = max(self._feed(name).end_ns for name in self.instruments)
        if to_ns > end_ns + _YEAR_NS:
            raise ConfigurationError(
                f"the candles end at {time_text(end_ns)}, and nothing happens after it: step to a time of the year "
                "after it at the latest."
            )
        return self.clock

    @property
    def dropped_bytes(self) -> int:
        """Length of a last record of the journal that a killed process left unfinished; 0 where there was none."""
        return self._journal.dropped_bytes if self._journal else 0

    @property
    def dirty(self) -> bool:
        """Whether the journal holds what is not flushed to disk yet."""
        return self._journal is not None and self._journal.dirty

    def sync(self) -> None:
        """Flush the journal to disk if there is anything to flush; it blocks, and may run in another thread.

        Raises
        ------
        FxPipelineError
            If the disk refuses.
        """
        if self._journal:
            self._journal.sync()

    def close(self) -> None:
        """Note the market's time, flush and free the state folder."""
        if self._journal:
            self._journal.reserve(self.clock.now_ns())
            self._journal.close()
            self._journal = None

    def _begin(self, start_ns: int) -> None:
        if self._journal:
            # A journal that was put aside may have left its reserve.
            self._journal.reserve(start_ns)
        # Before anything is written: a journal whose account cannot be opened would stand in the way of every other.
        Desk(self.config, self.instruments).open(start_ns)
        self._write("open", account_fields(self.config, start_ns))
        self.desk.open(start_ns)
        self._show_book(start_ns)

    def _continue(self, history: History) -> None:
        self.resumed = True
        if history.batches and self._journal:
            with readable(self._journal.path):
                self.desk.restore(batches_of(self._journal.records()))
        else:
            self.desk.open(history.start_ns)
        for control in history.settled:
            self._repeat(control)
        self._show_book(history.settled_ns)
        for control in history.open:
            self._run_to(control["time_ns"])
            self._repeat(control)
            self._take(self._feed(control["instrument"]).newest(control["time_ns"]))

    def _repeat(self, control: dict[str, Any]) -> None:
        feed = self._feed(control["instrument"])
        if control["kind"] == "jump":
            feed.jump(Decimal(control["pips"]), control["time_ns"])
        else:
            feed.halt(control["halted"], control["time_ns"])

    def _show_book(self, time_ns: int) -> None:
        # What the desk last saw of the market: after a kill it may have been in the middle of these quotes.
        self._done_ns = self._queued_ns = time_ns
        self._roll_day = int(trading_day(time_ns)[0]) + 1
        self._roll_ns = trading_day_start(self._roll_day)
        feeds = (self._feed(name) for name in self.instruments)
        quotes = sorted((feed.newest(time_ns) for feed in feeds if feed.start_ns <= time_ns), key=_time)
        # At once, lest the first of them trigger something in an account that is valued at half of the market.
        self.desk.show(quotes)
        self._take(*quotes)

    def _feed(self, name: str) -> Feed:
        if name not in self._feeds:
            self._feeds[name] = Feed(self.market, self._hours(name), name, self._stale_minutes)
        return self._feeds[name]

    def _take(self, *quotes: Quote) -> None:
        self._queue.extend(quotes)
        self._run_to(self._done_ns)

    def _run_to(self, now: int) -> None:
        while True:
            # What an error of the journal interrupted comes first: nothing is taken twice or left out.
            while self._queue:
                self._process(self._queue[0])
                self._queue.popleft()
            self._settle(self._queued_ns)
            self._done_ns = self._queued_ns
            if self._done_ns >= now:
                break
            names = self._watched()
            # With nothing at stake and nobody listening, only the newest quote of each instrument matters.
            until = min(now, self._done_ns + DAY_NS) if names else now
            quotes = [quote for name in self.instruments if name in names for quote in self._between(name, until)]
            if until == now:
                quotes += self._newest(now, names)
            self._queue.extend(sorted(quotes, key=_time))
            self._queued_ns = until
        self._plan()

    def _between(self, name: str, until_ns: int) -> list[Quote]:
        return self._feed(name).between(self._done_ns, until_ns)

    def _newest(self, now: int, watched: Collection[str]) -> Iterator[Quote]:
        for name in self.instruments:
            feed = self._feed(name)
            if name not in watched and feed.start_ns <= now:
                quote = feed.newest(now)
                if quote != self._latest.get(name):
                    yield quote

    def _watched(self) -> frozenset[str]:
        return frozenset(self.desk.watched()).union(*self._quote_listeners.values())

    def _settle(self, until_ns: int) -> None:
        # Financing and expiries that fall due before the next quote, in order.
        while self._roll_ns <= until_ns:
            # First of all that happens at this instant: an account that is restored at it has been charged.
            self._expire(self._roll_ns - 1)
            self.desk.charge_financing(self._roll_ns)
            self._roll_day += 1
            self._roll_ns = trading_day_start(self._roll_day)
        self._expire(until_ns)

    def _expire(self, until_ns: int) -> None:
        while (expiry := self.desk.next_expiry_ns()) is not None and expiry <= until_ns:
            self.desk.expire(expiry)

    def _process(self, quote: Quote) -> None:
        self._settle(quote.time_ns)
        self._latest[quote.instrument] = quote
        self.desk.on_quote(quote)
        for listener, names in tuple(self._quote_listeners.items()):
            if quote.instrument in names:
                listener(quote)

    def _plan(self) -> None:
        due = [self._feed(name).next_after(self._done_ns) for name in self.instruments]
        ahead = [time for time in due if time is not None]
        self._due_ns = min(self._roll_ns, *ahead) if ahead else _NEVER_NS

    def _control_time(self) -> int:
        if self.history_only:
            raise ConfigurationError("the market stands at the machine's time: start the broker with a replay clock.")
        return self.advance()

    def _reserve(self, now: int) -> None:
        if self._journal and isinstance(self.clock, ReplayClock):
            reserve = int(RESERVE_S * 1e9 * self.clock.speed)
            # Half of it is kept in hand for those who read the clock between two calls.
            if now + reserve // 2 > self._journal.reserved_ns:
                self._journal.reserve(now + reserve)

    def _record(self, batch: Batch) -> None:
        self._write("batch", batch_fields(batch))
        for listener in tuple(self._transaction_listeners):
            for transaction in batch.transactions:
                listener(transaction)

    def _write(self, kind: str, content: dict[str, Any]) -> None:
        if self._journal:
            self._journal.append(kind, content)


def _time(quote: Quote) -> int:
    return quote.time_ns


def _forget(listeners: dict[Any, Any], listener: Any) -> None:
    listeners.pop(listener, None)
