"""Checkpoints, validation reports and the champion of a recipe."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import dagster as dg

from fx_pipeline.agents.record import read_checkpoint
from fx_pipeline.defs.checkpoint_metadata import checkpoint_metadata
from fx_pipeline.defs.lineage import EMPTY, version
from fx_pipeline.defs.metadata import OWNERS, link, plain
from fx_pipeline.defs.partial import skipped
from fx_pipeline.defs.partitions import RecipeAxes, asked_key, axes_of, cell, key, to_instrument
from fx_pipeline.defs.report_metadata import page_url, paired_metadata
from fx_pipeline.defs.resources import Tracking, Warehouse
from fx_pipeline.defs.run import run_of
from fx_pipeline.layout import DEFAULT_RECIPE
from fx_pipeline.lifecycle.checkpoints import SeedCheckpoint
from fx_pipeline.lifecycle.promotion import Promotion, promote
from fx_pipeline.lifecycle.spans import load_span
from fx_pipeline.lifecycle.trainings import train_seed
from fx_pipeline.recipe_terms import RecipeTerms, terms_of
from fx_pipeline.recipes.loader import default_recipe
from fx_pipeline.recipes.names import asset_path
from fx_pipeline.recipes.recipe import Recipe
from fx_pipeline.validation.champion import Champion


class TrainConfig(dg.Config):
    """Overrides of the recipe for one run; `seeds` are trained one after the other, each into a folder of its own."""

    preset: str | None = None
    episodes: int | None = None
    seeds: list[int] | None = None
    force: bool = False


class PromoteConfig(dg.Config):
    """Which window's report is to be promoted."""

    window: str


def group_of(recipe: Recipe) -> str:
    """Return the group in which the assets of a recipe stand."""
    return "models" if recipe.name == DEFAULT_RECIPE else recipe.name


def checkpoint_asset(recipe: Recipe) -> dg.AssetsDefinition:
    """Return the asset of the checkpoints of a recipe."""
    from fx_pipeline.agents.registry import agent

    axes, kind = axes_of(recipe), agent(recipe.agent)

    @dg.asset(
        key=dg.AssetKey(asset_path(recipe.name, "checkpoint")),
        description=(
            f"A {kind.title} agent, trained on the training span of a walk-forward window, once a seed.\n\n"
            "The same data, settings, seed and code give the same bytes, so a checkpoint that stands is kept (`force` "
            "trains again). An interrupted training goes on where it was. A window without enough data is skipped, and "
            "says so."
        ),
        partitions_def=axes.instrument_window,
        deps=[dg.AssetDep(recipe.sessions_table.asset, partition_mapping=axes.from_sessions)],
        group_name=group_of(recipe),
        kinds={"pytorch", "numba"},
        owners=OWNERS,
        pool="training",
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        code_version="2",
    )
    def checkpoint(
        context: dg.AssetExecutionContext, config: TrainConfig, warehouse: Warehouse, tracking: Tracking
    ) -> Iterator[dg.MaterializeResult]:
        from fx_pipeline.market.errors import ConfigurationError

        terms = terms_of(recipe)
        instrument, key = cell(asked_key(context, axes.instrument_window))
        seeds = list(dict.fromkeys(config.seeds if config.seeds is not None else terms.training_seeds))
        if not seeds or not all(0 <= seed < 2**31 for seed in seeds):
            raise ConfigurationError(f"a training has seeds of at least 0 and below 2^31, and not {seeds}.")
        span = load_span(terms, warehouse, instrument, key, "train")
        if isinstance(span, str):
            yield skipped(context, span)
            return
        preset = config.preset or terms.preset
        episodes = config.episodes or terms.episodes(preset)
        reused = {}
        for number, seed in enumerate(seeds, 1):
            of_all = "" if len(seeds) == 1 else f", seed {seed} ({number} of {len(seeds)})"
            reused[seed] = train_seed(
                run_of(context),
                terms,
                tracking,
                recipe.agent,
                span,
                preset=preset,
                episodes=episodes,
                seed=seed,
                force=config.force,
                stage=f"train {key}{of_all}",
            )
        folders = [terms.layout.checkpoint(instrument, key, seed) for seed in seeds]
        trained = [SeedCheckpoint(folder, read_checkpoint(folder)) for folder in folders]
        yield dg.MaterializeResult(
            metadata=plain(checkpoint_metadata(trained, terms.layout.mlflow_uri, reused)),
            data_version=dg.DataVersion(version([found.sha256 for found in trained])),
        )

    return checkpoint


