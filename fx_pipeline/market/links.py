"""What may become a link on a page."""

from urllib.parse import urlsplit


def is_web_link(address: object) -> bool:
    """Whether a browser that follows this address opens a page: `javascript:` and `data:` run what they say."""
    if not isinstance(address, str) or any(ord(letter) <= 32 or ord(letter) == 127 for letter in address):
        return False
    try:
        parts = urlsplit(address)
        # Reading the port raises ValueError where it is none.
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
