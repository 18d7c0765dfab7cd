"""`fx-pipeline ui`: code servers, daemon and web server, started again when they end, and ended together.

What holds: a process that is killed, ends or hangs is started again within moments, and it is said; one that cannot be
kept running ends the command with status 1; when the command ends, however it ends, none of its processes is left.
Runs live in the group of their code server and end with it: Dagster's daemon starts those that may be repeated again.
"""

import fcntl
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fx_pipeline.market.errors import ConfigurationError, FxPipelineError, StorageError
from fx_pipeline.settings import Settings, pin_settings
from fx_pipeline.ui.access import access_token
from fx_pipeline.ui.children import Child, Keeper
from fx_pipeline.ui.guard import PARAMETER
from fx_pipeline.ui.health import FAILED, NAME, READY, STARTING, STOPPED, STOPPING, Health, write_health
from fx_pipeline.ui.watchdog import (
    DAEMON,
    MOST_REFUSALS,
    SILENT_S,
    STARTING_S,
    WEB,
    Findings,
    Watchdog,
    ticks_have_stopped,
)

Say = Callable[[str], None]

_EVERY_S, _HEALTH_EVERY_S = 0.2, 1.0
#: How long daemon and web server may take to end by themselves.
_STOP_S = 8.0
#: Times in a row that ticks may stop although everything was started again.
_MOST_STOPS = 3
#: The watchdog itself hangs when a look takes so long.
_LOOK_S = 60.0
_SAID = 20


class SupervisionError(FxPipelineError):
    """A process that cannot be kept running."""

    status = 1


@dataclass(frozen=True)
class UiOptions:
    """What the command line says.

    Attributes
    ----------
    port, reports_port : int
        Of the Dagster UI and the report pages; 0 for any free one.
    """

    port: int
    reports_port: int


@contextmanager
def only_one(settings: Settings) -> Iterator[None]:
    """Keep a second `fx-pipeline ui` off the same data folder.

    Raises
    ------
    ConfigurationError
        If one runs already.
    """
    settings.layout.ui.mkdir(parents=True, exist_ok=True)
    with (settings.layout.ui / "lock").open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.seek(0)
            holder = handle.read().strip()
            raise ConfigurationError(
                f"fx-pipeline ui runs already on {settings.data_dir}{f' (process {holder})' if holder else ''}: "
                "fx-pipeline health --address prints where; or set FX_DATA_DIR to another folder."
            ) from error
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def listen(port: int, option: str) -> socket.socket:
    """Listen on loopback.

    Raises
    ------
    ConfigurationError
        If the port is taken.
    """
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ConfigurationError(f"port {port} cannot be used ({error.strerror}): choose another {option}.") from error
    return listening


def code_servers(project: Path, folder: Path) -> tuple[list[Child], dict[str, Path], Path]:
    """Return the code servers that the project's workspace names, their sockets, and a workspace of these sockets."""
    from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin
    from dagster._core.workspace.load_target import WorkspaceFileTarget

    children: list[Child] = []
    sockets: dict[str, Path] = {}
    served: list[dict[str, Any]] = []
    for number, origin in enumerate(WorkspaceFileTarget([str(project / "workspace.yaml")]).create_origins()):
        if not isinstance(origin, ManagedGrpcPythonEnvCodeLocationOrigin):
            raise ConfigurationError(
                f"workspace.yaml has the code location {origin.location_name}, which is a server that runs elsewhere: "
                "fx-pipeline ui starts the servers itself. Give the module, or use dagster dev."
            )
        target = origin.loadable_target_origin
        name, path = f"the code server of {origin.location_name}", folder / f"code-{number}.sock"
        command = [
            *(target.executable_path or sys.executable, "-m", "dagster", "code-server", "start"),
            *("--socket", str(path), "--location-name", origin.location_name, "--log-level", "warning"),
            *target.get_cli_args(),
        ]
        children.append(Child(name, command))
        sockets[name] = path
        spec = {"location_name": origin.location_name, "socket": str(path), "host": "localhost"}
        served.append({"grpc_server": {**spec, "additional_metadata": target.as_dict}})
    workspace = folder / "workspace.yaml"
    workspace.write_text(yaml.safe_dump({"load_from": served}))
    return children, sockets, workspace


