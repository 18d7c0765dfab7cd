"""The records of a champion: who trades an instrument, how it stood on newer windows, and why the last one went.

Each is a value that never changes, and a JSON file with the version of its shape (`validation.records` reads them, and
brings those of older versions up to date).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from fx_pipeline.market.origin import candle_origin

CHAMPION_SCHEMA = "fx_pipeline.champion/4"
DEMOTION_SCHEMA = "fx_pipeline.demotion/3"
STANDING_SCHEMA = "fx_pipeline.standing/3"


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The model that trades an instrument.

    Attributes
    ----------
    instrument, window, agent : str
        The window is the one that it was promoted by.
    weights_sha256 : str
        Of its weights: what names the model everywhere.
    model : Path
        Folder of the checkpoint and its report, which never change again.
    source : str
        Of the candles that it was judged on.
    costs : Mapping
        Fields of the cost model that it was judged at.
    registered_model, version, registered_url : str
        In MLflow.
    recipe : str
        Records from before there were recipes are of the default one.
    valid_start_ns, valid_end_ns : int or None
        The bars that it was promoted for, UTC nanoseconds, end exclusive; None where nobody knows any more.
    seed : int or None
        This and what follows is None or empty in records of versions that did not keep it.
    report_sha256, record_sha256 : str or None
        Of the files of its report and of its checkpoint's record: the settings of the search stand there.
    figures_sha256 : str or None
        Of the figures of its report.
    market_fingerprint, training_fingerprint : str or None
        Of the bars that it was validated on, and of all that it was trained on.
    training_mlflow_run_id, training_dagster_run_id, validation_mlflow_run_id, validation_dagster_run_id,
    promotion_dagster_run_id : str
        Runs that made it.
    expectancy_pips : float or None
        A trade, by its report.
    gate : Mapping or None
        Thresholds that it passed.
    promoted : str or None
        When, ISO 8601.
    paired : Mapping or None
        The test against the champion that it replaced.
    """

    instrument: str
    window: str
    agent: str
    weights_sha256: str
    model: Path
    source: str
    costs: Mapping[str, Any]
    registered_model: str
    version: str
    registered_url: str
    recipe: str = "muzero"
    valid_start_ns: int | None = None
    valid_end_ns: int | None = None
    seed: int | None = None
    report_sha256: str | None = None
    record_sha256: str | None = None
    figures_sha256: str | None = None
    market_fingerprint: str | None = None
    training_fingerprint: str | None = None
    training_mlflow_run_id: str = ""
    training_dagster_run_id: str = ""
    validation_mlflow_run_id: str = ""
    validation_dagster_run_id: str = ""
    promotion_dagster_run_id: str = ""
    expectancy_pips: float | None = None
    gate: Mapping[str, Any] | None = None
    promoted: str | None = None
    paired: Mapping[str, Any] | None = None

    @property
    def report(self) -> Path:
        """Its report."""
        return self.model / "report.json"

    def to_json(self, place: Callable[[Path], str] = str) -> dict[str, Any]:
        """Return the record as its file has it; `place` writes down paths."""
        return {
            "schema": CHAMPION_SCHEMA,
            **asdict(self),
            "model": place(self.model),
            "report": place(self.report),
            "origin": candle_origin(self.source),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any], model: Path) -> Self:
        """Return what a record says that was read and checked; `model` is where its folder lies here."""
        return cls(**_fields(cls, record) | {"model": model})


@dataclass(frozen=True, kw_only=True)
class Demotion:
    """Why an instrument lost its last champion.

    Attributes
    ----------
    instrument, agent, recipe, window, weights_sha256, source, registered_model, version, registered_url : str
        As of the champion that went.
    last_window : str
        The newest window that it was judged on, or could not be.
    reason : str
        A sentence.
    last_end_ns, judged_until_ns : int or None
        Ends of the bars of that window, and of those that it was promoted for; None in records of earlier versions.
    dagster_run_id : str
        The run that demoted it; empty before there is one.
    """

    instrument: str
    window: str
    weights_sha256: str
    source: str
    registered_model: str
    version: str
    last_window: str
    reason: str
    agent: str = ""
    recipe: str = "muzero"
    registered_url: str = ""
    last_end_ns: int | None = None
    judged_until_ns: int | None = None
    dagster_run_id: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the record as its file has it."""
        return {"schema": DEMOTION_SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Return what a record says that was read and checked."""
        return cls(**_fields(cls, record))


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a champion did on a newer window of S sessions, or why nobody knows.

    Attributes
    ----------
    window : str
    weights_sha256 : str
        Of the champion.
    costs : Mapping
        Fields of the cost model that it was judged at: its own.
    source : str
        Of the candles.
    sound : bool
        Whether the replay can be trusted.
    reasons : sequence of str
        Why not.
    trades : int
    conditions : sequence of Mapping
        What was asked of the replay.
    valid_start_ns, valid_end_ns : int or None
        The bars that it was judged on; this and the sessions are None in records of earlier versions.
    session_ns, session_pnl_pips, session_trades : sequence (S,) or None
        First bar, result and number of trades of each session.
    session_lowest_pips, session_highest_pips, session_fall_pips : sequence (S,) or None
        How its equity moved.
    sessions : int
    expectancy_pips : float or None
    total_pips, max_drawdown_pips : float
    made_from : str or None
        What the replay was made from, hashed.
    dagster_run_id : str
    """

    window: str
    weights_sha256: str
    costs: Mapping[str, Any]
    source: str
    sound: bool
    reasons: Sequence[str] = ()
    trades: int = 0
    conditions: Sequence[Mapping[str, Any]] = ()
    valid_start_ns: int | None = None
    valid_end_ns: int | None = None
    session_ns: Sequence[int] | None = None
    session_pnl_pips: Sequence[float] | None = None
    session_trades: Sequence[int] | None = None
    session_lowest_pips: Sequence[float] | None = None
    session_highest_pips: Sequence[float] | None = None
    session_fall_pips: Sequence[float] | None = None
    sessions: int = 0
    expectancy_pips: float | None = None
    total_pips: float = 0.0
    max_drawdown_pips: float = 0.0
    made_from: str | None = None
    dagster_run_id: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the record as its file has it."""
        kept = {name: value for name, value in asdict(self).items() if value is not None or name == "expectancy_pips"}
        return {"schema": STANDING_SCHEMA, **kept}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Return what a record says that was read and checked."""
        return cls(**_fields(cls, record))


def _fields(kind: Any, record: Mapping[str, Any]) -> dict[str, Any]:
    known = {field.name for field in fields(kind)}
    return {name: value for name, value in record.items() if name in known}
