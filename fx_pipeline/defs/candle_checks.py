"""Checks of the candles of a timeframe: whether they can be, are there, are current, and are made of what is there."""

from functools import cache

import dagster as dg

from fx_pipeline.defs.freshness import currency_check
from fx_pipeline.defs.gaps import gap_table, overview_metadata
from fx_pipeline.defs.market_data import candle_assets
from fx_pipeline.defs.market_time import machine_ns
from fx_pipeline.defs.metadata import plain, table
from fx_pipeline.defs.partitions import cell, keys_of
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.timeframe import M1, Timeframe
from fx_pipeline.settings import load_settings

#: A share of missing bars of the FX week beyond this is worth a look.
MAX_MISSING_PERCENT = 10.0
#: Rows that a check lists.
_LISTED = 100


@cache
def candle_checks(timeframe: Timeframe) -> tuple[dg.AssetChecksDefinition, ...]:
    """Return the checks of the candles of a timeframe; of one they are the same objects each time."""
    checks = [
        _sane(timeframe),
        _has_candles(timeframe),
        _gaps_are_few(timeframe),
        currency_check(timeframe),
    ]
    return (*checks, _of_present_minutes(timeframe)) if timeframe != M1 else tuple(checks)


def _sane(timeframe: Timeframe) -> dg.AssetChecksDefinition:
    asset = candle_assets(timeframe).lake

    @dg.asset_check(
        asset=asset, blocking=True, description=f"Schema, order, uniqueness and prices of the {timeframe} parquet."
    )
    def candles_are_sane(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        from fx_pipeline.ingest.checks import check_candles
        from fx_pipeline.ingest.lake import read_candles
        from fx_pipeline.ingest.layout import lake_folder
        from fx_pipeline.market.months import month_bounds

        problems: list[str] = []
        keys = keys_of(context, asset)
        for key in keys:
            instrument, month = cell(key)
            lake = lake_folder(load_settings().data_dir)
            try:
                found = read_candles(lake, instrument, *month_bounds(month), timeframe=timeframe)
            except DataError as error:
                problems.append(f"{key}: {error}")
                continue
            problems += [f"{key}: {problem}" for problem in check_candles(found, timeframe)]
        return dg.AssetCheckResult(passed=not problems, metadata=plain({"problems": problems, "partitions": keys}))

    return candles_are_sane


def _has_candles(timeframe: Timeframe) -> dg.AssetChecksDefinition:
    asset, unit = candle_assets(timeframe).lake, "minutes" if timeframe == M1 else "bars"

    @dg.asset_check(
        asset=asset,
        description=(
            "No month that was ever built is without a bar in which the FX calendar expects some. A warning.\n\n"
            "The broker may have none because its history begins later: see FX_HISTORY_START."
        ),
    )
    def months_have_candles(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        from fx_pipeline.ingest.layout import lake_folder, lake_months
        from fx_pipeline.ingest.overview import expected_of

        settings, now_ns = load_settings(), machine_ns()
        lake = lake_folder(settings.data_dir)
        built = {*keys_of(context, asset), *context.instance.get_materialized_partitions(asset.key)}
        cells = [cell(key) for key in sorted(built)]
        stored = {name: set(lake_months(lake, name, timeframe)) for name in {name for name, _ in cells}}
        empty = [
            {"instrument": name, "month": month, f"expected {unit}": expected}
            for name, month in cells
            if month not in stored[name]
            and (expected := expected_of(settings.calendar_of(name), month, now_ns, timeframe))
        ]
        return dg.AssetCheckResult(
            passed=not empty,
            severity=dg.AssetCheckSeverity.WARN,
            metadata=plain(
                {"months built": len(cells), "months without a bar": len(empty)}
                | ({"empty months": table(empty[:_LISTED])} if empty else {})
            ),
        )

    return months_have_candles


def _gaps_are_few(timeframe: Timeframe) -> dg.AssetChecksDefinition:
    asset = candle_assets(timeframe).lake
    said = "minutes against the FX calendar. A warning: quiet minutes have no candle, and none is invented."
    if timeframe != M1:
        said = "bars against the FX calendar. A warning: what was not traded has no candle, and none is invented."

    @dg.asset_check(asset=asset, description=f"Missing {said}")
    def gaps_are_few(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        from fx_pipeline.ingest.layout import lake_folder
        from fx_pipeline.ingest.overview import month_gaps

        settings = load_settings()
        lake = lake_folder(settings.data_dir)
        keys = {cell(key) for key in keys_of(context, asset)}
        found = {
            name: month_gaps(
                lake, name, settings.calendar_of(name), {month for of, month in keys if of == name}, timeframe
            )
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

    return gaps_are_few


def _of_present_minutes(timeframe: Timeframe) -> dg.AssetChecksDefinition:
    asset = candle_assets(timeframe).lake

    @dg.asset_check(
        asset=asset,
        description=(
            f"Every month is built from the pages, or from the lake's minutes, that are here now. A warning: "
            f"materialise {asset.key.to_user_string()} again of what it names. A month is also named when minutes came "
            "in that its last bar may need."
        ),
    )
    def made_of_present_data(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        from fx_pipeline.ingest.lake import is_built

        settings = load_settings()
        keys = keys_of(context, asset)
        old = [key for key in keys if not is_built(settings.data_dir, *cell(key), timeframe)]
        return dg.AssetCheckResult(
            passed=not old,
            severity=dg.AssetCheckSeverity.WARN,
            metadata=plain({"partitions": len(keys), "out of date": len(old), "out of date partitions": old[:_LISTED]}),
        )

    return made_of_present_data
