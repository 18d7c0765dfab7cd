"""Asset checks. Those that block stop what lies downstream in the same run."""

from itertools import pairwise

import dagster as dg

from fx_pipeline.agents.record import read_checkpoint
from fx_pipeline.defs.champion_state import CHECK, states_metadata
from fx_pipeline.defs.costs import spread_model_fits
from fx_pipeline.defs.events import skipped_partitions, was_skipped
from fx_pipeline.defs.metadata import plain, table
from fx_pipeline.defs.models import RecipeModels
from fx_pipeline.defs.partitions import cell, keys_of
from fx_pipeline.defs.resources import Tracking, Warehouse
from fx_pipeline.defs.training_alerts import training_alerts
from fx_pipeline.defs.units import unit_fits
from fx_pipeline.features.names import FeatureTable
from fx_pipeline.lifecycle.reconcile import champion_state
from fx_pipeline.recipe_terms import terms_of
from fx_pipeline.sessions.names import SessionTable
from fx_pipeline.settings import load_settings

#: Bars at which the causality of the features is tested on each materialisation.
CAUSALITY_BARS = 20
#: Rows that a check lists.
_LISTED = 100


def features_checks(asset: dg.AssetsDefinition, features: FeatureTable) -> list[dg.AssetChecksDefinition]:
    """Return the checks of a feature table, which the asset makes."""
    which = (features.feature_set, features.timeframe)

    @dg.asset_check(asset=asset, blocking=True)
    def features_are_finite(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> dg.AssetCheckResult:
        """Every warm bar has finite features within the bounds of the set; only the start of the history is cold."""
        definition, bad = features.definition, {}
        warm_up = definition.warmup_bars(features.timeframe)
        outside = " OR ".join(
            f"{name} IS NULL OR NOT isfinite({name}) OR {name} < {low} - 1e-6 OR {name} > {high} + 1e-6"
            for name, low, high in (
                (name, *(f"CAST('{bound}' AS DOUBLE)" for bound in bounds))
                for name, bounds in zip(definition.names, definition.bounds, strict=True)
            )
        )
        with warehouse.get_connection(read_only=True) as connection:
            for instrument in keys_of(context, asset):
                wrong, cold, bars = connection.execute(
                    f"SELECT count(*) FILTER (warm AND ({outside})), count(*) FILTER (NOT warm), count(*) FROM "
                    f"{features.name} WHERE instrument = ?",
                    [instrument],
                ).fetchone()
                if wrong or cold != min(bars, warm_up - 1):
                    bad[instrument] = wrong + abs(cold - min(bars, warm_up - 1))
        return dg.AssetCheckResult(passed=not bad, metadata=plain({"bad rows": bad}))

    @dg.asset_check(asset=asset, blocking=True)
    def features_are_causal(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> dg.AssetCheckResult:
        """Rows computed on data cut after a bar equal those of the table, to the bit, at bars drawn at random."""
        from fx_pipeline.features.sample import causal_bars

        settings, different, tested = load_settings(), [], 0
        for instrument in keys_of(context, asset):
            with warehouse.get_connection(read_only=True) as connection:
                drawn, wrong = causal_bars(connection, instrument, CAUSALITY_BARS, settings.seed, *which)
            tested += drawn
            different += [f"{instrument} bar {bar}" for bar in wrong]
        return dg.AssetCheckResult(
            passed=not different, metadata=plain({"bars tested": tested, "different": different})
        )

    return [features_are_finite, features_are_causal]


def sessions_checks(asset: dg.AssetsDefinition, sessions: SessionTable) -> list[dg.AssetChecksDefinition]:
    """Return the checks of the sessions that the asset finds, and of the windows that are planned over them."""
    features = sessions.features

    @dg.asset_check(asset=asset, blocking=True)
    def sessions_exist(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> dg.AssetCheckResult:
        """There is at least one session that can be traded."""
        counts: dict[str, int] = {}
        with warehouse.get_connection(read_only=True) as connection:
            for instrument in keys_of(context, asset):
                query = f"SELECT count(*) FROM {sessions.name} WHERE instrument = ?"
                counts[instrument] = connection.execute(query, [instrument]).fetchone()[0]
        empty = [name for name, count in counts.items() if count == 0]
        return dg.AssetCheckResult(passed=not empty, metadata=plain({"sessions": counts}))

    @dg.asset_check(asset=asset, blocking=True)
    def windows_do_not_leak(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> dg.AssetCheckResult:
        """Validation starts after training plus the embargo, in bars; no two windows validate on the same day."""
        from fx_pipeline.features.table import count_bars
        from fx_pipeline.sessions.table import read_plan
        from fx_pipeline.sessions.windows import Reach

        leaks: list[str] = []
        embargo_bars, which = Reach.of(sessions).embargo_bars, (features.feature_set, features.timeframe)
        for instrument in keys_of(context, asset):
            plan = read_plan(load_settings().layout.windows(instrument, sessions.asset), sessions.asset)
            with warehouse.get_connection(read_only=True) as connection:
                for window in plan.windows:
                    between = count_bars(connection, instrument, window.train_end, window.valid_start, *which)
                    if between < embargo_bars or window.train_start >= window.train_end:
                        leaks.append(f"{instrument} {window.key}: {between} bars between training and validation")
            leaks += [
                f"{instrument} {after.key}: validates on days of {before.key}"
                for before, after in pairwise(sorted(plan.windows, key=lambda window: window.valid_start))
                if after.valid_start < before.valid_end
            ]
        return dg.AssetCheckResult(passed=not leaks, metadata=plain({"leaks": leaks}))

    return [sessions_exist, windows_do_not_leak]


def _skips(context: dg.AssetCheckExecutionContext, asset: dg.AssetsDefinition) -> dg.AssetCheckResult:
    # Of all partitions: the check has one state, and each run of any window sets it anew.
    reasons = skipped_partitions(context.instance, asset.key)
    rows = [{"partition": key, "skipped": reason} for key, reason in sorted(reasons.items())]
    return dg.AssetCheckResult(
        passed=not rows,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=plain({"skipped": len(rows)} | ({"skipped partitions": table(rows[:_LISTED])} if rows else {})),
    )


def recipe_checks(models: RecipeModels) -> list[dg.AssetChecksDefinition]:
    """Return the checks of what a recipe makes."""

    @dg.asset_check(asset=models.report, blocking=True)
    def report_is_complete(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        """The report has its figures and its page, and was made of the checkpoint of its seed."""
        from fx_pipeline.validation.report import read_report, report_summary

        terms, problems = terms_of(models.recipe), []
        for key in keys_of(context, models.report):
            instrument, window = cell(key)
            folder = terms.layout.report(instrument, window)
            if not (folder / "report.json").exists():
                # A window that was skipped has none, and says why: that is for `windows_were_validated`.
                if not was_skipped(context.instance, models.report.key, key):
                    problems.append(f"{key}: there is no report")
                continue
            report = read_report(folder)
            summary = report_summary(report)
            problems += [f"{key}: {name} is missing" for name in SUMMARY_FIELDS if name not in summary]
            if not (folder / "report.html").exists():
                problems.append(f"{key}: the page is missing")
            checkpoint = read_checkpoint(terms.layout.checkpoint(instrument, window, report["figures"]["seed"]))
            if checkpoint["weights_sha256"] != report["lineage"]["checkpoint_sha256"]:
                problems.append(f"{key}: the report is of another checkpoint")
        return dg.AssetCheckResult(passed=not problems, metadata=plain({"problems": problems}))

    @dg.asset_check(asset=models.checkpoint)
    def windows_were_trained(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        """No window was skipped, for want of data or because its instrument has no such window. A warning."""
        return _skips(context, models.checkpoint)

    @dg.asset_check(asset=models.report)
    def windows_were_validated(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        """No window was skipped, for want of data or of a checkpoint. A warning."""
        return _skips(context, models.report)

    @dg.asset_check(asset=models.champion, name=CHECK)
    def champion_is_what_was_judged(context: dg.AssetCheckExecutionContext, tracking: Tracking) -> dg.AssetCheckResult:
        """Record, registry and weights of every champion name the same model. Another state stops the live job."""
        terms, names = terms_of(models.recipe), models.axes.instruments.get_partition_keys()
        states = [champion_state(terms, tracking, instrument) for instrument in names]
        stopped = any(state.stops for state in states)
        return dg.AssetCheckResult(passed=not stopped, metadata=plain(states_metadata(states)))

    return [
        *training_alerts(models),
        report_is_complete,
        windows_were_trained,
        windows_were_validated,
        champion_is_what_was_judged,
    ]


#: What `fx-pipeline summary --json` prints.
SUMMARY_FIELDS = (
    "instrument",
    "window",
    "bars",
    "sessions",
    "episodes",
    "trades",
    "expectancy_pips",
    "verdict",
    "reasons",
    "report",
    "seed",
    "wall_s",
)

#: Of the features and candles that the units and the modelled spread of an instrument are held against.
CHECKS = [spread_model_fits, unit_fits]
