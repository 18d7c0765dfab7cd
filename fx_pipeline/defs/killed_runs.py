"""Runs whose process is gone: killed, or cut off with the power. Nobody else ends them, and they would hold pools."""

import os
import subprocess
import time
from pathlib import Path

import dagster as dg

_UNFINISHED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
#: A run that never said which process it has is given up after this long: a living one says so within moments.
_SILENT_S = 600.0
#: Clocks of the kernel and of the event log differ by less.
_SLACK_S = 2.0


def end_killed_runs(instance: dg.DagsterInstance, now_s: float | None = None) -> list[str]:
    """Mark the unfinished runs whose process is gone as failed, and free the pools that they hold.

    Dagster's daemon then starts them again, as often as their job allows (`jobs.AFTER_A_KILL`). A run that was being
    canceled is marked as canceled and stays so. A run that is alive keeps going, whoever started it; queued runs stay
    queued.

    Parameters
    ----------
    instance : DagsterInstance
        Of this machine: its runs' processes are looked for here.
    now_s : float, optional
        Seconds since 1970; the system's clock when absent.

    Returns
    -------
    list of str
        Ids of the runs.
    """
    now = time.time() if now_s is None else now_s
    ended: list[str] = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        process = _process_of(instance, run.run_id)
        alive = now - _last_sign(instance, run) < _SILENT_S if process is None else _is_alive(*process)
        if alive:
            continue
        if run.status == dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, "The process of this run is gone, as it was asked to be.")
        else:
            instance.report_run_failed(run, "The process of this run is gone: it was killed, or the machine went down.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        ended.append(run.run_id)
    return ended


def _process_of(instance: dg.DagsterInstance, run_id: str) -> tuple[int, float] | None:
    # The newest event that names a process id, and when it was logged.
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT).records
    for record in reversed(records):
        event = record.event_log_entry.dagster_event
        found = event.engine_event_data.metadata.get("pid") if event else None
        if found is not None:
            return int(str(found.value)), record.event_log_entry.timestamp
    return None


def _last_sign(instance: dg.DagsterInstance, run: dg.DagsterRun) -> float:
    (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[run.run_id]))
    return record.update_timestamp.timestamp()


def _is_alive(pid: int, logged_s: float) -> bool:
    # A process that began after the run had named its own has only inherited the number.
    began = _began(pid)
    return began is not None and began <= logged_s + _SLACK_S


def _began(pid: int) -> float | None:
    # When a process began, seconds since 1970; None when there is none, or only its remains.
    if not Path("/proc/stat").exists():
        return _began_by_ps(pid)
    try:
        # The name, in brackets, may hold blanks.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    return None if fields[0] == "Z" else float(boot.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _began_by_ps(pid: int) -> float | None:
    done = subprocess.run(["ps", "-o", "etime=", "-p", str(pid)], capture_output=True, text=True, check=False)
    days, _, clock = done.stdout.strip().rpartition("-")
    if not clock:
        return None
    elapsed_s = sum(int(part) * 60**power for power, part in enumerate(reversed(clock.split(":"))))
    return time.time() - elapsed_s - 86_400 * int(days or 0)
