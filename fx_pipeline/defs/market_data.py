"""Candles: raw pages as the broker sent them, and the typed M1 parquet of each month."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from fx_pipeline.defs.metadata import OWNERS, column_schema, gap_plot
from fx_pipeline.defs.partitions import cell, instrument_month
from fx_pipeline.defs.progress import reporter
from fx_pipeline.defs.resources import Broker
from fx_pipeline.market.candles import CANDLE_SCHEMA
from fx_pipeline.market.errors import BrokerError, FxPipelineError
from fx_pipeline.settings import load_settings

if TYPE_CHECKING:
    from fx_pipeline.ingest.lake import MonthReport

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
    retry_policy=dg.RetryPolicy(max_retries=2, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS),
    backfill_policy=dg.BackfillPolicy.single_run(),
    code_version="1",
)
def raw_candles(context: dg.AssetExecutionContext, broker: Broker) -> None:
    """Candle pages of a month, byte for byte as the broker sent them (bid, mid and ask).

    A finished month that is already here is not asked for again, so rebuilding everything downstream never needs the
    network. The source is OANDA or, by default, the local paper server: real candles where `fx-pipeline import` has
    put some, else a synthetic market that is labelled so everywhere.
    """
    from fx_pipeline.ingest.layout import raw_folder
    from fx_pipeline.ingest.raw import download_month

    with _retrying_only_the_broker():
        data_dir = load_settings().data_dir
    now_ns = pd.Timestamp(datetime.now(tz=UTC)).as_unit("ns").value
    report = reporter(context, "download")
    keys = context.partition_keys
    with _retrying_only_the_broker(), broker.client() as client:
        for number, partition_key in enumerate(keys):
            instrument, month = cell(partition_key)
            raw = download_month(client, instrument, month, raw_folder(data_dir, instrument, month), now_ns=now_ns)
            context.add_asset_metadata(
                {
                    "dagster/row_count": raw.candles,
                    "pages": raw.pages,
                    "pages downloaded now": raw.downloaded,
                    "source": raw.source or "none",
                    "quotes": raw.quotes or "none",
                    "month complete": raw.complete,
                    "dagster/uri": str(raw.folder),
                },
                partition_key=str(partition_key),
            )
            report((number + 1) / len(keys), {"candles": float(raw.candles)})


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
    metadata={"dagster/column_schema": column_schema(CANDLE_SCHEMA, CANDLE_NOTES)},
    code_version="1",
)
def m1_candles(context: dg.AssetExecutionContext) -> None:
    """M1 candles of a month as parquet: typed, sorted, unique on time, complete bars only.

    A minute without a tick has no candle, and none is invented: gaps are rows of a gap table. Impossible bars are set
    aside in quarantine with a reason, and counted here.
    """
    from fx_pipeline.ingest.lake import build_month, read_gaps
    from fx_pipeline.ingest.layout import lake_folder

    data_dir, now_ns = load_settings().data_dir, pd.Timestamp(datetime.now(tz=UTC)).as_unit("ns").value
    for partition_key in context.partition_keys:
        instrument, month = cell(partition_key)
        report = build_month(data_dir, instrument, month, now_ns=now_ns)
        gaps = read_gaps(lake_folder(data_dir), instrument, month).to_pylist()
        context.add_asset_metadata(_month_metadata(report, gaps), partition_key=str(partition_key))
        context.log.info(f"{instrument} {month}: {report.rows} bars, {report.missing} missing minutes.")


def _month_metadata(report: "MonthReport", gaps: list[dict[str, Any]]) -> Mapping[str, Any]:
    metadata: dict[str, Any] = {
        "dagster/row_count": report.rows,
        "bars added": report.added,
        "bars changed": report.changed,
        "expected minutes": report.expected,
        "missing minutes": report.missing,
        "missing percent": 100.0 * report.missing / max(1, report.expected),
        "unexpected minutes": report.unexpected,
        "longest gap minutes": report.longest_gap_minutes,
        "quarantined": sum(report.quarantined.values()),
        "source": report.source or "none",
        "bid and ask from the cost model": report.quotes_modelled,
        "sha256": report.sha256,
        "dagster/uri": str(report.path),
    }
    if report.quarantined:
        metadata["quarantine"] = dg.MetadataValue.table(
            [dg.TableRecord({"reason": reason, "bars": bars}) for reason, bars in sorted(report.quarantined.items())]
        )
    if gaps:
        longest = sorted(gaps, key=lambda gap: -gap["minutes"])[:20]
        metadata["longest gaps"] = dg.MetadataValue.table(
            [
                dg.TableRecord({name: gap[name] if name == "minutes" else str(gap[name]) for name in gap})
                for gap in longest
            ]
        )
        metadata["gaps"] = gap_plot(gaps)
    return metadata
