"""What may become a link."""

import pytest

from fx_pipeline.market.links import is_web_link


@pytest.mark.parametrize("address", ["http://127.0.0.1:5000/#/runs/1", "https://fx.example.com", "HTTP://x/a?b=c"])
def test_pages_may(address: str) -> None:
    assert is_web_link(address)


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,<script>",
        "vbscript:x",
        "file:///etc/passwd",
        "//evil.example",
        "/report.html",
        "http://",
        "http:///x",
        "http://x:99999",
        "http://[::1",
        "http://a b",
        "",
        None,
        7,
    ],
)
def test_nothing_else_may(address: object) -> None:
    assert not is_web_link(address)
