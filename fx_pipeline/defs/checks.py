"""Asset checks. Those that block stop what lies downstream in the same run."""

from itertools import pairwise

import dagster as dg

from fx_pipeline.agents.record import read_checkpoint
from fx_pipeline.defs.champion_state import CHECK, states_metadata
from fx_pipeline.defs.costs import spread_model_fits
from fx_pipeline.defs.events import skipped_partitions, was_skipped
from fx_pipeline.defs.features import feature_table, valid_sessions
from fx_pipeline.defs.freshness import candles_are_current
from fx_pipeline.defs.gaps import gap_table, overview_metadata
from fx_pipeline.defs.market_data import m1_candles
from fx_pipeline.defs.market_time import machine_ns
from fx_pipeline.defs.metadata import plain, table
from fx_pipeline.defs.models import AGENT, champion, muzero_checkpoint, validation_report
from fx_pipeline.defs.partitions import INSTRUMENTS, cell, keys_of
from fx_pipeline.defs.resources import Tracking, Warehouse
from fx_pipeline.defs.training_alerts import TRAINING_ALERTS
from fx_pipeline.defs.units import unit_fits
from fx_pipeline.lifecycle.reconcile import champion_state
from fx_pipeline.market.errors import DataError
from fx_pipeline.settings import load_settings

#: Missing minutes of the FX week beyond this share are worth a look.
MAX_MISSING_PERCENT = 10.0
#: Bars at which the causality of the features is tested on each materialisation.
CAUSALITY_BARS = 20
#: Rows that a check lists.
_LISTED = 100


