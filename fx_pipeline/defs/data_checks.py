"""Whether results are made of the candles that are here now, whatever Dagster itself can compare.

From 100 upstream partitions on Dagster compares nothing, and an instrument has more months than that: its own mark then
stays as it is when candles change. These checks look at the data themselves, and run again whenever there are new ones.
"""

import json
from collections.abc import Callable

import dagster as dg

from fx_pipeline.defs.events import newest_materialization, newest_storage_id
from fx_pipeline.defs.features import feature_table, valid_sessions
from fx_pipeline.defs.lineage import MADE_OF, features_version, used_months
from fx_pipeline.defs.market_data import m1_candles
from fx_pipeline.defs.metadata import plain, table
from fx_pipeline.defs.models import AGENT, muzero_checkpoint, validation_report
from fx_pipeline.defs.partitions import cell, keys_of
from fx_pipeline.defs.resources import Warehouse
from fx_pipeline.lifecycle.checkpoints import seed_checkpoints
from fx_pipeline.lifecycle.spans import LOOK_BACK_NS, load_span, training_data
from fx_pipeline.market.errors import FxPipelineError
from fx_pipeline.settings import load_settings

NAME = "made_of_present_data"
#: Months that a reason names, and partitions that a check lists.
_NAMED, _LISTED = 12, 100


class _Present:
    """The data as they are now; each question is why a partition is out of date, or None."""

    def __init__(self, instance: dg.DagsterInstance, warehouse: Warehouse) -> None:
        self._instance, self._warehouse, self._settings = instance, warehouse, load_settings()
        self._changed: dict[str, dict[str, str]] = {}

    def features(self, instrument: str) -> str | None:
        months = sorted(self._changed_months(instrument).items())
        if not months:
            return None
        named = ", ".join(f"{month} ({what})" for month, what in months[-_NAMED:])
        more = f" and {len(months) - _NAMED} before" if len(months) > _NAMED else ""
        return f"made of older candles than the lake has: {named}{more}"

    def sessions(self, instrument: str) -> str | None:
        older = self.features(instrument)
        if older is not None:
            return f"its features are {older}"
        record = newest_materialization(self._instance, valid_sessions.key, instrument)
        told = record and record.asset_materialization and record.asset_materialization.metadata.get(MADE_OF)
        with self._warehouse.get_connection(read_only=True) as connection:
            present = features_version(connection, instrument)
        return None if told and told.value == present else "made of older features than the table has"

    def checkpoint(self, partition: str) -> str | None:
        from fx_pipeline.agents.muzero.identity import data_fingerprint

        instrument, window = cell(partition)
        checkpoints = seed_checkpoints(self._settings, AGENT, instrument, window)
        if not checkpoints:
            return None
        span = load_span(self._settings, self._warehouse, instrument, window, "train")
        if isinstance(span, str):
            return f"its window cannot be looked at: {span}"
        present = data_fingerprint(training_data(self._settings, span))
        older = [str(found.seed) for found in checkpoints if found.record["data_fingerprint"] != present]
        if older:
            return f"trained on other candles, sessions or costs than there are now: seed {', '.join(older)}"
        return self._span(instrument, span.window.train_start, span.window.train_end)

    def report(self, partition: str) -> str | None:
        from fx_pipeline.validation.report import read_report

        instrument, window = cell(partition)
        folder = self._settings.layout.report(AGENT, instrument, window)
        if not (folder / "report.json").exists():
            return None
        report = read_report(folder)
        span = load_span(self._settings, self._warehouse, instrument, window, "valid")
        if isinstance(span, str):
            return f"its window cannot be looked at: {span}"
        if report["lineage"]["data_fingerprint"] != span.market.fingerprint:
            return "validated on other candles than there are now"
        return self._span(instrument, span.window.valid_start, span.window.valid_end)

    def _span(self, instrument: str, start_ns: int, end_ns: int) -> str | None:
        # A result that fits the table is no newer than it.
        from fx_pipeline.market.months import months_between

        changed = self._changed_months(instrument)
        inside = [month for month in months_between(start_ns - LOOK_BACK_NS, end_ns) if month in changed]
        return f"its features are older than the lake's candles of {', '.join(inside)}" if inside else None

    def _changed_months(self, instrument: str) -> dict[str, str]:
        from fx_pipeline.features.names import FeatureTable
        from fx_pipeline.features.table import known_sources

        if instrument not in self._changed:
            query = "SELECT month, sha256, version FROM feature_months WHERE instrument = ?"
            with self._warehouse.get_connection(read_only=True) as connection:
                rows = connection.execute(query, [instrument]).fetchall()
                sources = known_sources(connection, instrument)
            used, _ = used_months(self._settings.data_dir, instrument, sources)
            wanted = {month.key: (month.sha256, FeatureTable().definition.version_of(instrument)) for month in used}
            known = {month: (sha256, number) for month, sha256, number in rows}
            self._changed[instrument] = {
                month: "new" if month not in known else "gone" if month not in wanted else "changed"
                for month in {*known, *wanted}
                if known.get(month) != wanted.get(month)
            }
        return self._changed[instrument]


