"""What the tables and assets of a feature set and a timeframe are called: the first one keeps its plain names."""

from dataclasses import dataclass

from fx_pipeline.features.feature_set import FeatureSet
from fx_pipeline.features.registry import feature_set
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.timeframe import M1, Timeframe

DEFAULT_SET = "temporal9"


@dataclass(frozen=True)
class FeatureTable:
    """The features of a set on bars of a timeframe.

    Attributes
    ----------
    feature_set : str
    timeframe : Timeframe

    Raises
    ------
    ConfigurationError
        If there is no such set, or it is not defined for the timeframe.
    """

    feature_set: str = DEFAULT_SET
    timeframe: Timeframe = M1

    def __post_init__(self) -> None:
        self.definition.check_timeframe(self.timeframe)

    @property
    def definition(self) -> FeatureSet:
        """The feature set."""
        return feature_set(self.feature_set)

    @property
    def is_default(self) -> bool:
        """Whether it is the one with plain names."""
        return self.feature_set == DEFAULT_SET and self.timeframe == M1

    @property
    def suffix(self) -> str:
        """What names of tables and assets end with."""
        return "" if self.is_default else f"_{self.feature_set}_{self.timeframe.slug}"

    @property
    def name(self) -> str:
        """The table of bars and features."""
        return f"features{self.suffix}"

    @property
    def months(self) -> str:
        """The table that knows which candles each month was computed from."""
        return f"feature_months{self.suffix}"

    @property
    def sources(self) -> str:
        """The table of sources of those candles."""
        return f"month_sources{self.suffix}"

    @property
    def asset(self) -> str:
        """The asset that makes it."""
        return "feature_table" if self.is_default else self.name

    def identity(self, instrument: str) -> str:
        """What data fingerprints begin with."""
        said = f"{instrument} v{self.definition.version_of(instrument)}"
        return said if self.is_default else f"{said} {self.feature_set} {self.timeframe}"

    def missing(self, instrument: str) -> DataError:
        """Return the error that says that there is no such table."""
        named = "feature table" if self.is_default else f"table of {self.feature_set} on {self.timeframe}"
        return DataError(f"there is no {named} yet: materialise {self.asset} of {instrument} first.")
