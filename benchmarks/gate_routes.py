"""The ways by which something worthless was promoted once: cheats that tests play, most of them through the jobs.

Each route names the tests that play it, and what refuses it there. They first show that nothing else stands in the way
(the same report without the cheat is promoted), so a route whose tests do not all pass counts as one that promoted.
"""

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_JOBS, _STATISTICS = "fx_pipeline_tests/defs", "fx_pipeline_tests/validation"
#: A machine that does other things, too, takes longer to make the market that most of them share.
_TIMEOUT_S = 1_500


@dataclass(frozen=True)
class Route:
    """A way of cheating.

    Attributes
    ----------
    name : str
    refused_by : str
    tests : tuple of str
        That play it, without their parameters.
    """

    name: str
    refused_by: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Played:
    """How a route ended.

    Attributes
    ----------
    name : str
    promoted : bool
        Whether a test of it did not pass, or was not there.
    refused_by : str
        In words; of one that was promoted, the tests that did not pass.
    """

    name: str
    promoted: bool
    refused_by: str


def _in(folder: str, module: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{folder}/test_{module}.py::test_{name}" for name in names)


ROUTES = (
    Route(
        "a report that was edited, or made under a lax gate",
        "the ledger's row of the trial, and the gate of now",
        _in(
            _JOBS,
            "verified",
            "what_the_validation_computed_is_promoted",
            "the_word_promoted_is_not_believed",
            "figures_that_were_changed_do_not_have_their_hash",
            "figures_with_a_hash_of_their_own_are_not_those_of_the_ledger",
            "a_report_of_a_lax_gate_is_judged_by_the_gate_of_now",
        ),
    ),
    Route(
        "a ledger that was deleted, replaced or left behind; the same candles under another name",
        "witnesses of the ledger's head, and days that are known by their candles",
        (
            *_in(
                _JOBS,
                "ledger_state",
                "a_deleted_ledger_is_missed_by_each_that_tells_of_it",
                "an_older_copy_is_younger_than_its_reports_and_stays_so",
                "reports_in_a_fresh_folder_tell_of_the_ledger_that_was_left_behind",
            ),
            *_in(_JOBS, "verified", "a_ledger_that_lacks_what_reports_tell_of_promotes_nothing"),
            *_in(_JOBS, "gate_routes", "the_same_candles_under_another_name_were_looked_at_already"),
        ),
    ),
    Route(
        "one checkpoint as five seeds, and seeds that never trade",
        "distinct weights and enough trades of each seed",
        _in(
            _JOBS,
            "gate_routes",
            "without_a_cheat_it_is_promoted",
            "one_checkpoint_in_five_folders_is_one_seed",
            "seeds_that_never_trade_are_no_evidence",
        ),
    ),
    Route(
        "costs below the market's",
        "the worst of configured, modelled and stored costs, bar by bar",
        _in(_JOBS, "judged_costs", "no_costs_of_the_settings_are_below_what_is_judged"),
    ),
    Route(
        "a champion that cannot be judged any more",
        "standings at its own costs, out of the ledger",
        (
            *_in(
                _JOBS,
                "standing",
                "no_setting_switches_the_judgement_of_a_champion_off",
                "a_champion_that_cannot_be_judged_loses_its_place",
                "a_standing_that_the_ledger_does_not_bear_out_is_not_believed",
            ),
            *_in(_STATISTICS, "tenure", "a_champion_that_cannot_be_judged_is_not_one"),
        ),
    ),
    Route(
        "windows that overlap",
        "sessions that count once, by bar",
        (
            *_in(
                _STATISTICS,
                "tenure",
                "a_session_counts_once_whatever_windows_it_lies_in",
                "bars_that_its_record_has_say_nothing_anew",
            ),
            *_in(_STATISTICS, "track_record", "sessions_of_windows_that_overlap_count_once_in_the_worse_one"),
            *_in("fx_pipeline_tests/sessions", "planning", "a_year_day_by_day_adds_windows_and_changes_none"),
        ),
    ),
    Route(
        "a family that is diluted or reset",
        "votes of what somebody would choose, once each",
        (
            *_in(_JOBS, "gate_routes", "configurations_that_nobody_would_choose_do_not_vote"),
            *_in(
                _STATISTICS,
                "family",
                "losers_do_not_dilute_the_probability_of_overfitting",
                "near_duplicates_are_one_configuration",
                "copies_of_a_trial_move_no_p_value_and_share_its_answer",
            ),
        ),
    ),
    Route(
        "p-values that are drawn again",
        "seeds of the data, at least 10,000 runs, and the bound of the p-value",
        (
            *_in(_JOBS, "gate_routes", "no_number_of_runs_draws_another_p_value"),
            *_in(_STATISTICS, "chance", "the_issues_re_rolling_gains_nothing"),
        ),
    ),
    Route(
        "candles that no broker sent",
        "words in the report, and an acknowledgement before real money",
        _in(
            _JOBS,
            "reconcile",
            "where_candles_came_from_is_said_in_words",
            "real_money_is_not_traded_with_a_model_that_no_broker_judged_unless_it_is_named",
        ),
    ),
    Route(
        "weights that are not those that were judged",
        "loaded, judged and recorded hash, and the alias",
        (
            *_in(_JOBS, "verified", "other_weights_of_the_same_record_are_refused"),
            *_in(
                _JOBS,
                "reconcile",
                "what_agrees_trades",
                "another_valid_checkpoint_in_the_folder_of_the_champion_does_not_trade",
                "an_alias_that_was_moved_by_hand_is_noticed_and_not_followed",
            ),
        ),
    ),
)


def play_all(routes: Sequence[Route] = ROUTES) -> list[Played]:
    """Play the routes, one after the other in a process of their own, which makes the market once."""
    with tempfile.TemporaryDirectory(prefix="gate-routes-") as folder:
        outcome = Path(folder) / "outcome.xml"
        tests = dict.fromkeys(test for route in routes for test in route.tests)
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "--timeout", str(_TIMEOUT_S)]
        subprocess.run(
            [*command, f"--junitxml={outcome}", "-o", "junit_family=xunit1", *tests],
            cwd=_ROOT,
            stdout=subprocess.DEVNULL,
            check=False,
        )
        return judge(routes, outcome)


def judge(routes: Sequence[Route], outcome: Path) -> list[Played]:
    """Read how the tests of each route ended from pytest's XML; a file that is not there has passed nothing."""
    passed: set[str] = set()
    failed: set[str] = set()
    for case in ET.parse(outcome).iter("testcase") if outcome.exists() else ():
        test = f"{case.get('file')}::{str(case.get('name')).split('[')[0]}"
        ended = {child.tag for child in case} & {"failure", "error", "skipped"}
        (failed if ended else passed).add(test)
    played = []
    for route in routes:
        broken = [test for test in route.tests if test in failed or test not in passed]
        played.append(Played(route.name, bool(broken), f"nothing: {', '.join(broken)}" if broken else route.refused_by))
    return played


if __name__ == "__main__":
    for one in play_all():
        print(f"{'PROMOTED' if one.promoted else 'refused'}: {one.name}, by {one.refused_by}")
