"""The whole chain in one go: the very jobs of the Dagster UI, run one after another in this process."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fx_pipeline.interrupts import ending_at_once
from fx_pipeline.market.errors import ConfigurationError, DataError, FxPipelineError
from fx_pipeline.progress_display import Display
from fx_pipeline.settings import Settings

if TYPE_CHECKING:
    from fx_pipeline.defs.in_process import InProcess
    from fx_pipeline.sessions.table import Plan


#: How far back the demo asks a real broker for candles: nine weeks.
LIVE_HISTORY_NS = 63 * 86_400 * 1_000_000_000


@dataclass(frozen=True)
class DemoResult:
    """What the demo made.

    Attributes
    ----------
    instrument : str
    windows : tuple of str
        Walk-forward windows that were trained and validated.
    report : dict
        The newest window's validation report.
    champion : str or None
        What became of the promotion.
    live : dict or None
        The dry-run decision, if a champion took one.
    """

    instrument: str
    windows: tuple[str, ...]
    report: dict[str, Any]
    champion: str | None
    live: dict[str, Any] | None


def find_project(start: Path | None = None) -> Path:
    """Return the folder with `dagster.yaml`, from the working directory upwards, and make it Dagster's home.

    Raises
    ------
    ConfigurationError
        If there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "dagster.yaml").is_file() and (folder / "workspace.yaml").is_file():
            return folder
    raise ConfigurationError(f"{here} is not inside the project: run this where dagster.yaml and workspace.yaml are.")


def run_demo(
    settings: Settings,
    instrument: str,
    display: Display,
    candles: list[Path],
    format_: str | None,
    windows: int,
    utc_offset: str | None = None,
    bar_time: str | None = None,
) -> DemoResult:
    """Import (when files are given), ingest, prepare, train, validate, and promote if the gate says so.

    The caller holds the lock of `only_one` on the data folder.

    Parameters
    ----------
    settings : Settings
    instrument : str
    display : Display
    candles : list of Path
        Files to import first; may be empty.
    format_ : str, optional
        Their format; guessed from the content of each when absent.
    windows : int
        How many of the newest walk-forward windows to train and validate.
    utc_offset : str, optional
        Clock of the files, where they do not name it.
    bar_time : str, optional
        Whether the files' times are the open or the end of bars.

    Raises
    ------
    DataError
        If there is not enough data for a window, or a check refuses what was made.
    ConfigurationError
        If the settings do not offer the instrument or the months of its candles.
    BrokerError
        If OANDA, or the server at FX_PAPER_URL, cannot be reached.
    Interrupted
        If SIGINT or SIGTERM came; no run is left that looks as if it went on.
    """
    begun: list[InProcess] = []

    def cancel() -> None:
        for runs in begun:
            runs.cancel()

    with cutting_short(cancel):
        return _run_demo(settings, instrument, display, candles, format_, windows, utc_offset, bar_time, begun)