_QUESTIONS: dict[dg.AssetsDefinition, Callable[[_Present, str], str | None]] = {
    feature_table: _Present.features,
    valid_sessions: _Present.sessions,
    muzero_checkpoint: _Present.checkpoint,
    validation_report: _Present.report,
}


def _check(asset: dg.AssetsDefinition, ask: Callable[[_Present, str], str | None]) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset,
        name=NAME,
        description=(
            "Every partition is made of the candles, and of the settings of its data, that are here now. A warning: "
            "materialise again what it names. It runs again by itself when candles come in."
        ),
    )
    def check(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> dg.AssetCheckResult:
        keys = keys_of(context, asset)
        present = _Present(context.instance, warehouse)
        rows = [{"partition": key, "reason": reason} for key in keys if (reason := _reason(present, ask, key))]
        return dg.AssetCheckResult(
            passed=not rows,
            severity=dg.AssetCheckSeverity.WARN,
            metadata=plain(
                {"partitions": len(keys), "out of date": len(rows)}
                | ({"out of date partitions": table(rows[:_LISTED])} if rows else {})
            ),
        )

    return check


def _reason(present: _Present, ask: Callable[[_Present, str], str | None], partition: str) -> str | None:
    try:
        return ask(present, partition)
    except FxPipelineError as error:
        # One that cannot be read is no reason to say nothing of the others.
        return str(error)


CHECKS = [_check(asset, ask) for asset, ask in _QUESTIONS.items()]

check_data = dg.define_asset_job(
    "check_data",
    selection=dg.AssetSelection.checks(*CHECKS),
    description="Look whether features, sessions, checkpoints and reports are made of the candles that are here now.",
)

#: Ticks that the sensor waits at most for things to come to rest: a long backfill makes something in each.
_PATIENCE = 10


@dg.sensor(
    job=check_data,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Asks of all results whether they are made of the present data, once nothing more comes in: a check that only "
        "ran with what it looks at would stay green when the candles change."
    ),
)
def watch_data(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Ask for the checks, of every partition, when anything that they look at was made since."""
    seen = [newest_storage_id(context.instance, asset.key) or 0 for asset in (m1_candles, *_QUESTIONS)]
    cursor = json.loads(context.cursor or '{"asked": [], "seen": [], "waited": 0}')
    if not any(seen) or seen == cursor["asked"]:
        return dg.SkipReason("nothing was made since.")
    if seen != cursor["seen"] and cursor["waited"] < _PATIENCE:
        waited = {"asked": cursor["asked"], "seen": seen, "waited": cursor["waited"] + 1}
        return dg.SensorResult(skip_reason="more may be coming in.", cursor=json.dumps(waited))
    asked = {"asked": seen, "seen": seen, "waited": 0}
    key = "|".join(map(str, seen))
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=f"data|{key}")], cursor=json.dumps(asked))
