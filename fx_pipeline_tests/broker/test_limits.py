"""The limits that a client keeps."""

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.broker.client import Environment, OandaClient
from fx_pipeline.broker.limits import PacedAdapter, Window
from fx_pipeline.broker.paper.wire import parse_time


class Watch:
    """A clock that moves only while something waits for it."""

    def __init__(self) -> None:
        self.now = 0.0

    def pause(self, seconds: float) -> None:
        self.now += seconds


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.lists(st.floats(0.0, 0.7), min_size=1, max_size=40))
def test_no_second_has_more_than_is_allowed(count: int, gaps: list[float]) -> None:
    watch = Watch()
    window = Window(count, 1.0, watch.pause, lambda: watch.now)
    entered = []
    for gap in gaps:
        watch.now += gap
        before = watch.now
        window.enter()
        entered.append(watch.now)
        # Nobody waits who need not.
        assert watch.now == before or len(entered) > count
    for first, later in zip(entered, entered[count:], strict=False):
        assert later - first >= 1.0 - 1e-9


def test_new_connections_wait_and_kept_ones_do_not(server: str) -> None:
    watch = Watch()
    window = Window(2, 1.0, watch.pause, lambda: watch.now)
    for number in range(5):
        with requests.Session() as session:
            session.mount("http://", PacedAdapter(window))
            for _ in range(3):
                assert session.get(f"{server}/health", timeout=10).ok
        assert watch.now == number // 2


def test_the_client_counts_its_requests_and_connections(server: str) -> None:
    client = OandaClient("paper", "a-token-for-tests", url=server)
    elsewhere = OandaClient("practice", "a-token-for-tests")
    client._requests, client._connections = elsewhere._requests, elsewhere._connections
    for _ in range(3):
        client.candles_page("GBP_JPY", parse_time("2024-01-08T00:00:00Z"), 1)
    assert client._requests is not None and client._connections is not None
    assert len(client._requests._entered) == 3
    assert len(client._connections._entered) == 1


@pytest.mark.parametrize(
    ("environment", "url"), [("practice", None), ("live", None), ("paper", "http://paper.example.org")]
)
def test_every_server_elsewhere_is_asked_within_limits(environment: Environment, url: str | None) -> None:
    client = OandaClient(environment, "a-token-for-tests", url=url)
    assert client._requests is not None and client._connections is not None
    assert (client._requests._entered.maxlen, client._requests._span_s) == (100, 1.0)
    assert (client._connections._entered.maxlen, client._connections._span_s) == (2, 1.0)
    adapter = client._api().client.get_adapter(client.url)
    assert isinstance(adapter, PacedAdapter) and adapter._connections is client._connections


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"])
def test_a_server_on_the_same_machine_is_asked_without_limits_and_once(url: str) -> None:
    client = OandaClient("paper", "a-token-for-tests", url=url)
    assert client._requests is client._connections is None
    adapter = client._api().client.get_adapter(url)
    assert isinstance(adapter, requests.adapters.HTTPAdapter) and not isinstance(adapter, PacedAdapter)
    assert adapter.max_retries.total == 0
