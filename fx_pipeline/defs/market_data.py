"""Candles of a timeframe: raw pages as the broker sent them, and the typed parquet of each month."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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
from fx_pipeline.defs.partitions import key as partition_key
from fx_pipeline.defs.partitions import months as offered_months
from fx_pipeline.defs.progress import reporter
from fx_pipeline.defs.resources import Broker
from fx_pipeline.defs.settings import SETTINGS
from fx_pipeline.market.candles import BAR_SCHEMA, CANDLE_SCHEMA
from fx_pipeline.market.errors import BrokerError, DataError, FxPipelineError
from fx_pipeline.market.timeframe import M1, Timeframe
from fx_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from fx_pipeline.ingest.lake import MonthReport

MAX_RETRIES = 2
#: How long a revision of history is told.
REVISED_DAYS = 7
#: Revised months that the check lists, the newest first.
_LISTED = 50
_DAY_NS = 86_400 * 1_000_000_000
#: Columns of the parquet, for people.
CANDLE_NOTES = {
    "time": "The bar's OPEN, UTC.",
    "volume": "Number of price changes in the minute, not traded volume.",
    "quotes_modelled": (
        "Bid and ask come from the cost model because the source has one price side only, or has an ask below the bid."
    ),
    "source": "imported, synthetic, practice or live.",
}
BAR_NOTES = {
    "volume": "Number of price changes in the bar, not traded volume.",
    "minutes": "How many M1 bars it was made of; empty where it came as it is, from the broker or a file.",
}
_RAW_SAID = """Candle pages of a month, byte for byte as the broker sent them (bid, mid and ask).

A finished month that is already here is not asked for again, so rebuilding everything downstream never needs the
network; with `again` it is, and takes the place of what is here when it is whole. The source is OANDA or, by
default, the local paper server: real candles where `fx-pipeline import` has put some, else a synthetic market that
is labelled so everywhere.

Of several months, those that fail do not stop the others; the run then fails and names them."""
_RAW_OTHER_SAID = """

These are {0} bars as the broker has them. They need not be downloaded where there are minutes to build them from."""
_LAKE_SAID = """{0} candles of a month as parquet: typed, sorted, unique on time, complete bars only.

A minute without a tick has no candle, and none is invented: gaps are rows of a gap table. Impossible bars are set
aside in quarantine with a reason, and counted here; so are spikes, which jump away and come back as no market does.
A month without any bar has no file, says so, and is named by a check. A month shows its longest gaps, and the
newest one of a run the gaps of all months, when it is built for the first time on a day and has new bars."""
_LAKE_OTHER_SAID = """

