"""Checkpoints, validation reports and the champion."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from fx_pipeline.agents.record import read_checkpoint
from fx_pipeline.defs.checkpoint_metadata import checkpoint_metadata
from fx_pipeline.defs.features import valid_sessions
from fx_pipeline.defs.lineage import EMPTY, version
from fx_pipeline.defs.metadata import OWNERS, link, plain
from fx_pipeline.defs.partial import skipped
from fx_pipeline.defs.partitions import asked_key, cell, instrument_window, instruments, key, to_instrument
from fx_pipeline.defs.report_metadata import page_url, paired_metadata
from fx_pipeline.defs.resources import Tracking, Warehouse
from fx_pipeline.defs.run import run_of
from fx_pipeline.lifecycle.checkpoints import SeedCheckpoint
from fx_pipeline.lifecycle.promotion import Promotion, promote
from fx_pipeline.lifecycle.spans import load_span
from fx_pipeline.lifecycle.trainings import train_seed
from fx_pipeline.settings import Settings, load_settings

AGENT = "muzero"


class TrainConfig(dg.Config):
    """Overrides of the settings for one run; `seeds` are trained one after the other, each into a folder of its own."""

    preset: str | None = None
    episodes: int | None = None
    seeds: list[int] | None = None
    force: bool = False


@dg.asset(
    partitions_def=instrument_window,
    deps=[dg.AssetDep(valid_sessions, partition_mapping=to_instrument)],
    group_name="models",
    kinds={"pytorch", "numba"},
    owners=OWNERS,
    pool="training",
    backfill_policy=dg.BackfillPolicy.multi_run(1),
    code_version="2",
)
def muzero_checkpoint(
    context: dg.AssetExecutionContext, config: TrainConfig, warehouse: Warehouse, tracking: Tracking
) -> Iterator[dg.MaterializeResult]:
    """A Stochastic MuZero agent, trained by self-play on the training span of a walk-forward window, once a seed.

    The same data, settings, seed and code give the same bytes, so a checkpoint that stands is kept (`force` trains
    again). An interrupted training goes on where it was. A window without enough data is skipped, and says so.
    """
    from fx_pipeline.agents.registry import agent
    from fx_pipeline.market.errors import ConfigurationError

    settings = load_settings()
    instrument, key = cell(asked_key(context, instrument_window))
    seeds = list(dict.fromkeys(config.seeds if config.seeds is not None else settings.training_seeds))
    if not seeds or not all(0 <= seed < 2**31 for seed in seeds):
        raise ConfigurationError(f"a training has seeds of at least 0 and below 2^31, and not {seeds}.")
    span = load_span(settings, warehouse, instrument, key, "train")
    if isinstance(span, str):
        yield skipped(context, span)
        return
    preset = config.preset or settings.preset
    episodes = config.episodes or settings.episodes or agent(AGENT).episodes(preset)
    reused = {}
    for number, seed in enumerate(seeds, 1):
        of_all = "" if len(seeds) == 1 else f", seed {seed} ({number} of {len(seeds)})"
        reused[seed] = train_seed(
            run_of(context),
            settings,
            tracking,
            AGENT,
            span,
            preset=preset,
            episodes=episodes,
            seed=seed,
            force=config.force,
            stage=f"train {key}{of_all}",
        )
    folders = [settings.layout.checkpoint(AGENT, instrument, key, seed) for seed in seeds]
    trained = [SeedCheckpoint(folder, read_checkpoint(folder)) for folder in folders]
    yield dg.MaterializeResult(
        metadata=plain(checkpoint_metadata(trained, settings.layout.mlflow_uri, reused)),
        data_version=dg.DataVersion(version([found.sha256 for found in trained])),
    )


@dg.asset(
    partitions_def=instrument_window,
    deps=[muzero_checkpoint],
    group_name="models",
    kinds={"plotly", "numba"},
    owners=OWNERS,
    pool="training",
    backfill_policy=dg.BackfillPolicy.multi_run(1),
    code_version="2",
)
def validation_report(
    context: dg.AssetExecutionContext, warehouse: Warehouse, tracking: Tracking
) -> Iterator[dg.MaterializeResult]:
    """How the window's seeds trade the days after their training: trades, Monte Carlo, baselines, costs, a verdict.

    Greedy search without noise on sessions that do not overlap. Every checkpoint of the window is scored, and each
    score is a row of the trial ledger; the report is on the one that training itself preferred. It is a JSON file and a
    page for people.
    """
    from fx_pipeline.defs.ledger_state import ledger_faults
    from fx_pipeline.defs.report_metadata import ledger_metadata, report_metadata
    from fx_pipeline.lifecycle.validations import validate_window

    settings = load_settings()
    asked = asked_key(context, instrument_window)
    instrument, key = cell(asked)

    def tell(told: Mapping[str, Any]) -> None:
        # A run that is killed after it has scored leaves an event that tells of the ledger all the same.
        shown = dg.AssetObservation(validation_report.key, partition=asked, metadata=plain(ledger_metadata(told)))
        context.log_event(shown)

    report = validate_window(
        run_of(context),
        settings,
        warehouse,
        tracking,
        AGENT,
        instrument,
        key,
        lambda ledger: ledger_faults(context.instance, validation_report.key, settings, tracking, ledger),
        tell,
    )
    if isinstance(report, str):
        yield skipped(context, report)
        return
    folder = settings.layout.report(AGENT, instrument, key)
    yield dg.MaterializeResult(metadata=plain(report_metadata(report, folder)), data_version=report_version(report))


def report_version(report: Mapping[str, Any]) -> dg.DataVersion:
    """Return the data version of a validation report: of its figures, and of what they were made of."""
    lineage = report["lineage"]
    return dg.DataVersion(version(report["figures_sha256"], lineage["checkpoint_sha256"], lineage["data_fingerprint"]))


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
    context: dg.AssetExecutionContext, config: PromoteConfig, warehouse: Warehouse, tracking: Tracking
) -> Iterator[dg.MaterializeResult]:
    """The model that trades an instrument: a registered model version with the alias `champion`.

    Only a checkpoint whose own report passes the gate of now is registered, after its figures, candles and weights were
    held against the trial ledger; and it replaces a champion only if it is better on the same sessions. A champion
    whose edge is gone by what it made on newer bars loses the alias, and then there is none.
    """
    from fx_pipeline.defs.ledger_state import ledger_faults

    settings, instrument = load_settings(), asked_key(context, instruments)
    faults = ledger_faults(context.instance, validation_report.key, settings, tracking, tracking.ledger())
    outcome = promote(settings, warehouse, tracking, AGENT, instrument, config.window, context.run.run_id, faults)
    if outcome.demotion is not None:
        context.log.warning(
            f"demoted the champion of window {outcome.demotion['window']}: {outcome.demotion['reason']}"
        )
    if outcome.champion is not None:
        context.log.info(outcome.reason)
        # The report names the version that it made, as the version names its report.
        linked = {name: outcome.champion[name] for name in ("registered_model", "version", "registered_url", "sha256")}
        partition = key(instrument, config.window)
        context.log_event(dg.AssetObservation(validation_report.key, partition=partition, metadata=plain(linked)))
        yield _settled(settings, outcome)
        return
    # A refusal leaves the champion as it is, and what is shown of it.
    context.log.warning(f"not promoted: {outcome.reason}")
    if outcome.demotion is not None:
        yield _settled(settings, outcome)


def _settled(settings: Settings, outcome: Promotion) -> dg.MaterializeResult:
    return dg.MaterializeResult(
        metadata=plain(champion_metadata(settings, outcome)), data_version=_champion_version(outcome.champion)
    )


def _champion_version(champion: Mapping[str, Any] | None) -> dg.DataVersion:
    return dg.DataVersion(EMPTY if champion is None else version(champion["sha256"], champion["version"]))


def champion_metadata(settings: Settings, outcome: Promotion) -> dict[str, Any]:
    """Return what Dagster shows of a promotion or a demotion: who trades now and why, with links to all behind it."""
    metadata: dict[str, Any] = {}
    if outcome.demotion is not None:
        metadata |= {f"demoted {name}": value for name, value in outcome.demotion.items() if name != "instrument"}
    if outcome.champion is None:
        return {
            "state": "no champion: demoted",
            "reason": outcome.demotion["reason"] if outcome.demotion else "",
        } | metadata
    record = dict(outcome.champion)
    paired = record.pop("paired")
    page = settings.layout.report(record["agent"], record["instrument"], record["window"]) / "report.html"
    return (
        {"state": "champion", "reason": outcome.reason}
        | record
        | {
            "registered_url": link(record["registered_url"]),
            "report page": dg.MetadataValue.url(page_url(settings, page)),
        }
        | paired_metadata(paired)
        | metadata
    )
