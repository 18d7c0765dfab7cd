"""A recipe from a file of candles to the verdict, through Dagster: run in a process of its own, as what is in the graph
is read when it loads.

    python -m fx_pipeline_tests.defs.recipe_chain RECIPE CANDLES EPISODES WINDOWS

FX_DATA_DIR and FX_USE_RECIPES say where and with what. Prints a JSON object.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg

from fx_pipeline.ingest.importers import import_files
from fx_pipeline.settings import load_settings

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def run_chain(recipe_name: str, candles: Path, episodes: int, windows: int) -> dict[str, Any]:
    """Run the jobs of a recipe on a file; return what became of it."""
    settings, began = load_settings(), time.perf_counter()
    recipe = settings.known_recipes.recipe(recipe_name)
    (instrument,) = recipe.instruments or settings.instruments
    imported = import_files(
        [candles], instrument, None, settings.data_dir, now_ns=time.time_ns(), timeframe=recipe.bars
    )

    from fx_pipeline.broker.paper.store import months as imported_months
    from fx_pipeline.definitions import defs
    from fx_pipeline.defs.models import recipe_models
    from fx_pipeline.defs.partitions import key
    from fx_pipeline.recipe_terms import terms_of
    from fx_pipeline.recipes.names import plain_name
    from fx_pipeline.sessions.table import read_plan

    terms, models, checks = terms_of(recipe), recipe_models(recipe), {}
    seconds: dict[str, float] = {}

    def launch(name: str, partition: str | None = None, config: Any = None, tags: Any = None) -> Any:
        start = time.perf_counter()
        job = defs.resolve_job_def(name)
        done = job.execute_in_process(
            instance=instance, partition_key=partition, run_config={**QUIET, **(config or {})}, tags=tags
        )
        for found in done.get_asset_check_evaluations():
            checks[f"{found.asset_key.to_user_string()} {found.check_name}"] = found.passed
        seconds[name] = round(seconds.get(name, 0.0) + time.perf_counter() - start, 1)
        return done

    with dg.DagsterInstance.ephemeral() as instance:
        months = imported_months(settings.layout.paper_store, instrument, recipe.bars)
        ends = {"start": str(key(instrument, months[0])), "end": str(key(instrument, months[-1]))}
        span = {f"dagster/asset_partition_range_{name}": value for name, value in ends.items()}
        launch(f"ingest_{recipe.bars.slug}", tags=span)
        launch(plain_name(recipe.name, "prepare"), instrument)
        plan = read_plan(terms.layout.windows(instrument), recipe.sessions_table.asset)
        report: dict[str, Any] = {}
        for window in plan.windows[-windows:]:
            partition = key(instrument, window.key)
            budget = {"ops": {models.checkpoint.op.name: {"config": {"episodes": episodes, "seeds": [7]}}}}
            launch(plain_name(recipe.name, "train"), partition, budget)
            launch(plain_name(recipe.name, "validate"), partition)
            report = json.loads((terms.layout.report(instrument, window.key) / "report.json").read_text())
        launch(plain_name(recipe.name, "promote"), instrument, _promotion(models, plan.windows[-1].key))
        launch("check_data")
    figures = report["figures"]
    return {
        "recipe": recipe.name,
        "imported": imported.imported,
        "windows": len(plan.windows),
        "checks": checks,
        "seconds": seconds | {"all": round(time.perf_counter() - began, 1)},
        "of_report": report["lineage"]["recipe"],
        **{name: figures[name] for name in ("verdict", "reasons", "trades", "sessions", "window", "expectancy_pips")},
        "bars": report["lineage"]["market_bars"],
        "chosen": (figures["record"] or {}).get("chosen"),
        "page": (terms.layout.report(instrument, figures["window"]) / "report.html").stat().st_size,
    }


def _promotion(models: Any, window: str) -> dict[str, Any]:
    return {"ops": {models.champion.op.name: {"config": {"window": window}}}}


if __name__ == "__main__":
    name, path, budget, count = sys.argv[1:]
    sys.stdout.write(json.dumps(run_chain(name, Path(path), int(budget), int(count))) + "\n")
