"""Candles: raw pages as the broker sent them, and the typed M1 parquet of each month."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg
import pandas as pd

from fx_pipeline.defs.freshness import freshness_policy
from fx_pipeline.defs.gaps import month_metadata, overview_metadata
from fx_pipeline.defs.metadata import OWNERS, column_schema
from fx_pipeline.defs.partial import Partitions
from fx_pipeline.defs.partitions import cell, instrument_month
from fx_pipeline.defs.progress import reporter
from fx_pipeline.defs.resources import Broker
from fx_pipeline.defs.settings import SETTINGS
from fx_pipeline.market.candles import CANDLE_SCHEMA
from fx_pipeline.market.errors import BrokerError, FxPipelineError
from fx_pipeline.settings import load_settings

if TYPE_CHECKING:
    from fx_pipeline.ingest.lake import MonthReport

MAX_RETRIES = 2
#: Columns of the M1 parquet, for people.
CANDLE_NOTES = {
    "time": "The bar's OPEN, UTC.",
    "volume": "Number of price changes in the minute, not traded volume.",
    "quotes_modelled": "Bid and ask come from the cost model because the source has one price side only.",
    "source": "imported, synthetic, practice or live.",
}


@dg.asset(
    partitions_def=instrument_month,
    group_name="market_data",
    kinds={"oanda", "json"},
    owners=OWNERS,
    pool="oanda",
    retry_policy=dg.RetryPolicy(
        max_retries=MAX_RETRIES, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
    ),
    backfill_policy=dg.BackfillPolicy.single_run(),
    code_version="1",
)
def raw_candles(context: dg.AssetExecutionContext, broker: Broker) -> None:
    """Candle pages of a month, byte for byte as the broker sent them (bid, mid and ask).

    A finished month that is already here is not asked for again, so rebuilding everything downstream never needs the
    network. The source is OANDA or, by default, the local paper server: real candles where `fx-pipeline import` has
    put some, else a synthetic market that is labelled so everywhere.

    Of several months, those that fail do not stop the others; the run then fails and names them.
    """
    from fx_pipeline.ingest.layout import raw_folder
    from fx_pipeline.ingest.raw import download_month

    report = reporter(context, "download")
    keys = [str(key) for key in context.partition_keys]
    partitions = Partitions(context, MAX_RETRIES)
    with _retrying_only_the_broker():
        data_dir = load_settings().data_dir
    now_ns = pd.Timestamp(datetime.now(tz=UTC)).as_unit("ns").value
    with _retrying_only_the_broker(), broker.client() as client:
        for number, key in enumerate(keys):
            if partitions.broker_is_down:
                partitions.untried(key)
                continue
            instrument, month = cell(key)
            try:
                raw = download_month(client, instrument, month, raw_folder(data_dir, instrument, month), now_ns=now_ns)
            except FxPipelineError as error:
                partitions.failed(key, error)
                continue
            partitions.made(
                key,
                {
                    "dagster/row_count": raw.candles,
                    "pages": raw.pages,
                    "pages downloaded now": raw.downloaded,
                    "source": raw.source or "none",
                    "quotes": raw.quotes or "none",
                    "month complete": raw.complete,
                    "dagster/uri": str(raw.folder),
                },
            )
            report((number + 1) / len(keys), {"candles": float(raw.candles)})
    partitions.finish()


@contextmanager
def _retrying_only_the_broker() -> Iterator[None]:
    """Let the retry policy see failures of the broker only: a setting or a file does not mend itself."""
    try:
        yield
    except BrokerError:
        raise
    except FxPipelineError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


@dg.asset(
    partitions_def=instrument_month,
    deps=[raw_candles],
    group_name="market_data",
    kinds={"parquet", "pandas"},
    owners=OWNERS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    freshness_policy=freshness_policy(SETTINGS),
    metadata={"dagster/column_schema": column_schema(CANDLE_SCHEMA, CANDLE_NOTES)},
    check_specs=[
        dg.AssetCheckSpec(
            "history_stands",
            asset="m1_candles",
            description="No bar of before is gone or has other values now. A warning: histories get revised.",
        )
    ],
    code_version="2",
)
def m1_candles(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """M1 candles of a month as parquet: typed, sorted, unique on time, complete bars only.

    A minute without a tick has no candle, and none is invented: gaps are rows of a gap table. Impossible bars are set
    aside in quarantine with a reason, and counted here. The newest month of a run shows the gaps of all months.
    """
    from fx_pipeline.ingest.gaps import read_gaps
    from fx_pipeline.ingest.lake import build_month
    from fx_pipeline.ingest.layout import lake_folder
    from fx_pipeline.ingest.overview import month_gaps

    settings, now_ns = load_settings(), pd.Timestamp(datetime.now(tz=UTC)).as_unit("ns").value
    lake, calendar = lake_folder(settings.data_dir), settings.calendar
    keys = [str(key) for key in context.partition_keys]
    newest = {cell(key)[0]: key for key in sorted(keys)}
    partitions = Partitions(context)
    reports: dict[str, MonthReport] = {}
    for key in keys:
        instrument, month = cell(key)
        try:
            report = build_month(settings.data_dir, instrument, month, now_ns=now_ns, calendar=calendar)
            metadata = month_metadata(report, read_gaps(lake, instrument, month).to_pylist())
            if key == newest[instrument]:
                metadata |= overview_metadata({instrument: month_gaps(lake, instrument, calendar)})
        except FxPipelineError as error:
            partitions.failed(key, error)
            continue
        reports[key] = report
        partitions.made(key, metadata)
        context.log.info(f"{instrument} {month}: {report.rows} bars, {report.missing} missing minutes.")
    partitions.finish()
    return dg.MaterializeResult(check_results=[_history_check(reports)])


def _history_check(reports: Mapping[str, "MonthReport"]) -> dg.AssetCheckResult:
    changed = {key: report for key, report in reports.items() if report.changed or report.removed}
    rows = [
        dg.TableRecord({"partition": key, "bars changed": report.changed, "bars removed": report.removed})
        for key, report in changed.items()
    ]
    return dg.AssetCheckResult(
        check_name="history_stands",
        passed=not changed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"changed months": dg.MetadataValue.table(rows)} if rows else {},
    )
