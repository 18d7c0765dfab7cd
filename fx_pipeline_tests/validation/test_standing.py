"""The replay of a champion on newer days, reduced to what its tenure is judged by."""

from typing import Any

import numpy as np
import pytest

from fx_pipeline.validation.champion import Standing
from fx_pipeline.validation.gate import GateConfig
from fx_pipeline.validation.standing import judge_standing, unjudged_standing
from fx_pipeline_tests.validation.test_promotion import CHAMPION

FIGURES = {
    "expectancy_pips": 1.0,
    "parity_error_pips": 0.0,
    "parity": {
        "replayed": 3,
        "trades": 3,
        "left_out": 0,
        "differing": 0,
        "largest_difference_pips": 0.0,
        "over_gaps": 0,
    },
    "leaks_searched": ["a span"],
    "leaks_found": 0,
    "overlapping_sessions": 0,
    "record": {"overlapping_sessions": 0},
    "trade_list": {
        "session": [0, 0, 2],
        "pnl_pips": [5.0, -2.0, 1.0],
        "max_drawdown_pips": [1.0, 6.0, 0.5],
        "peak_pips": [6.0, 2.0, 1.0],
    },
}
LINEAGE = {"checkpoint_sha256": "a", "costs": {"kind": "fixed"}, "source": "imported"}
TIMES = np.arange(4, dtype=np.int64) * 10


def standing(**change: Any) -> Standing:
    report = {"figures": FIGURES | change, "lineage": LINEAGE}
    return judge_standing(report, "w", TIMES, (0, 40), GateConfig())


def test_every_session_is_kept_with_its_shape() -> None:
    found = standing()
    assert found.sound and found.reasons == []
    assert (found.window, found.weights_sha256, found.source, found.trades) == ("w", "a", "imported", 3)
    assert (found.valid_start_ns, found.valid_end_ns) == (0, 40)
    assert found.session_ns == [0, 10, 20, 30]
    assert found.session_pnl_pips == [3.0, 0.0, 1.0, 0.0] and found.total_pips == 4.0
    assert found.session_trades == [2, 0, 1, 0]
    assert found.max_drawdown_pips == 6.0, "bar by bar: closed trades alone fell by 2"


@pytest.mark.parametrize(
    "change",
    [{"parity_error_pips": 1.0}, {"parity": None}, {"leaks_found": 1}, {"record": {"overlapping_sessions": 2}}],
)
def test_a_replay_that_is_wrong_says_nothing_of_the_model(change: dict[str, Any]) -> None:
    found = standing(**change)
    assert not found.sound and len(found.reasons) == 1


def test_what_could_not_be_judged_says_why() -> None:
    found = unjudged_standing(CHAMPION, "w", "imported", (0, 40), "its weights are gone.")
    assert not found.sound and found.reasons == ["its weights are gone."]
    assert found.valid_end_ns == 40 and found.weights_sha256 == "old" and found.session_ns == []
