"""What is read back of the records of validation and promotion: keys that decisions and pages rely on, and their types.

A record may hold more. One that lacks any of this, or has it in another type, is refused with its file and key, so
that nothing that reads many of them stops at one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from fx_pipeline.market.records import Upgrade, read_record
from fx_pipeline.validation.champion import (
    CHAMPION_SCHEMA,
    DEMOTION_SCHEMA,
    STANDING_SCHEMA,
    Champion,
    Demotion,
    Standing,
)

REGISTERED_SCHEMA = "fx_pipeline.registered/2"
POINTER_SCHEMA = "fx_pipeline.newest_report/1"

_CONFIG = ConfigDict(strict=True, allow_inf_nan=False)
Text = Annotated[str, Field(min_length=1)]
#: A key of a file's name: nothing that leaves the folder.
Name = Annotated[str, Field(min_length=1, pattern=r"^[^/\\\x00]+$")]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Number = float | None
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]


@with_config(_CONFIG)
class Condition(TypedDict):
    """A condition of the gate."""

    title: str
    figure: Number
    threshold: Number
    comparison: str
    unit: str
    passed: bool
    remedy: str


@with_config(_CONFIG)
class Paired(TypedDict):
    """The paired test against the champion of its time."""

    champion_sha256: Text
    champion_window: Text
    mean_difference_pips: float
    interval_pips: Pair
    p_value: Annotated[float, Field(ge=0.0, le=1.0)]
    sessions: Count


# Percentiles are names of their own.
Percentiles = TypedDict("Percentiles", {"5": float, "95": float})


@with_config(_CONFIG)
class Simulation(TypedDict):
    """What was resampled of the trades."""

    terminal_pips: Percentiles
    trades: Annotated[int, Field(gt=0)]
    fan_pips: dict[str, list[float]]
    fan_grid: list[float]


@with_config(_CONFIG)
class Significance(TypedDict):
    """Of the Sharpe ratio."""

    psr: Number


@with_config(_CONFIG)
class Metrics(TypedDict):
    """Of the list of trades."""

    max_drawdown_pips: Number


@with_config(_CONFIG)
class TradeList(TypedDict):
    """The trades, in order."""

    pnl_pips: list[float]


@with_config(_CONFIG)
class Figures(TypedDict):
    """What a report says of a model."""

    instrument: Name
    window: Name
    agent: Name
    verdict: Text
    reasons: list[str]
    conditions: list[Condition]
    sealed: str
    seed: Count
    seeds: Count
    sessions: Count
    bars: Count
    episodes: Count
    trades: Count
    trials: Count | None
    holdout_openings: Count | None
    expectancy_pips: Number
    total_pips: Number
    exposure: Number
    deflated_sharpe: Number
    overfitting_probability: Number
    spa_p: Number
    car25: Number
    break_even_spread_pips: Number
    worst_seed_pips: Number
    significance: Significance
    metrics: Metrics
    monte_carlo: Simulation | None
    paired: Paired | None
    trade_list: TradeList


@with_config(_CONFIG)
class Lineage(TypedDict):
    """What was judged."""

    checkpoint_sha256: str
    data_fingerprint: str
    source: Text
    costs: dict[str, Any]
    selection_scores: Count | None


@with_config(_CONFIG)
class Run(TypedDict):
    """Of the run that made a report."""

    wall_s: Number


@with_config(_CONFIG)
class Report(TypedDict):
    """A validation report."""

    figures: Figures
    figures_sha256: Text
    lineage: Lineage
    run: Run


@with_config(_CONFIG)
class LineCondition(TypedDict):
    """What the leaderboard reads of a condition."""

    passed: bool


@with_config(_CONFIG)
class LinePaired(TypedDict):
    """What the leaderboard reads of the paired test."""

    p_value: float


@with_config(_CONFIG)
class LineSimulation(TypedDict):
    """What the leaderboard reads of what was resampled."""

    terminal_pips: Percentiles
    trades: Annotated[int, Field(gt=0)]


@with_config(_CONFIG)
class LineFigures(TypedDict):
    """What the leaderboard reads of the figures."""

    instrument: Name
    window: Name
    agent: Name
    verdict: Text
    conditions: list[LineCondition]
    sealed: str
    seed: Count
    seeds: Count
    trades: Count
    holdout_openings: Count | None
    expectancy_pips: Number
    deflated_sharpe: Number
    break_even_spread_pips: Number
    worst_seed_pips: Number
    significance: Significance
    metrics: Metrics
    monte_carlo: LineSimulation | None
    paired: LinePaired | None


@with_config(_CONFIG)
class LineLineage(TypedDict):
    """What the leaderboard reads of what was judged."""

    checkpoint_sha256: str
    source: Text


@with_config(_CONFIG)
class Line(TypedDict):
    """What the leaderboard reads of a report: one that lacks other things stays on it."""

    figures: LineFigures
    lineage: LineLineage
    run: dict[str, Any]


@with_config(_CONFIG)
class SummaryFigures(TypedDict):
    """What a summary shows of the figures."""

    instrument: Any
    window: Any
    bars: Any
    sessions: Any
    episodes: Any
    trades: Any
    expectancy_pips: Any
    verdict: Any
    reasons: list[str]
    seed: Any


@with_config(_CONFIG)
class Summary(TypedDict):
    """What a summary shows of a report, whatever it is."""

    figures: SummaryFigures
    run: Run


@with_config(_CONFIG)
class _Champion(TypedDict):
    """The model that trades an instrument; paths are relative to the data folder."""

    instrument: Name
    window: Name
    agent: Name
    weights_sha256: Text
    source: Text
    costs: dict[str, Any]
    model: Text
    registered_model: Text
    version: Text
    registered_url: str
    # Since version 3; what an older one lacks is looked up in its report.
    valid_start_ns: NotRequired[int | None]
    valid_end_ns: NotRequired[int | None]
    promoted: NotRequired[Text]
    report_sha256: NotRequired[Text]
    record_sha256: NotRequired[Text]


@with_config(_CONFIG)
class _Demotion(TypedDict):
    """Why an instrument lost its last champion."""

    instrument: Name
    window: Name
    last_window: Name
    weights_sha256: Text
    source: Text
    reason: str
    registered_model: Text
    version: Text
    # Since version 2: without them windows are compared by name.
    last_end_ns: NotRequired[int | None]
    judged_until_ns: NotRequired[int | None]


@with_config(_CONFIG)
class _Standing(TypedDict):
    """How a champion did on a newer window, or why nobody knows."""

    window: Name
    weights_sha256: Text
    costs: dict[str, Any]
    source: Text
    sound: bool
    reasons: list[str]
    trades: Count
    max_drawdown_pips: float
    # Since version 2; of an older one they are in the trial ledger and in the plan.
    valid_start_ns: NotRequired[int]
    valid_end_ns: NotRequired[int]
    session_ns: NotRequired[list[int]]
    session_pnl_pips: NotRequired[list[float]]
    session_trades: NotRequired[list[int]]


@with_config(_CONFIG)
class Registered(TypedDict):
    """The model version that a report made."""

    registered_model: Text
    version: Text
    registered_url: str
    weights_sha256: Text


@with_config(_CONFIG)
class Pointer(TypedDict):
    """Which report was made last: its folder, relative to the data folder."""

    folder: Text


REPORT: TypeAdapter[Any] = TypeAdapter(Report)
LINE: TypeAdapter[Any] = TypeAdapter(Line)
SUMMARY: TypeAdapter[Any] = TypeAdapter(Summary)
_CHAMPION, _DEMOTION, _STANDING, _REGISTERED, _POINTER = (
    TypeAdapter(kind) for kind in (_Champion, _Demotion, _Standing, Registered, Pointer)
)


def _renamed(before: int, **names: str) -> Upgrade:
    """Return the step from records before a version, in which things had other names, by their names of now."""

    def upgrade(record: dict[str, Any], version: int) -> dict[str, Any]:
        if version >= before:
            return record
        now = {then: name for name, then in names.items()}
        return {now.get(name, name): value for name, value in record.items()}

    return upgrade


_CHAMPION_NAMES = _renamed(
    4,
    weights_sha256="sha256",
    record_sha256="checkpoint_record_sha256",
    market_fingerprint="data_fingerprint",
    training_fingerprint="training_data_fingerprint",
    promotion_dagster_run_id="dagster/run_id",
)


def read_champion_record(path: Path, place: Callable[[str], Path]) -> Champion:
    """Read the record of a champion; see `read_record` for what is raised.

    Parameters
    ----------
    path : Path
    place : callable
        From the hash of weights to where their folder lies: earlier versions wrote whole paths, which of a copy lead
        to the original.
    """
    remedy = "delete it, and promote the window again."
    record = read_record(path, _CHAMPION, remedy, CHAMPION_SCHEMA, oldest=1, upgrade=_CHAMPION_NAMES)
    return Champion.from_json(record, place(record["weights_sha256"]))


def read_demotion_record(path: Path) -> Demotion:
    """Read why an instrument lost its champion; see `read_record` for what is raised."""
    remedy = "mend it; deleted, the model that it names could become the champion again."
    upgrade = _renamed(3, weights_sha256="sha256")
    return Demotion.from_json(read_record(path, _DEMOTION, remedy, DEMOTION_SCHEMA, oldest=1, upgrade=upgrade))


def read_standing_record(path: Path) -> Standing:
    """Read how a champion did on a newer window; see `read_record` for what is raised."""
    remedy, upgrade = "validate its window again.", _renamed(3, weights_sha256="sha256")
    return Standing.from_json(read_record(path, _STANDING, remedy, STANDING_SCHEMA, oldest=1, upgrade=upgrade))


def read_registered_record(path: Path) -> dict[str, Any]:
    """Read which model version a report made; see `read_record` for what is raised."""
    remedy, upgrade = "delete it: the registry has the version.", _renamed(2, weights_sha256="sha256")
    return read_record(path, _REGISTERED, remedy, REGISTERED_SCHEMA, oldest=1, upgrade=upgrade)


def read_pointer_record(path: Path) -> dict[str, Any]:
    """Read which report was made last; see `read_record` for what is raised."""
    return read_record(path, _POINTER, "delete it, and validate a window.", POINTER_SCHEMA)
