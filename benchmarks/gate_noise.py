"""An adversary with full knowledge of the gate on a driftless market: a thousand tries, and the best of them handed in.

No trader here can know anything: the path is a random walk, so what any of them makes before costs is expected to be
exactly 0. Each try is a training with a score, recorded as the pipeline does. The adversary looks at all of them, and
hands in what looks best of each way of trying:

- `windows`: configurations on the newest window alone; the best of them gets four more seeds.
- `records`: configurations trained anew on each of the last six windows; the best record gets four more seeds.
- `seeds`: one configuration trained again and again on the newest window, a report each time.
- `names`: the same candles under other instrument names, and other traders on each.
- `costs`: the same traders at cheaper costs, which the ledger keeps apart.
- `dilution`: copies of the best that differ by a few trades, and hopeless configurations beside it.
- `fresh`: everything looked at above, and the best handed in with a new ledger where the reports are kept.

The further seeds are the same trader with a few trades left out: they never lose when it wins, and differ enough to
count. So on the adversary's side everything is for the having but the number of things that were chosen among.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.gate_judge import Judgement, hand_in
from benchmarks.gate_world import INSTRUMENT, SESSIONS, STEPS, WINDOWS, Attempt, Market, Trades, evidence_of, trades_of
from fx_pipeline.tracking.ledger import Ledger
from fx_pipeline.tracking.ledger_witness import find_faults, report_witnesses
from fx_pipeline.validation.evidence import Evidence

#: Cost of a trade, in turn: nothing is easiest for luck.
COSTS_PIPS = (0.0, 1.0)
NEWEST = WINDOWS - 1
RECORD_WINDOWS = 6
SEEDS = 5
NAMES = ("GBP_USD", "AUD_USD", "NZD_USD")
ROUTES = ("windows", "records", "seeds", "names", "costs", "dilution", "fresh")


@dataclass(frozen=True)
class Tries:
    """How many tries of each way there are; a thousand by default.

    Attributes
    ----------
    windows, records, seeds, names, costs, copies, hopeless : int
        Configurations; those of `records` count once a window, those of `names` once a name.
    """

    windows: int = 300
    records: int = 50
    seeds: int = 100
    names: int = 50
    costs: int = 60
    copies: int = 24
    hopeless: int = 40

    @property
    def total(self) -> int:
        """Scores that are recorded, with the further seeds."""
        further = (SEEDS - 1) * (2 + RECORD_WINDOWS + len(NAMES))
        together = self.windows + self.records * RECORD_WINDOWS + self.seeds + self.names * len(NAMES)
        return together + self.costs + self.copies + self.hopeless + further


@dataclass(frozen=True)
class Hunt:
    """What an adversary got on one market.

    Attributes
    ----------
    seed : int
    cost_pips : float
    tries : int
    promoted : tuple of str
        Ways that were.
    failed : dict of str to tuple of str
        Conditions that refused, by way.
    deflated_z : dict of str to float
    """

    seed: int
    cost_pips: float
    tries: int
    promoted: tuple[str, ...]
    failed: dict[str, tuple[str, ...]]
    deflated_z: dict[str, float]


def hunt(seed: int, tries: Tries | None = None) -> Hunt:
    """Let the adversary try everything on one market."""
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        return _Adversary(seed, tries or Tries(), Path(folder)).play()


class _Adversary:
    def __init__(self, seed: int, tries: Tries, folder: Path) -> None:
        self.tries, self.folder = tries, folder
        self.market = Market(seed, COSTS_PIPS[seed % len(COSTS_PIPS)])
        self.draw = np.random.default_rng([seed, 1])
        self.ledger = Ledger(folder / "ledger.db", who="adversary")
        self.judged: dict[str, Judgement] = {}
        self.count = 0

    def play(self) -> Hunt:
        single = self.attempts("window", self.tries.windows, NEWEST)
        best = self.best(single)
        self.judge("windows", best, self.further(best))
        records = [self.attempts("record", self.tries.records, NEWEST - back) for back in range(RECORD_WINDOWS)]
        totals = np.sum([[a.evidence.session_pnl_pips.sum() for a in window] for window in records], axis=0)
        chosen = int(np.argmax(totals))
        whole = [window[chosen] for window in reversed(records)]
        for one in whole[:-1]:
            self.record(self.further(one))
            # A window without a report is named, so the adversary makes one of each.
            self.ledger.record(one.trial(self.market), judged=True)
        self.judge("records", whole[-1], self.further(whole[-1]))
        again = self.attempts("seeds", self.tries.seeds, NEWEST, same=True)
        self.ledger.record_many([one.trial(self.market) for one in again], judged=True)
        best = self.best(again)
        self.judge("seeds", best, ())
        named = [self.attempts("name", self.tries.names, NEWEST, instrument=name) for name in NAMES]
        tops = [self.best(one) for one in named]
        for one in tops:
            self.record(self.further(one))
        self.judge("names", self.best(tops), ())
        self.costs(single)
        self.dilution()
        self.fresh([*single, *again, *tops])
        return Hunt(
            self.market.seed,
            self.market.cost_pips,
            self.count,
            tuple(name for name, one in self.judged.items() if one.promoted),
            {name: one.failed for name, one in self.judged.items()},
            {name: round(one.deflated_z, 3) for name, one in self.judged.items()},
        )

    def attempts(
        self, name: str, count: int, window: int, same: bool = False, instrument: str = INSTRUMENT
    ) -> list[Attempt]:
        """Let traders without a reason trade a window, of any turnover, holding time and direction, and record them."""
        found = [
            Attempt(
                f"{name} {'' if same else number} {instrument}",
                0,
                window,
                f"{number if same else ''}",
                evidence_of(self.market, window, trades, self.market.cost_pips),
                instrument,
            )
            for number, trades in enumerate(random_trades(self.draw, self.market, window, count))
        ]
        self.record(found)
        return found

    def record(self, attempts: Sequence[Attempt]) -> None:
        self.count += len(attempts)
        self.ledger.record_many([one.trial(self.market) for one in attempts])

    def judge(self, route: str, attempt: Attempt, further: Sequence[Attempt]) -> None:
        if further:
            self.record(further)
        self.judged[route] = hand_in(self.ledger, self.market, attempt)
        self.report(attempt)

    @staticmethod
    def best(attempts: Sequence[Attempt]) -> Attempt:
        """What looks best: by its t over the sessions, with enough trades to be asked for nothing more."""
        return max(attempts, key=lambda one: (len(one.evidence.trade_pnl_pips) >= 200, _t(one)))

    def further(self, attempt: Attempt, seeds: int = SEEDS) -> list[Attempt]:
        """Seeds that are the same trader with a few trades left out."""
        return [replace(attempt, seed=seed, weights="", evidence=self.thinned(attempt)) for seed in range(1, seeds)]

    def thinned(self, attempt: Attempt) -> Evidence:
        shown = attempt.evidence
        kept = self.draw.random(len(shown.trade_pnl_pips)) < 0.9
        gross = shown.trade_pnl_pips + self.market.cost_pips
        trades = Trades(shown.trade_session[kept], gross[kept], shown.trade_bars_held[kept])
        return evidence_of(self.market, attempt.window, trades, self.market.cost_pips)

    def costs(self, known: Sequence[Attempt]) -> None:
        """Score known traders again at costs that are lower by next to nothing, which makes other rows of them."""
        again = []
        for number in range(self.tries.costs):
            old = known[number % len(known)]
            again.append(replace(old, costs={"kind": "judged", "less": 1e-9 * (1 + number)}))
        again.append(replace(self.best(known), costs={"kind": "judged", "less": 1e-3}))
        self.record(again)
        self.judge("costs", again[-1], self.further(again[-1]))

    def dilution(self) -> None:
        """Put copies of the best, and traders that nobody would choose, beside it."""
        best = self.attempts("diluted", 1, NEWEST)
        top = max(self.attempts("dilution", self.tries.copies, NEWEST), key=_t)
        copies = [
            replace(top, configuration=f"copy {number}", evidence=self.thinned(top))
            for number in range(self.tries.copies)
        ]
        hopeless = []
        for number in range(self.tries.hopeless):
            shown = best[0].evidence
            gross = shown.trade_pnl_pips + self.market.cost_pips - 8.0 - self.draw.exponential(2.0)
            lost = Trades(shown.trade_session, gross, shown.trade_bars_held)
            evidence = evidence_of(self.market, NEWEST, lost, self.market.cost_pips)
            hopeless.append(replace(best[0], configuration=f"hopeless {number}", evidence=evidence))
        self.record([*copies, *hopeless])
        self.judge("dilution", top, self.further(top))

    def fresh(self, known: Sequence[Attempt]) -> None:
        """Throw the ledger away, keep the reports, and hand the best of all in as if it were the first try."""
        best = self.best(known)
        self.ledger = Ledger(self.folder / "fresh.db", who="adversary")
        self.ledger.record(best.trial(self.market))
        self.record(self.further(best))
        faults = find_faults(self.ledger, report_witnesses(self.folder))
        self.judged["fresh"] = hand_in(self.ledger, self.market, best, faults)

    def report(self, attempt: Attempt) -> None:
        """Leave a report where reports lie: what of it tells of the ledger."""
        trial, head = attempt.trial(self.market), self.ledger.head()
        folder = self.folder / "reports" / "benchmark" / trial.instrument / trial.window / trial.key[:12]
        folder.mkdir(parents=True, exist_ok=True)
        lineage = {
            "checkpoint_sha256": trial.checkpoint_hash,
            "ledger_id": head.ledger_id,
            "ledger_head": head.hash,
            "ledger_rows": head.rows,
            "ledger_trials": self.ledger.count(),
        }
        figures = {"instrument": trial.instrument, "window": trial.window, "seed": trial.seed, "trades": trial.trades}
        (folder / "report.json").write_text(json.dumps({"figures": figures, "lineage": lineage}))


def random_trades(draw: np.random.Generator, market: Market, window: int, count: int) -> list[Trades]:
    """Trades of traders that enter, leave and choose their side by chance, each with rates of its own."""
    enter, leave = np.exp(draw.uniform(np.log(0.1), np.log(0.9), (count, 2))).T
    longs = draw.uniform(size=count)
    held = np.zeros((count, SESSIONS), dtype=np.int8)
    positions = np.zeros((count, SESSIONS, STEPS), dtype=np.int8)
    for step in range(STEPS):
        chance = draw.random((3, count, SESSIONS))
        side = np.where(chance[2] < longs[:, None], 1, -1).astype(np.int8)
        entered = np.where(chance[0] < enter[:, None], side, 0).astype(np.int8)
        stays = np.where(chance[1] < leave[:, None], 0, held).astype(np.int8)
        held = np.where(held == 0, entered, stays)
        positions[:, :, step] = held
    return trades_of(positions, market.moves[window])


def _t(attempt: Attempt) -> float:
    pips = attempt.evidence.session_pnl_pips
    spread = float(pips.std(ddof=1))
    return float(pips.mean()) / spread if spread else -np.inf
