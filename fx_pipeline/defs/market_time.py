"""What time the market has: the machine's, or that of a paper server which replays the past."""

import datetime as dt

import numpy as np

from fx_pipeline.settings import Settings

#: Every market has begun by then, and no replay begins before.
_LONG_AGO_NS = int(np.datetime64("1990-01-01", "ns").astype(np.int64))


def machine_ns() -> int:
    """Return the machine's time, UTC nanoseconds."""
    return int(np.datetime64(dt.datetime.now(tz=dt.UTC).replace(tzinfo=None), "ns").astype(np.int64))


def market_ns(settings: Settings, machine_ns: int) -> int:
    """Return the market's time, UTC nanoseconds: one request to a paper server that runs elsewhere, else the machine's.

    Raises
    ------
    BrokerError
        If that server does not answer.
    ConfigurationError
        If its token is missing.
    """
    if not settings.broker_has_the_clock:
        return machine_ns
    from fx_pipeline.broker.client import OandaClient

    token = settings.paper_token.get_secret_value() if settings.paper_token else ""
    # Who looks every few minutes need not try for long.
    client = OandaClient("paper", token, url=settings.paper_url, retries=1)
    try:
        told = client.candles_page(settings.instruments[0], _LONG_AGO_NS, 1).broker_ns
    finally:
        client.close()
    return machine_ns if told is None else told
