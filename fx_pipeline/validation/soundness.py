"""Conditions of the promotion gate on whether the figures can be believed: ledger, record, runs, accounting, leaks."""

from collections.abc import Mapping, Sequence
from typing import Any

from fx_pipeline.validation.chance import MIN_RUNS
from fx_pipeline.validation.gate import Condition, Figures, GateConfig, condition, figure_of, record_of


def record_complete(figures: Figures, config: GateConfig) -> Condition:
    """Nothing that belongs to the record is missing (`missing`)."""
    record = record_of(figures)
    missing, windows = _sentences(record.get("missing")), record.get("windows")
    count = len(windows) if isinstance(windows, Sequence) and not isinstance(windows, str) else 0
    if missing is None or not count:
        missing, text = None, "The report has no walk-forward record."
    elif missing:
        text = f"The record of this configuration lacks something: {'; '.join(missing)}."
    else:
        over = "the one window that it was judged on" if count == 1 else f"all {count} windows of the last year"
        text = f"The record of this configuration has {over}."
    return condition(
        "record_complete",
        "The whole record, and not a choice of it",
        None if missing is None else float(len(missing)),
        "<=",
        0.0,
        "count",
        text,
        "Train and validate the windows that are named with this configuration; then validate this one again.",
    )


def ledger_complete(figures: Figures, config: GateConfig) -> Condition:
    """The trial ledger is whole, and as old as what it has to know (`ledger_faults`)."""
    faults = _sentences(record_of(figures).get("ledger_faults"))
    if faults is None:
        text = "Trials are not counted: there was no ledger, or it was not verified."
    elif faults:
        text = f"The ledger of trials cannot be relied on: {' '.join(faults)}"
    else:
        text = "The ledger's chain is whole, and it knows every report and run that was found beside it."
    return condition(
        "ledger_complete",
        "Every trial is counted",
        None if faults is None else float(len(faults)),
        "<=",
        0.0,
        "count",
        text,
        "Put back the ledger that the reports and runs were made with (data/ledger.db): nothing else knows how many "
        "were tried. If it is gone for good: fx-pipeline ledger recover --reason WHY.",
    )


def enough_runs(figures: Figures, config: GateConfig) -> Condition:
    """As many resampled histories as a verdict needs (`mc_runs`); the number is not a setting of the gate."""
    figure = figure_of(record_of(figures), "mc_runs")
    count = "No" if not figure else f"{figure:,.0f}"
    return condition(
        "enough_runs",
        "Resampled often enough to judge",
        figure,
        ">=",
        float(MIN_RUNS),
        "count",
        f"{count} histories were resampled; fewer than {MIN_RUNS:,} judge nothing.",
        f"Validate again with FX_MC_RUNS at {MIN_RUNS} or more.",
    )


def accounting_agrees(figures: Figures, config: GateConfig) -> Condition:
    """Two computations of the P&L agree (`parity_error_pips`)."""
    figure = figure_of(figures, "parity_error_pips")
    if figure is None:
        text = "The profit of the trades was computed once only."
    else:
        text = f"The environment and an independent pricing of the same trades differ by at most {figure:.1g} pips."
    return condition(
        "accounting_agrees",
        "The profit is what the fills say",
        figure,
        "<=",
        config.max_parity_error_pips,
        "pips",
        text,
        "A defect in the accounting: no figure of this report can be relied on until it is mended.",
    )


def broker_agrees(figures: Figures, config: GateConfig) -> Condition:
    """The paper broker makes the same trades of the same decisions (`parity`)."""
    found = figures.get("parity")
    told = found if isinstance(found, Mapping) else {}
    figure, replayed, trades, left_out = (
        figure_of(told, key) for key in ("differing", "replayed", "trades", "left_out")
    )
    every = replayed is not None and replayed == trades
    if figure is None:
        text = "The decisions were not replayed at the paper broker."
        remedy = "Validate again: the replay at the paper broker is missing."
    else:
        text = (
            f"Sent the same decisions, the paper broker closed {replayed or 0:,.0f} of {trades or 0:,.0f} trades, and "
            f"{figure:,.0f} differ."
        )
        if left_out:
            text += f" {left_out:,.0f} more, of sessions that were not drawn, were not replayed."
        if not trades and not figure and not left_out:
            text = "No trade was closed, so there is none that the paper broker could make otherwise."
        remedy = "A defect in the fills of the environment or of the broker: find what differs before anything trades."
    return condition(
        "broker_agrees",
        "The paper broker makes the same trades",
        figure,
        "<=",
        0.0,
        "trades",
        text,
        remedy,
        also=every,
    )


def no_leak(figures: Figures, config: GateConfig) -> Condition:
    """Searches for knowledge of the future were made and found nothing (`leaks_found`, `leaks_searched`)."""
    figure, searched = figure_of(figures, "leaks_found"), figures.get("leaks_searched") or ()
    if figure is None or not searched:
        figure, text = None, "Nothing was searched for knowledge of the future."
    else:
        text = f"Searched: {', '.join(searched)}. Found: {figure:.0f}."
    return condition(
        "no_leak",
        "Nothing knows the future",
        figure,
        "<=",
        0.0,
        "count",
        text,
        "The searches for look-ahead and warm-up must have run and found nothing: materialise the features again."
        if figure
        else "The searches for look-ahead and warm-up must have run on the data of this report.",
    )


def disjoint_sessions(figures: Figures, config: GateConfig) -> Condition:
    """No two sessions share bars (`overlapping_sessions`): a trade must not be counted twice."""
    window, record = figure_of(figures, "overlapping_sessions"), figure_of(record_of(figures), "overlapping_sessions")
    figure = None if window is None or record is None else max(window, record)
    if figure is None:
        text = "It is not known whether sessions overlap."
    elif figure > 0:
        text = f"{figure:.0f} sessions overlap the one before them: the same bars, and so the same trades, count twice."
    else:
        text = "No two sessions share a bar: every trade counts once."
    shared = figure_of(record_of(figures), "shared_sessions")
    if figure is not None and shared:
        text += f" {shared:,.0f} sessions of windows that overlap an older one are left out of the record."
    return condition(
        "disjoint_sessions",
        "Every trade counts once",
        figure,
        "<=",
        0.0,
        "sessions",
        text,
        "Validate on sessions that do not overlap.",
    )


def unseen_holdout(figures: Figures, config: GateConfig) -> Condition:
    """The sealed days were opened for few candidates (`holdout_openings`)."""
    figure = figure_of(figures, "holdout_openings")
    if figure is None:
        text = "It is not known how often the sealed days were opened."
    else:
        many = "candidate" if figure == 1 else "candidates"
        text = f"The sealed days of this instrument were opened for {figure:.0f} {many}."
        if not figure:
            text = "No candidate of this instrument has seen the sealed days, if there are any."
    return condition(
        "unseen_holdout",
        "The hold-out is still one",
        figure,
        "<=",
        config.max_holdout_openings,
        "count",
        text,
        "Seal newer days (FX_HOLDOUT_START): these have been looked at too often to be unseen.",
    )


def _sentences(found: Any) -> list[str] | None:
    """A list of sentences; None where it is none: what is missing never passes."""
    if isinstance(found, str) or not isinstance(found, Sequence):
        return None
    return [str(one) for one in found]
