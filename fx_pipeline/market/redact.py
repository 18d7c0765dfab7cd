"""Texts that people and logs see, without the credentials that an address in them may carry."""

import re

# Up to the last @: a password that was not percent-encoded may hold any other character of an address.
_CREDENTIALS = re.compile(r"(?<=://)[^\s\"'<>]*@")


def without_credentials(text: str) -> str:
    """Return a text with `***` for everything between `://` and the last `@` of each address in it."""
    return _CREDENTIALS.sub("***@", text)
