"""What an account of the paper broker is opened with."""

from dataclasses import dataclass, field
from decimal import Decimal

from fx_pipeline.market.errors import ConfigurationError

# From the smallest amount that is shown on to where sums of money still have all their digits.
_LEAST_BALANCE, _BALANCE_LIMIT = Decimal("0.0001"), Decimal(10) ** 15


@dataclass(frozen=True)
class AccountConfig:
    """Terms of the account; they are written into the journal's first record and hold for its life.

    Attributes
    ----------
    account : str
        Account id, in OANDA's form.
    home_currency : str
        Currency of balance, profit and margin.
    balance : Decimal
        First deposit.
    margin_rate : Decimal or None
        Margin as a share of the position's value, for every instrument; absent: each instrument's own.
    conversion_charge : Decimal
        Share by which gains and losses are converted to the home currency at worse than the mid rate: OANDA charged
        0.01 in 2026, 0.005 in 2022.
    hedging : bool
        Whether long and short trades of an instrument may stand side by side.
    financing_long, financing_short : dict of str to Decimal
        Annual financing rates by instrument that replace the built-in ones; positive pays the account.
    """

    account: str = "101-001-1000000-001"
    home_currency: str = "USD"
    balance: Decimal = Decimal(100_000)
    margin_rate: Decimal | None = None
    conversion_charge: Decimal = Decimal("0.005")
    hedging: bool = False
    financing_long: dict[str, Decimal] = field(default_factory=dict)
    financing_short: dict[str, Decimal] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.balance.is_finite() or not _LEAST_BALANCE <= self.balance < _BALANCE_LIMIT:
            raise ConfigurationError(
                f"the paper account's balance is {self.balance}: give a positive amount, "
                f"{_LEAST_BALANCE} or more and below 10 ** 15."
            )
        if not self.conversion_charge.is_finite() or not 0 <= self.conversion_charge < 1:
            raise ConfigurationError(f"conversion_charge={self.conversion_charge} must be 0 or more and below 1.")
        if self.margin_rate is not None and not (self.margin_rate.is_finite() and 0 < self.margin_rate <= 1):
            raise ConfigurationError(f"margin_rate={self.margin_rate} must be above 0 and at most 1.")
        for name, rate in (*self.financing_long.items(), *self.financing_short.items()):
            if not (rate.is_finite() and abs(rate) <= 1):
                raise ConfigurationError(f"the financing rate {rate} of {name} must lie between -1 and 1 (a year).")
