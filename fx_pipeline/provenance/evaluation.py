"""The name of the code of a score: of what rolled out and scored, and of the agent that acted.

Scores of two agents on the same bars are of one family, as the same code rolled both out; a score by an agent whose own
code has changed is another score.
"""

_AND = "+"


def evaluation_name(scores: str, agent: str) -> str:
    """Join the digest of what rolls out and scores with that of the agent."""
    return f"{scores}{_AND}{agent}"


def rolled_out_by(evaluation: str) -> str:
    """Return the digest of what rolled out and scored; earlier versions had one digest for both, which is returned."""
    return evaluation.partition(_AND)[0]
