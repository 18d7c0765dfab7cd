"""What puts in order what kills and locks leave: runs that nobody ended, and figures that MLflow could not take."""

import hashlib

import dagster as dg

from fx_pipeline.data_folder import identify
from fx_pipeline.defs.killed_runs import end_killed_runs
from fx_pipeline.defs.requests import Tick
from fx_pipeline.defs.resources import Tracking
from fx_pipeline.settings import load_settings

_OVER = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@dg.op
def bring_into_mlflow(context: dg.OpExecutionContext, tracking: Tracking) -> None:
    """Bring into MLflow what earlier runs left beside it, and end the MLflow runs whose Dagster run is over."""
    store = tracking.mlflow()
    left = store.catch_up()

    def is_over(run_id: str) -> bool:
        run = context.instance.get_run_by_id(run_id)
        return run is None or run.status in _OVER

    for name in store.close_unfinished(is_over):
        context.log.info(f"the MLflow run {name} is ended as KILLED: its Dagster run is over.")
    if left:
        raise dg.Failure(" ".join(left), allow_retries=False)


@dg.job(
    executor_def=dg.in_process_executor,
    description="Bring into MLflow what it could not take while it was locked, and end what kills left running there.",
)
def catch_up_tracking() -> None:
    """Bring into MLflow what it could not take."""
    bring_into_mlflow()


@dg.sensor(
    job=catch_up_tracking,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Ends runs whose process is gone (Dagster then starts them again, as often as their job allows), and asks for "
        "what they logged to be brought into MLflow. Says so if the data folder is a copy of another one."
    ),
)
def tend_runs(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """End runs whose process is gone, and ask for what they left to be brought into MLflow."""
    from fx_pipeline.tracking.spool import left_over

    tick, store = Tick(context), Tracking().mlflow()
    cursor = tick.cursor(context.cursor, {"begun": False, "asked": {"count": 0}})
    with tick.contained("runs"):
        for run_id in end_killed_runs(context.instance):
            tick.say(f"run {run_id[:8]}: its process is gone, so it is ended.")
    layout = load_settings().layout
    if layout.data_dir.is_dir():
        with tick.contained("data folder"):
            if said := identify(layout.data_dir).said:
                tick.say(said)
    left = sorted(folder.name for folder in left_over(store.spools))
    if not cursor["begun"] and store.database is not None and store.database.exists():
        # Once: runs of earlier versions left nothing by which they could be found here.
        left.append("begun")
    cursor["begun"] = True
    if left:
        name = hashlib.sha256(" ".join(left).encode()).hexdigest()[:16]
        request = dg.RunRequest(run_key=f"catch-up|{name}", job_name=catch_up_tracking.name)
        tick.ask_until_done(None, request, cursor["asked"], "what MLflow has not taken")
    return tick.result(cursor, "every run is alive or over, and MLflow has what they logged.")
