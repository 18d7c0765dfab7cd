"""What must hold of an account, seen from outside: only the API's replies are used."""

import itertools
from decimal import Decimal
from typing import Any


def audit(history: list[dict[str, Any]], summary: dict[str, Any]) -> list[str]:
    """Return what does not hold.

    Parameters
    ----------
    history : list of dict
        All transactions from id 1 on.
    summary : dict
        The account's summary after the last of them.
    """
    found = []
    ids = [int(item["id"]) for item in history]
    if ids != list(range(1, len(ids) + 1)):
        found.append(f"transaction ids are not consecutive: {ids[:20]} ...")
    if summary["lastTransactionID"] != history[-1]["id"]:
        found.append(f"lastTransactionID {summary['lastTransactionID']} is not the last id {history[-1]['id']}")
    if any(after["time"] < before["time"] for before, after in itertools.pairwise(history)):
        found.append("time goes back")
    found += _batches(history) + _balance(history, summary) + _trades(history, summary)
    return found


def _batches(history: list[dict[str, Any]]) -> list[str]:
    # A batch is named by its first id, is contiguous, and shares one time and one request.
    found = []
    by_batch: dict[str, list[dict[str, Any]]] = {}
    for item in history:
        by_batch.setdefault(item["batchID"], []).append(item)
    for name, items in by_batch.items():
        ids = [int(item["id"]) for item in items]
        if ids != list(range(int(name), int(name) + len(ids))):
            found.append(f"batch {name} holds {ids}")
        if len({(item["time"], item.get("requestID")) for item in items}) > 1:
            found.append(f"batch {name} has several times or requests")
    return found


def _balance(history: list[dict[str, Any]], summary: dict[str, Any]) -> list[str]:
    found = []
    balance = Decimal(0)
    for item in history:
        balance += sum(
            (Decimal(item.get(name, "0")) for name in ("amount", "pl", "financing", "commission")), Decimal(0)
        )
        if "accountBalance" in item and Decimal(item["accountBalance"]) != balance:
            found.append(f"balance after {item['id']} is {item['accountBalance']}, and the sum {balance}")
    if Decimal(summary["balance"]) != balance:
        found.append(f"the balance is {summary['balance']}, and the sum of transactions {balance}")
    realised = sum((Decimal(item["pl"]) for item in history if "pl" in item), Decimal(0))
    if Decimal(summary["pl"]) != realised:
        found.append(f"the account's pl is {summary['pl']}, and the sum of fills {realised}")
    if Decimal(summary["NAV"]) != Decimal(summary["balance"]) + Decimal(summary["unrealizedPL"]):
        found.append("NAV is not balance + unrealizedPL")
    return found


def _trades(history: list[dict[str, Any]], summary: dict[str, Any]) -> list[str]:
    found = []
    open_units: dict[str, Decimal] = {}
    resting: set[str] = set()
    for item in history:
        if item["type"].endswith("_ORDER"):
            resting.add(item["id"])
        if item["type"] in ("ORDER_CANCEL", "ORDER_FILL"):
            if item["orderID"] not in resting:
                found.append(f"{item['type']} {item['id']} ends order {item['orderID']}, which does not rest")
            resting.discard(item["orderID"])
        if item["type"] != "ORDER_FILL":
            continue
        moved = Decimal(0)
        if "tradeOpened" in item:
            moved += Decimal(item["tradeOpened"]["units"])
            if item["tradeOpened"]["tradeID"] != item["id"]:
                found.append(f"fill {item['id']} opened trade {item['tradeOpened']['tradeID']}")
            open_units[item["id"]] = Decimal(item["tradeOpened"]["units"])
        reductions = [*item.get("tradesClosed", []), *([item["tradeReduced"]] if "tradeReduced" in item else [])]
        for reduction in reductions:
            moved += Decimal(reduction["units"])
            open_units[reduction["tradeID"]] += Decimal(reduction["units"])
        for reduction in item.get("tradesClosed", []):
            if open_units.pop(reduction["tradeID"]):
                found.append(f"trade {reduction['tradeID']} is closed with units left")
        if moved != Decimal(item["units"]):
            found.append(f"fill {item['id']} of {item['units']} moved {moved}")
        realised = sum((Decimal(reduction["realizedPL"]) for reduction in reductions), Decimal(0))
        if reductions and realised != Decimal(item["pl"]):
            found.append(f"fill {item['id']} has pl {item['pl']}, and its trades {realised}")
    if len(open_units) != summary["openTradeCount"]:
        found.append(f"{summary['openTradeCount']} trades are open, and by the fills {sorted(open_units)}")
    if len(resting) != summary["pendingOrderCount"]:
        found.append(f"{summary['pendingOrderCount']} orders are pending, and by the transactions {sorted(resting)}")
    return found
