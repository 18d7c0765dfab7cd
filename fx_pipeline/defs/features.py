"""Features and sessions of an instrument, in DuckDB: a pair of assets for each feature set, timeframe and rules."""

from functools import cache

import dagster as dg

from fx_pipeline.defs.freshness import freshness_policy
from fx_pipeline.defs.lineage import MADE_OF, features_version, used_months, version
from fx_pipeline.defs.metadata import OWNERS, plain, table
from fx_pipeline.defs.partitions import asked_key, instruments, to_instrument, windows_of
from fx_pipeline.defs.resources import Warehouse
from fx_pipeline.defs.settings import SETTINGS
from fx_pipeline.features.names import DEFAULT_SET, FeatureTable
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.market.timeframe import M1, Timeframe
from fx_pipeline.sessions.names import SessionTable
from fx_pipeline.settings import load_settings


def feature_assets(
    feature_set: str, timeframe: Timeframe, rules: SessionRules
) -> tuple[dg.AssetsDefinition, dg.AssetsDefinition]:
    """Return the assets of a feature table and of the sessions in it; equal arguments give the very same assets.

    Raises
    ------
    ConfigurationError
        If there is no such set, or it is not defined for the timeframe.
    """
    features = FeatureTable(feature_set, timeframe)
    return _feature_asset(features), _session_asset(SessionTable(features, rules))


def _column_schema(features: FeatureTable) -> dg.TableSchema:
    definition = features.definition
    warm_up = definition.warmup_bars(features.timeframe)
    return dg.TableSchema(
        [
            dg.TableColumn("instrument", "VARCHAR"),
            dg.TableColumn("time", "TIMESTAMP", description="The bar's open, UTC."),
            *(dg.TableColumn(name, "FLOAT", description=definition.notes[name]) for name in definition.names),
            dg.TableColumn("outcome_sigma", "DOUBLE", description="Sd of the last 20 one-bar changes."),
            dg.TableColumn("warm", "BOOLEAN", description=f"All features are there ({warm_up:,} bars of history)."),
        ]
    )


