"""Training one seed of a window: kept where it stands, resumed where it was, tracked, its choices in the ledger."""

from collections.abc import Mapping
from dataclasses import asdict

from fx_pipeline.agents.record import HISTORY_NAME, RECORD_NAME, RUN_NAME, WEIGHTS_NAME, read_checkpoint
from fx_pipeline.lifecycle.code import training_code
from fx_pipeline.lifecycle.needs import Run, Terms, Tracking
from fx_pipeline.lifecycle.spans import Span, training_data
from fx_pipeline.lifecycle.trials import selection_recorder
from fx_pipeline.lifecycle.vouched import keep_trainings, note_training, vouchers
from fx_pipeline.recipes.names import run_name

_FILES = (WEIGHTS_NAME, RECORD_NAME, HISTORY_NAME, RUN_NAME)


def train_seed(
    run: Run,
    settings: Terms,
    tracking: Tracking,
    agent_name: str,
    span: Span,
    *,
    preset: str,
    episodes: int,
    seed: int,
    force: bool,
    stage: str,
) -> bool:
    """Train one seed of a window; return whether its checkpoint stood already.

    An interrupted training goes on where it was. Every score by which it chooses its weights joins the ledger.
    """
    from fx_pipeline.agents.base import Budget
    from fx_pipeline.agents.progress_file import ProgressFile
    from fx_pipeline.agents.registry import agent
    from fx_pipeline.market.atomic import atomic_write_json
    from fx_pipeline.market.disk import clear_disk_errors
    from fx_pipeline.provenance.stamps import identity, stamp, stands
    from fx_pipeline.tracking.batched import BatchedMetrics

    instrument, key = span.market.instrument, span.window.key
    costs, reward = settings.costs_of(instrument), settings.recipe.rewarded
    code = training_code(agent_name, span.market.feature_set)
    made_from = identity(
        code,
        agent=agent_name,
        preset=preset,
        episodes=episodes,
        seed=seed,
        data=span.market.fingerprint,
        starts=span.starts.tolist(),
        costs=asdict(costs),
        window=span.window.spans(),
        rules=asdict(span.rules),
        actions=settings.recipe.actions.name,
        reward=None if reward is None else asdict(reward),
    )
    folder = settings.layout.checkpoint(instrument, key, seed)
    keep_trainings(tracking.ledger())
    known = stands(folder, made_from, *_FILES) and not force
    if known and not vouchers(tracking.ledger()).doubt(instrument, key, folder, read_checkpoint(folder)):
        run.log.info(f"{folder} stands: the same data, settings, seed and code made it.")
        run.progress(f"{stage} (stands)")(1.0, {})
        return True
    parameters = {"preset": preset, "episodes": episodes, "seed": seed, "starts": len(span.starts)}
    recipe = settings.recipe.name
    tags = {"dagster/run_id": run.run_id, "recipe": recipe, "instrument": instrument, "window": key, "code": code}
    name = f"{run_name('train', recipe)} {instrument} {key} seed {seed}"
    with (
        clear_disk_errors(folder),
        tracking.mlflow().run(name, "training", params=parameters, tags=tags, made_from=made_from) as tracked,
        ProgressFile(folder, made_from, {"instrument": instrument, "window": key, **parameters}) as shown,
        BatchedMetrics(tracked, "iterations") as metrics,
    ):
        said = run.progress(stage)

        def progress(fraction: float, figures: Mapping[str, float]) -> None:
            said(fraction, figures)
            shown.report(fraction, figures)
            metrics.add(figures)

        checkpoint = (
            agent(agent_name)
            .trainer(preset, reward)
            .train(
                training_data(settings, span),
                Budget(episodes),
                seed=seed,
                folder=folder,
                progress=progress,
                on_score=selection_recorder(
                    tracking.ledger(), span, agent_name, costs, episodes, seed, settings.recipe
                ),
            )
        )
        note_training(tracking.ledger(), instrument, key, folder)
        metrics.complete(checkpoint.history)
        atomic_write_json(folder / "history.json", [dict(row) for row in checkpoint.history])
        links = {"mlflow_run_id": tracked.run_id, "mlflow_url": tracked.url, "dagster_run_id": run.run_id}
        atomic_write_json(folder / RUN_NAME, links)
        tracked.log_artifact(folder / "checkpoint.json")
        tracked.log_artifact(folder / "weights.safetensors")
    stamp(folder, made_from, *_FILES)
    return False
