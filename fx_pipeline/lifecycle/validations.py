"""Validating a window: every seed of it is scored, the champion beside it, and the candidate gets a report."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fx_pipeline.lifecycle.checkpoints import candidate, seed_checkpoints
from fx_pipeline.lifecycle.needs import Run, Terms, Tracking, Warehouse
from fx_pipeline.lifecycle.scores import score_seeds, validate_span, validation_identity
from fx_pipeline.lifecycle.spans import load_span
from fx_pipeline.lifecycle.standing import champion_beside
from fx_pipeline.lifecycle.vouched import keep_trainings, vouchers
from fx_pipeline.recipes.names import asset_name, run_name

if TYPE_CHECKING:
    from fx_pipeline.lifecycle.trials import Tell
    from fx_pipeline.tracking.ledger import Ledger

FILES = ("report.json", "report.html")
#: Figures that are followed over the windows.
FOLLOWED = (
    *("expectancy_pips", "total_pips", "exposure", "break_even_spread_pips", "deflated_sharpe", "car25"),
    *("overfitting_probability", "spa_p", "worst_seed_pips"),
)


def validate_window(
    run: Run,
    settings: Terms,
    warehouse: Warehouse,
    tracking: Tracking,
    agent: str,
    instrument: str,
    key: str,
    find_faults: "Callable[[Ledger], list[str]]",
    tell: "Tell",
) -> dict[str, Any] | str:
    """Score every seed of a window on its validation span, and make the report on the candidate; or say why not.

    Parameters
    ----------
    run : Run
    settings : Terms
    warehouse : Warehouse
    tracking : Tracking
    agent, instrument, key : str
        Of the window.
    find_faults : callable
        What is wrong with the ledger, a sentence each: asked before anything is scored.
    tell : callable
        Hears what stands for the rows of the ledger after each score.

    Returns
    -------
    dict or str
        The report, which stands already or was written; or why there is nothing to validate.
    """
    from fx_pipeline.market.disk import clear_disk_errors
    from fx_pipeline.provenance.stamps import stamp, stands
    from fx_pipeline.tracking.ledger_witness import TAGS
    from fx_pipeline.validation.report import point_at, read_report, write_report

    span = load_span(settings, warehouse, instrument, key, "valid")
    if isinstance(span, str):
        return span
    place = settings.layout.trainings(instrument, key)
    everything = seed_checkpoints(settings, instrument, key)
    checkpoints = [found for found in everything if found.record["window"] == {"key": key, **span.window.spans()}]
    if not everything:
        return f"there is no checkpoint in {place}: materialise {asset_name(settings.recipe.name, 'checkpoint')} first."
    said = "the checkpoint in {} was trained on other spans than window {} has: train again."
    left_out = [said.format(stale.folder, key) for stale in everything if stale not in checkpoints]
    if not checkpoints:
        return " ".join(left_out)
    ledger = tracking.ledger()
    # Before anything is scored: the first row would make a ledger where none is.
    found_faults = find_faults(ledger)
    keep_trainings(ledger)
    known = vouchers(ledger)
    doubts = {found.seed: known.doubt(instrument, key, found.folder, found.record) for found in checkpoints}
    trained = [found for found in checkpoints if not doubts[found.seed]]
    left_out += [doubt for doubt in doubts.values() if doubt and trained]
    for reason in left_out:
        run.log.warning(f"left out: {reason}")
    # Where no training left any of them there is a report all the same, that says so and passes no gate.
    judged = candidate(trained or checkpoints)
    faults = [*found_faults, *(() if trained else [doubts[judged.seed]])]
    for fault in faults:
        run.log.warning(fault)
    others = [checkpoint for checkpoint in trained if checkpoint is not judged]
    score_seeds(settings, warehouse, ledger, span, others, agent, run.progress, tell)
    champion = champion_beside(run, settings, warehouse, tracking, span, judged.sha256)
    beside = None if champion is None else champion.sha256
    made_from = validation_identity(settings, tracking, span, key, judged.record, beside, faults)
    folder, recipe = settings.layout.report(instrument, key), settings.recipe.name
    if stands(folder, made_from, *FILES):
        run.log.info(f"{folder} stands: the same checkpoint, data and settings made it.")
        run.progress(f"validate {key} (stands)")(1.0, {})
        point_at(settings.layout.newest_report, folder)
        return read_report(folder)
    with (
        clear_disk_errors(folder),
        tracking.mlflow().run(
            f"{run_name('validate', recipe)} {instrument} {key}",
            "validation",
            params={"mc_runs": settings.mc_runs, "seed": judged.seed, "preset": judged.record["preset"]},
            tags={"dagster/run_id": run.run_id, "recipe": recipe, "instrument": instrument, "window": key},
        ) as tracked,
    ):

        def tell_both(told: Mapping[str, Any]) -> None:
            tracked.set_tags(told)
            tell(told)

        report = validate_span(
            settings,
            warehouse,
            ledger,
            span,
            judged.folder,
            agent,
            {"mlflow_url": tracked.url, "mlflow_run_id": tracked.run_id, "dagster_run_id": run.run_id},
            run.progress(f"validate {key}"),
            champion,
            faults,
            tell=tell_both,
        )
        # MLflow hears of it first: a report that is removed leaves a run that tells of its trial.
        tracked.set_tags({name: report["lineage"][name] for name in TAGS if name in report["lineage"]})
        write_report(report, folder)
        tracked.log_metrics(followed(report["figures"]), step=0)
        tracked.log_artifact(folder / "report.html")
    stamp(folder, made_from, *FILES)
    point_at(settings.layout.newest_report, folder)
    return report


def followed(figures: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of a report that are followed over the windows, and what the paired test found."""
    found = {name: float(figures[name]) for name in FOLLOWED if figures[name] is not None}
    paired = figures["paired"]
    if paired is not None:
        found |= {
            "paired difference pips a session": float(paired["mean_difference_pips"]),
            "paired p": float(paired["p_value"]),
        }
    return found