@cache
def _feature_asset(features: FeatureTable) -> dg.AssetsDefinition:
    definition, timeframe = features.definition, features.timeframe
    candles = dg.AssetKey(f"{timeframe.slug}_candles")

    @dg.asset(
        name=features.asset,
        description=(
            f"{definition.title} One row for every {timeframe} bar. Nothing after a bar is ever read for its row.\n\n"
            "Only months from the first one that is new or changed are computed again."
        ),
        partitions_def=instruments,
        deps=[dg.AssetDep(candles, partition_mapping=to_instrument)],
        group_name="features",
        kinds={"duckdb", "numba"},
        owners=OWNERS,
        pool="duckdb_writer",
        freshness_policy=freshness_policy(SETTINGS),
        metadata={"dagster/table_name": features.name, "dagster/column_schema": _column_schema(features)},
        code_version=str(definition.version),
    )
    def feature_table(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult:
        from fx_pipeline.defs.progress import reporter
        from fx_pipeline.features.table import known_sources, update_features

        instrument = asked_key(context, instruments)
        which = (features.feature_set, timeframe)
        with warehouse.get_connection() as connection:
            sources = known_sources(connection, instrument, *which)
            months, left_out = used_months(load_settings().data_dir, instrument, sources, timeframe)
            if left_out:
                named = ", ".join(month.key for month in left_out)
                context.log.warning(f"{instrument} has real candles now: synthetic months are left out ({named}).")
            update = update_features(connection, instrument, months, feature_set=which[0], timeframe=which[1])
            data_version = features_version(connection, instrument, features.months)
        reporter(context, "features")(1.0, {"bars": float(update.rows)})
        return dg.MaterializeResult(
            data_version=dg.DataVersion(data_version),
            metadata=plain(
                {
                    "dagster/row_count": update.rows,
                    "warm bars": update.warm_rows,
                    "rows written": update.rows_written,
                    "months computed": ", ".join(update.computed_months) or "none: nothing changed",
                    "months kept": len(update.kept_months),
                    "first bar": update.first_time,
                    "last bar": update.last_time,
                }
            ),
        )

    return feature_table


def _described(sessions: SessionTable) -> str:
    rules, timeframe = sessions.rules, sessions.features.timeframe
    place = "lies inside one trading week" if rules.within_week else "may go on over weekends"
    return (
        f"Every bar at which a tradeable session starts, and the walk-forward windows that the data allow.\n\n"
        f"A session has {rules.bars} bars of {timeframe}, no gap over {rules.max_gap_bars} bars, a range of at least "
        f"{rules.min_range_pips:g} pips, {place} and is warmed up. Only sessions that new or changed bars can touch are "
        "found again. The windows become partitions of the checkpoint and of its validation report. One that was "
        "planned stays as it is while its candles do; new ones validate on days that no other one does."
    )


@cache
def _session_asset(sessions: SessionTable) -> dg.AssetsDefinition:
    features, rules = sessions.features, sessions.rules
    windows = windows_of(sessions)

    @dg.asset(
        name=sessions.asset,
        description=_described(sessions),
        partitions_def=instruments,
        deps=[_feature_asset(features)],
        group_name="features",
        kinds={"duckdb", "numba"},
        owners=OWNERS,
        pool="duckdb_writer",
        metadata={"dagster/table_name": sessions.name},
        code_version="1",
    )
    def valid_sessions(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult:
        from fx_pipeline.defs.progress import reporter
        from fx_pipeline.features.table import load_times
        from fx_pipeline.sessions.planning import replan
        from fx_pipeline.sessions.table import standing_plan, write_plan
        from fx_pipeline.sessions.update import update_sessions
        from fx_pipeline.sessions.windows import Reach

        settings, instrument = load_settings(), asked_key(context, instruments)
        which, reach = (features.feature_set, features.timeframe), Reach.of(sessions)
        with warehouse.get_connection() as connection:
            update = update_sessions(connection, instrument, *which, rules)
            times = load_times(connection, instrument, *which)
            made_of = features_version(connection, instrument, features.months)
        # No window, and so no training and no selection, reaches into the sealed days.
        if settings.sealed_from_ns is not None:
            times = times[times < settings.sealed_from_ns]
        path = settings.layout.windows(instrument, sessions.asset)
        before, unreadable = standing_plan(path, sessions.asset)
        if unreadable:
            context.log.warning(f"windows are planned anew, as the plan that stood cannot be read: {unreadable}")
        config = reach.asked(settings.walk_forward)
        planned = replan(instrument, times, config, before, reach)
        plan = planned.plan
        write_plan(path, plan)
        known = set(context.instance.get_dynamic_partitions(windows.name))
        new = [window.key for window in plan.windows if window.key not in known]
        if new:
            context.instance.add_dynamic_partitions(windows.name, new)
        for key, why in planned.lost.items():
            context.log.warning(f"{instrument} has no window {key} any more: {why}.")
        for key in planned.moved:
            context.log.warning(
                f"training of window {key} of {instrument} ends at another bar: its candles have changed."
            )
        if not plan.windows:
            context.log.warning(
                f"{instrument} has {plan.days} trading days: not enough for a window of {plan.train_days} days of "
                f"training, {config.embargo_bars} bars of embargo and {plan.validation_days} days of validation."
            )
        reporter(context, "sessions")(1.0, {"sessions": float(update.sessions), "windows": float(len(plan.windows))})
        spans = [window.spans() for window in plan.windows]
        return dg.MaterializeResult(
            # Sessions are made of features and rules, by code that draws nothing at random.
            data_version=dg.DataVersion(version(made_of, spans, sessions.rules_text)),
            metadata=plain(
                {
                    "dagster/row_count": update.sessions,
                    "rows written": update.written,
                    "months written": ", ".join(update.months) or "none: nothing changed",
                    "sessions that do not overlap": update.apart,
                    "trading days": plan.days,
                    "train days": plan.train_days,
                    "validation days": plan.validation_days,
                    "embargo bars": config.embargo_bars,
                    "windows": table({"window": w.key} | w.spans() for w in plan.windows)
                    if plan.windows
                    else "none: not enough data",
                    "windows planned now": ", ".join(planned.new) or "none",
                    MADE_OF: made_of,
                }
                | ({"windows lost": planned.lost} if planned.lost else {})
                | ({"windows whose training ends elsewhere": planned.moved} if planned.moved else {})
            ),
        )

    return valid_sessions


#: Of M1, temporal9 and the default rules.
feature_table, valid_sessions = feature_assets(DEFAULT_SET, M1, SessionRules())
