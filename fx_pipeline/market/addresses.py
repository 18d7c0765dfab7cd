"""Addresses of servers that a user sets."""

from urllib.parse import urlsplit

from fx_pipeline.market.errors import ConfigurationError


def server_address(text: str) -> str:
    """Check the address of an HTTP server, to which paths are appended; return it without blanks around it.

    Raises
    ------
    ConfigurationError
        If it is none, or holds what would be shown wherever the address is: credentials, or a query.
    """
    address = text.strip()
    refuse_credentials(address)
    try:
        parts = urlsplit(address)
        # Reading the port raises ValueError where it is none.
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ConfigurationError(f"write it as http://host:port or https://host ({error}).") from error
    if not usable:
        raise ConfigurationError("write it as http://host:port or https://host.")
    if parts.query or parts.fragment:
        raise ConfigurationError("leave out what begins with ? or #: paths are appended to the address.")
    return address


def refuse_credentials(address: str) -> None:
    """Refuse an address with a user name or password in it: it is shown in messages, pages and logs.

    Raises
    ------
    ConfigurationError
        If there is an @ in it.
    """
    if "@" in address:
        raise ConfigurationError(
            "it holds a user name or a password (what stands before @), which would be shown with it: leave them out. "
            "A paper server takes its token from FX_PAPER_TOKEN."
        )
