"""Checkpoints, validation reports and the champion."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import dagster as dg

from fx_pipeline.defs.features import valid_sessions
from fx_pipeline.defs.metadata import OWNERS, curve_plot
from fx_pipeline.defs.partitions import cell, instrument_window, instruments, to_instrument
from fx_pipeline.defs.progress import reporter
from fx_pipeline.defs.resources import Tracking, Warehouse
from fx_pipeline.settings import Settings, load_settings

AGENT = "muzero"
#: Fewest sessions that make a window worth training on and worth validating.
MIN_TRAIN_STARTS, MIN_VALIDATION_SESSIONS = 200, 5


class TrainConfig(dg.Config):
    """Overrides of the settings for one run."""

    preset: str | None = None
    episodes: int | None = None
    seed: int | None = None
    force: bool = False


@dg.asset(
    partitions_def=instrument_window,
    deps=[dg.AssetDep(valid_sessions, partition_mapping=to_instrument)],
    group_name="models",
    kinds={"pytorch", "numba"},
    owners=OWNERS,
    pool="training",
    output_required=False,
    backfill_policy=dg.BackfillPolicy.multi_run(1),
    code_version="1",
)
def muzero_checkpoint(
    context: dg.AssetExecutionContext, config: TrainConfig, warehouse: Warehouse, tracking: Tracking
) -> Iterator[dg.MaterializeResult]:
    """A Stochastic MuZero agent, trained by self-play on the training span of a walk-forward window.

    The same data, settings, seed and code give the same bytes, so a checkpoint that stands is kept (`force` trains
    again). An interrupted training goes on where it was. A window without enough data is skipped, and says so.
    """
    from fx_pipeline.agents.base import Budget, TrainingData
    from fx_pipeline.agents.registry import agent
    from fx_pipeline.market.files import clear_disk_errors
    from fx_pipeline.reuse import code_digest, identity, stamp, stands

    settings = load_settings()
    instrument, key = cell(context.partition_key)
    span = load_span(warehouse, instrument, key, "train")
    if isinstance(span, str):
        context.log.warning(f"skipped: {span}")
        return
    preset = config.preset or settings.preset
    seed = settings.seed if config.seed is None else config.seed
    episodes = config.episodes or settings.episodes or agent(AGENT).episodes(preset)
    made_from = identity(
        agent=AGENT,
        preset=preset,
        episodes=episodes,
        seed=seed,
        data=span.market.fingerprint,
        starts=span.starts.tolist(),
        costs=asdict(settings.costs),
        window=span.window.spans(),
    )
    folder = settings.layout.checkpoint(AGENT, instrument, key)
    files = ("weights.safetensors", "checkpoint.json", "history.json")
    if stands(folder, made_from, *files) and not config.force:
        context.log.info(f"{folder} stands: the same data, settings, seed and code made it.")
        reporter(context, f"train {key} (stands)")(1.0, {})
        yield dg.MaterializeResult(metadata=_checkpoint_metadata(folder, settings.layout.mlflow_uri, reused=True))
        return
    from fx_pipeline.agents.progress_file import ProgressFile
    from fx_pipeline.tracking.batched import BatchedMetrics

    parameters = {"preset": preset, "episodes": episodes, "seed": seed, "starts": len(span.starts)}
    tags = {"dagster/run_id": context.run.run_id, "instrument": instrument, "window": key, "code": code_digest()}
    name = f"train {instrument} {key}"
    with (
        clear_disk_errors(folder),
        tracking.mlflow().run(name, "training", params=parameters, tags=tags, made_from=made_from) as run,
        ProgressFile(folder, made_from, {"instrument": instrument, "window": key, **parameters}) as shown,
        BatchedMetrics(run, "iterations") as metrics,
    ):
        said = reporter(context, f"train {key}")

        def progress(fraction: float, figures: Mapping[str, float]) -> None:
            said(fraction, figures)
            shown.report(fraction, figures)
            metrics.add(figures)

        checkpoint = (
            agent(AGENT)
            .trainer(preset)
            .train(
                TrainingData(span.market, span.starts, settings.costs, {"key": key, **span.window.spans()}),
                Budget(episodes),
                seed=seed,
                folder=folder,
                progress=progress,
            )
        )
        metrics.complete(checkpoint.history)
        write_history(folder, checkpoint.history)
        run.log_artifact(folder / "checkpoint.json")
        run.log_artifact(folder / "weights.safetensors")
    stamp(folder, made_from, *files)
    metadata = _checkpoint_metadata(folder, settings.layout.mlflow_uri, reused=False)
    yield dg.MaterializeResult(metadata=metadata | {"mlflow run": dg.MetadataValue.text(run.run_id)})


@dg.asset(
    partitions_def=instrument_window,
    deps=[muzero_checkpoint],
    group_name="models",
    kinds={"plotly", "numba"},
    owners=OWNERS,
    pool="training",
    output_required=False,
    backfill_policy=dg.BackfillPolicy.multi_run(1),
    code_version="1",
)
def validation_report(
    context: dg.AssetExecutionContext, warehouse: Warehouse, tracking: Tracking
) -> Iterator[dg.MaterializeResult]:
    """How the checkpoint trades the days after its training: trades, Monte Carlo, baselines, costs, and a verdict.

    Greedy search without noise on sessions that do not overlap. The report is a JSON file and a page for people; each
    validation is a row of the trial ledger.
    """
    from fx_pipeline.defs.reporting import report_metadata, validate_span
    from fx_pipeline.market.atomic import atomic_write_json
    from fx_pipeline.market.files import clear_disk_errors
    from fx_pipeline.reuse import stamp, stands
    from fx_pipeline.validation.report import read_report, write_report

    settings = load_settings()
    instrument, key = cell(context.partition_key)
    span = load_span(warehouse, instrument, key, "valid")
    if isinstance(span, str):
        context.log.warning(f"skipped: {span}")
        return
    checkpoint = settings.layout.checkpoint(AGENT, instrument, key)
    if not (checkpoint / "checkpoint.json").exists():
        context.log.warning(f"skipped: there is no checkpoint in {checkpoint}: materialise muzero_checkpoint first.")
        return
    record = read_checkpoint(checkpoint)
    if record["window"] != {"key": key, **span.window.spans()}:
        context.log.warning(
            f"skipped: the checkpoint in {checkpoint} was trained on other spans than window {key} has: train again."
        )
        return
    made_from = validation_identity(settings, tracking, span, key, record)
    folder = settings.layout.report(AGENT, instrument, key)
    files = ("report.json", "report.html")
    if stands(folder, made_from, *files):
        context.log.info(f"{folder} stands: the same checkpoint, data and settings made it.")
        reporter(context, f"validate {key} (stands)")(1.0, {})
        atomic_write_json(settings.layout.newest_report, {"folder": str(folder)})
        yield dg.MaterializeResult(metadata=report_metadata(read_report(folder), folder))
        return
    preset = record["preset"]
    with (
        clear_disk_errors(folder),
        tracking.mlflow().run(
            f"validate {instrument} {key}",
            "validation",
            params={"mc_runs": settings.mc_runs, "seed": record["seed"], "preset": preset},
            tags={"dagster/run_id": context.run.run_id, "instrument": instrument, "window": key},
        ) as run,
    ):
        report = validate_span(
            settings,
            warehouse,
            tracking.ledger(),
            span,
            checkpoint,
            AGENT,
            {"mlflow_url": run.url, "dagster_run_id": context.run.run_id},
            reporter(context, f"validate {key}"),
        )
        write_report(report, folder)
        metadata = report_metadata(report, folder)
        run.log_metrics({name: value for name, value in metadata.items() if isinstance(value, float)}, step=0)
        run.log_artifact(folder / "report.html")
    stamp(folder, made_from, *files)
    atomic_write_json(settings.layout.newest_report, {"folder": str(folder)})
    yield dg.MaterializeResult(metadata=metadata)


def validation_identity(
    settings: Settings, tracking: Tracking, span: "Span", key: str, record: Mapping[str, Any]
) -> str:
    """Hash what the validation report of a checkpoint on the validation span of window `key` is made from."""
    from fx_pipeline.defs.reporting import other_trials
    from fx_pipeline.reuse import identity

    ledger, instrument = tracking.ledger(), span.market.instrument
    return identity(
        checkpoint=record["weights_sha256"],
        data=span.market.fingerprint,
        starts=span.starts.tolist(),
        costs=asdict(settings.costs),
        mc_runs=settings.mc_runs,
        seed=record["seed"],
        gate=asdict(settings.gate),
        # Another trial of the instrument changes the deflated Sharpe ratio; one of this window, also its family.
        others=other_trials(ledger, instrument, key, record, span.market.fingerprint, settings.costs),
        openings=ledger.holdout_openings(instrument, settings.sealed_from_ns),
    )


class PromoteConfig(dg.Config):
    """Which window's report is to be promoted."""

    window: str


