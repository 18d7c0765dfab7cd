"""The order in which slow tests are begun: `fx_pipeline_tests/conftest.py`."""

from pathlib import Path

from fx_pipeline_tests.conftest import LONGEST, in_order


def test_longest_come_first_and_the_others_keep_their_order() -> None:
    tests = [
        "agents/test_a.py::t",
        f"{LONGEST[2]}::t",
        "chaos/test_b.py::t",
        LONGEST[0],
        f"{LONGEST[2]}::u",
        LONGEST[1],
    ]
    assert in_order(tests) == [3, 5, 1, 4, 0, 2]
    # What is named whole comes before the rest of its kind.
    assert in_order([f"{LONGEST[-1]}[walk]", "agents/test_a.py::t", LONGEST[1]]) == [2, 0, 1]
    assert in_order([]) == []


def test_longest_are_slow_tests_that_there_are() -> None:
    folder = Path(__file__).parent
    assert len(set(LONGEST)) == len(LONGEST)
    for long in LONGEST:
        path, _, name = long.partition("::")
        text = (folder / path).read_text()
        assert "pytest.mark.slow" in text and f"{name.partition('[')[0]}(" in text
