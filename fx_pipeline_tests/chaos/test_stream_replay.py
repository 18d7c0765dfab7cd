"""Twenty-four simulated hours of prices over HTTP at many times real time: no tick is lost, none comes twice."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from oandapyV20.endpoints.pricing import PricingStream

from fx_pipeline.broker.paper.store import read_month
from fx_pipeline_tests.broker.paper.fidelity.bench import TOKEN
from fx_pipeline_tests.broker.paper.fidelity.markets import HOUR_NS, SWINGS, moment
from fx_pipeline_tests.broker.paper.fidelity.trader import Listener
from fx_pipeline_tests.chaos.conftest import NOON
from fx_pipeline_tests.chaos.test_crash import ACCOUNT, ask, free_port, wait_for

_TICK_NS = HOUR_NS // 240
_HOURS = 24


def expected_ticks(store: Path, name: str, start_ns: int, end_ns: int) -> list[tuple[int, float, float]]:
    """Time, bid and ask of the ticks that the stored bars imply in [start, end]: open, nearer extreme, other, close."""
    found = []
    for bar in read_month(store, name, "2024-01").to_pylist():
        opened = int(bar["time"].timestamp()) * 10**9
        high_first = bar["mid_h"] - bar["mid_o"] <= bar["mid_o"] - bar["mid_l"] + 1e-9
        path = "ohlc" if high_first else "olhc"
        for number, field in enumerate(path):
            tick_ns = opened + number * _TICK_NS
            if start_ns <= tick_ns <= end_ns:
                found.append((tick_ns, bar[f"bid_{field}"], bar[f"ask_{field}"]))
    return found


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("speed", [1000, 10_000])
def test_no_tick_is_lost_in_a_day(speed: int, replay_store: Path, tmp_path: Path) -> None:
    port, control = free_port(), free_port()
    command = [
        *(str(Path(sys.executable).with_name("fx-pipeline")), "broker", "--candles", str(replay_store)),
        *("--port", str(port), "--token", TOKEN, "--speed", "0", "--start", "2024-01-16T10:00:00Z"),
        *("--control-port", str(control), "--state", str(tmp_path / "state")),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process.pid)
        names = {"instruments": ",".join(sorted(SWINGS))}
        listener = Listener(f"http://127.0.0.1:{port}", TOKEN, PricingStream(ACCOUNT, names))
        listener.start()
        assert listener.started_reading.wait(60)
        # Not before: in the seconds that a busy machine needs to connect, the candles would be over.
        assert ask(control, "POST", "/clock", {"speed": speed})[0] == 200
        start_ns = moment(listener.lines[0]["time"][:-1])
        end_ns = start_ns + _HOURS * HOUR_NS
        while moment(listener.lines[-1]["time"][:-1]) < end_ns and listener.is_alive():
            time.sleep(0.1)
    finally:
        process.terminate()
        process.wait(20)
    listener.join(20)
    assert start_ns == NOON - 2 * HOUR_NS
    for name in SWINGS:
        found = [(moment(text[:-1]), float(bid), float(ask)) for text, bid, ask in listener.prices(name)]
        times = [tick[0] for tick in found]
        assert times == sorted(set(times)), "ticks come twice or out of order"
        first_ns = times[0]
        wanted = expected_ticks(replay_store, name, first_ns, end_ns)
        assert len(wanted) >= 4 * 60 * _HOURS - 240
        on_the_grid = {tick[0]: tick for tick in found}
        lost = [tick for tick in wanted if tick[0] not in on_the_grid]
        assert not lost, f"{len(lost)} of {len(wanted)} ticks of {name} are lost, the first {lost[0]}"
        wrong = [
            tick
            for tick in wanted
            if max(abs(tick[1] - on_the_grid[tick[0]][1]), abs(tick[2] - on_the_grid[tick[0]][2])) > 1e-9
        ]
        assert not wrong, wrong[:3]
