"""Candles: raw pages as the broker sent them, and the typed M1 parquet of each month."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd
from pydantic import Field

from fx_pipeline.defs.events import newest_materialization, newest_storage_id
from fx_pipeline.defs.freshness import freshness_policy
from fx_pipeline.defs.gaps import month_metadata, overview_metadata
from fx_pipeline.defs.lineage import EMPTY, pages_version
from fx_pipeline.defs.metadata import OWNERS, column_schema, plain, table
from fx_pipeline.defs.partial import Partitions
from fx_pipeline.defs.partitions import cell, instrument_month
from fx_pipeline.defs.progress import reporter
from fx_pipeline.defs.resources import Broker
from fx_pipeline.defs.settings import SETTINGS
from fx_pipeline.market.candles import CANDLE_SCHEMA
from fx_pipeline.market.errors import BrokerError, DataError, FxPipelineError
from fx_pipeline.settings import load_settings

if TYPE_CHECKING:
    from fx_pipeline.ingest.lake import MonthReport

MAX_RETRIES = 2
#: How long a revision of history is told.
REVISED_DAYS = 7
#: Revised months that the check lists, the newest first.
_LISTED = 50
_DAY_NS = 86_400 * 1_000_000_000
#: Columns of the M1 parquet, for people.
CANDLE_NOTES = {
    "time": "The bar's OPEN, UTC.",
    "volume": "Number of price changes in the minute, not traded volume.",
    "quotes_modelled": (
        "Bid and ask come from the cost model because the source has one price side only, or has an ask below the bid."
    ),
    "source": "imported, synthetic, practice or live.",
}


class DownloadConfig(dg.Config):
    """What a run downloads."""

    again: bool = Field(
        default=False,
        description=(
            "Download every page again, of finished months too. `m1_candles` then shows the bars that the broker has "
            "changed or withdrawn, and their old values are kept."
        ),
    )


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
def raw_candles(context: dg.AssetExecutionContext, config: DownloadConfig, broker: Broker) -> Iterator[Any]:
    """Candle pages of a month, byte for byte as the broker sent them (bid, mid and ask).

    A finished month that is already here is not asked for again, so rebuilding everything downstream never needs the
    network; with `again` it is, and takes the place of what is here when it is whole. The source is OANDA or, by
    default, the local paper server: real candles where `fx-pipeline import` has put some, else a synthetic market that
    is labelled so everywhere.

    Of several months, those that fail do not stop the others; the run then fails and names them.
    """
    from fx_pipeline.ingest.raw import download_months

    report = reporter(context, "download")
    partitions = Partitions(context, instrument_month, MAX_RETRIES)
    keys = partitions.left
    with _retrying_only_the_broker():
        data_dir = load_settings().data_dir
    now_ns = pd.Timestamp(datetime.now(tz=UTC)).as_unit("ns").value
    with _retrying_only_the_broker(), broker.client() as client:
        months = download_months(client, [cell(key) for key in keys], data_dir, now_ns, config.again)
        for number, key in enumerate(keys):
            if partitions.broker_is_down:
                months.close()
                partitions.untried(key)
                continue
            raw = next(months)
            if isinstance(raw, FxPipelineError):
                partitions.failed(key, raw)
                continue
            state = {} if raw.candles else {"state": "no candles: the broker has none of this month"}
            yield partitions.made(
                key,
                state
                | {
                    "dagster/row_count": raw.candles,
                    "pages": raw.pages,
                    "pages downloaded now": raw.downloaded,
                    "pages changed": raw.changed,
                    "source": raw.source or "none",
                    "quotes": raw.quotes or "none",
                    "month complete": raw.complete,
                    "dagster/uri": raw.folder,
                },
                pages_version(raw.folder),
            )
            report((number + 1) / len(keys), {"candles": float(raw.candles)})
    yield partitions.finish()


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
            description=(
                f"No bar of before was found gone or with other values in the last {REVISED_DAYS} days, of any "
                "instrument. A warning: histories get revised."
            ),
        )
    ],
    code_version="3",
)
def m1_candles(context: dg.AssetExecutionContext) -> Iterator[Any]:
    """M1 candles of a month as parquet: typed, sorted, unique on time, complete bars only.

    A minute without a tick has no candle, and none is invented: gaps are rows of a gap table. Impossible bars are set
    aside in quarantine with a reason, and counted here; so are spikes, which jump away and come back as no market does.
    A month without any bar has no file, says so, and is named by a check. A month shows its longest gaps, and the
    newest one of a run the gaps of all months, when it is built for the first time on a day and has new bars.
    """
    from fx_pipeline.ingest.gaps import read_gaps
    from fx_pipeline.ingest.lake import build_months
    from fx_pipeline.ingest.layout import lake_folder, raw_folder
    from fx_pipeline.ingest.overview import expected_of, month_gaps

    settings, now_ns = load_settings(), pd.Timestamp(datetime.now(tz=UTC)).as_unit("ns").value
    lake = lake_folder(settings.data_dir)
    partitions = Partitions(context, instrument_month)
    keys = partitions.left
    newest = {cell(key)[0]: key for key in sorted(keys)}
    # Before pages are read: those that come meanwhile make the months out of date.
    read_until = newest_storage_id(context.instance, raw_candles.key)
    made_of = {key: pages_version(raw_folder(settings.data_dir, *cell(key))) for key in keys}
    built = build_months(settings.data_dir, map(cell, keys), now_ns=now_ns, calendar_of=settings.calendar_of)
    for key, report in zip(keys, built, strict=True):
        instrument, month = cell(key)
        try:
            if isinstance(report, FxPipelineError):
                raise report
            detailed = _needs_details(context, key, report, now_ns)
            gaps = read_gaps(lake, instrument, month).to_pylist() if detailed else []
            metadata = month_metadata(report, gaps, expected_of(settings.calendar_of(instrument), month, now_ns))
            if detailed and key == newest[instrument]:
                metadata |= overview_metadata(
                    {instrument: month_gaps(lake, instrument, settings.calendar_of(instrument))}
                )
        except FxPipelineError as error:
            partitions.failed(key, error)
            continue
        made = {raw_candles.key: (made_of[key], read_until)}
        yield partitions.made(key, metadata, report.sha256 or EMPTY, made)
        context.log.info(f"{instrument} {month}: {report.rows} bars, {report.missing} missing minutes.")
    # Before a month that failed ends the run: what became of history is told all the same.
    yield _history_check(lake, now_ns)
    yield partitions.finish()


def _needs_details(context: dg.AssetExecutionContext, key: str, report: "MonthReport", now_ns: int) -> bool:
    # Tables and plots stay in the event log for ever, and the running month is built every hour: once a day will do.
    before = newest_materialization(context.instance, context.asset_key, key)
    if before is None:
        return True
    return report.written and int(before.timestamp * 1e9) // _DAY_NS < now_ns // _DAY_NS


def _history_check(lake: Path, now_ns: int) -> dg.AssetCheckResult:
    # Of all instruments, and of days: the check has one state, and each run of any month sets it anew.
    from fx_pipeline.ingest.revisions import revised_since

    def result(passed: bool, metadata: dict[str, Any]) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(
            check_name="history_stands", passed=passed, severity=dg.AssetCheckSeverity.WARN, metadata=plain(metadata)
        )

    try:
        revised = revised_since(lake, now_ns - REVISED_DAYS * _DAY_NS)
    except DataError as error:
        return result(False, {"note": str(error)})
    rows = [
        {
            "partition": f"{month.instrument}|{month.month}",
            "bars changed": month.changed,
            "bars removed": month.removed,
            "found": f"{pd.Timestamp(month.noted_ns, tz='UTC'):%Y-%m-%d %H:%M}",
        }
        for month in sorted(revised, key=lambda month: -month.noted_ns)
    ]
    found = {"months": len(rows), "changed months": table(rows[:_LISTED])} if rows else {}
    return result(not rows, found)
