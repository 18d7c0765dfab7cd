"""Kills each process of `fx-pipeline ui` again and again, and measures how long it takes until sensors look again.

    python -m benchmarks.supervision [--kills 10] [--parts code,inner,daemon,web,keeper,worker,parent]

It runs the very command on a data folder of its own. "Well again" is: `fx-pipeline health` says so, and a sensor began
to look after the kill. After a kill of the command itself, what is left of its processes is counted.
"""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("code", "inner", "daemon", "web", "keeper", "worker", "parent")
#: What a process of each part has in its command line.
_MARKS = {
    "code": "code-server start",
    "inner": "api grpc",
    "daemon": "fx_pipeline.ui.daemon",
    "web": "fx_pipeline.ui.web",
    "keeper": "fx_pipeline.ui.keeper",
}
_LAUNCH = """mutation($job: String!) { launchRun(executionParams: {selector: {jobName: $job,
  repositoryName: "__repository__", repositoryLocationName: "fx_pipeline.definitions"}, runConfigData: {}}) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
_RUNS = """query($statuses: [RunStatus!]) { runsOrError(filter: {statuses: $statuses}) {
  ... on Runs { results { runId } } } }"""


class Ui:
    """A running `fx-pipeline ui`."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.port, self.reports_port = free_port(), free_port()
        self.log = data / "ui.log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FX_", "DAGSTER_"))}
        self.environment = {**kept, "FX_DATA_DIR": str(data), "FX_PRESET": "tiny", "FX_PROOF_MINUTES": "5"}
        command = ["-m", "fx_pipeline.cli", "ui", "--port", str(self.port), "--reports-port", str(self.reports_port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env=self.environment, stdout=log, stderr=log
            )

    def health(self) -> dict[str, Any]:
        """Return what the health file says."""
        try:
            found: dict[str, Any] = json.loads((self.data / "ui" / "health.json").read_bytes())
        except FileNotFoundError:
            return {"state": "", "problems": [], "last_tick_s": None, "updated_s": 0.0, "process": 0}
        return found

    def is_well(self, since_s: float) -> bool:
        """Whether it is well, and a sensor began to look after that moment."""
        found = self.health()
        mine = found["process"] == self.process.pid and found["updated_s"] > since_s
        return mine and found["state"] == "ready" and not found["problems"] and (found["last_tick_s"] or 0.0) > since_s

    def wait_until_well(self, since_s: float, limit_s: float = 180.0) -> float:
        """Wait for it; return the seconds from that moment on."""
        while not self.is_well(since_s):
            if self.process.poll() is not None:
                raise RuntimeError(f"fx-pipeline ui ended with status {self.process.returncode}: {self.tail()}")
            if time.time() - since_s > limit_s:
                raise RuntimeError(f"not well after {limit_s:.0f} s: {self.health()}\n{self.tail()}")
            time.sleep(0.1)
        return time.time() - since_s

    def ask(self, query: str, **variables: object) -> Any:
        """Ask the Dagster UI, as a program does."""
        token = (self.data / "ui" / "token").read_text()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as reply:
            return json.load(reply)["data"]

    def processes(self) -> dict[int, str]:
        """Return the command lines of all processes on this data folder but the command itself."""
        return {pid: line for pid, line in processes_with(f"FX_DATA_DIR={self.data}") if pid != self.process.pid}

    def tail(self) -> str:
        """Return the end of what was printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def stop(self) -> int:
        """Send SIGTERM, and return the status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
    return port


def processes_with(variable: str) -> Iterator[tuple[int, str]]:
    """Yield id and command line of the processes that have a variable in their environment (Linux)."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            environment = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
            line = (folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
            dead = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if variable in environment and not dead:
            yield int(folder.name), line


@contextmanager
def running() -> Iterator[Ui]:
    """Start one on a fresh data folder, wait until it is well, and end it."""
    with tempfile.TemporaryDirectory(prefix="fx-supervision-") as folder:
        began = time.time()
        ui = Ui(Path(folder))
        try:
            ui.wait_until_well(began)
            yield ui
        finally:
            ui.stop()


def kill_part(ui: Ui, part: str) -> float:
    """Kill a process once, and return the seconds until all is well again."""
    failed = count_runs(ui, "FAILURE")
    pid = (
        a_worker(ui) if part == "worker" else next(pid for pid, line in ui.processes().items() if _MARKS[part] in line)
    )
    began = time.time()
    os.kill(pid, signal.SIGKILL)
    took = ui.wait_until_well(began)
    if part == "worker":
        wait_for(lambda: count_runs(ui, "FAILURE") > failed, "its run counts as failed")
    return took


def count_runs(ui: Ui, status: str) -> int:
    """Return how many runs have that status."""
    return len(ui.ask(_RUNS, statuses=[status])["runsOrError"]["results"])


def a_worker(ui: Ui) -> int:
    """Return the process of a run that takes long: of one that was started again, or of a new one."""
    if not any(count_runs(ui, status) for status in ("QUEUED", "STARTING", "STARTED")):
        reply = ui.ask(_LAUNCH, job="certify")["launchRun"]
        if reply["__typename"] != "LaunchRunSuccess":
            raise RuntimeError(f"no run was launched: {reply}")
    wait_for(lambda: count_runs(ui, "STARTED") > 0 and bool(workers(ui)), "a run is started")
    return workers(ui)[0]


def workers(ui: Ui) -> list[int]:
    """Return the processes of runs."""
    return [pid for pid, line in ui.processes().items() if re.search(r"multiprocessing.*spawn_main", line)]


def wait_for(condition: Callable[[], bool], what: str, limit_s: float = 240.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {limit_s:.0f} s: {what}")
        time.sleep(0.2)


def kill_parent(with_run: bool) -> tuple[float, int]:
    """Kill the command; return the seconds until its processes are gone, and how many are left after ten."""
    with running() as ui:
        if with_run:
            a_worker(ui)
        began = time.monotonic()
        ui.process.kill()
        ui.process.wait()
        while ui.processes() and time.monotonic() - began < 10.0:
            time.sleep(0.02)
        return time.monotonic() - began, len(ui.processes())


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--parts", default=",".join(PARTS))
    options = parser.parse_args()
    parts = options.parts.split(",")
    others = [part for part in parts if part != "parent"]
    if others:
        with running() as ui:
            for part in others:
                times: list[float] = []
                for _ in range(options.kills):
                    times.append(kill_part(ui, part))
                    print(f"{part}: {times[-1]:.1f} s", file=sys.stderr, flush=True)
                print(
                    f"{part:7} killed {len(times)} times: well again after {min(times):.1f} to {max(times):.1f} s "
                    f"({', '.join(f'{took:.1f}' for took in times)})",
                    flush=True,
                )
            status = ui.stop()
            print(f"ended by SIGTERM: status {status}, {len(ui.processes())} processes left", flush=True)
    if "parent" in parts:
        ends = [kill_parent(with_run=number % 2 == 0) for number in range(options.kills)]
        slowest, left = max(took for took, _ in ends), sum(count for _, count in ends)
        print(f"parent  killed {len(ends)} times: all gone within {slowest:.1f} s, {left} processes left", flush=True)


if __name__ == "__main__":
    main()
