"""Buy, stop hit, sell, close, reconcile on real candles of January 2024; yen are converted over USD_JPY."""

from decimal import Decimal
from pathlib import Path

import pytest
from oandapyV20.endpoints import trades

from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.exchange import Exchange
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline.ingest.importers import import_files
from fx_pipeline.ingest.layout import paper_store
from fx_pipeline_tests.broker.paper.fidelity.audit import audit
from fx_pipeline_tests.broker.paper.fidelity.bench import TOKEN, running
from fx_pipeline_tests.broker.paper.fidelity.markets import moment
from fx_pipeline_tests.broker.paper.fidelity.strict import StrictSchema
from fx_pipeline_tests.broker.paper.fidelity.trader import Trader, oanda_api

ACCOUNT = AccountConfig().account
_FILES = {
    "EUR_USD": "EUR_USD_M1_2024-01.parquet",
    "GBP_JPY": "GBP_JPY_M1_2024-01_derived.parquet",
    "USD_JPY": "USD_JPY_M1_2024-01.parquet",
}


@pytest.fixture(scope="module")
def store(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("real")
    for name, file in _FILES.items():
        import_files([shared_data / file], name, "parquet", data_dir)
    return paper_store(data_dir)


@pytest.mark.parametrize(("instrument", "pip"), [("EUR_USD", Decimal("0.0001")), ("GBP_JPY", Decimal("0.01"))])
def test_a_session_on_real_candles(instrument: str, pip: Decimal, store: Path, schema: StrictSchema) -> None:
    market = PaperMarket(store, synthetic=False)
    start = moment("2024-01-09T09:00")
    with (
        running(lambda: Exchange.open(market, AccountConfig(), sorted(_FILES), start, 0)) as bench,
        oanda_api(bench.url, TOKEN) as api,
    ):
        trader = Trader(api, ACCOUNT, schema)
        trader.look_at_everything(instrument)
        bid, _ = trader.quote(instrument)
        bought = trader.market(instrument, 5_000, stopLossOnFill={"price": str(bid - 5 * pip)})
        trade_id = bought["orderFillTransaction"]["tradeOpened"]["tradeID"]
        for _ in range(10 * 24):
            if trader.trade(trade_id)["state"] == "CLOSED":
                break
            bench.step(3600)
        stopped = trader.trade(trade_id)
        assert stopped["state"] == "CLOSED"
        assert Decimal(stopped["averageClosePrice"]) <= bid - 5 * pip
        assert stopped["stopLossOrder"]["state"] == "FILLED"
        while not trader.price(instrument)["tradeable"]:
            bench.step(3600)
        sold = trader.market(instrument, -5_000)["orderFillTransaction"]["tradeOpened"]["tradeID"]
        bench.step(600)
        trader.ask(trades.TradeClose(ACCOUNT, sold, {"units": "ALL"}))
        history, summary = trader.history(), trader.summary()
    assert not trader.problems, trader.problems[:20]
    assert audit(history, summary) == []
    assert (summary["openTradeCount"], summary["marginUsed"]) == (0, "0.0000")
