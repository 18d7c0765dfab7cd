"""No credentials of an address show, however it is written."""

import pytest

from fx_pipeline.market.errors import BrokerError, ConfigurationError, DataError, FxPipelineError
from fx_pipeline.market.redact import without_credentials

SECRET = "s3cret"


@pytest.mark.parametrize(
    "address",
    [
        "http://user:s3cret@host:8700/v3",
        "https://s3cret@host",
        "http://:s3cret@127.0.0.1:8700",
        "http://user:s3cret@[::1]:8700",
        "http://user:p@s3cret@host",
        "http://user:/s3cret@host/path",
        "http://user:s3cret?x#y@host",
        "HTTP://USER:s3cret@HOST",
        "postgresql+psycopg://u:s3cret@db:5432/name",
    ],
)
def test_credentials_become_stars(address: str) -> None:
    for text in (address, f"'{address}' is no address", f"two: {address}, http://host/ and ({address})"):
        shown = without_credentials(text)
        assert SECRET not in shown and "://***@" in shown
    for kind in (FxPipelineError, BrokerError, ConfigurationError, DataError):
        assert SECRET not in str(kind(f"{address} cannot be reached"))


@pytest.mark.parametrize("text", ["http://127.0.0.1:8700/v3/accounts", "a@b.example wrote", "orders/@mine", "", "://"])
def test_other_texts_stay(text: str) -> None:
    assert without_credentials(text) == text
    assert str(DataError(text)) == text
