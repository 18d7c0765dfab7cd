"""Which code makes a checkpoint, a score and a report: another digest is another result.

Each is the closure of imports of the agent's own entry and of what trains, scores or reports; so another agent, feature
set or recipe makes nothing stale that is not made with it.
"""

from functools import cache

from fx_pipeline.agents.registry import ENTRIES
from fx_pipeline.features.registry import FEATURE_SETS
from fx_pipeline.provenance.closure import code_digest
from fx_pipeline.provenance.evaluation import evaluation_name

#: What rolls a policy out and scores it. Pages, conditions and tests of significance judge a score and leave it alone.
_SCORES = "fx_pipeline.validation.score"
#: What judges a score and shows it. What the ledger and the lake say for it is part of what a report is made from.
_REPORTS = ("fx_pipeline.validation.validate", "fx_pipeline.validation.report_page")


@cache
def training_code(agent: str, feature_set: str) -> str:
    """Return a digest of the code that a checkpoint depends on: its agent's, and that of what it sees."""
    return code_digest(ENTRIES[agent], FEATURE_SETS[feature_set])


@cache
def report_code(agent: str, feature_set: str) -> str:
    """Return a digest of the code that a report depends on: that of its checkpoint, and what judges and shows it."""
    return code_digest(ENTRIES[agent], FEATURE_SETS[feature_set], *_REPORTS)


@cache
def evaluation_code(agent: str) -> str:
    """Return digests of the code that decides what a session makes: of what rolls out, and of the agent that acts.

    Scores of two agents are of one family where the first is the same (`provenance.evaluation.rolled_out_by`).
    """
    # Rules of a benchmark are in no registry: what they do is no code of this package.
    return evaluation_name(code_digest(_SCORES), code_digest(ENTRIES[agent]) if agent in ENTRIES else agent)