def _run_demo(
    settings: Settings,
    instrument: str,
    display: Display,
    candles: list[Path],
    format_: str | None,
    windows: int,
    utc_offset: str | None,
    bar_time: str | None,
    begun: "list[InProcess]",
) -> DemoResult:
    from fx_pipeline.broker.paper.store import months as imported_months
    from fx_pipeline.broker.paper.synthetic import SPAN_NS
    from fx_pipeline.ingest.importers import import_files
    from fx_pipeline.market.months import month_bounds, months_between

    served = settings.oanda_environment == "paper" and not settings.paper_url
    if candles and not served:
        raise ConfigurationError(
            "candle files are served by the demo's own paper server: unset FX_PAPER_URL and set "
            f"FX_OANDA_ENVIRONMENT=paper (it is {settings.oanda_environment})."
        )
    now_ns = time.time_ns()
    if candles:
        with display.stage("import") as say:
            imported = import_files(
                candles,
                instrument,
                format_,  # type: ignore[arg-type]
                settings.data_dir,
                utc_offset=utc_offset,
                now_ns=now_ns,
                stamped=bar_time,  # type: ignore[arg-type]
            )
            say(f"{imported.imported:,} candles of {instrument}, {imported.quarantined} quarantined")
    if served:
        months = imported_months(settings.layout.paper_store, instrument) or months_between(*SPAN_NS)
    else:
        months = months_between(now_ns - LIVE_HISTORY_NS, now_ns)

    # The code location lists the instruments that were imported, so it is loaded after the import.
    with display.stage("load the pipeline"):
        import dagster as dg
        from dagster._core.errors import DagsterAssetCheckFailedError

        from fx_pipeline.definitions import defs
        from fx_pipeline.defs.in_process import InProcess
        from fx_pipeline.defs.jobs import ingest, prepare, promote, train, validate
        from fx_pipeline.defs.killed_runs import end_killed_runs
        from fx_pipeline.defs.models import AGENT, champion
        from fx_pipeline.defs.partitions import INSTRUMENTS, key
        from fx_pipeline.defs.progress import listening
        from fx_pipeline.defs.resources import Broker
        from fx_pipeline.lifecycle.promotion import decide
        from fx_pipeline.sessions.table import read_plan
        from fx_pipeline.validation.report import read_report

    if instrument not in INSTRUMENTS:
        raise ConfigurationError(
            f"{instrument} is neither among FX_INSTRUMENTS ({', '.join(settings.instruments)}) nor imported: add it "
            "there, or give candles of it."
        )
    if months[0] < settings.history_start:
        raise ConfigurationError(
            f"the candles of {instrument} begin in {months[0]}, before FX_HISTORY_START={settings.history_start}: set "
            "that to their first month."
        )
    if not served:
        # The asset tries again and again, which suits a schedule; who sits and waits is told at once.
        with display.stage("reach the broker"), Broker().client() as client:
            client.candles_page(instrument, month_bounds(months[0])[0], 1)

    with dg.DagsterInstance.get() as instance:
        end_killed_runs(instance)
        runs = InProcess(instance, display.note)
        begun.append(runs)

        def launch(name: str, partition_key: str | None, config: dict[str, Any] | None = None) -> Any:
            quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
            try:
                return runs.launch(defs.resolve_job_def(name), partition_key, {**quiet, **(config or {})})
            except dg.Failure as error:
                # A step's own last word: it needs no trace of where it was said.
                raise FxPipelineError(error.description or f"{name} of {partition_key} failed.") from error
            except DagsterAssetCheckFailedError as error:
                raise DataError(
                    f"{name} of {partition_key} was stopped by a check ({' '.join(str(error).split())}): make ui shows "
                    "on the asset's page what it found."
                ) from error

        with listening(display.report):
            with display.stage("raw candles and M1 parquet") as say:
                for number, month in enumerate(months):
                    display.report("raw candles and M1 parquet", number / len(months), {})
                    launch(ingest.name, key(instrument, month))
                say(f"{len(months)} months of {instrument}")
            with display.stage("features, sessions, windows") as say:
                try:
                    launch(prepare.name, instrument)
                except DataError:
                    # Too little data for a session is too little for a window, which says more.
                    if settings.layout.windows(instrument).exists():
                        _require_windows(read_plan(settings.layout.windows(instrument)))
                    raise
                plan = read_plan(settings.layout.windows(instrument))
                _require_windows(plan)
                say(f"{plan.days} trading days, {len(plan.windows)} walk-forward windows")
            chosen = plan.windows[-windows:]
            for window in chosen:
                with display.stage(f"train {window.key}"):
                    launch(train.name, key(instrument, window.key))
                with display.stage(f"validate {window.key}"):
                    launch(validate.name, key(instrument, window.key))
            folder = settings.layout.report(AGENT, instrument, chosen[-1].key)
            if not (folder / "report.json").exists():
                raise DataError(
                    f"window {chosen[-1].key} of {instrument} was skipped for want of valid sessions: give more of it."
                )
            report = read_report(folder)
            demotion, decision = decide(settings, instrument, report)
            live = None
            if decision.promote or demotion is not None:
                with display.stage("promote, and a dry run of live trading"):
                    asset = {"ops": {champion.op.name: {"config": {"window": chosen[-1].key}}}}
                    launch(promote.name, instrument, asset)
                    config = {"ops": {"decide_live": {"config": {"instrument": instrument}}}}
                    live = launch("live_trading", None, config).output_for_node("decide_live")
    return DemoResult(instrument, tuple(window.key for window in chosen), report, decision.reason, live)


def _require_windows(plan: "Plan") -> None:
    if not plan.windows:
        raise DataError(
            f"{plan.instrument} has {plan.days} trading days: a window of {plan.train_days} days of training and "
            f"{plan.validation_days} of validation with an embargo between them needs more (three weeks do), "
            "or smaller FX_TRAIN_DAYS and FX_VALIDATION_DAYS."
        )


@contextmanager
def cutting_short(cancel: Callable[[], None]) -> Iterator[None]:
    """End the body at SIGINT and SIGTERM, and leave no run behind that looks as if it went on.

    Raises
    ------
    Interrupted
        If one came.
    """
    came: list[int] = []
    try:
        with ending_at_once(cancel) as came:
            yield
    except BaseException as error:
        # Dagster raises its own error for an interrupt in a step.
        if not came:
            raise
        cancel()
        raise Interrupted(came[0]) from error


class Interrupted(FxPipelineError):
    """The command was asked to end.

    Parameters
    ----------
    number : int
        The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}: the same command goes on where it was.")
        self.status = 128 + number


@contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Keep a second demo off the same data folder.

    Raises
    ------
    ConfigurationError
        If one runs already.
    """
    import fcntl

    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "demo.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(
                f"another demo is running on {data_dir}: wait for it, or set FX_DATA_DIR."
            ) from error
        yield


def clear_killed_runs() -> None:
    """Free what runs hold in Dagster whose process is gone."""
    import dagster as dg

    from fx_pipeline.defs.killed_runs import end_killed_runs

    with dg.DagsterInstance.get() as instance:
        end_killed_runs(instance)


def use_project(project: Path) -> None:
    """Make `project` Dagster's home and the working directory: the paths of dagster.yaml are relative to it."""
    os.chdir(project)
    os.environ["DAGSTER_HOME"] = str(project)
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
