"""The trained agent: a forecast that is linear in what is seen, and two thresholds."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.base import Stateless
from fx_pipeline.agents.record import RECORD_NAME, WEIGHTS_NAME, read_checkpoint
from fx_pipeline.environment.action_sets import action_set
from fx_pipeline.environment.lockstep import Observation
from fx_pipeline.environment.spec import ObservationSpec
from fx_pipeline.market.disk import read_stored
from fx_pipeline.market.errors import ConfigurationError

AGENT = "linear"


class Rule(NamedTuple):
    """What decides.

    Attributes
    ----------
    weights : (W * F,) float64
        Of the window, oldest bar first.
    intercept : float
    enter, leave : float
        In units of the forecast; an infinite `enter` never trades.
    """

    weights: npt.NDArray[np.float64]
    intercept: float
    enter: float
    leave: float


class LinearPolicy(Stateless):
    """Implements `fx_pipeline.agents.base.Policy`.

    Long while the forecast is high, short while it is low, each in full; between the thresholds what is held is kept.

    Parameters
    ----------
    rule : Rule
    spec : ObservationSpec
    name : str

    Attributes
    ----------
    weights_sha256 : str
        Of the file that it was loaded from; empty when it was not.
    """

    weights_sha256: str = ""

    def __init__(self, rule: Rule, spec: ObservationSpec, name: str = AGENT) -> None:
        self.name, self.spec, self._rule = name, spec, rule
        self._actions = action_set(spec.action_set)

    @classmethod
    def from_checkpoint(cls, folder: Path) -> "LinearPolicy":
        """Load a policy.

        Raises
        ------
        ConfigurationError
            If it is missing, corrupt or of another agent.
        DataError
            If its record is damaged.
        """

        from safetensors import SafetensorError
        from safetensors.numpy import load

        record = read_checkpoint(folder)
        if record["agent"] != AGENT:
            raise ConfigurationError(f"{folder / RECORD_NAME} is of agent {record['agent']!r}, not {AGENT!r}.")
        data = read_stored(folder / WEIGHTS_NAME, "train again or restore the file.")
        if hashlib.sha256(data).hexdigest() != record["weights_sha256"]:
            raise ConfigurationError(
                f"{folder / WEIGHTS_NAME} does not have the hash in {RECORD_NAME}: train again or restore the file."
            )
        try:
            found: dict[str, Any] = load(data)
            intercept, enter, leave = found["rule"].tolist()
            spec = ObservationSpec(**record["observation"])
            rule = Rule(np.ascontiguousarray(found["weights"]), intercept, enter, leave)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"{folder} is damaged, train again: {error}") from error
        policy = cls(rule, spec, f"{AGENT}-{record['weights_sha256'][:12]}")
        policy.weights_sha256 = record["weights_sha256"]
        return policy

    def choose(self, observation: Observation) -> npt.NDArray[np.int64]:
        """Return one legal action per observation, (B,) int64."""
        assert self.spec is not None
        self.spec.check(observation, self.name)
        windows = np.ascontiguousarray(observation.temporal.reshape(len(observation.static), -1))
        held = observation.static[:, 0].astype(np.float64)
        levels = self._actions.levels
        wanted = wanted_exposure(forecast(windows, self._rule.weights, self._rule.intercept), held, self._rule, levels)
        return self._actions.toward(wanted, held, observation.legal)


def wanted_exposure(
    forecasts: npt.NDArray[np.float64], held: npt.NDArray[np.float64], rule: Rule, levels: tuple[float, ...]
) -> npt.NDArray[np.float64]:
    """Return the exposures (B,) that forecasts (B,) ask for, given those that are held (B,)."""
    most, least = max(levels), min(levels)
    kept = np.where(held > 0, np.where(forecasts > rule.leave, held, 0.0), 0.0)
    kept = np.where(held < 0, np.where(forecasts < -rule.leave, held, 0.0), kept)
    return np.where(forecasts > rule.enter, most, np.where(forecasts < -rule.enter, least, kept))


@numba.njit(cache=True, nogil=True)
def forecast(windows, weights, intercept):  # type: ignore[no-untyped-def]
    """Return the forecast (B,) of each window (B, W * F), each computed by itself and in one order."""
    found = np.empty(len(windows))
    for row in range(len(windows)):
        total = intercept
        for place in range(windows.shape[1]):
            total += windows[row, place] * weights[place]
        found[row] = total
    return found