def report_asset(recipe: Recipe, checkpoint: dg.AssetsDefinition) -> dg.AssetsDefinition:
    """Return the asset of the validation reports of a recipe."""
    axes, asset = axes_of(recipe), dg.AssetKey(asset_path(recipe.name, "validation_report"))

    @dg.asset(
        key=asset,
        description=(
            "How the window's seeds trade the days after their training: trades, Monte Carlo, baselines, costs, a "
            "verdict.\n\n"
            "Greedy, without noise, on sessions that do not overlap. Every checkpoint of the window is scored, and "
            "each score is a row of the trial ledger; the report is on the one that training itself preferred. It is a "
            "JSON file and a page for people."
        ),
        partitions_def=axes.instrument_window,
        deps=[checkpoint],
        group_name=group_of(recipe),
        kinds={"plotly", "numba"},
        owners=OWNERS,
        pool="training",
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        code_version="2",
    )
    def validation_report(
        context: dg.AssetExecutionContext, warehouse: Warehouse, tracking: Tracking
    ) -> Iterator[dg.MaterializeResult]:
        from fx_pipeline.defs.ledger_state import ledger_faults
        from fx_pipeline.defs.report_metadata import ledger_metadata, report_metadata
        from fx_pipeline.lifecycle.validations import validate_window

        terms = terms_of(recipe)
        asked = asked_key(context, axes.instrument_window)
        instrument, key = cell(asked)

        def tell(told: Mapping[str, Any]) -> None:
            # A run that is killed after it has scored leaves an event that tells of the ledger all the same.
            context.log_event(dg.AssetObservation(asset, partition=asked, metadata=plain(ledger_metadata(told))))

        report = validate_window(
            run_of(context),
            terms,
            warehouse,
            tracking,
            recipe.agent,
            instrument,
            key,
            lambda ledger: ledger_faults(context.instance, asset, terms.settings, tracking, ledger),
            tell,
        )
        if isinstance(report, str):
            yield skipped(context, report)
            return
        folder = terms.layout.report(instrument, key)
        yield dg.MaterializeResult(metadata=plain(report_metadata(report, folder)), data_version=report_version(report))

    return validation_report


def report_version(report: Mapping[str, Any]) -> dg.DataVersion:
    """Return the data version of a validation report: of its figures, and of what they were made of."""
    lineage = report["lineage"]
    return dg.DataVersion(version(report["figures_sha256"], lineage["checkpoint_sha256"], lineage["data_fingerprint"]))


