"""The guard before every port of `fx-pipeline ui`: who may ask, and from which page.

Dagster's web server answers whoever reaches it. A browser can be made to reach it by any page that is open in it (a
form or a script that sends requests to 127.0.0.1, a name of the page's own that is made to lead there), and so can
every program and every user of the machine. The guard lets through

- requests to a name that is ours (`Host`): a foreign name that leads here is refused;
- from those who have been at the start address, whose token no page can guess, and have its cookie since; programs
  show the token as `Authorization: Bearer`;
- what changes anything (every method but GET and HEAD, every query to /graphql, every websocket) only where the
  browser says that a page of this very address sent it; programs that show the token are not browsers;
- what other pages load in the background, or in a frame, not at all.

It stops there: whoever can read the token's file, or the user's browser, is the user. Nothing is encrypted.
"""

import hmac
import html
import re
from collections.abc import Mapping, Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "fx_ui"
#: Name of the token in the start address.
PARAMETER = "token"
#: Open without the token: nothing but whether the pipeline is well.
OPEN_PATHS = frozenset({"/health"})
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>\d{1,5}))?")
_HEADERS = (
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_OURS = frozenset(name for name, _ in _HEADERS)


class Guard:
    """An ASGI application before another one.

    Parameters
    ----------
    app : ASGI application
        What is guarded.
    token : str
    hosts : sequence of str
        Names besides loopback, with or without a port, under which browsers may come: those of a reverse proxy.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Sequence[str] = ()) -> None:
        self._app = app
        self._token = token
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._answer(scope)
        if refusal is None:
            await self._app(scope, receive, _with_headers(send) if scope["type"] == "http" else send)
        elif scope["type"] == "websocket":
            # Before it is accepted, this is a 403.
            await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
        else:
            await refusal(scope, receive, _with_headers(send))

    def _answer(self, scope: Scope) -> Response | None:
        headers = _headers(scope)
        host = self._host(headers)
        if host is None:
            return _refused(
                f"This address is not one of this server's names. Use 127.0.0.1 or localhost, or add the name to "
                f"FX_UI_HOSTS ({_shown(headers)})."
            )
        shown_token = _bearer(headers)
        program = shown_token is not None and self._is_token(shown_token) and "origin" not in headers
        if not program:
            origins = headers.get("origin", ())
            if len(origins) > 1 or any(not _same_origin(origin, host) for origin in origins):
                return _refused("Another page sent this request: it was not carried out.")
            if _from_elsewhere(headers) and not _is_visit(scope, headers):
                return _refused("Another page sent this request: it was not carried out.")
        if scope["path"] in OPEN_PATHS and not changes_state(scope):
            return None
        if not program:
            started = self._start(scope)
            if started is not None:
                return started
            if not any(self._is_token(value) for value in _cookies(headers)):
                return _unknown(headers)
            if changes_state(scope) and not headers.get("origin") and headers.get("sec-fetch-site") != ["same-origin"]:
                return _refused(
                    "Nothing says that a page of this server sent this request: it was not carried out. Programs show "
                    "the token of the start address as 'Authorization: Bearer TOKEN'."
                )
        return None

    def _host(self, headers: Mapping[str, list[str]]) -> str | None:
        hosts = headers.get("host", [])
        found = _HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
        if found is None:
            return None
        known = found["name"] in _LOOPBACK or found["name"] in self._hosts or found[0] in self._hosts
        return found[0] if known else None

    def _is_token(self, value: str) -> bool:
        return hmac.compare_digest(value.encode(), self._token.encode())

    def _start(self, scope: Scope) -> Response | None:
        if scope["type"] != "http" or scope["method"] != "GET":
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if not any(name == PARAMETER and self._is_token(value) for name, value in query):
            return None
        rest = urlencode([(name, value) for name, value in query if name != PARAMETER])
        # One slash: with two, a browser would read the name of another server.
        path = "/" + scope.get("raw_path", scope["path"].encode()).decode("latin-1").split("?")[0].lstrip("/\\")
        target = html.escape(path + (f"?{rest}" if rest else ""), quote=True)
        # The page itself goes on: a redirect of a visit that began on another page would come without the cookie.
        page = HTMLResponse(
            f'<!doctype html><meta http-equiv="refresh" content="0;url={target}"><a href="{target}">continue</a>',
            headers={"cache-control": "no-store"},
        )
        page.set_cookie(COOKIE, self._token, path="/", httponly=True, samesite="strict")
        return page


def changes_state(scope: Scope) -> bool:
    """Whether a request may change anything: Dagster carries out mutations in the address of a GET, too."""
    if scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD"):
        return True
    return scope["path"].rstrip("/").endswith("/graphql") and bool(scope["query_string"])


def _same_origin(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin.lower())
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc == host and not parts.path


def _from_elsewhere(headers: Mapping[str, list[str]]) -> bool:
    site = headers.get("sec-fetch-site")
    return site is not None and site not in (["same-origin"], ["none"])


def _is_visit(scope: Scope, headers: Mapping[str, list[str]]) -> bool:
    """Whether the user follows a link: what is loaded then is a page of its own."""
    return (
        scope["type"] == "http"
        and not changes_state(scope)
        and headers.get("sec-fetch-mode") == ["navigate"]
        and headers.get("sec-fetch-dest") == ["document"]
    )


def _headers(scope: Scope) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip())
    return found


def _cookies(headers: Mapping[str, list[str]]) -> list[str]:
    values = []
    for line in headers.get("cookie", ()):
        # One by one: other programs on this machine set cookies of any form, and one that cannot be read hides none.
        for part in line.split(";"):
            try:
                jar = SimpleCookie(part.strip())
            except CookieError:
                continue
            if COOKIE in jar:
                values.append(jar[COOKIE].value)
    return values


def _bearer(headers: Mapping[str, list[str]]) -> str | None:
    lines = headers.get("authorization", [])
    if len(lines) != 1 or not lines[0].lower().startswith("bearer "):
        return None
    return lines[0][len("bearer ") :].strip()


def _shown(headers: Mapping[str, list[str]]) -> str:
    return f"it was asked for as {', '.join(headers.get('host', ())) or 'nothing'}"[:200]


def _refused(text: str) -> Response:
    return PlainTextResponse(text + "\n", 403, headers={"cache-control": "no-store"})


def _unknown(headers: Mapping[str, list[str]]) -> Response:
    said = "Open the start address that 'fx-pipeline ui' printed, or that 'fx-pipeline health --address' prints."
    if "text/html" in " ".join(headers.get("accept", ())):
        page = f"<!doctype html><title>fx-pipeline</title><p>{said}<p>Was it opened before? <a href=''>Continue</a>."
        return HTMLResponse(page, 401, headers={"cache-control": "no-store"})
    return PlainTextResponse(said + "\n", 401, headers={"cache-control": "no-store"})


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message["headers"] if name.lower() not in _OURS]
            message = {**message, "headers": [*kept, *_HEADERS]}
        await send(message)

    return sending
