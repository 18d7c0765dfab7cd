"""Addresses that can be used, and what is said of the others without showing them."""

import pytest

from fx_pipeline.market.addresses import server_address
from fx_pipeline.market.errors import ConfigurationError


@pytest.mark.parametrize(
    "text", ["http://127.0.0.1:8700", " https://host ", "http://[::1]:8700", "HTTPS://host/base", "http://host:8700/"]
)
def test_addresses_that_are_used(text: str) -> None:
    assert server_address(text) == text.strip()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("host", "write it as"),
        ("ftp://host", "write it as"),
        ("http://", "write it as"),
        ("http://host:0", "write it as"),
        ("http://host:99999", "write it as"),
        ("http://host:s3cret", "write it as"),
        ("http://[::1", "write it as"),
        ("http://u:s3cret@host", "user name or a password"),
        ("http://s3cret@host:80", "user name or a password"),
        ("http://u:a/s3cret@host", "user name or a password"),
        ("http://u:a?s3cret@host", "user name or a password"),
        ("https://host/?token=s3cret", "begins with"),
        ("https://host#s3cret", "begins with"),
    ],
)
def test_what_is_refused_does_not_show(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        server_address(text)
    assert "u:" not in str(caught.value)