@dg.asset(
    partitions_def=instruments,
    deps=[dg.AssetDep(validation_report, partition_mapping=to_instrument)],
    group_name="models",
    kinds={"mlflow"},
    owners=OWNERS,
    pool="registry",
    output_required=False,
    code_version="1",
)
def champion(
    context: dg.AssetExecutionContext, config: PromoteConfig, tracking: Tracking
) -> Iterator[dg.MaterializeResult]:
    """The model that trades an instrument: a registered model version with the alias `champion`.

    Only a checkpoint whose own report passed the gate is registered. A newer window replaces an older one; within a
    window the higher expectancy wins.
    """
    from fx_pipeline.defs.promotion import promote

    instrument = context.partition_key
    outcome = promote(load_settings(), tracking, AGENT, instrument, config.window, context.run.run_id)
    if outcome.champion is None:
        context.log.warning(f"not promoted: {outcome.reason}")
        return
    context.log.info(outcome.reason)
    yield dg.MaterializeResult(metadata=outcome.champion)


class Span:
    """A span of a window with its market and its valid starts."""

    def __init__(self, window: Any, market: Any, starts: Any, leaks: Mapping[str, int]) -> None:
        self.window, self.market, self.starts, self.leaks = window, market, starts, leaks


def load_span(
    warehouse: Warehouse, instrument: str, key: str, part: str, sealed_until_ns: int | None = None
) -> Span | str:
    """Load the training ("train") or validation ("valid") span of a window, or the sealed days for its checkpoint
    ("sealed"), or say why there is none.

    Nothing after the span's end is loaded; before its start come the bars that the first observation looks back on.
    Sealed days end with the bar `sealed_until_ns`, or with the newest one.
    """
    from fx_pipeline.features.kernel import causal_mismatches
    from fx_pipeline.features.table import load_market
    from fx_pipeline.market.calendar import MINUTE_NS
    from fx_pipeline.market.errors import DataError
    from fx_pipeline.sessions.index import starts_inside
    from fx_pipeline.sessions.table import read_plan, read_starts, thin
    from fx_pipeline.sessions.windows import MIN_EMBARGO_BARS

    try:
        plan = read_plan(load_settings().layout.windows(instrument))
    except DataError as error:
        return str(error)
    window = plan.window(key)
    if window is None:
        return (
            f"{instrument} has no window {key}: its {plan.days} trading days allow "
            f"{', '.join(w.key for w in plan.windows) or 'none'} (training {plan.train_days} days, validation "
            f"{plan.validation_days} days)."
        )
    settings = load_settings()
    sealed_ns = settings.sealed_from_ns
    if part != "sealed" and sealed_ns is not None and window.valid_end > sealed_ns:
        return (
            f"window {key} of {instrument} was planned before {settings.holdout_start} was sealed, and reaches beyond: "
            "materialise valid_sessions, and take a window that it plans."
        )
    start, end = (window.train_start, window.train_end) if part == "train" else (window.valid_start, window.valid_end)
    with warehouse.get_connection(read_only=True) as connection:
        if part == "sealed":
            if sealed_ns is None:
                return "no day is sealed: set FX_HOLDOUT_START to the first one."
            last_ns = _newest_bar(connection, instrument) if sealed_until_ns is None else sealed_until_ns
            start, end = sealed_ns, last_ns + MINUTE_NS
            if end <= start:
                return f"{instrument} has no bar of the sealed days yet: they begin on {settings.holdout_start}."
            window = replace(window, key=settings.sealed_span, valid_start=start, valid_end=end)
        # A few days earlier: the window of the first observation may reach over a weekend.
        market = load_market(connection, instrument, start - LOOK_BACK_NS, end)
        starts = starts_inside(market, read_starts(connection, market), start, end)
        between = connection.execute(
            "SELECT count(*) FROM features WHERE instrument = ? AND epoch_ns(time) >= ? AND epoch_ns(time) < ?",
            [instrument, window.train_end, window.valid_start],
        ).fetchone()[0]
    # The asset checks say the same of everything, but they stop only what runs with them; nothing may train on a leak.
    if between < MIN_EMBARGO_BARS or window.train_end > window.valid_start:
        raise DataError(
            f"window {key} of {instrument} has {between} bars between training and validation, {MIN_EMBARGO_BARS} are "
            "needed: materialise valid_sessions again."
        )
    leaks = causal_mismatches(market.close, market.time, market.features, market.pip, GUARD_BARS, load_settings().seed)
    if leaks:
        raise DataError(
            f"{instrument}: rows of the feature table are not those of the bars up to them (bars {leaks[:3]} of window "
            f"{key}): remove {load_settings().layout.warehouse} and materialise feature_table again."
        )
    if part != "train":
        starts = thin(starts)
    needed = MIN_TRAIN_STARTS if part == "train" else MIN_VALIDATION_SESSIONS
    if len(starts) < needed:
        purpose = "train on" if part == "train" else "validate"
        return f"window {key} of {instrument} has {len(starts)} sessions to {purpose}, at least {needed} are needed."
    early = int((market.time[starts] < start).sum())
    searched = {
        f"{GUARD_BARS} feature rows computed anew from the warm-up before them and nothing after": len(leaks),
        f"an embargo of {MIN_EMBARGO_BARS} bars after training ({between} bars)": max(MIN_EMBARGO_BARS - between, 0),
        f"the first bar of {len(starts)} sessions against the start of their span": early,
    }
    return Span(window, market, starts, searched)


