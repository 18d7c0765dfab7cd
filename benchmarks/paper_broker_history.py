"""What one read of a long account costs the others: the part of `benchmarks.paper_broker` with 160,000 transactions.

The account is made in process, the broker is started on its journal, and a client asks it for the account's summary
without a pause while another reads the history in every way. The longest wait of the first is what ticks, heartbeats
and orders would wait.
"""

import http.client
import statistics
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np

TRANSACTIONS, READS = 160_000, 20
_MIB = 1 << 10


def make_history(folder: Path, start: str, transactions: int) -> None:
    """Open an account in `folder / "state"` and trade until it has so many transactions."""
    from fx_pipeline.broker.paper.config import AccountConfig
    from fx_pipeline.broker.paper.exchange import Exchange
    from fx_pipeline.broker.paper.market import PaperMarket

    start_ns = int(np.datetime64(start, "ns").astype(np.int64))
    exchange = Exchange.open(
        PaperMarket(folder / "store"),
        AccountConfig(balance=Decimal(10_000_000)),
        ["EUR_USD"],
        start_ns,
        speed=0.0,
        state_dir=folder / "state",
    )
    desk, number = exchange.desk, 0
    while int(desk.last_transaction_id) < transactions:
        number += 1
        order = {"type": "MARKET", "instrument": "EUR_USD", "units": "100" if number % 2 else "-100"}
        if number % 2:
            order["stopLossOnFill"] = {"distance": "0.01"}
        desk.create_order(order, start_ns, str(number))
    exchange.close()


def ask(connection: http.client.HTTPConnection, path: str, token: str) -> tuple[float, bytes]:
    """Milliseconds and body of a GET."""
    began = time.perf_counter()
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}", "Accept-Encoding": "gzip"})
    body = connection.getresponse().read()
    return (time.perf_counter() - began) * 1e3, body


def history_figures(port: int, process: int, token: str) -> dict[str, float]:
    """Read the history of a running broker in every way.

    Returns
    -------
    dict of str to float
        `page_ms`, the median of a page of `transactions/sinceid`; `slowest_read_ms`, the slowest reply of any kind;
        `stall_ms` and `quiet_ms`, the longest wait of another client meanwhile, and before; `restart_mib`, the most
        memory that the broker took until all was read.
    """
    from fx_pipeline.broker.paper.config import AccountConfig

    account = f"/v3/accounts/{AccountConfig().account}"
    reader, other = (http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(2))

    def longest_wait(work: Callable[[], None]) -> float:
        over = threading.Event()
        waits: list[float] = []

        def wait() -> None:
            while not over.is_set():
                waits.append(ask(other, f"{account}/summary", token)[0])

        thread = threading.Thread(target=wait)
        thread.start()
        try:
            work()
        finally:
            over.set()
            thread.join()
        return max(waits)

    paths = (
        "transactions/sinceid?id=1",
        "transactions?from=2024-01-01T00:00:00Z&pageSize=1",
        f"transactions/idrange?from=1&to={TRANSACTIONS}&type=DAILY_FINANCING",
        "changes?sinceTransactionID=1",
        f"changes?sinceTransactionID={TRANSACTIONS - 1_000}",
        "orders?state=ALL&count=500",
        "orders?state=TRIGGERED&count=500",
        "trades?state=ALL&count=500",
        "trades?state=CLOSED&count=500&beforeID=4000",
    )
    ask(other, f"{account}/summary", token)
    quiet_ms = longest_wait(lambda: time.sleep(1.0))
    pages: list[float] = []
    all_ms: list[float] = []

    def read() -> None:
        for _ in range(READS):
            pages.append(ask(reader, f"{account}/{paths[0]}", token)[0])
        all_ms.extend(ask(reader, f"{account}/{path}", token)[0] for path in paths)

    stall_ms = longest_wait(read)
    status = Path(f"/proc/{process}/status").read_text() if Path(f"/proc/{process}/status").is_file() else ""
    peak = [int(line.split()[1]) / _MIB for line in status.splitlines() if line.startswith("VmHWM")]
    return {
        "page_ms": round(statistics.median(pages), 1),
        "slowest_read_ms": round(max(all_ms), 1),
        "stall_ms": round(stall_ms, 1),
        "quiet_ms": round(quiet_ms, 1),
        "restart_mib": round(peak[0]) if peak else float("nan"),
    }
