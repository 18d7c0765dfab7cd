"""What an account of the paper broker is opened with."""

from dataclasses import dataclass, field
from decimal import Decimal

from fx_pipeline.market.errors import ConfigurationError


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
        if not self.balance.is_finite() or self.balance <= 0:
            raise ConfigurationError(f"the paper account's balance is {self.balance}: give a positive amount.")
        if not 0 <= self.conversion_charge < 1:
            raise ConfigurationError(f"conversion_charge={self.conversion_charge} must be 0 or more and below 1.")
        if self.margin_rate is not None and not 0 < self.margin_rate <= 1:
            raise ConfigurationError(f"margin_rate={self.margin_rate} must be above 0 and at most 1.")
