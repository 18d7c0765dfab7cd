"""The paper server, asked by the unmodified oandapyV20 client and by plain HTTP."""

import gzip
import http.client
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest
import requests
from oandapyV20 import API
from oandapyV20.contrib.factories import InstrumentsCandlesFactory
from oandapyV20.endpoints.instruments import InstrumentsCandles
from oandapyV20.exceptions import V20Error

from fx_pipeline.broker.client import OandaClient
from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.broker.paper.embedded import embedded_server, listening
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline.market.candles import CANDLE_SCHEMA, PRICE_COLUMNS
from fx_pipeline.market.errors import ConfigurationError

START = "2024-01-08T00:00:00.000000000Z"
TOKEN = "a-token-for-tests"


def ask(api: API, instrument: str = "GBP_JPY", **parameters: object) -> dict:
    return api.request(InstrumentsCandles(instrument, {"granularity": "M1", **parameters}))


def test_a_page_says_what_the_store_holds(api: API, imported: pa.Table) -> None:
    reply = ask(api, **{"from": START, "count": 5000, "price": "MBA"})
    assert list(reply) == ["instrument", "granularity", "candles"]
    assert (reply["instrument"], reply["granularity"], len(reply["candles"])) == ("GBP_JPY", "M1", 5000)
    assert list(reply["candles"][0]) == ["complete", "volume", "time", "bid", "mid", "ask"]
    rows = imported.slice(0, 5000).to_pylist()
    for candle, row in zip(reply["candles"], rows, strict=True):
        assert candle["time"] == f"{row['time'].strftime('%Y-%m-%dT%H:%M:%S')}.000000000Z"
        assert candle["volume"] == row["volume"]
        assert candle["complete"] is True
        for name in PRICE_COLUMNS:
            side, field = name.split("_")
            assert candle[side][field] == f"{row[name]:.3f}"


def test_defaults_are_oandas(api: API) -> None:
    newest = ask(api)["candles"]
    assert len(newest) == 500
    assert [key for key in newest[0] if key not in ("complete", "volume", "time")] == ["mid"]
    earlier = ask(api, to=newest[0]["time"], count=20)["candles"]
    assert len(earlier) == 20
    assert earlier[-1]["time"] < newest[0]["time"]


def test_a_range_excludes_its_end_and_include_first_takes_pythons_booleans(api: API) -> None:
    window = {"from": START, "to": "2024-01-08T00:10:00Z"}
    whole = ask(api, **window)["candles"]
    assert whole[-1]["time"] < "2024-01-08T00:10"
    assert ask(api, **window, includeFirst=False)["candles"] == whole[1:]


def test_the_librarys_factory_gets_every_candle(api: API, imported: pa.Table) -> None:
    parameters = {"from": "2024-01-08T00:00:00Z", "to": "2024-01-09T00:00:00Z", "granularity": "M1", "count": 500}
    found = {
        candle["time"]
        for request in InstrumentsCandlesFactory("GBP_JPY", parameters)
        for candle in api.request(request)["candles"]
    }
    end = np.datetime64("2024-01-09", "ns")
    assert len(found) == int((imported["time"].to_numpy() < end).sum())


