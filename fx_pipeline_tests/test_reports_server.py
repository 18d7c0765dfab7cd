"""The report pages on loopback, for the links of the Dagster UI."""

import socket
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest

from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.reports_server import serving_reports


def get(url: str) -> bytes:
    # Proxies of the user's environment have no business on loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as reply:
        body: bytes = reply.read()
    return body


def test_page_is_served_and_nothing_above_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("no")
    page = tmp_path / "reports" / "muzero" / "EUR_USD" / "2024-01-02" / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("<h1>report</h1>")
    with serving_reports(tmp_path / "reports", 0) as port:
        assert get(f"http://127.0.0.1:{port}/muzero/EUR_USD/2024-01-02/report.html") == b"<h1>report</h1>"
        with pytest.raises(HTTPError):
            get(f"http://127.0.0.1:{port}/../secret")
        with pytest.raises(HTTPError):
            get(f"http://127.0.0.1:{port}/%2e%2e/secret")


def test_folder_need_not_exist_yet(tmp_path: Path) -> None:
    with serving_reports(tmp_path / "reports", 0) as port:
        assert get(f"http://127.0.0.1:{port}/")


def test_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} cannot be used"), serving_reports(tmp_path, port):
            pass