class Supervisor:
    """Keeps the processes running.

    Parameters
    ----------
    settings : Settings
    children : list of Child
        In the order in which they are started.
    watchdog : Watchdog
    keeper : Keeper
    addresses : dict
        What to open.
    say : callable
        Takes a line for people.
    """

    def __init__(
        self,
        settings: Settings,
        children: list[Child],
        watchdog: Watchdog,
        keeper: Keeper,
        addresses: dict[str, str],
        say: Say,
    ) -> None:
        self._settings = settings
        self._children = children
        self._watchdog = watchdog
        self._keeper = keeper
        self._say = say
        self._said: deque[str] = deque(maxlen=_SAID)
        self._health = Health(STARTING, os.getpid(), time.time(), addresses)
        self._wrote = 0.0
        self._is_unwritten = False
        self._stops = 0
        self._began_s = time.time()
        self.asked_to_end = threading.Event()

    def run(self) -> None:
        """Start everything, and keep it running until it is asked to end.

        Raises
        ------
        SupervisionError
            If a process cannot be kept running, or sensors do not look although all was started again.
        """
        self._keeper.start()
        self._watchdog.start()
        while not self.asked_to_end.is_set():
            if self._keeper.revive():
                self.tell("the keeper was ended: started again")
            found = self._watchdog.findings()
            for child in self._children:
                ended = child.ended()
                if ended is not None:
                    self._again(child, ended)
                if child.is_due and (child.starts or self._may_begin(child, found)):
                    self._start(child)
            self._act(found)
            time.sleep(_EVERY_S)

    def end(self, error: BaseException | None) -> None:
        """End every process, and mark the runs that end with them."""
        self._health.state = STOPPING
        self._publish(force=True)
        for child in self._children:
            if child.name in (WEB, DAEMON):
                child.ask_to_end()
        deadline = time.monotonic() + _STOP_S
        while time.monotonic() < deadline and any(
            child.pid and child.ended() is None for child in self._children if child.name in (WEB, DAEMON)
        ):
            time.sleep(0.05)
        for child in self._children:
            group = child.end(again=False)
            if group is not None:
                self._keeper.tell("gone", group)
        self._watchdog.stop()
        try:
            self._mark_lost_runs()
        except Exception as problem:
            # Nothing is left to end; the next start marks them.
            self.tell(f"runs could not be marked as ended, the next start does it: {problem}")
        self._health.state = FAILED if error is not None else STOPPED
        self._health.problems = [str(error)] if error is not None else []
        self._publish(force=True)

    def tell(self, line: str) -> None:
        """Say a line, and keep it for the health file."""
        self._said.append(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC {line}")
        self._say(line)

    def _may_begin(self, child: Child, found: Findings) -> bool:
        # Daemon and web server would only complain before the code is there; a code server that takes long shows why.
        servers = [other for other in self._children if other.name not in (WEB, DAEMON)]
        waited = time.time() - self._began_s > SILENT_S
        return child in servers or waited or all(server.name in found.answered_s for server in servers)

    def _start(self, child: Child) -> None:
        self._keeper.tell("group", child.start())

    def _again(self, child: Child, why: str) -> None:
        group = child.end()
        if group is not None:
            self._keeper.tell("gone", group)
        # While the disk takes nothing no start can succeed, and none of them is the process's own failure.
        if child.is_given_up and not self._is_unwritten:
            raise SupervisionError(f"{child.name} {why}, {child.failures} times in a row: fx-pipeline ui ends.")
        child.problem = why
        self.tell(f"{child.name} {why}: started again")
        if child.name != WEB:
            self._watchdog.begin_again(code_server=child.name != DAEMON)

    def _act(self, found: Findings) -> None:
        now = time.monotonic()
        for child in self._children:
            answered = found.answered_s.get(child.name)
            started = now - child.age_s
            if child.name == DAEMON or child.pid is None:
                continue
            if answered is not None and answered > started:
                child.problem = ""
                child.is_sound = child.is_sound or child.name == WEB
                silent = now - answered > SILENT_S or found.refused.get(child.name, 0) > MOST_REFUSALS
            else:
                silent = child.age_s > STARTING_S
            # What hangs is the watchdog where nothing was looked at since.
            if silent and found.looked_s > now - SILENT_S:
                self._again(child, f"has not answered for {now - max(answered or started, started):.0f} s")
        if ticks_have_stopped(found, time.time()):
            self._stops += 1
            line = f"no sensor has looked for {time.time() - max(found.tick_s or 0.0, found.since_s):.0f} s"
            if self._stops > _MOST_STOPS:
                detail = found.problems.get("code", "see what the processes printed")
                raise SupervisionError(f"{line}, and starting all again did not help: {detail}")
            self.tell(f"{line}: the daemon and the code servers are started again")
            for child in self._children:
                if child.name != WEB and child.pid is not None:
                    self._again(child, "did not tick")
        elif found.ticked_s is not None and found.ticked_s > found.since_s:
            self._stops = 0
            for child in self._children:
                child.is_sound = child.is_sound or found.ticked_s > time.time() - child.age_s
        daemon = next(child for child in self._children if child.name == DAEMON)
        if found.heartbeat_s is not None and found.heartbeat_s > time.time() - daemon.age_s:
            daemon.problem = ""
        self._tell_lost_runs(found.lost_runs)
        self._describe(found, now)

    def _describe(self, found: Findings, now: float) -> None:
        health = self._health
        health.last_tick_s, health.tick_limit_s = found.tick_s, found.tick_limit_s
        problems = [f"{child.name} {child.problem}" for child in self._children if child.problem]
        problems += list(found.problems.values())
        if now - found.looked_s > _LOOK_S:
            problems.append(f"the watchdog has not finished a look for {now - found.looked_s:.0f} s")
        health.problems = problems
        if health.state == STARTING:
            health.problems = []
            seen = all(child.name in found.answered_s for child in self._children if child.name != DAEMON)
            beats = found.heartbeat_s is not None and found.heartbeat_s > self._began_s
            if seen and beats and not found.problems:
                health.state = READY
                self.tell("ready")
            elif seen and found.problems:
                health.problems = list(found.problems.values())
        self._publish()

    def _publish(self, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._wrote < _HEALTH_EVERY_S:
            return
        self._wrote = now
        self._health.updated_s = time.time()
        self._health.said = list(self._said)
        self._health.parts = {
            child.name: {"process": child.pid, "starts": child.starts, "problem": child.problem}
            for child in self._children
        } | {"the keeper": {"process": self._keeper.pid, "starts": 1, "problem": ""}}
        try:
            write_health(self._settings.layout.ui / NAME, self._health)
        except StorageError as error:
            # A disk that is full for a while must not end what runs. Others see the file grow old, and judge it so.
            if not self._is_unwritten:
                self.tell(f"{error} What runs goes on.")
            self._is_unwritten = True
            return
        if self._is_unwritten:
            self.tell("the health file is written again")
        self._is_unwritten = False

    def _tell_lost_runs(self, runs: list[str]) -> None:
        for run in runs:
            self.tell(f"run {run.split('-')[0]} ended with its code server: it is started again if it may be")

    def _mark_lost_runs(self) -> None:
        """Mark the runs that ended with the code servers, which cannot say so themselves."""
        import dagster as dg

        from fx_pipeline.defs.killed_runs import end_killed_runs

        with dg.DagsterInstance.get() as instance:
            self._tell_lost_runs(end_killed_runs(instance))


def run_ui(options: UiOptions, settings: Settings, project: Path, say: Say) -> None:
    """Run the pipeline until SIGINT or SIGTERM.

    Raises
    ------
    ConfigurationError
        If a port is taken, or one runs already on this data folder.
    SupervisionError
        If a process cannot be kept running.
    """
    with ExitStack() as stack:
        stack.enter_context(only_one(settings))
        ui = stack.enter_context(listen(options.port, "--port"))
        reports = stack.enter_context(listen(options.reports_port, "--reports-port"))
        token = access_token(settings.layout.ui)
        ports = ui.getsockname()[1], reports.getsockname()[1]
        addresses = {"dagster": f"http://127.0.0.1:{ports[0]}/", "reports": f"http://127.0.0.1:{ports[1]}/"}
        # The code location reads it when it loads. Whoever serves the reports under another name says so.
        if settings.reports_url == type(settings).model_fields["reports_url"].default:
            os.environ["FX_REPORTS_URL"] = addresses["reports"].rstrip("/")
        pin_settings()
        # Short, for the socket's sake, and nobody else's.
        folder = Path(tempfile.mkdtemp(prefix="fx-ui-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        servers, sockets, workspace = code_servers(project, folder)
        module = [sys.executable, "-m"]
        daemon = Child(DAEMON, [*module, "fx_pipeline.ui.daemon", "--workspace", str(workspace)])
        files = (ui.fileno(), reports.fileno())
        named = ("--ui-socket", str(files[0]), "--reports-socket", str(files[1]))
        web = Child(WEB, [*module, "fx_pipeline.ui.web", "--workspace", str(workspace), *named], files)
        keeper = Keeper()
        keeper.tell("folder", folder)
        supervisor = Supervisor(
            settings, [*servers, daemon, web], Watchdog(sockets, ports[0], token), keeper, addresses, say
        )
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # A shell starts background jobs with SIGINT ignored, and Ctrl-C again should not cut the clean-up short.
            stack.callback(signal.signal, number, signal.signal(number, lambda *_: supervisor.asked_to_end.set()))
        for name, address in addresses.items():
            title = "Dagster UI" if name == "dagster" else "reports   "
            say(f"{title}: {address}?{PARAMETER}={token}")
        say("starting ...")
        error: BaseException | None = None
        try:
            supervisor.run()
        except BaseException as raised:
            error = raised
            raise
        finally:
            supervisor.end(error)
            keeper.dismiss()
