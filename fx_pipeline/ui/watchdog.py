"""Looks whether the processes of `fx-pipeline ui` do their work: not only whether they live.

It asks the code servers and the web server, and looks in Dagster's store when a sensor began to look last. Dagster's
own daemon calls itself healthy while no sensor is asked at all, for want of a code server.
"""

import http.client
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Names of the processes, as the watchdog and the supervisor call them.
WEB, DAEMON = "the web server", "the daemon"

#: Between two looks.
EVERY_S = 2.0
#: A server that has not answered for so long is started again; a new one has longer.
SILENT_S, STARTING_S = 30.0, 180.0
#: One that says so often in a row, and at once, that it cannot answer, sooner.
MOST_REFUSALS = 3
#: Without a tick of any sensor for so many intervals of the quickest, at least for so long, ticks have stopped.
INTERVALS, LEAST_TICK_S = 4, 120.0
#: The machine slept when a look comes so much later than it should.
_SLEPT_S = 15.0
_TIMEOUT_S, _AT_ONCE_S = 5.0, 1.0
#: The processes of runs are given so long to be gone with their code server.
_LOST_RUNS_S = 3.0

_SENSORS = """{ workspaceOrError { __typename ... on PythonError { message } ... on Workspace { locationEntries { name
  locationOrLoadError { __typename ... on PythonError { message } ... on RepositoryLocation {
    repositories { sensors { name minIntervalSeconds sensorState { status } } } } } } } } }"""


@dataclass
class Findings:
    """What a look found.

    Attributes
    ----------
    looked_s : float
        When the last look was complete, on the monotonic clock.
    answered_s : dict
        For each server when it answered last, on the monotonic clock.
    refused : dict
        How often in a row a server said at once that it cannot answer, which a busy one does not.
    heartbeat_s : float or None
        The daemon's newest sign of life, seconds since 1970.
    tick_s : float or None
        When a sensor began to look last, seconds since 1970.
    ticked_s : float or None
        When a sensor was done last, seconds since 1970.
    tick_limit_s : float or None
        How old that may become; None while no sensor is on, or nobody knows yet.
    problems : dict
        What is wrong, by what is concerned.
    lost_runs : list of str
        Ids of runs that were marked as failed since the last call of `Watchdog.findings`: their process is gone.
    since_s : float
        Before this, seconds since 1970, nobody could tick: the machine slept, or the daemon was started.
    """

    looked_s: float = 0.0
    answered_s: dict[str, float] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    heartbeat_s: float | None = None
    tick_s: float | None = None
    ticked_s: float | None = None
    tick_limit_s: float | None = None
    problems: dict[str, str] = field(default_factory=dict)
    lost_runs: list[str] = field(default_factory=list)
    since_s: float = field(default_factory=time.time)


def ticks_have_stopped(findings: Findings, now_s: float) -> bool:
    """Whether sensors are on, and none has looked for too long."""
    if findings.tick_limit_s is None:
        return False
    return now_s - max(findings.tick_s or 0.0, findings.since_s) > findings.tick_limit_s


def tick_limit(locations: Sequence[Mapping[str, Any]]) -> float | None:
    """Return how old the newest tick may be, from what the web server says of the code locations."""
    intervals = [
        float(sensor["minIntervalSeconds"] or 0)
        for location in locations
        for repository in location["locationOrLoadError"].get("repositories", ())
        for sensor in repository["sensors"]
        if sensor["sensorState"]["status"] == "RUNNING"
    ]
    return max(LEAST_TICK_S, INTERVALS * min(intervals)) if intervals else None


