"""The paper server inside this process (on a free loopback port), or in the foreground for the command line."""

import contextlib
import ipaddress
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from fx_pipeline.broker.paper.server import create_app
from fx_pipeline.market.errors import BrokerError, ConfigurationError

_START_TIMEOUT_S, _STOP_TIMEOUT_S = 20.0, 10.0


@contextlib.contextmanager
def embedded_server(store: Path, token: str | None = None, synthetic: bool = True) -> Iterator[tuple[str, str]]:
    """Run the paper server in a thread of this process.

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
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(_config(store, token, synthetic))
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


def serve(
    store: Path, token: str, host: str = "127.0.0.1", port: int = 8700, synthetic: bool = True, public: bool = False
) -> None:
    """Run the paper server until it is interrupted.

    Raises
    ------
    ConfigurationError
        If `host` is not a loopback address and `public` does not say that this is wanted, or the port is taken.
    """
    if not public and not _is_loopback(host):
        raise ConfigurationError(f"the paper server listens on loopback only, and {host} is not: use 127.0.0.1.")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} of {host} cannot be used ({error.strerror}): choose another."
            ) from error
        uvicorn.Server(_config(store, token, synthetic)).run([listener])


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _config(store: Path, token: str, synthetic: bool) -> uvicorn.Config:
    app = create_app(store, token, synthetic)
    return uvicorn.Config(
        app, loop="asyncio", lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
