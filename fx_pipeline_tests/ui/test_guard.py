"""Who may ask, and from which page: harmless requests to the guard before an application that says what reached it."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from fx_pipeline.ui.guard import COOKIE, Guard, changes_state

TOKEN = "a-token-that-nobody-guesses-0123456789"
HOST = "127.0.0.1:3000"
MINE = f"http://{HOST}"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


async def reached(request: Request) -> PlainTextResponse:
    return PlainTextResponse("reached", headers={"X-Frame-Options": "ALLOWALL"})


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("reached")
    await websocket.close()


APP = Starlette(
    routes=[WebSocketRoute("/graphql", socket), Route("/{path:path}", reached, methods=METHODS)],
)
Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask() -> Ask:
    """Sends a request from a browser that has been at the start address, unless the headers say otherwise."""
    client = TestClient(Guard(APP, TOKEN, ("fx.example.com", "proxy.example.com:8443")), base_url=MINE)

    def send(method: str = "GET", path: str = "/", cookie: bool = True, **headers: str) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if cookie:
            sent["cookie"] = f"{COOKIE}={TOKEN}"
        return client.request(method, path, headers=sent, follow_redirects=False)

    return send


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:3000", "localhost", "LOCALHOST:9", "[::1]:3000", "fx.example.com", "fx.example.com:1", HOST],
)
def test_names_that_are_ours(ask: Ask, host: str) -> None:
    assert ask(host=host).text == "reached"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:3000",
        "evil.example:3000",
        "proxy.example.com",
        "localhost:3000@evil.example",
        "127.0.0.1:3000 evil.example",
        "0.0.0.0:3000",
        "127.0.0.2",
        "localhost.",
        "",
    ],
)
def test_foreign_names_are_refused_whoever_asks(ask: Ask, host: str) -> None:
    done = ask(host=host)
    assert done.status_code == 403 and "FX_UI_HOSTS" in done.text
    assert ask(host=host, cookie=False, authorization=f"Bearer {TOKEN}").status_code == 403


@pytest.mark.parametrize("path", ["/", "/server_info", "/graphql", "/logs/a/b", "/health/x", "/report.html"])
def test_nobody_comes_in_without_the_token(ask: Ask, path: str) -> None:
    assert ask(path=path, cookie=False).status_code == 401
    assert ask(path=path, cookie=False, authorization="Bearer x" + TOKEN).status_code == 401
    for value in ("", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper()):
        assert ask(path=path, cookie=False, Cookie=f"{COOKIE}={value}").status_code == 401
        assert ask(path=f"{path}?token={value}", cookie=False).status_code == 401


def test_the_start_address_lets_a_browser_in(ask: Ask) -> None:
    done = ask(path=f"/runs?token={TOKEN}&view=a%22%3E%3Cscript%3E", cookie=False)
    assert done.status_code == 200
    assert "HttpOnly" in done.headers["set-cookie"] and "samesite=strict" in done.headers["set-cookie"].lower()
    # The page goes on without the token, and nothing of the address becomes markup.
    assert TOKEN not in done.text and "<script" not in done.text and "/runs?view=" in done.text
    assert ask(path=f"//evil.example/x?token={TOKEN}", cookie=False).text.count("//") == 0


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/graphql", "/report_asset_materialization/a", "/", "/health"])
def test_what_changes_something_comes_from_a_page_of_ours(ask: Ask, method: str, path: str) -> None:
    assert ask(method, path, origin=MINE).text == "reached"
    assert ask(method, path, sec_fetch_site="same-origin").text == "reached"
    for origin in (
        "http://evil.example",
        "null",
        "http://127.0.0.1:3001",
        "http://localhost:3000",
        "file://",
        MINE + "/",
    ):
        assert ask(method, path, origin=origin).status_code == 403
    assert ask(method, path, origin="https://127.0.0.1.evil.example").status_code == 403
    for site in ("cross-site", "same-site", "none"):
        assert ask(method, path, sec_fetch_site=site).status_code == 403
    # An old browser's form says nothing at all.
    assert ask(method, path).status_code == 403
    assert ask(method, path, cookie=False, origin=MINE).status_code == 401


def test_a_query_in_an_address_is_a_change(ask: Ask) -> None:
    mutation = "/graphql?query=mutation%7Blogout%7D"
    visit = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert ask(path=mutation, sec_fetch_site="cross-site", **visit).status_code == 403
    assert ask(path=mutation, sec_fetch_site="none", **visit).status_code == 403
    assert ask(path=mutation).status_code == 403
    assert ask(path="/graphql/?query=x").status_code == 403
    assert ask(path=mutation, sec_fetch_site="same-origin").text == "reached"
    assert changes_state({"type": "http", "method": "HEAD", "path": "/graphql", "query_string": b"query=x"})


def test_links_open_and_nothing_is_loaded_for_other_pages(ask: Ask) -> None:
    visit = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert ask(path="/runs", **visit).text == "reached"
    for dest, mode in (("iframe", "navigate"), ("image", "no-cors"), ("script", "no-cors"), ("empty", "cors")):
        assert ask(path="/runs", **{**visit, "sec_fetch_dest": dest, "sec_fetch_mode": mode}).status_code == 403
        same_site = {"sec_fetch_site": "same-site", "sec_fetch_dest": dest, "sec_fetch_mode": mode}
        assert ask(path="/runs", **same_site).status_code == 403


def test_programs_show_the_token(ask: Ask) -> None:
    assert ask("POST", "/graphql", cookie=False, authorization=f"Bearer {TOKEN}").text == "reached"
    assert ask("POST", "/graphql", cookie=False, authorization=f"bearer {TOKEN}").text == "reached"
    # A page that knows the token would be one, too: it is none, as browsers say where they come from.
    evil = {"authorization": f"Bearer {TOKEN}", "origin": "http://evil.example"}
    assert ask("POST", "/graphql", cookie=False, **evil).status_code == 403


def test_health_is_open_to_programs_of_this_machine(ask: Ask) -> None:
    assert ask(path="/health", cookie=False).text == "reached"
    assert ask(path="/health", cookie=False, host="evil.example").status_code == 403
    assert ask("POST", "/health", cookie=False).status_code == 401


def test_answers_say_that_no_other_page_may_show_them(ask: Ask) -> None:
    for done in (ask(), ask(cookie=False)):
        assert done.headers["x-frame-options"] == "SAMEORIGIN"
        assert done.headers["cross-origin-resource-policy"] == "same-origin"


def test_cookies_of_other_programs_do_no_harm(ask: Ask) -> None:
    for line in (f"a=b; {COOKIE}=old; {COOKIE}={TOKEN}; c", f"[x]={{}}; {COOKIE}={TOKEN}", f"{COOKIE}={TOKEN}; =;;"):
        assert ask(cookie=False, Cookie=line).text == "reached"


@pytest.mark.parametrize(
    ("headers", "opens"),
    [
        ({}, False),
        ({"cookie": f"{COOKIE}={TOKEN}"}, False),
        ({"cookie": f"{COOKIE}={TOKEN}", "origin": "http://evil.example"}, False),
        ({"cookie": f"{COOKIE}={TOKEN}", "origin": "http://127.0.0.1:3001"}, False),
        ({"origin": MINE}, False),
        ({"cookie": f"{COOKIE}={TOKEN}", "origin": MINE}, True),
        ({"authorization": f"Bearer {TOKEN}"}, True),
        ({"authorization": f"Bearer {TOKEN}", "host": "evil.example"}, False),
    ],
)
def test_websockets(headers: dict[str, str], opens: bool) -> None:
    client = TestClient(Guard(APP, TOKEN), base_url=MINE)
    try:
        with client.websocket_connect("/graphql", headers={"host": HOST, **headers}) as opened:
            assert opens and opened.receive_text() == "reached"
    except WebSocketDisconnect as closed:
        assert not opens and closed.code == 1008


@pytest.mark.parametrize("hosts", [[], [b"127.0.0.1:3000", b"evil.example"], [b"127.0.0.1:3000", b"127.0.0.1:3000"]])
def test_no_host_or_two_are_refused(hosts: list[bytes]) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [(b"cookie", f"{COOKIE}={TOKEN}".encode()), *((b"host", host) for host in hosts)],
    }
    asyncio.run(Guard(APP, TOKEN)(scope, None, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 403