def champion_asset(recipe: Recipe, report: dg.AssetsDefinition) -> dg.AssetsDefinition:
    """Return the asset of the champions of a recipe."""
    axes = axes_of(recipe)

    @dg.asset(
        key=dg.AssetKey(asset_path(recipe.name, "champion")),
        description=(
            "The model that trades an instrument: a registered model version with the alias `champion`.\n\n"
            "Only a checkpoint whose own report passes the gate of now is registered, after its figures, candles and "
            "weights were held against the trial ledger; and it replaces a champion only if it is better on the same "
            "sessions. A champion whose edge is gone by what it made on newer bars loses the alias, and then there is "
            "none."
        ),
        partitions_def=axes.instruments,
        deps=[dg.AssetDep(report, partition_mapping=to_instrument)],
        group_name=group_of(recipe),
        kinds={"mlflow"},
        owners=OWNERS,
        pool="registry",
        output_required=False,
        code_version="1",
    )
    def champion(
        context: dg.AssetExecutionContext, config: PromoteConfig, warehouse: Warehouse, tracking: Tracking
    ) -> Iterator[dg.MaterializeResult]:
        from fx_pipeline.defs.ledger_state import ledger_faults

        terms, instrument = terms_of(recipe), asked_key(context, axes.instruments)
        faults = ledger_faults(context.instance, report.key, terms.settings, tracking, tracking.ledger())
        run_id = context.run.run_id
        outcome = promote(terms, warehouse, tracking, recipe.agent, instrument, config.window, run_id, faults)
        if outcome.demotion is not None:
            context.log.warning(f"demoted the champion of window {outcome.demotion.window}: {outcome.demotion.reason}")
        if outcome.champion is not None:
            context.log.info(outcome.reason)
            # The report names the version that it made, as the version names its report.
            names = ("registered_model", "version", "registered_url", "weights_sha256")
            linked = {name: getattr(outcome.champion, name) for name in names}
            partition = key(instrument, config.window)
            context.log_event(dg.AssetObservation(report.key, partition=partition, metadata=plain(linked)))
            yield _settled(terms, outcome)
            return
        # A refusal leaves the champion as it is, and what is shown of it.
        context.log.warning(f"not promoted: {outcome.reason}")
        if outcome.demotion is not None:
            yield _settled(terms, outcome)

    return champion


def _settled(terms: RecipeTerms, outcome: Promotion) -> dg.MaterializeResult:
    return dg.MaterializeResult(
        metadata=plain(champion_metadata(terms, outcome)), data_version=_champion_version(outcome.champion)
    )


def _champion_version(champion: Champion | None) -> dg.DataVersion:
    return dg.DataVersion(EMPTY if champion is None else version(champion.weights_sha256, champion.version))


def champion_metadata(terms: RecipeTerms, outcome: Promotion) -> dict[str, Any]:
    """Return what Dagster shows of a promotion or a demotion: who trades now and why, with links to all behind it."""
    metadata: dict[str, Any] = {}
    if outcome.demotion is not None:
        metadata |= {
            f"demoted {name}": value for name, value in outcome.demotion.to_json().items() if name != "instrument"
        }
    if outcome.champion is None:
        return {
            "state": "no champion: demoted",
            "reason": outcome.demotion.reason if outcome.demotion else "",
        } | metadata
    record = outcome.champion.to_json()
    paired = record.pop("paired")
    page = terms.layout.report(record["instrument"], record["window"]) / "report.html"
    return (
        {"state": "champion", "reason": outcome.reason}
        | record
        | {
            "registered_url": link(record["registered_url"]),
            "report page": dg.MetadataValue.url(page_url(terms.settings, page)),
        }
        | paired_metadata(paired)
        | metadata
    )


class RecipeModels(NamedTuple):
    """What a recipe makes of its sessions.

    Attributes
    ----------
    recipe : Recipe
    checkpoint, report, champion : AssetsDefinition
    """

    recipe: Recipe
    checkpoint: dg.AssetsDefinition
    report: dg.AssetsDefinition
    champion: dg.AssetsDefinition

    @property
    def axes(self) -> RecipeAxes:
        """The axes of the assets."""
        return axes_of(self.recipe)


_MADE: dict[str, RecipeModels] = {}


def recipe_models(recipe: Recipe) -> RecipeModels:
    """Return the checkpoints, reports and champions of a recipe; of the same recipe the very same assets."""
    fields = recipe.model_dump_json()
    if fields not in _MADE:
        checkpoint = checkpoint_asset(recipe)
        report = report_asset(recipe, checkpoint)
        _MADE[fields] = RecipeModels(recipe, checkpoint, report, champion_asset(recipe, report))
    return _MADE[fields]


#: Of the default recipe.
_, muzero_checkpoint, validation_report, champion = recipe_models(default_recipe())