class Watchdog:
    """A thread that looks again and again.

    Parameters
    ----------
    sockets : mapping
        For each code server the socket it listens on.
    port : int
        Of the Dagster UI.
    token : str
    """

    def __init__(self, sockets: Mapping[str, Path], port: int, token: str) -> None:
        self._sockets = dict(sockets)
        self._port = port
        self._token = token
        self._findings = Findings()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._lost_runs_from: float | None = None
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._findings.looked_s = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join(2 * _TIMEOUT_S)

    def findings(self) -> Findings:
        """Return what was found last."""
        with self._lock:
            copy = deepcopy(self._findings)
            self._findings.lost_runs.clear()
            return copy

    def begin_again(self, code_server: bool = False) -> None:
        """Give the sensors time: what they are asked by was started again; with a code server its runs ended."""
        with self._lock:
            self._findings.since_s = time.time()
            self._lost_runs_from = time.monotonic() + _LOST_RUNS_S if code_server else self._lost_runs_from

    def _run(self) -> None:
        import dagster as dg

        last = time.time()
        with dg.DagsterInstance.get() as instance:
            while not self._stop.is_set():
                if time.time() - last > EVERY_S + _SLEPT_S + 3 * _TIMEOUT_S:
                    self.begin_again()
                last = time.time()
                for name, socket in self._sockets.items():
                    self._look(name, lambda socket=socket: _ask_code_server(socket))  # type: ignore[misc]
                locations = self._look(WEB, lambda: _ask_web_server(self._port, self._token))
                if locations is not None:
                    self._judge(locations)
                store = self._look("Dagster's store", lambda: _ask_store(instance))
                if self._lost_runs_from is not None and time.monotonic() > self._lost_runs_from:
                    self._mark_lost_runs(instance)
                with self._lock:
                    if store is not None:
                        self._findings.heartbeat_s, self._findings.tick_s, self._findings.ticked_s = store
                    self._findings.looked_s = time.monotonic()
                self._stop.wait(EVERY_S)

    def _mark_lost_runs(self, instance: Any) -> None:
        from fx_pipeline.defs.killed_runs import end_killed_runs

        asked = self._lost_runs_from
        lost = self._look("Dagster's store", lambda: end_killed_runs(instance))
        if lost is not None:
            with self._lock:
                self._findings.lost_runs += lost
                # Unless another code server ended meanwhile.
                self._lost_runs_from = None if self._lost_runs_from == asked else self._lost_runs_from

    def _look(self, name: str, ask: Callable[[], Any]) -> Any:
        began = time.monotonic()
        try:
            answer = ask()
        except Exception as error:
            # Whatever goes wrong in asking is the finding: it is shown, and acted on when it lasts.
            lines = str(error).strip().splitlines() or [type(error).__name__]
            with self._lock:
                self._findings.problems[name] = f"{name} does not answer: {lines[0]}"
                if time.monotonic() - began < _AT_ONCE_S:
                    self._findings.refused[name] = self._findings.refused.get(name, 0) + 1
            return None
        with self._lock:
            self._findings.problems.pop(name, None)
            self._findings.refused.pop(name, None)
            self._findings.answered_s[name] = time.monotonic()
        return answer

    def _judge(self, locations: Sequence[Mapping[str, Any]]) -> None:
        wrong = [
            f"{location['name']} cannot be loaded: {location['locationOrLoadError']['message'].strip()}"
            for location in locations
            if location["locationOrLoadError"] and location["locationOrLoadError"]["__typename"] != "RepositoryLocation"
        ]
        known = [location for location in locations if location["locationOrLoadError"]]
        with self._lock:
            self._findings.tick_limit_s = tick_limit(known) if not wrong else self._findings.tick_limit_s
            if wrong:
                self._findings.problems["code"] = "; ".join(wrong)
            else:
                self._findings.problems.pop("code", None)


def _ask_code_server(socket: Path) -> str:
    from dagster._grpc.client import DagsterGrpcClient

    return DagsterGrpcClient(socket=str(socket)).get_server_id(timeout=int(_TIMEOUT_S))


def _ask_web_server(port: int, token: str) -> list[dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request("POST", "/graphql", json.dumps({"query": _SENSORS}), headers)
        reply = connection.getresponse()
        body = reply.read()
    finally:
        connection.close()
    if reply.status != 200:
        raise RuntimeError(f"status {reply.status}: {body[:200].decode(errors='replace')}")
    workspace = json.loads(body)["data"]["workspaceOrError"]
    if workspace["__typename"] != "Workspace":
        raise RuntimeError(str(workspace.get("message", workspace)))
    locations: list[dict[str, Any]] = workspace["locationEntries"]
    return locations


def _ask_store(instance: Any) -> tuple[float | None, float | None, float | None]:
    """Return the daemon's newest heartbeat, and when a sensor began and was done last, seconds since 1970."""
    from dagster._core.definitions.run_request import InstigatorType

    heartbeats = [beat.timestamp for beat in instance.get_daemon_heartbeats().values()]
    states = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    known = [state.instigator_data for state in states if state.instigator_data is not None]
    began = [data.last_tick_start_timestamp for data in known if data.last_tick_start_timestamp is not None]
    done = [data.last_tick_timestamp for data in known if data.last_tick_timestamp is not None]
    return max(heartbeats, default=None), max(began, default=None), max(done, default=None)
