"""What a policy sees, and its shape, which is kept with every checkpoint and checked before a network sees it."""

from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.errors import DataError


class Observation(NamedTuple):
    """What a policy sees at the close of a bar.

    Attributes
    ----------
    temporal : (B, W, F) float32
        Features of the last W bars, oldest first.
    static : (B, 6) float32
        Position features, zero when flat; the first is the exposure.
    legal : (B, A) bool
        Actions that the position allows.
    bar : (B,) int64
        Index of the bar in the market's arrays.
    """

    temporal: npt.NDArray[np.float32]
    static: npt.NDArray[np.float32]
    legal: npt.NDArray[np.bool_]
    bar: npt.NDArray[np.int64]


@dataclass(frozen=True)
class ObservationSpec:
    """What an observation looks like and of what it is made.

    Attributes
    ----------
    window_bars, features : int
        Of `Observation.temporal`, (B, window_bars, features).
    static : int
        Of `Observation.static`, (B, static).
    actions : int
        Of `Observation.legal`, (B, actions).
    feature_set, timeframe, action_set : str
        The names behind the numbers.
    """

    window_bars: int = 32
    features: int = 9
    static: int = 6
    actions: int = 4
    feature_set: str = "temporal9"
    timeframe: str = "M1"
    action_set: str = "unit4"

    def check(self, observation: Observation, who: str = "the policy") -> None:
        """Refuse an observation of another shape.

        Raises
        ------
        DataError
            Naming both shapes.
        """
        batch = len(observation.static)
        shapes = {
            "temporal": (observation.temporal.shape, (batch, self.window_bars, self.features)),
            "static": (observation.static.shape, (batch, self.static)),
            "legal": (observation.legal.shape, (batch, self.actions)),
        }
        for name, (found, wanted) in shapes.items():
            if found != wanted:
                raise DataError(
                    f"{who} was trained on observations whose {name} is {wanted} ({self.feature_set} on "
                    f"{self.timeframe}, {self.action_set}), and is given {found}."
                )

    def require(self, other: "ObservationSpec", who: str = "the policy") -> None:
        """Refuse a market or an environment that shows something else.

        Raises
        ------
        DataError
            Naming what differs.
        """
        mine, theirs = asdict(self), asdict(other)
        different = [f"{name} {mine[name]!r}, not {theirs[name]!r}" for name in mine if mine[name] != theirs[name]]
        if different:
            raise DataError(f"{who} was trained on {'; '.join(different)}: it cannot act on what it does not know.")

    @classmethod
    def of_record(cls, record: Any, where: str) -> "ObservationSpec":
        """Read what `record` returned; nothing means the first kind of observation that there was.

        Raises
        ------
        DataError
            If it is damaged.
        """
        if record is None:
            return cls()
        kinds = {field.name: field.type for field in fields(cls)}
        if not isinstance(record, dict) or {name: type(value) for name, value in record.items()} != kinds:
            raise DataError(f"{where} is damaged (observation: {record!r}): train again.")
        return cls(**record)

    def record(self) -> dict[str, Any]:
        """Return the spec as a JSON-able dict."""
        return asdict(self)
