"""Features and sessions of an instrument, in DuckDB."""

import dagster as dg

from fx_pipeline.defs.freshness import freshness_policy
from fx_pipeline.defs.lineage import MADE_OF, features_version, used_months, version
from fx_pipeline.defs.market_data import m1_candles
from fx_pipeline.defs.metadata import OWNERS, plain, table
from fx_pipeline.defs.partitions import asked_key, instruments, to_instrument, windows
from fx_pipeline.defs.resources import Warehouse
from fx_pipeline.defs.settings import SETTINGS
from fx_pipeline.settings import load_settings

FEATURE_NOTES = {
    "position_in_range_60": "Where the close lies in the range of the last 60 closes, 0 to 1.",
    "min_max_scaled_momentum_60": "Change over 60 bars, scaled to its own range of the last 1,440 bars.",
    "min_max_scaled_rolling_range": "Range of the last 60 closes, scaled likewise.",
    "min_max_scaled_momentum_5": "Change over 5 bars, scaled likewise.",
    "price_change_pips": "tanh of the last one-bar change in tens of the instrument's unit: a pip of currency pairs.",
    "dow_cos_final": "Trading day of the week on a circle of five days that start at 17:00 New York (cosine).",
    "dow_sin_final": "The same (sine).",
    "hour_cos_final": "Hours since Sunday 17:00 New York on a circle of 120 hours (cosine).",
    "hour_sin_final": "The same (sine).",
}


@dg.asset(
    partitions_def=instruments,
    deps=[dg.AssetDep(m1_candles, partition_mapping=to_instrument)],
    group_name="features",
    kinds={"duckdb", "numba"},
    owners=OWNERS,
    pool="duckdb_writer",
    freshness_policy=freshness_policy(SETTINGS),
    metadata={
        "dagster/table_name": "features",
        "dagster/column_schema": dg.TableSchema(
            [
                dg.TableColumn("instrument", "VARCHAR"),
                dg.TableColumn("time", "TIMESTAMP", description="The bar's open, UTC."),
                *(dg.TableColumn(name, "FLOAT", description=note) for name, note in FEATURE_NOTES.items()),
                dg.TableColumn("outcome_sigma", "DOUBLE", description="Sd of the last 20 one-bar changes."),
                dg.TableColumn("warm", "BOOLEAN", description="All features are there (1,500 bars of history)."),
            ]
        ),
    },
    code_version="1",
)
def feature_table(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult:
    """The nine temporal features of every bar. Nothing after a bar is ever read for its row.

    Only months from the first one that is new or changed are computed again.
    """
    from fx_pipeline.defs.progress import reporter
    from fx_pipeline.features.table import update_features

    instrument = asked_key(context, instruments)
    months, left_out = used_months(load_settings().data_dir, instrument)
    if left_out:
        context.log.warning(
            f"{instrument} has real candles now: synthetic months are left out ({', '.join(m.key for m in left_out)})."
        )
    with warehouse.get_connection() as connection:
        update = update_features(connection, instrument, months)
        data_version = features_version(connection, instrument)
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


@dg.asset(
    partitions_def=instruments,
    deps=[feature_table],
    group_name="features",
    kinds={"duckdb", "numba"},
    owners=OWNERS,
    pool="duckdb_writer",
    metadata={"dagster/table_name": "valid_sessions"},
    code_version="1",
)
def valid_sessions(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult:
    """Every bar at which a tradeable six-hour session starts, and the walk-forward windows that the data allow.

    A session has 360 bars, no gap over 10 minutes, lies inside one trading week and is warmed up. The windows become
    partitions of the checkpoint and of its validation report.
    """
    from fx_pipeline.defs.progress import reporter
    from fx_pipeline.features.table import load_market
    from fx_pipeline.sessions.index import valid_starts
    from fx_pipeline.sessions.table import Plan, thin, write_plan, write_sessions
    from fx_pipeline.sessions.windows import fit_spans, full_days, plan_windows, stretches

    settings, instrument = load_settings(), asked_key(context, instruments)
    with warehouse.get_connection() as connection:
        market = load_market(connection, instrument)
        starts = valid_starts(market)
        write_sessions(connection, market, starts)
        features = features_version(connection, instrument)
    # No window, and so no training and no selection, reaches into the sealed days.
    times = market.time if settings.sealed_from_ns is None else market.time[market.time < settings.sealed_from_ns]
    # What is said of days and spans is of the newest stretch without a long hole.
    days = sum(len(stretch) for stretch in stretches(full_days(times))[-1:])
    train_days, validation_days = fit_spans(days, settings.walk_forward)
    planned = tuple(plan_windows(times, settings.walk_forward))
    write_plan(settings.layout.windows(instrument), Plan(instrument, days, train_days, validation_days, planned))
    known = set(context.instance.get_dynamic_partitions(windows.name))
    new = [window.key for window in planned if window.key not in known]
    if new:
        context.instance.add_dynamic_partitions(windows.name, new)
    if not planned:
        context.log.warning(
            f"{instrument} has {days} trading days: not enough for a window of {train_days} days of training, "
            f"{settings.embargo_bars} bars of embargo and {validation_days} days of validation."
        )
    reporter(context, "sessions")(1.0, {"sessions": float(len(starts)), "windows": float(len(planned))})
    return dg.MaterializeResult(
        data_version=dg.DataVersion(
            version(features, [window.spans() for window in planned], market.time[starts].tolist())
        ),
        metadata=plain(
            {
                "dagster/row_count": len(starts),
                "sessions that do not overlap": len(thin(starts)),
                "trading days": days,
                "train days": train_days,
                "validation days": validation_days,
                "embargo bars": settings.embargo_bars,
                "windows": table({"window": w.key} | w.spans() for w in planned)
                if planned
                else "none: not enough data",
                MADE_OF: features,
            }
        ),
    )
