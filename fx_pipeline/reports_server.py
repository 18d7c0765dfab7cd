"""Serves the report pages on loopback, so that links in the Dagster UI open them."""

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fx_pipeline.market.errors import ConfigurationError


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet: the terminal belongs to Dagster."""


@contextmanager
def serving_reports(folder: Path, port: int) -> Iterator[int]:
    """Serve `folder` on 127.0.0.1 while the body runs, and yield the port (0 picks a free one).

    Raises
    ------
    ConfigurationError
        If the port is taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handler = functools.partial(_Handler, directory=str(folder))
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise ConfigurationError(
            f"port {port} cannot be used ({error.strerror}): choose another --reports-port."
        ) from error
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