#: Bars at which every span is tested for rows that depend on later bars.
GUARD_BARS = 20
#: Four days: the bars behind the first observation may lie before a weekend and a holiday.
LOOK_BACK_NS = 4 * 86_400 * 1_000_000_000


def _newest_bar(connection: Any, instrument: str) -> int:
    from fx_pipeline.market.errors import DataError

    (newest,) = connection.execute(
        "SELECT max(epoch_ns(time)) FROM features WHERE instrument = ?", [instrument]
    ).fetchone()
    if newest is None:
        raise DataError(f"{instrument} has no bars: materialise feature_table first.")
    return int(newest)


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """Read the record of a checkpoint.

    Raises
    ------
    DataError
        If it is damaged.
    """
    return _read_json(folder / "checkpoint.json")


def write_history(folder: Path, history: Any) -> None:
    """Keep the training curves beside the checkpoint."""
    from fx_pipeline.market.atomic import atomic_write_json

    atomic_write_json(folder / "history.json", [dict(row) for row in history])


def _read_json(path: Path) -> Any:
    import json

    from fx_pipeline.market.errors import DataError

    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}): materialise muzero_checkpoint again.") from error


def _checkpoint_metadata(folder: Path, mlflow_uri: str, reused: bool) -> dict[str, Any]:
    record = read_checkpoint(folder)
    history = _read_json(folder / "history.json")
    metadata: dict[str, Any] = {
        "sha256": record["weights_sha256"],
        "seed": record["seed"],
        "preset": record["preset"],
        "data fingerprint": record["data_fingerprint"],
        "code": record["code_version"],
        "dagster/uri": str(folder),
        "kept as it stood": reused,
        "mlflow store": mlflow_uri,
    }
    metadata |= {name: float(value) for name, value in record["metrics"].items()}
    if history:
        shown = ("pips_per_episode", "selection_pips", "trades_per_episode", "loss", "policy_kl")
        metadata["curves"] = curve_plot(history, shown)
    if record["selection"] is not None:
        metadata |= {f"selected: {name}": value for name, value in record["selection"].items()}
    return metadata
