"""What lists of orders and of trades have in common: pages, and reads that lag behind writes."""

from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from fx_pipeline.broker.paper.desk import Outcome
from fx_pipeline.broker.paper.desk.codes import message
from fx_pipeline.broker.paper.service import Answer, Call

_DEFAULT_COUNT = 50
_UNKNOWN = {"order": "NO_SUCH_ORDER", "trade": "NO_SUCH_TRADE"}


def page(call: Call, key: str, ask: Callable[[Mapping[str, str]], Outcome]) -> Answer:
    """Return a page of a list, with a Link header to the next one if there is more.

    Parameters
    ----------
    call : Call
        The request.
    key : str
        "orders" or "trades".
    ask : callable
        The desk's list by query.
    """
    outcome = ask(call.query)
    found = outcome.body.get(key, [])
    headers = {}
    if outcome.status == 200 and found and len(found) >= int(call.query.get("count", _DEFAULT_COUNT)):
        # Of those that follow, `beforeID` is the first that may be returned.
        following = {**call.query, "beforeID": str(int(found[-1]["id"]) - 1)}
        if ask({**following, "count": "1"}).body[key]:
            headers["Link"] = f'<{call.account_url}/{key}?{urlencode(following)}>; rel="next"'
    return Answer(visible(call, key, outcome), headers)


def visible(call: Call, key: str, outcome: Outcome) -> Outcome:
    """Return the outcome without the orders or trades that a lagging read does not show yet."""
    if call.hidden_after is None or outcome.status != 200:
        return outcome
    shown = outcome.body[key]
    if isinstance(shown, list):
        kept = [entry for entry in shown if int(entry["id"]) <= call.hidden_after]
        return Outcome(200, {**outcome.body, key: kept})
    if int(shown["id"]) <= call.hidden_after:
        return outcome
    code = _UNKNOWN[key]
    body = {"lastTransactionID": str(call.hidden_after), "errorMessage": message(code), "errorCode": code}
    return Outcome(404, body)
