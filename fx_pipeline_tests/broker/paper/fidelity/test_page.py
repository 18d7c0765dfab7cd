"""The page about the paper broker: its session prints what it says, and its table has every switch."""

import os
import re
import subprocess
import sys
from pathlib import Path

from fx_pipeline.broker.paper.faults import Faults

PAGE = Path(__file__).resolve().parents[4] / "docs" / "paper_broker.md"


def blocks(kind: str) -> list[str]:
    """The page's code blocks of a kind."""
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.S)


def test_the_session_prints_what_the_page_says(tmp_path: Path) -> None:
    (command,), (code,), (printed,) = blocks("bash"), blocks("python"), blocks("text")
    token, program, *arguments = command.split()
    # Ports of the page may be taken; the lines that the broker prints say which it got.
    for option in ("--port", "--control-port"):
        arguments[arguments.index(option) + 1] = "0"
    environment = {**os.environ, "FX_DATA_DIR": str(tmp_path / "data"), "NO_PROXY": "127.0.0.1"}
    environment |= dict([token.split("=")])
    broker = subprocess.Popen(
        [str(Path(sys.executable).with_name(program)), *arguments],
        env=environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert broker.stderr is not None
        addresses: list[str] = []
        while len(addresses) < 2:
            line = broker.stderr.readline()
            assert line, "the broker ended"
            addresses += re.findall(r"http://127\.0\.0\.1:\d+", line)
        environment |= {"PAPER_URL": addresses[0], "PAPER_CONTROL": addresses[1]}
        session = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    finally:
        broker.terminate()
        status = broker.wait(30)
    assert session.stdout == printed, session.stderr
    assert status == 0


def test_the_table_has_every_switch_and_its_meaning() -> None:
    page = PAGE.read_text()
    for name, switch in Faults().describe().items():
        assert re.search(rf"\| `{name}` \|.*\| {re.escape(switch['meaning'])} \|", page), name