Where the month was downloaded or imported as bars of this length, it is made of those; else its bars are built from
the lake's minutes, complete ones alone, and `made of` says which. A bar is of the month in which it opens, so that
the last one of a month may need the minutes of the next: it is added when they are there."""


class DownloadConfig(dg.Config):
    """What a run downloads."""

    again: bool = Field(
        default=False,
        description=(
            "Download every page again, of finished months too. `m1_candles` then shows the bars that the broker has "
            "changed or withdrawn, and their old values are kept."
        ),
    )


class CandleAssets(NamedTuple):
    """The assets of candles of a timeframe.

    Attributes
    ----------
    timeframe : Timeframe
    raw : AssetsDefinition
        Pages as the broker sent them.
    lake : AssetsDefinition
        Typed bars, a file a month.
    """

    timeframe: Timeframe
    raw: dg.AssetsDefinition
    lake: dg.AssetsDefinition


def raw_key(timeframe: Timeframe) -> dg.AssetKey:
    """Key of the raw pages of a timeframe."""
    return dg.AssetKey("raw_candles" if timeframe == M1 else f"raw_candles_{timeframe.slug}")


def lake_key(timeframe: Timeframe) -> dg.AssetKey:
    """Key of the bars of a timeframe."""
    return dg.AssetKey(f"{timeframe.slug}_candles")


@cache
def candle_assets(timeframe: Timeframe) -> CandleAssets:
    """Return the assets of candles of a timeframe: `raw_candles` and `m1_candles`, `raw_candles_h1` and `h1_candles`.

    Of one timeframe they are the same objects each time, so that several recipes may name them.
    """
    raw = _raw_asset(timeframe)
    return CandleAssets(timeframe, raw, _lake_asset(timeframe, raw))


def _raw_asset(timeframe: Timeframe) -> dg.AssetsDefinition:
    @dg.asset(
        key=raw_key(timeframe),
        description=_RAW_SAID + ("" if timeframe == M1 else _RAW_OTHER_SAID.format(timeframe)),
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
    def raw_asset(context: dg.AssetExecutionContext, config: DownloadConfig, broker: Broker) -> Iterator[Any]:
        from fx_pipeline.ingest.raw import download_months

        report = reporter(context, "download")
        partitions = Partitions(context, instrument_month, MAX_RETRIES)
        keys = partitions.left
        with _retrying_only_the_broker():
            data_dir = load_settings().data_dir
        now_ns = pd.Timestamp(datetime.now(tz=UTC)).as_unit("ns").value
        with _retrying_only_the_broker(), broker.client() as client:
            cells = [cell(key) for key in keys]
            months = download_months(client, cells, data_dir, now_ns, config.again, timeframe)
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

    return raw_asset


@contextmanager
def _retrying_only_the_broker() -> Iterator[None]:
    """Let the retry policy see failures of the broker only: a setting or a file does not mend itself."""
    try:
        yield
    except BrokerError:
        raise
    except FxPipelineError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def _lake_asset(timeframe: Timeframe, raw: dg.AssetsDefinition) -> dg.AssetsDefinition:
    name = lake_key(timeframe).to_user_string()

    @dg.asset(
        key=lake_key(timeframe),
        description=_LAKE_SAID.format(timeframe) + ("" if timeframe == M1 else _LAKE_OTHER_SAID),
        partitions_def=instrument_month,
        # Bars that are longer than a minute are built from the pages where there are any, and else from the minutes.
        deps=[raw] if timeframe == M1 else [raw, lake_key(M1)],
        group_name="market_data",
        kinds={"parquet", "pandas"},
        owners=OWNERS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        freshness_policy=freshness_policy(SETTINGS),
        metadata={"dagster/column_schema": column_schema(*_columns(timeframe))},
        check_specs=[
            dg.AssetCheckSpec(
                "history_stands",
                asset=name,
                description=(
                    f"No bar of before was found gone or with other values in the last {REVISED_DAYS} days, of any "
                    "instrument. A warning: histories get revised."
                ),
            )
        ],
        code_version="3",
    )
    def lake_asset(context: dg.AssetExecutionContext) -> Iterator[Any]:
        from fx_pipeline.ingest.lake import build_months
        from fx_pipeline.ingest.layout import lake_folder

        settings, now_ns = load_settings(), pd.Timestamp(datetime.now(tz=UTC)).as_unit("ns").value
        lake = lake_folder(settings.data_dir)
        partitions = Partitions(context, instrument_month)
        keys = partitions.left
        newest = {cell(key)[0]: key for key in sorted(keys)}
        # Before anything is read: what comes meanwhile makes the months out of date.
        upstream = [raw.key] if timeframe == M1 else [raw.key, lake_key(M1)]
        read_until = {asset: newest_storage_id(context.instance, asset) for asset in upstream}
        reader = _Inputs(settings.data_dir, timeframe, read_until)
        # The last bar of a month may end in one that came in since.
        keys = [*_stale_keys(settings.data_dir, keys, timeframe), *keys]
        made_of = {key: reader.of(*cell(key)) for key in keys}
        built = build_months(
            settings.data_dir, map(cell, keys), now_ns=now_ns, calendar_of=settings.calendar_of, timeframe=timeframe
        )
        for key, report in zip(keys, built, strict=True):
            try:
                if isinstance(report, FxPipelineError):
                    raise report
                is_newest = key == newest[report.instrument]
                metadata = _month_metadata(context, settings, lake, key, report, now_ns, is_newest)
            except FxPipelineError as error:
                partitions.failed(key, error)
                continue
            yield partitions.made(key, metadata, report.sha256 or EMPTY, made_of[key])
            context.log.info(f"{key}: {report.rows} bars, {report.missing} missing.")
        # Before a month that failed ends the run: what became of history is told all the same.
        yield _history_check(lake, now_ns, timeframe)
        yield partitions.finish()

    return lake_asset


def _stale_keys(data_dir: Path, keys: Sequence[str], timeframe: Timeframe) -> list[str]:
    if timeframe == M1:
        return []
    from fx_pipeline.ingest.lake import stale_months

    asked: dict[str, list[str]] = {}
    for instrument, month in map(cell, keys):
        asked.setdefault(instrument, []).append(month)
    offered = set(offered_months.get_partition_keys())
    return [
        str(partition_key(instrument, month))
        for instrument, months in asked.items()
        for month in stale_months(data_dir, instrument, months, timeframe)
        if month in offered
    ]


class _Inputs:
    # The data versions of what a month of the lake is made of, and up to where its events were seen.
    def __init__(self, data_dir: Path, timeframe: Timeframe, read_until: Mapping[dg.AssetKey, int | None]) -> None:
        self._data_dir = data_dir
        self._timeframe = timeframe
        self._read_until = read_until

    def of(self, instrument: str, month: str) -> dict[dg.AssetKey, tuple[str, int | None]]:
        """Return the inputs of a month, by asset."""
        from fx_pipeline.ingest.layout import lake_folder, lake_path, raw_folder

        pages = raw_folder(self._data_dir, instrument, month, self._timeframe)
        raw = raw_key(self._timeframe)
        found = {raw: (pages_version(pages), self._read_until[raw])}
        if self._timeframe != M1:
            minutes = lake_path(lake_folder(self._data_dir), instrument, month)
            version = hashlib.sha256(minutes.read_bytes()).hexdigest() if minutes.is_file() else EMPTY
            found[lake_key(M1)] = (version, self._read_until[lake_key(M1)])
        return found


def _month_metadata(
    context: dg.AssetExecutionContext,
    settings: Settings,
    lake: Path,
    key: str,
    report: "MonthReport",
    now_ns: int,
    is_newest: bool,
) -> dict[str, Any]:
    from fx_pipeline.ingest.gaps import read_gaps
    from fx_pipeline.ingest.overview import expected_of, month_gaps

    instrument, month = cell(key)
    calendar, timeframe = settings.calendar_of(instrument), report.timeframe
    detailed = _needs_details(context, key, report, now_ns)
    gaps = read_gaps(lake, instrument, month, timeframe).to_pylist() if detailed else []
    metadata = month_metadata(report, gaps, expected_of(calendar, month, now_ns, timeframe))
    if detailed and is_newest:
        metadata |= overview_metadata({instrument: month_gaps(lake, instrument, calendar, timeframe=timeframe)})
    return metadata


def _columns(timeframe: Timeframe) -> tuple[Any, dict[str, str]]:
    return (CANDLE_SCHEMA, CANDLE_NOTES) if timeframe == M1 else (BAR_SCHEMA, CANDLE_NOTES | BAR_NOTES)


def _needs_details(context: dg.AssetExecutionContext, key: str, report: "MonthReport", now_ns: int) -> bool:
    # Tables and plots stay in the event log for ever, and the running month is built every hour: once a day will do.
    before = newest_materialization(context.instance, context.asset_key, key)
    if before is None:
        return True
    return report.written and int(before.timestamp * 1e9) // _DAY_NS < now_ns // _DAY_NS


def _history_check(lake: Path, now_ns: int, timeframe: Timeframe) -> dg.AssetCheckResult:
    # Of all instruments, and of days: the check has one state, and each run of any month sets it anew.
    from fx_pipeline.ingest.revisions import revised_since

    def result(passed: bool, metadata: dict[str, Any]) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(
            check_name="history_stands",
            asset_key=lake_key(timeframe),
            passed=passed,
            severity=dg.AssetCheckSeverity.WARN,
            metadata=plain(metadata),
        )

    try:
        revised = revised_since(lake, now_ns - REVISED_DAYS * _DAY_NS, timeframe)
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


raw_candles, m1_candles = candle_assets(M1)[1:]
