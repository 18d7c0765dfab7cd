"""The web server of `fx-pipeline ui`, a process of its own: the Dagster UI and the report pages, behind the guard.

    python -m fx_pipeline.ui.web --workspace FILE --ui-socket N --reports-socket N

The sockets are file descriptors of its parent, which listens already: while this process is started again, a browser
waits instead of being refused.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from fx_pipeline.reports_server import health_endpoint, reports_app
from fx_pipeline.settings import Settings, load_settings
from fx_pipeline.ui.access import access_token
from fx_pipeline.ui.guard import Guard
from fx_pipeline.ui.health import NAME

#: How long a request may take to end when the server stops, seconds.
_STOP_S = 3
#: Of a request beside its body.
HEAD_LIMIT = 1 << 16


def guarded_reports(settings: Settings) -> ASGIApp:
    """Return the report pages behind the guard."""
    reports = reports_app(settings.layout.reports, settings.layout.ui / NAME)
    return Guard(reports, access_token(settings.layout.ui), settings.ui_hosts)


@contextlib.asynccontextmanager
async def guarded_dagster(settings: Settings, workspace: Path) -> AsyncIterator[ASGIApp]:
    """Yield the Dagster UI behind the guard, on the code servers that a workspace file names."""
    import dagster as dg
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget
    from dagster_webserver.app import create_app_from_workspace_process_context
    from dagster_webserver.version import __version__
    from starlette.routing import Route

    with (
        dg.DagsterInstance.get() as instance,
        WorkspaceProcessContext(instance, WorkspaceFileTarget([str(workspace)]), __version__) as context,
    ):
        app = create_app_from_workspace_process_context(context, live_data_poll_rate=2000)
        # Before Dagster's own routes, which answer every address.
        app.router.routes.insert(0, Route("/health", health_endpoint(settings.layout.ui / NAME)))
        yield Guard(app, access_token(settings.layout.ui), settings.ui_hosts)


async def serve(settings: Settings, workspace: Path, ui: socket.socket, reports: socket.socket) -> None:
    """Serve both until a signal comes."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with guarded_dagster(settings, workspace) as dagster:
        servers = [_server(dagster), _server(guarded_reports(settings))]
        running = [
            asyncio.create_task(server.serve(sockets=[listening]))
            for server, listening in zip(servers, (ui, reports), strict=True)
        ]
        waiting = asyncio.create_task(stopping.wait())
        await asyncio.wait([*running, waiting], return_when=asyncio.FIRST_COMPLETED)
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*running)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Two servers share the process, and `serve` takes the signals for both.
        yield


def _server(app: ASGIApp) -> uvicorn.Server:
    # Addresses of the start page hold the token: no access log. Nobody else says where a request came from.
    config = uvicorn.Config(
        app,
        # The other parser of uvicorn keeps headers without end, before the guard can look at them.
        http="h11",
        h11_max_incomplete_event_size=HEAD_LIMIT,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=_STOP_S,
    )
    return _Server(config)


def main() -> None:
    """Run the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--ui-socket", type=int, required=True)
    parser.add_argument("--reports-socket", type=int, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(
        serve(
            load_settings(),
            options.workspace,
            socket.socket(fileno=options.ui_socket),
            socket.socket(fileno=options.reports_socket),
        )
    )
    # Threads that watch the code servers may still sleep.
    os._exit(0)


if __name__ == "__main__":
    main()
