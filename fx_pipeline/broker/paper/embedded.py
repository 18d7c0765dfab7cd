"""The paper broker inside this process (on a free loopback port), or in the foreground for the command line."""

import asyncio
import contextlib
import ipaddress
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.encode import warm_up
from fx_pipeline.broker.paper.exchange import Exchange
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline.broker.paper.protocol import uvicorn_config
from fx_pipeline.broker.paper.server import create_app
from fx_pipeline.market.errors import BrokerError, ConfigurationError
from fx_pipeline.market.instrument import known_instruments

_START_TIMEOUT_S, _STOP_TIMEOUT_S = 20.0, 10.0


@contextlib.contextmanager
def embedded_server(store: Path, token: str | None = None, synthetic: bool = True) -> Iterator[tuple[str, str]]:
    """Run the paper broker in a thread of this process, at the machine's time: its candles are history.

    Parameters
    ----------
    store : Path
        Folder of the candle store.
    token : str, optional
        Bearer token; a random one when absent.
    synthetic : bool
        Whether an instrument without imported candles gets the synthetic market.

    Yields
    ------
    (str, str)
        The server's URL, which answers, and the token.
    """
    token = token or secrets.token_urlsafe(24)
    warm_up()
    exchange = Exchange.history(PaperMarket(store, synthetic), AccountConfig(), known_instruments())
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn_config(create_app(exchange, token)))
        thread = threading.Thread(target=server.run, args=([listener],), name="paper-server", daemon=True)
        thread.start()
        try:
            deadline = time.monotonic() + _START_TIMEOUT_S
            while not server.started:
                if not thread.is_alive() or time.monotonic() > deadline:
                    raise BrokerError("the embedded paper server did not start: look at the log lines above.")
                time.sleep(0.005)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", token
        finally:
            server.should_exit = True
            thread.join(_STOP_TIMEOUT_S)


@contextlib.contextmanager
def listening(host: str, port: int, public: bool = False) -> Iterator[socket.socket]:
    """Hold a port for `serve`.

    Raises
    ------
    ConfigurationError
        If `host` is not a loopback address and `public` does not say that this is wanted, or the port is taken.
    """
    if not public and not _is_loopback(host):
        raise ConfigurationError(
            f"the paper broker listens on loopback only, and {host} is not: use 127.0.0.1, or --public if everyone who "
            "reaches this machine and knows the token may trade."
        )
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            # Until then another process could take the port too. Clients that come before `serve` wait for it.
            listener.listen()
        except OSError as error:
            raise ConfigurationError(
                f"port {port} of {host} cannot be used ({error.strerror}): choose another."
            ) from error
        yield listener


def serve(apps: list[tuple[FastAPI, socket.socket]]) -> None:
    """Run applications on one event loop, each on its socket, until SIGINT or SIGTERM.

    Parameters
    ----------
    apps : list of (FastAPI, socket)
        The paper broker and, if wanted, its control surface.
    """
    servers = [(_Server(uvicorn_config(app)), listener) for app, listener in apps]
    warm_up()

    def stop() -> None:
        for server, _ in servers:
            server.should_exit = True

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        await asyncio.gather(*(server.serve([listener]) for server, listener in servers))

    with asyncio.Runner(loop_factory=servers[0][0].config.get_loop_factory()) as runner:
        runner.run(run())


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own handlers end one server, and raise the signal anew when it has ended.
        yield


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
