"""The settings of the linear agent."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any

from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.errors import ConfigurationError


@dataclass(frozen=True)
class LinearConfig:
    """Settings.

    Attributes
    ----------
    preset : str
    horizons : tuple of int
        Bars ahead of which a forecast is tried.
    entries, exits : tuple of float
        Thresholds that are tried, in standard deviations of the forecast: a position is opened beyond the first, and
        left once the forecast is not beyond the second any more; a negative one waits until it points the other way.
    ridge : float
        Weight of the squared coefficients, of standardised features, as a share of the bars.
    bars : int
        Most bars that are fitted, evenly spread.
    sessions : int
        Most sessions that choose the thresholds, evenly spread.
    standard_errors : float
        A choice must earn so many standard errors more than nothing; otherwise the agent never trades.
    reward : RewardConfig
        Unused by the fit; figures of reports say it.
    """

    preset: str
    horizons: tuple[int, ...] = (1, 3, 10, 30)
    entries: tuple[float, ...] = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5)
    exits: tuple[float, ...] = (-1.5, -1.0, -0.5, 0.0, 0.25)
    ridge: float = 1e-3
    bars: int = 200_000
    sessions: int = 256
    standard_errors: float = 4.0
    reward: RewardConfig = field(default_factory=RewardConfig)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        tree: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return tree

    def digest(self) -> str:
        """SHA-256 of what results depend on."""
        tree = {name: value for name, value in self.to_dict().items() if name != "preset"}
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


_PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "full": {"bars": 1_000_000, "sessions": 512},
        "small": {},
        "tiny": {"horizons": (1, 10), "entries": (1.0, 2.0), "exits": (0.0,), "bars": 20_000, "sessions": 16},
    }
)


def load_config(preset: str, reward: RewardConfig | None = None) -> LinearConfig:
    """Return the settings of a preset.

    Raises
    ------
    ConfigurationError
        If there is none of that name.
    """
    if preset not in _PRESETS:
        raise ConfigurationError(f"unknown preset {preset!r} of linear: known are {', '.join(_PRESETS)}.")
    config = LinearConfig(preset, **_PRESETS[preset])
    return config if reward is None else replace(config, reward=reward)