@dg.asset_check(asset=m1_candles, blocking=True)
def candles_are_sane(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Schema, order, uniqueness and prices of the M1 parquet."""
    from fx_pipeline.ingest.checks import check_candles
    from fx_pipeline.ingest.lake import read_candles
    from fx_pipeline.ingest.layout import lake_folder
    from fx_pipeline.market.months import month_bounds

    problems: list[str] = []
    keys = keys_of(context, m1_candles)
    for key in keys:
        instrument, month = cell(key)
        try:
            table = read_candles(lake_folder(load_settings().data_dir), instrument, *month_bounds(month))
        except DataError as error:
            problems.append(f"{key}: {error}")
            continue
        problems += [f"{key}: {problem}" for problem in check_candles(table)]
    return dg.AssetCheckResult(passed=not problems, metadata=plain({"problems": problems, "partitions": keys}))


@dg.asset_check(asset=m1_candles)
def months_have_candles(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """No month that was ever built is without a bar in which the FX calendar expects some. A warning.

    The broker may have none because its history begins later: see FX_HISTORY_START.
    """
    from fx_pipeline.ingest.lake import lake_months
    from fx_pipeline.ingest.layout import lake_folder
    from fx_pipeline.ingest.overview import expected_of

    settings, now_ns = load_settings(), machine_ns()
    built = {*keys_of(context, m1_candles), *context.instance.get_materialized_partitions(m1_candles.key)}
    cells = [cell(key) for key in sorted(built)]
    stored = {name: set(lake_months(lake_folder(settings.data_dir), name)) for name in {name for name, _ in cells}}
    empty = [
        {"instrument": name, "month": month, "expected minutes": expected}
        for name, month in cells
        if month not in stored[name] and (expected := expected_of(settings.calendar_of(name), month, now_ns))
    ]
    return dg.AssetCheckResult(
        passed=not empty,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=plain(
            {"months built": len(cells), "months without a bar": len(empty)}
            | ({"empty months": table(empty[:_LISTED])} if empty else {})
        ),
    )


@dg.asset_check(asset=m1_candles)
def gaps_are_few(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Missing minutes against the FX calendar. A warning: quiet minutes have no candle, and none is invented."""
    from fx_pipeline.ingest.layout import lake_folder
    from fx_pipeline.ingest.overview import month_gaps

    settings = load_settings()
    lake = lake_folder(settings.data_dir)
    keys = {cell(key) for key in keys_of(context, m1_candles)}
    found = {
        name: month_gaps(lake, name, settings.calendar_of(name), {month for of, month in keys if of == name})
        for name in sorted({name for name, _ in keys})
    }
    bad = [
        f"{name}|{month.month}"
        for name, months in found.items()
        for month in months
        if month.gaps.missing_percent > MAX_MISSING_PERCENT
    ]
    return dg.AssetCheckResult(
        passed=not bad,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=plain(
            {"too much missing": bad, "wanted": f"at most {MAX_MISSING_PERCENT:g} percent"}
            | (gap_table(found) if len(keys) == 1 else overview_metadata(found))
        ),
    )


@dg.asset_check(asset=feature_table, blocking=True)
def features_are_finite(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> dg.AssetCheckResult:
    """Every warm bar has nine finite features in [-1, 1] or [0, 1]; only the start of the history is cold."""
    from fx_pipeline.features.temporal9.kernel import FEATURE_NAMES, WARMUP_BARS

    bad: dict[str, int] = {}
    outside = " OR ".join(f"{name} IS NULL OR NOT isfinite({name}) OR abs({name}) > 1.000001" for name in FEATURE_NAMES)
    with warehouse.get_connection(read_only=True) as connection:
        for instrument in keys_of(context, feature_table):
            wrong, cold, bars = connection.execute(
                f"SELECT count(*) FILTER (warm AND ({outside})), count(*) FILTER (NOT warm), count(*) FROM features "
                "WHERE instrument = ?",
                [instrument],
            ).fetchone()
            if wrong or cold != min(bars, WARMUP_BARS - 1):
                bad[instrument] = wrong + abs(cold - min(bars, WARMUP_BARS - 1))
    return dg.AssetCheckResult(passed=not bad, metadata=plain({"bad rows": bad}))


@dg.asset_check(asset=feature_table, blocking=True)
def features_are_causal(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> dg.AssetCheckResult:
    """Rows computed on data cut after a bar equal those of the table, to the bit, at bars drawn at random."""
    from fx_pipeline.features.sample import causal_bars

    settings, different, tested = load_settings(), [], 0
    for instrument in keys_of(context, feature_table):
        with warehouse.get_connection(read_only=True) as connection:
            drawn, wrong = causal_bars(connection, instrument, CAUSALITY_BARS, settings.seed)
        tested += drawn
        different += [f"{instrument} bar {bar}" for bar in wrong]
    return dg.AssetCheckResult(passed=not different, metadata=plain({"bars tested": tested, "different": different}))


@dg.asset_check(asset=valid_sessions, blocking=True)
def sessions_exist(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> dg.AssetCheckResult:
    """There is at least one session that can be traded."""
    counts: dict[str, int] = {}
    with warehouse.get_connection(read_only=True) as connection:
        for instrument in keys_of(context, valid_sessions):
            row = connection.execute(
                "SELECT count(*) FROM valid_sessions WHERE instrument = ?", [instrument]
            ).fetchone()
            counts[instrument] = row[0]
    empty = [name for name, count in counts.items() if count == 0]
    return dg.AssetCheckResult(passed=not empty, metadata=plain({"sessions": counts}))


@dg.asset_check(asset=valid_sessions, blocking=True)
def windows_do_not_leak(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> dg.AssetCheckResult:
    """Validation starts after training plus the embargo, counted in bars; no two windows validate on the same day."""
    from fx_pipeline.features.table import count_bars
    from fx_pipeline.sessions.table import read_plan
    from fx_pipeline.sessions.windows import MIN_EMBARGO_BARS

    leaks: list[str] = []
    for instrument in keys_of(context, valid_sessions):
        plan = read_plan(load_settings().layout.windows(instrument))
        with warehouse.get_connection(read_only=True) as connection:
            for window in plan.windows:
                between = count_bars(connection, instrument, window.train_end, window.valid_start)
                if between < MIN_EMBARGO_BARS or window.train_start >= window.train_end:
                    leaks.append(f"{instrument} {window.key}: {between} bars between training and validation")
        leaks += [
            f"{instrument} {after.key}: validates on days of {before.key}"
            for before, after in pairwise(sorted(plan.windows, key=lambda window: window.valid_start))
            if after.valid_start < before.valid_end
        ]
    return dg.AssetCheckResult(passed=not leaks, metadata=plain({"leaks": leaks}))


@dg.asset_check(asset=validation_report, blocking=True)
def report_is_complete(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The report has its figures and its page, and was made of the checkpoint of its seed."""
    from fx_pipeline.validation.report import read_report, report_summary

    settings, problems = load_settings(), []
    for key in keys_of(context, validation_report):
        instrument, window = cell(key)
        folder = settings.layout.report(AGENT, instrument, window)
        if not (folder / "report.json").exists():
            # A window that was skipped has none, and says why: that is for `windows_were_validated`.
            if not was_skipped(context.instance, validation_report.key, key):
                problems.append(f"{key}: there is no report")
            continue
        report = read_report(folder)
        summary = report_summary(report)
        problems += [f"{key}: {name} is missing" for name in SUMMARY_FIELDS if name not in summary]
        if not (folder / "report.html").exists():
            problems.append(f"{key}: the page is missing")
        checkpoint = read_checkpoint(settings.layout.checkpoint(AGENT, instrument, window, report["figures"]["seed"]))
        if checkpoint["weights_sha256"] != report["lineage"]["checkpoint_sha256"]:
            problems.append(f"{key}: the report is of another checkpoint")
    return dg.AssetCheckResult(passed=not problems, metadata=plain({"problems": problems}))


def _skips(context: dg.AssetCheckExecutionContext, asset: dg.AssetsDefinition) -> dg.AssetCheckResult:
    # Of all partitions: the check has one state, and each run of any window sets it anew.
    reasons = skipped_partitions(context.instance, asset.key)
    rows = [{"partition": key, "skipped": reason} for key, reason in sorted(reasons.items())]
    return dg.AssetCheckResult(
        passed=not rows,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=plain({"skipped": len(rows)} | ({"skipped partitions": table(rows[:_LISTED])} if rows else {})),
    )


@dg.asset_check(asset=muzero_checkpoint)
def windows_were_trained(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """No window was skipped, for want of data or because its instrument has no such window. A warning."""
    return _skips(context, muzero_checkpoint)


@dg.asset_check(asset=validation_report)
def windows_were_validated(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """No window was skipped, for want of data or of a checkpoint. A warning."""
    return _skips(context, validation_report)


@dg.asset_check(asset=champion, name=CHECK)
def champion_is_what_was_judged(context: dg.AssetCheckExecutionContext, tracking: Tracking) -> dg.AssetCheckResult:
    """Record, registry and weights of every champion name the same model. Another state stops the live job."""
    states = [champion_state(load_settings(), tracking, instrument) for instrument in INSTRUMENTS]
    return dg.AssetCheckResult(passed=not any(state.stops for state in states), metadata=plain(states_metadata(states)))


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

CHECKS = [
    candles_are_sane,
    months_have_candles,
    gaps_are_few,
    candles_are_current,
    features_are_finite,
    features_are_causal,
    spread_model_fits,
    unit_fits,
    sessions_exist,
    windows_do_not_leak,
    *TRAINING_ALERTS,
    report_is_complete,
    windows_were_trained,
    windows_were_validated,
    champion_is_what_was_judged,
]
