"""What every part of the core works on: the state, the newest quotes and the account's terms."""

from dataclasses import dataclass, field
from decimal import Decimal

from fx_pipeline.broker.paper.desk.book import Book
from fx_pipeline.broker.paper.desk.draft import Draft, Identity
from fx_pipeline.broker.paper.desk.money import ZERO
from fx_pipeline.broker.paper.desk.state import State
from fx_pipeline.broker.paper.quotes import Quote


@dataclass(slots=True)
class Account:
    """State, quotes and terms of one account.

    Attributes
    ----------
    state : State
        What the transactions say.
    book : Book
        The newest quotes.
    identity : Identity
        The account's numbers.
    hedging : bool
        Whether long and short trades of an instrument may stand side by side.
    duplicates : bool
        Whether client ids that are taken are accepted again.
    """

    book: Book
    identity: Identity
    hedging: bool
    state: State = field(default_factory=State)
    duplicates: bool = False

    def draft(self, time_ns: int, request_id: str | None = None) -> Draft:
        """Begin a batch."""
        return Draft(self.state, self.identity, time_ns, request_id)

    def tradeable(self, instrument: str) -> Quote | None:
        """Return the newest quote if orders fill at it."""
        quote = self.book.quotes.get(instrument)
        return quote if quote is not None and quote.tradeable else None

    def margin_rate(self, instrument: str) -> Decimal:
        """Return the margin of an instrument as a share of its value: its own, or the account's where that is more."""
        return max(self.book.terms[instrument].margin_rate, self.state.margin_rate or ZERO)

    def least_margin_rate(self) -> Decimal:
        """Return the margin rate of the account: the lowest at which it can trade anything."""
        own = (terms.margin_rate for terms in self.book.terms.values())
        return max(min(own, default=ZERO), self.state.margin_rate or ZERO)
