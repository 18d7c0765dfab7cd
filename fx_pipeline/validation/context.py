"""What a validation is told of the model and the data, and what it tells the trial ledger."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.prints import Days, no_days

if TYPE_CHECKING:
    from fx_pipeline.validation.track_record import TrackRecord, WindowTrial

SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class ReportContext:
    """What a report says of the model and the data that the arrays do not know.

    Attributes
    ----------
    instrument, window : str
        OANDA name, and the key of the walk-forward window.
    agent : str
        Name of the agent.
    recipe : str
        Name of the recipe.
    episodes : int
        Episodes that the checkpoint was trained on.
    source : str
        Of the candles: "imported", "synthetic", "practice" or "live".
    quotes_modelled : float
        Share of bars whose bid and ask come from the cost model.
    train_start, train_end, valid_start, valid_end : str
        Spans of the window, ISO 8601 UTC, ends exclusive.
    embargo_bars : int
        Bars between the two spans that neither uses.
    market_bars : int or None
        M1 bars of the validation span; None when not known.
    gaps : sequence of Mapping
        Missing stretches of the validation span: `start`, `end` (ISO) and `minutes`.
    quarantined_bars : int
        Impossible bars that were set aside.
    data_fingerprint : str
        Hash of the data; the market's own by default.
    checkpoint_sha256 : str
    code_version : str
    settings : Mapping
        Settings of the agent and its search, JSON-able.
    configured_costs, trained_costs : Mapping or None
        Fields of the cost model that the settings ask for, and of the one that the checkpoint was trained at; None when
        not known.
    leaks : Mapping of str to int
        What was searched for knowledge of the future, and how often it was found. Empty when nothing was searched.
    holdout_openings : int or None
        Candidates that were judged on the sealed days of the instrument; None when that is not known.
    selection_scores : int or None
        Scores by which trainings of the checkpoint's window chose among their weights; None when that is not known.
    sealed : str
        Name of the sealed days when they are what is judged; empty for a walk-forward window.
    run : Mapping
        What differs from run to run: `mlflow_url`, `dagster_run_id`, `validated` (when, ISO) and the like.
    """

    instrument: str
    window: str
    agent: str = "muzero"
    recipe: str = "muzero"
    episodes: int = 0
    source: str = "imported"
    quotes_modelled: float = 0.0
    train_start: str = ""
    train_end: str = ""
    valid_start: str = ""
    valid_end: str = ""
    embargo_bars: int = 0
    market_bars: int | None = None
    gaps: Sequence[Mapping[str, Any]] = ()
    quarantined_bars: int = 0
    data_fingerprint: str = ""
    checkpoint_sha256: str = ""
    code_version: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    configured_costs: Mapping[str, Any] | None = None
    trained_costs: Mapping[str, Any] | None = None
    leaks: Mapping[str, int] = field(default_factory=dict)
    holdout_openings: int | None = None
    selection_scores: int | None = None
    sealed: str = ""
    run: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ChampionSeries:
    """What the present champion of the instrument made in the sessions that are validated.

    Attributes
    ----------
    sha256, window : str
        The champion, and the window that it was promoted on.
    session_ns : (T,) int64
    session_pnl_pips : (T,) float64
    """

    sha256: str
    window: str
    session_ns: npt.NDArray[np.int64]
    session_pnl_pips: npt.NDArray[np.float64]


@dataclass(frozen=True)
class TrialHistory:
    """Every trial whose score was looked at, this one included.

    Attributes
    ----------
    count : int
        Distinct evaluated configurations, seeds and checkpoints, without the weights that trainings chose among.
    sharpes : tuple of float
        Their Sharpe ratios per trade, as far as they have one.
    window : tuple of WindowTrial
        Those of this window that were judged as this one: on its sessions, data and costs, by its code; oldest first.
    left_out : int
        Those of this window that were judged otherwise: nothing can be compared session by session.
    seeds_left_out : tuple of int
        Seeds of this configuration that have trials in this window, and all of them among those that are left out.
    champion : ChampionSeries or None
        The champion on the sessions of this validation; None where there is none to compare with.
    record : TrackRecord or None
        The walk-forward record of this configuration that ends with this trial; None: its window alone is the record.
    chosen_among : int
        Things that were chosen among on these days, this one included: the number that deflates.
    chosen : Mapping of str to int
        What `chosen_among` adds up, in words: "configurations", "further candidates", "further years",
        "lost trials"; and "instruments", under how many names the candles were judged, which adds nothing.
    ledger_faults : tuple of str
        What is wrong with the ledger, a sentence each: then nobody knows how many trials there were.
    ledger_id, ledger_head : str
        Of the ledger that this was read from, this trial's rows included.
    ledger_rows : int
        Length of its chain.
    """

    count: int
    sharpes: tuple[float, ...] = ()
    window: "tuple[WindowTrial, ...]" = ()
    left_out: int = 0
    seeds_left_out: tuple[int, ...] = ()
    champion: ChampionSeries | None = None
    record: "TrackRecord | None" = None
    chosen_among: int = 1
    chosen: Mapping[str, int] = field(default_factory=dict)
    ledger_faults: tuple[str, ...] = ()
    ledger_id: str = ""
    ledger_head: str = ""
    ledger_rows: int = 0


@dataclass(frozen=True)
class TrialScore:
    """What a trial ledger needs to record of a validation.

    Attributes
    ----------
    context : ReportContext
    data_fingerprint : str
    costs, reward : Mapping
        The settings of the evaluation.
    seed : int
    trades : int
    expectancy_pips, sharpe_per_trade : float or None
    session_ns : (T,) int64
        First bar of each session, UTC.
    session_pnl_pips : (T,) float64
        What was made in it, after costs.
    valid_start_ns, valid_end_ns : int
        Open of the first bar that was judged, and end of the last one, UTC.
    days : (D,) array of `market.prints.DAY`
        What the days of these bars are recognised by.
    evidence : bytes
        What a track record needs of this score.
    bars : (T,) int64, (T,) float64, or None
        Times and mid closes of these bars.
    """

    context: ReportContext
    data_fingerprint: str
    costs: Mapping[str, Any]
    reward: Mapping[str, Any]
    seed: int
    trades: int
    expectancy_pips: float | None
    sharpe_per_trade: float | None
    session_ns: npt.NDArray[np.int64]
    session_pnl_pips: npt.NDArray[np.float64]
    valid_start_ns: int = 0
    valid_end_ns: int = 0
    days: Days = field(default_factory=no_days)
    evidence: bytes = b""
    bars: tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]] | None = None


#: Records the score of this validation and returns the history that now includes it.
RecordTrial = Callable[[TrialScore], TrialHistory]
