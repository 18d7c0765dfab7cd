"""The order in which slow tests are begun: `fx_pipeline_tests/conftest.py`."""

from pathlib import Path

from fx_pipeline_tests.conftest import LONGEST, in_order


def test_longest_come_first_and_the_others_keep_their_order() -> None:
    paths = ["agents/test_a.py", LONGEST[1], "chaos/test_b.py", LONGEST[0], "defs/test_c.py", LONGEST[1]]
    assert in_order(paths) == [3, 1, 5, 0, 2, 4]
    assert in_order([]) == []


def test_longest_are_slow_tests_that_there_are() -> None:
    folder = Path(__file__).parent
    assert len(set(LONGEST)) == len(LONGEST)
    assert all("pytest.mark.slow" in (folder / path).read_text() for path in LONGEST)
