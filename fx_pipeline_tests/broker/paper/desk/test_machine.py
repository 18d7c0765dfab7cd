"""The desk under any sequence of quotes and commands."""

from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fx_pipeline.broker.paper.desk import Desk
from fx_pipeline.broker.paper.desk.times import next_rollover_ns, time_text
from fx_pipeline_tests.broker.paper.desk.floor import PRICES, SECOND_NS, Floor, check_invariants
from fx_pipeline_tests.broker.paper.desk.mirror import Mirror, known, mirrored

NAMES = ("EUR_USD", "GBP_JPY", "USD_JPY")
INSTRUMENT = st.sampled_from(NAMES)
UNITS = st.integers(-900, 900).filter(bool).map(lambda hundreds: str(hundreds * 100))
#: Distance from the present price, in pips; of a stop or target, below zero on the side where it acts at once.
PIPS = st.integers(-120, 120)
FORCE = st.sampled_from(("GTC", "GTD", "GFD"))
CLIENT_ID = st.sampled_from((None, "a", "b"))
RULE = st.sampled_from(("DEFAULT", "OPEN_ONLY", "REDUCE_FIRST", "REDUCE_ONLY"))
Parts = tuple[int | None, int | None, int | None]
CONDITION = st.sampled_from(("DEFAULT", "INVERSE", "BID", "ASK", "MID"))


