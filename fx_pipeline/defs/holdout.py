"""The sealed days: each candidate is judged on them once, by hand, when everything else has been decided."""

from collections.abc import Iterator

import dagster as dg

from fx_pipeline.defs.metadata import OWNERS, plain
from fx_pipeline.defs.models import RecipeModels, group_of, recipe_models, report_version
from fx_pipeline.defs.partial import skipped
from fx_pipeline.defs.partitions import asked_key, cell
from fx_pipeline.defs.resources import Tracking, Warehouse
from fx_pipeline.defs.run import run_of
from fx_pipeline.recipe_terms import terms_of
from fx_pipeline.recipes.loader import default_recipe
from fx_pipeline.recipes.names import asset_path


class HoldoutConfig(dg.Config):
    """The candidate for which the sealed days are opened: the first 12 digits of its weights' sha256."""

    checkpoint: str = ""


def holdout_asset(models: RecipeModels) -> dg.AssetsDefinition:
    """Return the asset of a recipe's reports on the sealed days."""
    recipe, cells = models.recipe, models.axes.instrument_window

    @dg.asset(
        key=dg.AssetKey(asset_path(recipe.name, "holdout_report")),
        description=(
            "How the checkpoint of a window trades the sealed days, which nothing before has seen. Opens them for it, "
            "once.\n\n"
            "The opening is in the trial ledger before the first decision is taken, and every report shows how many "
            "there were. No job, schedule or sensor materialises this: it is launched by hand, with the candidate "
            "named in its config, and its validation must have passed the gate."
        ),
        partitions_def=cells,
        deps=[models.report],
        group_name=group_of(recipe),
        kinds={"plotly", "numba"},
        owners=OWNERS,
        pool="training",
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        code_version="1",
    )
    def holdout_report(
        context: dg.AssetExecutionContext, config: HoldoutConfig, warehouse: Warehouse, tracking: Tracking
    ) -> Iterator[dg.MaterializeResult]:
        from fx_pipeline.defs.ledger_state import ledger_faults
        from fx_pipeline.defs.report_metadata import report_metadata
        from fx_pipeline.lifecycle.holdout import open_sealed_days

        terms = terms_of(recipe)
        instrument, key = cell(asked_key(context, cells))
        report = open_sealed_days(
            run_of(context),
            terms,
            warehouse,
            tracking,
            recipe.agent,
            instrument,
            key,
            config.checkpoint,
            lambda ledger: ledger_faults(context.instance, models.report.key, terms.settings, tracking, ledger),
        )
        if isinstance(report, str):
            yield skipped(context, report)
            return
        folder = terms.layout.report(instrument, key) / "holdout"
        yield dg.MaterializeResult(metadata=plain(report_metadata(report, folder)), data_version=report_version(report))

    return holdout_report


#: Of the default recipe.
holdout_report = holdout_asset(recipe_models(default_recipe()))
