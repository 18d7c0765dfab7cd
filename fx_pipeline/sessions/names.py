"""What the tables, assets and windows of sessions are called: the first ones keep their plain names."""

from dataclasses import dataclass, field, fields

from fx_pipeline.features.names import FeatureTable
from fx_pipeline.market.session_rules import SessionRules

#: Of the code by which sessions are found: raise it when it changes.
SESSIONS_VERSION = 1


@dataclass(frozen=True)
class SessionTable:
    """The sessions that rules find in the bars and features of a table.

    Attributes
    ----------
    features : FeatureTable
    rules : SessionRules
    """

    features: FeatureTable = field(default_factory=FeatureTable)
    rules: SessionRules = SessionRules()

    @property
    def suffix(self) -> str:
        """What names of tables end with: the features, and what the rules have otherwise than by default."""
        usual = SessionRules()
        own = [
            f"_{rule.name}_{_word(getattr(self.rules, rule.name))}"
            for rule in fields(SessionRules)
            if getattr(self.rules, rule.name) != getattr(usual, rule.name)
        ]
        # Rules of their own on the first table must not be taken for a set of that name.
        plain = self.features.suffix or ("_temporal9_m1" if own else "")
        return plain + "".join(own)

    @property
    def is_default(self) -> bool:
        """Whether it is the one with plain names."""
        return not self.suffix

    @property
    def name(self) -> str:
        """The table of sessions."""
        return f"sessions{self.suffix}" if self.suffix else "valid_sessions"

    @property
    def months(self) -> str:
        """The table that knows what each month's sessions were found in."""
        return f"session_months{self.suffix}"

    @property
    def asset(self) -> str:
        """The asset that makes it."""
        return self.name

    @property
    def windows(self) -> str:
        """The set of partitions that its walk-forward windows are."""
        return f"walk_forward_window{self.suffix}"

    @property
    def rules_text(self) -> str:
        """The rules, and the version of the code that follows them, as tables and data versions have them."""
        rules = self.rules
        sizes = f"{rules.bars} {rules.window_bars} {rules.max_gap_bars} {rules.min_range_pips}"
        return f"v{SESSIONS_VERSION} {sizes}{'' if rules.within_week else ' over weekends'}"


def _word(value: float | bool) -> str:
    """A value as a part of a name."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}".replace(".", "p").replace("-", "m").replace("+", "")
