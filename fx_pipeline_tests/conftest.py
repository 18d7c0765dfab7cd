"""Fixtures that several rooms share."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Two workers of pytest share two cores: with two threads each, every small operation of torch waits for a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No test judges the machine's pace.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
_MEASURED = "measured"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real candles, beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real candles are not here: {SHARED_DATA} does not exist")
    return SHARED_DATA


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes a text that is shown at the end of the run, whichever process measured it."""
    return partial(record_property, _MEASURED)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests measured: output of a worker process is not shown anywhere else."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if isinstance(report, pytest.TestReport) and report.when == "call"
    ]
    texts = [str(text) for report in reports for name, text in report.user_properties if name == _MEASURED]
    if texts:
        terminalreporter.section("measured")
        for text in texts:
            terminalreporter.write_line(text)
