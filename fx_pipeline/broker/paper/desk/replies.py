"""Outcomes of commands: OANDA's status and body."""

from typing import Any, NamedTuple

from fx_pipeline.broker.paper.desk.codes import INVALID_PARAMETER, message
from fx_pipeline.broker.paper.desk.draft import Draft
from fx_pipeline.broker.paper.desk.state import State


class Outcome(NamedTuple):
    """HTTP status and JSON body of an action."""

    status: int
    body: dict[str, Any]


def invalid(parameter: str) -> Outcome:
    """Refuse a parameter that cannot be read; no transaction is written."""
    return Outcome(
        400,
        {"errorMessage": f"Invalid value specified for '{parameter}'", "errorCode": INVALID_PARAMETER},
    )


def missing(state: State, code: str) -> Outcome:
    """Answer 404 for an order, trade, position or transaction that is unknown."""
    return Outcome(404, {"lastTransactionID": str(state.last_id), "errorMessage": message(code), "errorCode": code})


def reply(state: State, draft: Draft, status: int, **named: Any) -> Outcome:
    """Answer with the transactions of a batch that took effect; names without a transaction are left out."""
    body = {name: transaction for name, transaction in named.items() if transaction is not None}
    body["relatedTransactionIDs"] = [transaction["id"] for transaction in draft.transactions]
    body["lastTransactionID"] = str(state.last_id)
    return Outcome(status, body)


def refuse(state: State, draft: Draft, status: int, code: str, **named: Any) -> Outcome:
    """Answer with the reject transactions of a batch, and their code."""
    outcome = reply(state, draft, status, **named)
    outcome.body["errorMessage"] = message(code)
    outcome.body["errorCode"] = code
    return outcome
