"""The walk-forward record that a trial ends, as the ledger knows it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fx_pipeline.lifecycle.needs import Terms, Warehouse
from fx_pipeline.lifecycle.spans import load_span
from fx_pipeline.lifecycle.vouched import vouchers
from fx_pipeline.market.errors import DataError

if TYPE_CHECKING:
    from fx_pipeline.tracking.ledger import Ledger, Trial
    from fx_pipeline.validation.track_record import Planned, TrackRecord


def planned_windows(settings: Terms, instrument: str) -> "tuple[Planned, ...]":
    """Return the windows of the plan with their validation spans; none where there is no plan that can be read."""
    from fx_pipeline.sessions.table import read_plan
    from fx_pipeline.validation.track_record import Planned

    try:
        plan = read_plan(settings.layout.windows(instrument))
    except DataError:
        # `load_span` has said so: without a plan there is no span to judge.
        return ()
    return tuple(Planned(window.key, window.valid_start, window.valid_end) for window in plan.windows)


def demanded_windows(
    settings: Terms, warehouse: Warehouse, ledger: "Ledger", instrument: str, end_ns: int
) -> "tuple[Planned, ...]":
    """Return the planned windows of the year before `end_ns` that a record must have: those that can be judged.

    A window whose spans hold too few sessions is skipped by training or validation, and nobody could make up for it.
    One that the ledger knows was judged, and is demanded whatever has become of its candles.
    """
    from fx_pipeline.validation.track_record import YEAR_NS

    looks, _ = ledger.looks()
    known = {look.window for look in looks if look.instrument == instrument}
    return tuple(
        window
        for window in planned_windows(settings, instrument)
        if window.valid_start_ns >= end_ns - YEAR_NS
        and window.valid_end_ns <= end_ns
        and (window.key in known or _can_be_judged(settings, warehouse, instrument, window.key))
    )


def _can_be_judged(settings: Terms, warehouse: Warehouse, instrument: str, key: str) -> bool:
    try:
        spans = (
            load_span(settings, warehouse, instrument, key, part, against_lake=False) for part in ("valid", "train")
        )
        return not any(isinstance(span, str) for span in spans)
    except DataError:
        # Candles that have to be put right first are no reason to go without.
        return True


def walk_forward_record(ledger: "Ledger", trial: "Trial", planned: "Sequence[Planned]" = ()) -> "TrackRecord | None":
    """Gather the record that ends with a recorded trial.

    Parameters
    ----------
    ledger : Ledger
    trial : Trial
        As it was scored now, with its evidence.
    planned : sequence of Planned
        What should have been judged.

    Returns
    -------
    TrackRecord or None
        None for replays and sealed days, which stand for themselves, and for a trial without evidence.
    """
    from fx_pipeline.tracking.trials import is_choice
    from fx_pipeline.validation.evidence import Evidence
    from fx_pipeline.validation.track_record import YEAR_NS, gather_record

    if not trial.evidence or not is_choice(trial.window):
        return None
    rows = ledger.of_configuration(trial.instrument, trial.config_hash)
    own = next(row for row in rows if row.key == trial.key)
    # Weights that no training left are no seed, and no candidate beside which another looks good.
    known = vouchers(ledger)
    rows = [row for row in rows if row.key == own.key or known.knows(row)]
    begin = own.valid_end_ns - YEAR_NS
    looks, _ = ledger.looks()
    windows = dict.fromkeys(
        look.window
        for look in looks
        if look.choice
        and look.instrument == trial.instrument
        and look.config_hash != trial.config_hash
        and begin < look.end_ns
        and look.start_ns < own.valid_end_ns
    )
    rivals = [
        row
        for window in windows
        for row in ledger.scored(trial.instrument, window)
        if row.config_hash != trial.config_hash
    ]
    return gather_record(own, Evidence.from_bytes(trial.evidence), rows, rivals, planned)


def record_parts(settings: Terms, instrument: str) -> list[Any]:
    """Return what a record is made from beside the ledger, JSON-able: the plan tells which windows it lacks."""
    return [list(planned) for planned in planned_windows(settings, instrument)]
