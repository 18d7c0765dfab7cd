"""Fixtures that several rooms share."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Two workers of pytest share two cores: with two threads each, every small operation of torch waits for a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No test judges the machine's pace.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_PROOF = "agents/test_muzero_learning.py::test_five_seeds_reach_every_bar_of_the_table"
#: The slow tests that take longest, in the order in which they are begun: behind one that is begun last, a core would
#: stand idle. Each of three workers is first given two: one trains, which keeps both cores busy, and the others mostly
#: wait for processes of theirs. The backfill, whose processes are many, waits until those are done.
LONGEST = (
    f"{_PROOF}[regime]",
    f"{_PROOF}[ou]",
    "chaos/test_ui.py",
    "chaos/test_stream_replay.py",
    "ingest/test_importers_streaming.py",
    "test_demo.py",
    "defs/test_backfill.py",
    "defs/test_recipe_chain.py",
    _PROOF,
)
#: Seconds after which a slow test is stuck: three workers share two cores.
SLOW_TIMEOUT_S = 900

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
_MEASURED = "measured"


def in_order(tests: Sequence[str]) -> list[int]:
    """Return the places of slow tests, named "path::test" relative to this folder, in the order to begin them.

    The longest come first, as `LONGEST` has them, and the others keep their order.
    """
    return sorted(
        range(len(tests)),
        key=lambda test: next(
            (place for place, long in enumerate(LONGEST) if tests[test].startswith(long)), len(LONGEST)
        ),
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin the longest of the slow tests first, and give all of them more time."""
    slow = [place for place, item in enumerate(items) if item.get_closest_marker("slow") is not None]
    tests = [items[place] for place in slow]
    for item in tests:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_S))
    # Each goes to the place of a slow one, so that the others stay where their fixtures are.
    names = [item.nodeid.partition(f"{Path(__file__).parent.name}/")[2] for item in tests]
    for place, test in zip(slow, in_order(names), strict=True):
        items[place] = tests[test]


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