def test_an_instrument_without_imported_candles_is_synthetic_and_says_so(server: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    url = f"{server}/v3/instruments/%s/candles?granularity=M1&count=3&from={START}"
    synthetic = requests.get(url % "EUR_USD", headers=headers, timeout=10)
    real = requests.get(url % "GBP_JPY", headers=headers, timeout=10)
    assert synthetic.headers["FX-Source"] == "synthetic"
    assert real.headers["FX-Source"] == "imported"
    assert synthetic.headers["FX-Quotes"] == real.headers["FX-Quotes"] == "modelled"
    assert synthetic.headers["FX-Revision"] != real.headers["FX-Revision"]
    assert real.headers["RequestID"].isdigit()


@pytest.mark.parametrize("accepts", [True, False])
def test_gzip_only_when_accepted(server: str, accepts: bool) -> None:
    address = urlsplit(server)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept-Datetime-Format": "UNIX"}
    if accepts:
        headers["Accept-Encoding"] = "gzip, deflate"
    connection.request("GET", "/v3/instruments/GBP_JPY/candles?granularity=M1&count=1&from=1704672000", headers=headers)
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    assert (reply.getheader("Content-Encoding") == "gzip") is accepts
    candle = json.loads(gzip.decompress(body) if accepts else body)["candles"][0]
    assert candle["time"] == "1704672000.000000000"


@pytest.mark.parametrize("header", [None, "", "Bearer wrong", f"bearer {TOKEN}", TOKEN])
def test_a_request_without_the_token_is_refused(server: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    reply = requests.get(f"{server}/v3/instruments/GBP_JPY/candles", headers=headers, timeout=10)
    assert reply.status_code == 401
    assert reply.json() == {"errorMessage": "Insufficient authorization to perform request."}


def test_errors_reach_the_client_as_oandas(api: API) -> None:
    with pytest.raises(V20Error) as refused:
        ask(api, "GBP_XXX")
    assert refused.value.code == 400
    assert json.loads(refused.value.msg) == {"errorMessage": "Invalid value specified for 'instrument'"}
    with pytest.raises(V20Error) as refused:
        ask(api, count=5001)
    assert json.loads(refused.value.msg) == {"errorMessage": "Maximum value for 'count' exceeded"}


def test_unknown_paths_and_methods_are_json_too(server: str) -> None:
    assert "errorMessage" in requests.get(f"{server}/v3/nothing", timeout=10).json()
    assert "errorMessage" in requests.post(f"{server}/v3/instruments/GBP_JPY/candles", timeout=10).json()
    assert requests.get(f"{server}/health", timeout=10).json() == {"status": "ok"}


def test_no_data_in_range_is_an_empty_list(api: API) -> None:
    assert ask(api, **{"from": "2024-01-13T00:00:00Z", "to": "2024-01-13T01:00:00Z"})["candles"] == []


def test_a_page_for_this_projects_client_ends_where_its_quotes_change_their_origin(
    tmp_path: Path, imported: pa.Table
) -> None:
    column = CANDLE_SCHEMA.get_field_index("quotes_modelled")
    mixed = imported.set_column(column, CANDLE_SCHEMA.field(column), pa.array(np.arange(len(imported)) >= 40))
    candle_store.upsert(tmp_path, "GBP_JPY", mixed)
    with embedded_server(tmp_path, TOKEN) as (url, _):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        query = f"{url}/v3/instruments/GBP_JPY/candles?granularity=M1&from={START}"
        # Any other client gets what it asked for, as from OANDA.
        others = requests.get(f"{query}&count=100", headers=headers, timeout=10)
        assert (len(others.json()["candles"]), others.headers["FX-Quotes"]) == (100, "mixed")
        first = requests.get(f"{query}&count=100", headers={**headers, "FX-Unmixed": "true"}, timeout=10)
        assert (len(first.json()["candles"]), first.headers["FX-Quotes"]) == (40, "quoted")
        with closing(OandaClient("paper", TOKEN, url=url)) as client:
            page = client.candles_page("GBP_JPY", int(imported["time"][0].value), 100)
        assert (len(page.time_ns), page.quotes) == (40, "quoted")
        range_ = requests.get(f"{query}&to=2024-01-08T02:00:00Z", headers=headers, timeout=10)
        assert len(range_.json()["candles"]) > 100
        assert range_.headers["FX-Quotes"] == "mixed"


def test_a_new_import_is_served_at_once_and_has_another_revision(tmp_path: Path, imported: pa.Table) -> None:
    market = PaperMarket(tmp_path)
    time = imported["time"][0].value
    assert market.source("GBP_JPY") == "synthetic"
    candle_store.upsert(tmp_path, "GBP_JPY", imported.slice(0, 10))
    first = market.revision("GBP_JPY", time)
    assert len(market.forward("GBP_JPY", 0, 2**62, 100).time) == 10
    candle_store.upsert(tmp_path, "GBP_JPY", imported.slice(0, 30))
    assert len(market.forward("GBP_JPY", 0, 2**62, 100).time) == 30
    assert len(market.backward("GBP_JPY", 0, 2**62, 7).time) == 7
    assert market.revision("GBP_JPY", time) != first


def test_the_server_listens_on_loopback_only_and_needs_a_token(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"loopback only.*--public"), listening("0.0.0.0", 0):
        pass
    with listening("0.0.0.0", 0, public=True) as held:
        port = held.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} of 127.0.0.1"), listening("127.0.0.1", port):
            pass
    with pytest.raises(ConfigurationError, match="token"), embedded_server(tmp_path, "\N{SNOWMAN}"):
        pass


def test_the_first_reply_compiles_nothing(tmp_path: Path) -> None:
    # In a process of its own, where nothing has encoded a candle yet.
    script = """
import sys
from pathlib import Path
from fx_pipeline.broker.client import OandaClient
from fx_pipeline.broker.paper import encode
from fx_pipeline.broker.paper.embedded import embedded_server
assert not encode._encode.signatures
with embedded_server(Path(sys.argv[1])) as (url, token):
    ready = list(encode._encode.signatures)
    assert len(OandaClient("paper", token, url=url).candles_page("EUR_USD", 1_704_672_000_000_000_000, 9).time_ns) == 9
    assert ready and encode._encode.signatures == ready
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=120)
