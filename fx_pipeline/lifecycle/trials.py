"""The rows that scores leave in the trial ledger, and the company in which a report finds them there."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from fx_pipeline.layout import DEFAULT_RECIPE
from fx_pipeline.lifecycle.code import evaluation_code
from fx_pipeline.lifecycle.configuration import configuration, trained_seed_sha
from fx_pipeline.lifecycle.spans import Span
from fx_pipeline.lifecycle.track_records import walk_forward_record
from fx_pipeline.provenance.evaluation import rolled_out_by
from fx_pipeline.recipes.loader import default_recipe

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from fx_pipeline.agents.base import OnScore, SelectionScore
    from fx_pipeline.market.costs import CostConfig
    from fx_pipeline.recipes.recipe import Recipe
    from fx_pipeline.tracking.choices import Bars
    from fx_pipeline.tracking.ledger import Ledger, ScoredTrial, Trial
    from fx_pipeline.validation.context import ChampionSeries, TrialHistory, TrialScore
    from fx_pipeline.validation.track_record import Planned

    #: Hears what stands for the rows of the ledger.
    Tell = Callable[[Mapping[str, Any]], None]


def trial_recorder(
    ledger: "Ledger",
    record: Mapping[str, Any],
    champion: "ChampionSeries | None" = None,
    *,
    recipe: "Recipe | None" = None,
    faults: Sequence[str] = (),
    judged: bool = False,
    recorded: "list[Trial] | None" = None,
    planned: "Sequence[Planned]" = (),
    tell: "Tell | None" = None,
) -> "Callable[[TrialScore], TrialHistory]":
    """Return the callback that makes every score a row of the trial ledger, and answers with its company.

    Parameters
    ----------
    ledger : Ledger
    record : Mapping
        Of the checkpoint.
    champion : ChampionSeries, optional
        Beside which the score is shown.
    recipe : Recipe, optional
        Of the checkpoint; the default one where it is absent.
    faults : sequence of str
        What is wrong with the ledger.
    judged : bool
        Whether a report is made of the score: its checkpoint is a candidate, and no seed that is scored beside one.
    recorded : list of Trial, optional
        Takes what was recorded.
    planned : sequence of Planned
        The walk-forward plan: what the record of the configuration should have.
    tell : callable, optional
        Hears what stands for the rows of the ledger before anything is judged.
    """
    import numpy as np

    from fx_pipeline.tracking.ledger import Trial

    def write(score: "TrialScore") -> "TrialHistory":
        trial = Trial(
            instrument=score.context.instrument,
            window=score.context.window,
            agent=score.context.agent,
            config_hash=configuration(record, recipe),
            recipe=score.context.recipe,
            seed=score.seed,
            checkpoint_hash=score.context.checkpoint_sha256,
            data_fingerprint=score.data_fingerprint,
            costs=dict(score.costs),
            trades=score.trades,
            expectancy_pips=score.expectancy_pips,
            sharpe_per_trade=score.sharpe_per_trade,
            session_ns=score.session_ns,
            session_pnl_pips=score.session_pnl_pips,
            evaluation_code=evaluation_code(score.context.agent),
            valid_start_ns=score.valid_start_ns,
            valid_end_ns=score.valid_end_ns,
            days=score.days,
            evidence=score.evidence,
            trained_seed_sha=trained_seed_sha(record),
        )
        ledger.record(trial, judged)
        if tell is not None:
            tell(ledger_lineage(ledger))
        if recorded is not None:
            recorded.append(trial)
        # Seeds beside a candidate are not judged by it: how it looks under other clocks is searched once.
        history = trial_history(ledger, trial, faults, score.bars if judged else None)
        history = replace(history, record=walk_forward_record(ledger, trial, planned))
        if champion is None or not np.array_equal(champion.session_ns, trial.session_ns):
            return history
        return replace(history, champion=champion)

    return write


def ledger_lineage(ledger: "Ledger") -> dict[str, Any]:
    """Return what stands for the rows of the ledger: written down elsewhere, it tells whether they are all there."""
    head = ledger.head()
    return {
        "ledger_id": head.ledger_id,
        "ledger_head": head.hash,
        "ledger_rows": head.rows,
        "ledger_trials": ledger.count(),
    }


def selection_recorder(
    ledger: "Ledger",
    span: Span,
    agent_name: str,
    costs: "CostConfig",
    episodes: int,
    seed: int,
    recipe: "Recipe | None" = None,
) -> "OnScore":
    """Return the callback that makes every score by which a training chooses its weights a row of the trial ledger.

    Parameters
    ----------
    ledger : Ledger
    span : Span
        Of the training.
    agent_name : str
    costs : CostConfig
    episodes, seed : int
        Of the training.
    recipe : Recipe, optional
        The default one where it is absent.
    """
    from fx_pipeline.tracking.ledger import Trial, selection_window
    from fx_pipeline.validation.metrics import trade_metrics

    def write(score: "SelectionScore") -> None:
        metrics = trade_metrics(score.trade_pnl_pips)
        training = {
            "config_digest": score.config_digest,
            "code_version": score.code_version,
            "counters": {"episodes": episodes},
        }
        trial = Trial(
            instrument=span.market.instrument,
            window=selection_window(span.window.key),
            agent=agent_name,
            config_hash=configuration(training, recipe),
            recipe=recipe.name if recipe else DEFAULT_RECIPE,
            seed=seed,
            checkpoint_hash=score.checkpoint_sha256,
            data_fingerprint=span.market.fingerprint,
            # The agent's settings choose the sessions, and the search that plays them.
            costs={**asdict(costs), "config_digest": score.config_digest},
            trades=metrics.trades,
            expectancy_pips=metrics.expectancy_pips,
            sharpe_per_trade=metrics.sharpe_per_trade,
            session_ns=score.session_ns,
            session_pnl_pips=score.session_pnl_pips,
            evaluation_code=evaluation_code(agent_name),
        )
        ledger.record(trial)

    return write


def trial_history(
    ledger: "Ledger", trial: "Trial", faults: Sequence[str] = (), bars: "Bars | None" = None
) -> "TrialHistory":
    """Read the trials of a recorded one's instrument, and with their series those of its window judged as it was.

    What it was chosen among is counted by the bars, under whatever name they were judged. Only the same data and costs,
    by the same code, make company: a score at other costs is no choice that there was, and would decide whether this
    one looks overfitted.
    """
    from fx_pipeline.validation.context import TrialHistory
    from fx_pipeline.validation.track_record import WindowTrial

    company, left_out = [], set()
    for other in ledger.scored(trial.instrument, trial.window):
        this = other.key == trial.key
        # Its own sessions are those that were scored now: an earlier row of it may know others.
        pnl = trial.session_pnl_pips if this else _on_sessions_of(trial, other)
        if pnl is not None:
            checkpoint, trades = other.checkpoint_hash, trial.trades if this else other.trades
            company.append(WindowTrial(other.config_hash, other.seed, pnl, this, checkpoint, trades))
        elif other.config_hash == trial.config_hash:
            left_out.add(other.seed)
    here = {found.seed for found in company if found.configuration == trial.config_hash}
    choices, head = ledger.choices(trial.look, trial.days, bars), ledger.head()
    return TrialHistory(
        chosen_among=choices.total,
        chosen=choices.words(),
        ledger_faults=tuple(faults),
        ledger_id=head.ledger_id,
        ledger_head=head.hash,
        ledger_rows=head.rows,
        count=ledger.count(instrument=trial.instrument),
        sharpes=ledger.sharpes(instrument=trial.instrument),
        window=tuple(company),
        left_out=ledger.count(trial.instrument, trial.window) - len(company),
        seeds_left_out=tuple(sorted(left_out - here)),
    )


def _on_sessions_of(trial: "Trial", other: "ScoredTrial") -> "npt.NDArray[np.float64] | None":
    import numpy as np

    if _judged_by(other) != _judged_by(trial) or not len(other.session_ns):
        return None
    rows = np.searchsorted(other.session_ns, trial.session_ns).clip(max=len(other.session_ns) - 1)
    return other.session_pnl_pips[rows] if np.array_equal(other.session_ns[rows], trial.session_ns) else None


def _judged_by(trial: "Trial | ScoredTrial") -> str:
    # What the ledger keeps of the costs has been through JSON.
    parts = [trial.data_fingerprint, rolled_out_by(trial.evaluation_code), trial.costs]
    return json.dumps(parts, sort_keys=True, default=str)


def other_trials(
    ledger: "Ledger",
    span: Span,
    window: str,
    record: Mapping[str, Any],
    costs: "CostConfig",
    recipe: "Recipe | None" = None,
) -> dict[str, Any]:
    """Return what a report takes of the ledger beside its own trial: another of these is another report.

    The trials of the same window and of the configuration's record, by key, as its family and its seeds; and what it
    was chosen among. Neither trainings and replays on other days nor their seeds are of it.

    Parameters
    ----------
    ledger : Ledger
    span : Span
        Of the validation.
    window : str
    record : Mapping
        Of the checkpoint.
    costs : CostConfig
    recipe : Recipe, optional
        Of the checkpoint; the default one where it is absent.
    """
    from fx_pipeline.tracking.choices import Look, record_start_ns
    from fx_pipeline.tracking.trials import is_choice
    from fx_pipeline.validation.score import judged_bars

    instrument, data_fingerprint = span.market.instrument, span.market.fingerprint
    start_ns, end_ns, days, bars = judged_bars(span.market, span.starts, span.rules)
    own = Look(
        key=own_trial(instrument, window, record, data_fingerprint, costs, (recipe or default_recipe()).agent),
        instrument=instrument,
        window=window,
        config_hash=configuration(record, recipe),
        checkpoint_hash=record["weights_sha256"],
        data_fingerprint=data_fingerprint,
        start_ns=start_ns,
        end_ns=end_ns,
        days=" own",
        reported=True,
        choice=is_choice(window),
    )
    looks, _ = ledger.looks()
    begins_ns = record_start_ns(own, looks)

    def is_company(look: Look) -> bool:
        inside = look.config_hash == own.config_hash and begins_ns <= look.start_ns and look.end_ns <= own.end_ns
        return look.instrument == instrument and look.choice and (look.window == window or inside)

    return {
        "trials": sorted((look.key, look.reported) for look in looks if look.key != own.key and is_company(look)),
        "chosen": ledger.choices(own, days, bars).words(),
    }


def own_trial(
    instrument: str, window: str, record: Mapping[str, Any], data_fingerprint: str, costs: "CostConfig", agent: str
) -> str:
    """Return the key of the trial that validating a checkpoint of an agent on a window makes."""
    from fx_pipeline.tracking.ledger import trial_key

    return trial_key(
        {
            "instrument": instrument,
            "window": window,
            "config_hash": configuration(record),
            "checkpoint_hash": record["weights_sha256"],
            "data_fingerprint": data_fingerprint,
            "costs": asdict(costs),
            "seed": record["seed"],
            "evaluation_code": evaluation_code(agent),
        }
    )