class DeskMachine(RuleBasedStateMachine):
    """Trades on a small account, so that margin and closeout come into play."""

    def __init__(self) -> None:
        super().__init__()
        self.floor: Floor
        self.mirrors: list[Mirror] = []

    @initialize(hedging=st.booleans(), home=st.sampled_from(("USD", "JPY", "CHF")), charge=st.sampled_from((0, 1)))
    def start(self, hedging: bool, home: str, charge: int) -> None:
        balance = Decimal(300_000 if home == "JPY" else 2_000)
        self.floor = Floor(
            NAMES, hedging=hedging, home_currency=home, balance=balance, conversion_charge=Decimal(charge) / 100
        )
        self.mids = {name: Decimal(PRICES[name][0]) for name in NAMES}

    def price(self, name: str, pips: int) -> str:
        pip = Decimal("0.01") if name.endswith("JPY") else Decimal("0.0001")
        return str(self.mids[name] + pips * pip)

    def pick(self, items: list[dict[str, Any]], place: int) -> str:
        return str(items[place % len(items)]["id"]) if items else "1"

    def on_fill(self, name: str, long: bool, stop: int | None, target: int | None, trail: int | None) -> dict[str, Any]:
        away = 1 if long else -1
        pip = Decimal("0.01") if name.endswith("JPY") else Decimal("0.0001")
        parts: dict[str, Any] = {}
        if stop is not None:
            parts["stopLossOnFill"] = {"price": self.price(name, -away * stop)}
        if target is not None:
            parts["takeProfitOnFill"] = {"price": self.price(name, away * target)}
        if trail is not None:
            parts["trailingStopLossOnFill"] = {"distance": str(abs(trail) * pip)}
        return parts

    @rule(
        name=INSTRUMENT,
        pips=PIPS | st.sampled_from((-900, 900)),
        spread=st.integers(0, 40),
        tradeable=st.sampled_from((True, True, True, False)),
    )
    def quote(self, name: str, pips: int, spread: int, tradeable: bool) -> None:
        self.mids[name] = Decimal(self.price(name, pips))
        step = Decimal("0.001") if name.endswith("JPY") else Decimal("0.00001")
        self.floor.quote(name, str(self.mids[name]), str(self.mids[name] + spread * step), tradeable)

    @rule(name=INSTRUMENT, units=UNITS, fill=RULE, force=st.sampled_from(("FOK", "IOC")), client=CLIENT_ID,
          parts=st.tuples(*[st.none() | PIPS] * 3))  # fmt: skip
    def market(self, name: str, units: str, fill: str, force: str, client: str | None, parts: Parts) -> None:
        extensions = {} if client is None else {"tradeClientExtensions": {"id": client}}
        self.floor.market(
            units,
            instrument=name,
            positionFill=fill,
            timeInForce=force,
            **extensions,
            **self.on_fill(name, units[0] != "-", *parts),
        )

    @rule(name=INSTRUMENT, kind=st.sampled_from(("LIMIT", "STOP", "MARKET_IF_TOUCHED")), units=UNITS, pips=PIPS,
          force=FORCE, condition=CONDITION, fill=RULE, client=CLIENT_ID, stop=st.none() | PIPS)  # fmt: skip
    def resting(self, name: str, kind: str, pips: int, force: str, condition: str, fill: str, client: str | None,
                units: str, stop: int | None) -> None:  # fmt: skip
        extensions = {} if client is None else {"clientExtensions": {"id": client}}
        self.floor.order(
            kind, instrument=name, units=units, price=self.price(name, pips), timeInForce=force,
            gtdTime=time_text(self.floor.now_ns + 3 * SECOND_NS), triggerCondition=condition, positionFill=fill,
            **extensions, **self.on_fill(name, units[0] != "-", stop, None, None),
        )  # fmt: skip

    @rule(place=st.integers(0, 5), pips=PIPS, cancel=st.booleans())
    def replace_or_cancel(self, place: int, pips: int, cancel: bool) -> None:
        desk = self.floor.desk
        orders = desk.pending_orders().body["orders"]
        number = self.pick(orders, place)
        entry = [order for order in orders if order["id"] == number and "instrument" in order]
        if cancel or not entry:
            desk.cancel_order(number, self.floor.now_ns, "c")
        else:
            name = entry[0]["instrument"]
            body = {"type": "LIMIT", "instrument": name, "units": "100", "price": self.price(name, pips)}
            desk.replace_order(number, body, self.floor.now_ns, "r")

    @rule(place=st.integers(0, 5), pips=PIPS, parts=st.tuples(*[st.booleans()] * 3), remove=st.booleans())
    def trade_orders(self, place: int, pips: int, parts: tuple[bool, bool, bool], remove: bool) -> None:
        desk = self.floor.desk
        trades = desk.open_trades().body["trades"]
        number = self.pick(trades, place)
        trade = trades[place % len(trades)] if trades else {"instrument": "EUR_USD", "initialUnits": "1"}
        name, long = trade["instrument"], trade["initialUnits"][0] != "-"
        made = self.on_fill(name, long, *(pips if part else None for part in parts))
        body = {key.removesuffix("OnFill"): None if remove else value for key, value in made.items()}
        desk.set_trade_orders(number, body, self.floor.now_ns, "s")

    @rule(place=st.integers(0, 5), units=st.sampled_from((None, "100", "700")), client=CLIENT_ID)
    def close_trade(self, place: int, units: str | None, client: str | None) -> None:
        desk = self.floor.desk
        number = self.pick(desk.open_trades().body["trades"], place)
        if client is not None:
            desk.set_trade_extensions(number, {"clientExtensions": {"id": client}}, self.floor.now_ns, "e")
        desk.close_trade(number, {} if units is None else {"units": units}, self.floor.now_ns, "t")

    @rule(name=INSTRUMENT, units=st.sampled_from(("ALL", "300")), long=st.booleans())
    def close_position(self, name: str, units: str, long: bool) -> None:
        body = {"longUnits" if long else "shortUnits": units}
        self.floor.desk.close_position(name, body, self.floor.now_ns, "p")

    @rule(place=st.integers(0, 5), client=st.sampled_from(("a", "b")))
    def name_order(self, place: int, client: str) -> None:
        desk = self.floor.desk
        number = self.pick(desk.pending_orders().body["orders"], place)
        desk.set_order_extensions(number, {"clientExtensions": {"id": client}}, self.floor.now_ns, "n")

    @rule(amount=st.integers(-3_000_000, 3_000_000).filter(bool))
    def deposit(self, amount: int) -> None:
        self.floor.desk.deposit(Decimal(amount) / 1_000, self.floor.now_ns, "d")

    @rule()
    def roll(self) -> None:
        self.floor.now_ns = next_rollover_ns(self.floor.now_ns)
        self.floor.desk.expire(self.floor.now_ns)
        self.floor.desk.charge_financing(self.floor.now_ns)

    @rule()
    def watch(self) -> None:
        self.mirrors.append(Mirror(self.floor.desk))

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "floor"):
            check_invariants(self.floor)

    def teardown(self) -> None:
        if not hasattr(self, "floor"):
            return
        desk = self.floor.desk
        # A batch takes with it what trailing stops remember.
        desk.deposit(Decimal(1), self.floor.now_ns, "d")
        account = desk.account().body["account"]
        for mirror in self.mirrors:
            mirror.follow(desk)
            assert mirrored(mirror) == known(account)
            assert mirror.values == {name: account[name] for name in mirror.values}
        same_account(desk, self.floor.restored())


def same_account(desk: Desk, restored: Desk) -> None:
    """Assert that two desks are equal, in state and in what they show."""
    assert restored._account.state == desk._account.state
    for view in ("account", "summary", "positions", "open_positions", "pending_orders", "open_trades"):
        assert getattr(restored, view)() == getattr(desk, view)()
    assert restored.orders({"state": "ALL", "count": "500"}) == desk.orders({"state": "ALL", "count": "500"})
    assert restored.trades({"state": "ALL", "count": "500"}) == desk.trades({"state": "ALL", "count": "500"})
    for number in range(0, len(desk.transactions) + 1, 7):
        assert restored.changes(str(number)) == desk.changes(str(number))
    for name in NAMES:
        assert restored.units_available(name) == desk.units_available(name)


TestDesk = DeskMachine.TestCase
TestDesk.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
