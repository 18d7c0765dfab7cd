"""The lock-step environment: B sessions of one market move bar by bar together."""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from fx_pipeline.environment import position as pk
from fx_pipeline.environment.action_sets import UNIT4, ActionSet
from fx_pipeline.environment.actions import NEUTRAL, outcome_of
from fx_pipeline.environment.rewards import DRAWDOWNS, RewardConfig
from fx_pipeline.environment.spec import ObservationSpec
from fx_pipeline.environment.trades import TRADE_DTYPE
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import Fills
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.session_rules import SessionRules

Float64 = npt.NDArray[np.float64]
# Columns of a recorded trade inside the kernel.
_COLUMNS = (
    "side",
    "entry_bar",
    "exit_bar",
    "entry_price",
    "exit_price",
    "cost_pips",
    "pnl_pips",
    "drawdown_pips",
    "max_drawdown_pips",
    "peak_pips",
    "amddp1",
    "low_pips",
    "bars_held",
    "exposure",
    "opened",
)


class IllegalActionError(ValueError):
    """An action that the position does not allow."""


class Observation(NamedTuple):
    """What a policy sees at the close of a bar.

    Attributes
    ----------
    temporal : (B, W, F) float32
        Features of the last W bars, oldest first.
    static : (B, 6) float32
        Position features, zero when flat; the first is the exposure.
    legal : (B, A) bool
        Actions that the position allows.
    bar : (B,) int64
        Index of the bar in the market's arrays.
    """

    temporal: npt.NDArray[np.float32]
    static: npt.NDArray[np.float32]
    legal: npt.NDArray[np.bool_]
    bar: npt.NDArray[np.int64]


class Step(NamedTuple):
    """Result of one step.

    Attributes
    ----------
    rewards : (B,) float64
        In pips.
    outcomes : (B,) int8
        Where the market went from the bar of the decision to the next; NEUTRAL at a session's last bar.
    done : bool
        Whether the sessions have ended (all end together).
    observation : Observation
        At the next bar; after the end, at the last bar.
    """

    rewards: Float64
    outcomes: npt.NDArray[np.int8]
    done: bool
    observation: Observation


class Game(NamedTuple):
    """What the step kernel reads: the market, its fills, and the rules of the reward and of the actions.

    See the classes behind them; ``targets`` (A,) and ``legal`` (2, 2, A) are an action set's `target_array` and
    `legal_table`.
    """

    close: Float64
    sigma: Float64
    pip: float
    unit_pips: float
    fills: Fills
    drawdown_kind: int
    dense: bool
    drawdown_weight: float
    idle_reward: float
    entry_reward: float
    profit_floor: float
    targets: Float64
    legal: npt.NDArray[np.bool_]


class Seats(NamedTuple):
    """What the step kernel writes, of B sessions.

    ``starts`` (B,) bar of each session's first decision, ``positions`` (B, POSITION_SIZE), ``static`` (B, 6) and
    ``legal`` (B, A) as in `Observation`, ``trades`` (B, M, 15) closed trades and ``trade_counts`` (B,) of them.
    """

    starts: npt.NDArray[np.int64]
    positions: Float64
    static: npt.NDArray[np.float32]
    legal: npt.NDArray[np.bool_]
    trades: Float64
    trade_counts: npt.NDArray[np.int64]

    def part(self, rows: slice | npt.NDArray[np.bool_]) -> "Seats":
        """Views of some of the sessions; copies where they are chosen one by one."""
        return self._replace(**{name: array[rows] for name, array in self._asdict().items()})


class LockstepEnvironment:
    """B sessions of one market in lock-step.

    Compiled loops may play in its place: they call `step_sessions` and `describe` on parts of `seats`, and count in
    `steps_done` what they have played.

    A session has `rules.bars` decisions, or fewer where `reset` is told so. At its last bar only what leads to a flat
    account is legal, filled at that bar's close: nothing is carried out of a session.

    Parameters
    ----------
    market : MarketArrays
    fills : Fills
        From `fx_pipeline.market.costs.build_fills` on the same market.
    reward : RewardConfig
    rules : SessionRules
        How long a session is, and how far an observation looks back.
    actions : ActionSet

    Attributes
    ----------
    spec : ObservationSpec
        What `Observation`s of it look like.
    """

    def __init__(
        self,
        market: MarketArrays,
        fills: Fills,
        reward: RewardConfig | None = None,
        rules: SessionRules = SessionRules(),
        actions: ActionSet = UNIT4,
    ) -> None:
        if len(fills.buy) != len(market):
            raise ValueError(f"fills have {len(fills.buy)} bars, the market has {len(market)}.")
        self.market = market
        self.fills = fills
        self.reward = reward or RewardConfig()
        self.rules = rules
        self.actions = actions
        self.session_bars = rules.bars
        self.window_bars = rules.window_bars
        self.spec = observation_spec(market, rules, actions)
        self.game = Game(
            np.ascontiguousarray(market.close),
            np.ascontiguousarray(market.outcome_sigma),
            market.pip,
            market.unit_pips,
            fills,
            DRAWDOWNS.index(self.reward.drawdown),
            self.reward.kind == "dense",
            self.reward.drawdown_weight,
            self.reward.idle_reward,
            self.reward.entry_reward,
            self.reward.profit_floor,
            actions.target_array,
            actions.legal_table,
        )
        self.steps_done = self.session_bars
        unusable = ~np.isfinite(market.features).all(axis=1)
        self._unusable_before = np.concatenate(([0], np.cumsum(unusable)))

    def reset(self, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64] | None = None) -> Observation:
        """Start one session at each bar of `starts` (B,) and return the first observation.

        `lengths` (B,) are the decisions of each, `session_bars` at most; one that has ended stands at its last bar and
        holds until the others end.

        Raises
        ------
        DataError
            If a session, or the window before its first bar, leaves the market or touches a bar that is warming up.
        """
        starts = np.ascontiguousarray(starts, dtype=np.int64)
        if starts.ndim != 1 or len(starts) == 0:
            raise ValueError("starts must be a non-empty (B,) array.")
        self.lengths = np.full(len(starts), self.session_bars) if lengths is None else np.array(lengths, np.int64)
        if self.lengths.shape != starts.shape or self.lengths.min() < 1 or self.lengths.max() > self.session_bars:
            raise ValueError(f"lengths must be 1 to {self.session_bars} decisions of each of {len(starts)} sessions.")
        first, last = starts - self.window_bars + 1, starts + self.lengths
        if first.min() < 0 or last.max() > len(self.market):
            raise DataError(
                f"a session of {self.session_bars} bars (window {self.window_bars}) at bars "
                f"{starts.min()}..{starts.max()} leaves the market of {len(self.market)} bars: "
                "take starts from the valid-session index."
            )
        if (self._unusable_before[last] > self._unusable_before[first]).any():
            raise DataError("a session touches bars whose features are not finite: take starts from the session index.")
        self.steps_done = 0
        batch = len(starts)
        # A position that can be turned may end a trade at every bar, one that must be left first at every other.
        trades = self.session_bars // 2 + 1 if self.actions.through_flat else self.session_bars
        self.seats = Seats(
            starts=starts,
            positions=np.zeros((batch, pk.POSITION_SIZE)),
            static=np.zeros((batch, pk.NUM_STATIC), dtype=np.float32),
            legal=np.zeros((batch, len(self.actions)), dtype=np.bool_),
            trades=np.zeros((batch, trades, len(_COLUMNS))),
            trade_counts=np.zeros(batch, dtype=np.int64),
        )
        self._describe()
        return self.observation()

    @property
    def bar(self) -> npt.NDArray[np.int64]:
        """Bar index (B,) of each session's next decision."""
        return self.seats.starts + np.minimum(self.steps_done, self.lengths - 1)

    @property
    def positions(self) -> Float64:
        """A copy of the position rows (B, POSITION_SIZE)."""
        return self.seats.positions.copy()

    def observation(self) -> Observation:
        """Return what policies see now."""
        bar = self.bar
        return Observation(
            self.market.windows(bar, self.window_bars), self.seats.static.copy(), self.seats.legal.copy(), bar.copy()
        )

    def step(self, actions: npt.NDArray[np.integer]) -> Step:
        """Act at the close of the current bar and move on to the next.

        Parameters
        ----------
        actions : (B,) int

        Returns
        -------
        Step

        Raises
        ------
        IllegalActionError
            If an action is not legal in its session; nothing has moved then.
        RuntimeError
            If the sessions have ended.
        """
        if self.steps_done >= self.session_bars:
            raise RuntimeError("the sessions have ended: call reset.")
        actions = np.ascontiguousarray(actions, dtype=np.int64)
        if actions.shape != self.seats.starts.shape:
            raise ValueError(f"actions have shape {actions.shape}, expected {self.seats.starts.shape}.")
        in_range = (actions >= 0) & (actions < len(self.actions))
        allowed = in_range & self.seats.legal[np.arange(len(actions)), np.where(in_range, actions, 0)]
        if not allowed.all():
            row = int(np.flatnonzero(~allowed)[0])
            legal = np.flatnonzero(self.seats.legal[row]).tolist()
            raise IllegalActionError(f"session {row}: action {actions[row]} is illegal, legal are {legal}.")
        rewards, outcomes = np.zeros(len(actions)), np.full(len(actions), NEUTRAL, dtype=np.int8)
        left = self.lengths - 1 - self.steps_done
        for last, rows in ((False, left > 0), (True, left == 0)):
            if rows.all():
                rewards, outcomes = step_sessions(self.game, self.seats, self.bar, actions, last)
            elif rows.any():
                part = self.seats.part(rows)
                rewards[rows], outcomes[rows] = step_sessions(self.game, part, self.bar[rows], actions[rows], last)
                for name in ("positions", "trades", "trade_counts"):
                    getattr(self.seats, name)[rows] = getattr(part, name)
        self.steps_done += 1
        self._describe()
        return Step(rewards, outcomes, self.steps_done == self.session_bars, self.observation())

    def _describe(self) -> None:
        ending = self.steps_done >= self.lengths - 1
        describe(self.game, self.seats, bool(ending.all()))
        if ending.any() and not ending.all():
            part = self.seats.part(ending)
            describe(self.game, part, True)
            self.seats.static[ending], self.seats.legal[ending] = part.static, part.legal

    def trades(self) -> npt.NDArray[np.void]:
        """Closed trades so far, sorted by session and entry, with dtype `TRADE_DTYPE`."""
        recorded = np.arange(self.seats.trades.shape[1]) < self.seats.trade_counts[:, None]
        rows = self.seats.trades[recorded]
        trades = np.zeros(len(rows), dtype=TRADE_DTYPE)
        for number, name in enumerate(_COLUMNS):
            trades[name] = rows[:, number]
        trades["session"] = np.nonzero(recorded)[0]
        trades["entry_time"] = self.market.time[trades["entry_bar"]]
        trades["exit_time"] = self.market.time[trades["exit_bar"]]
        return trades


def observation_spec(market: MarketArrays, rules: SessionRules, actions: ActionSet) -> ObservationSpec:
    """Return what observations of a market look like under these rules."""
    return ObservationSpec(
        window_bars=rules.window_bars,
        features=market.features.shape[1],
        static=pk.NUM_STATIC,
        actions=len(actions),
        feature_set=market.feature_set,
        timeframe=market.timeframe.name,
        action_set=actions.name,
    )


@numba.njit(cache=True, nogil=True)
def describe(game, seats, last):  # type: ignore[no-untyped-def]
    """Write what policies see of the positions, at their sessions' last bar or before it, into ``seats.static`` (B, 6)
    and ``seats.legal`` (B, A)."""
    for row in range(len(seats.positions)):
        pk.write_static(seats.positions[row], seats.static[row], game.unit_pips)
        seats.legal[row] = game.legal[1 if last else 0, 0 if seats.positions[row, pk.EXPOSURE] == 0.0 else 1]


@numba.njit(cache=True, nogil=True)
def step_sessions(game, seats, bars, actions, last):  # type: ignore[no-untyped-def]
    """Move B sessions by one bar, in place; return rewards (B,) float64 and outcomes (B,) int8.

    ``seats.positions, trades, trade_counts`` are updated; `describe` writes the rest. Actions are legal.
    """
    close, sigma, pip, fills = game.close, game.sigma, game.pip, game.fills
    drawdown_kind, dense, drawdown_weight = game.drawdown_kind, game.dense, game.drawdown_weight
    idle_reward, entry_reward, targets = game.idle_reward, game.entry_reward, game.targets
    # An order that fills at the next open crosses the night with what was held before it.
    at_open = not fills.at_close and not last
    batch = len(bars)
    rewards = np.zeros(batch)
    outcomes = np.full(batch, NEUTRAL, dtype=np.int8)
    for row in range(batch):
        bar, position = bars[row], seats.positions[row]
        if not last:
            outcomes[row] = outcome_of(close[bar + 1] - close[bar], sigma[bar])
        held, target = position[pk.EXPOSURE], targets[actions[row]]
        if target != target:
            # Not a number: the action that keeps what is held.
            target = held
        if held == 0.0 and target == 0.0:
            rewards[row] = idle_reward
            continue
        reward, pips, drawdown = 0.0, position[pk.PIPS], pk.penalty(position, drawdown_kind)
        opens, ends, carried = held == 0.0, False, held
        if held != 0.0 and held * target <= 0.0:
            if at_open:
                position[pk.COST] += abs(held) * (
                    fills.carry_long_pips[bar] if held > 0.0 else fills.carry_short_pips[bar]
                )
            reward = _end_trade(game, seats, row, bar, last, pips, drawdown)
            if target == 0.0:
                rewards[row] = reward
                continue
            # The other side is another trade, opened by the same order.
            opens = ends = True
        if opens:
            pips, drawdown, carried = 0.0, 0.0, 0.0
            price = fills.buy[bar] if target > 0.0 else fills.sell[bar]
            pk.open_position(position, target, price, fills.entry_cost_pips[bar])
            position[pk.ENTRY_BAR] = bar if fills.at_close else bar + 1
        elif target != held:
            price = fills.buy[bar] if target > held else fills.sell[bar]
            pk.resize(position, target, price, fills.entry_cost_pips[bar], pip)
        if fills.at_close:
            carried = target
        long = target > 0.0
        position[pk.COST] += abs(carried) * (fills.carry_long_pips[bar] if long else fills.carry_short_pips[bar])
        pk.mark(position, fills.long_mark[bar + 1] if long else fills.short_mark[bar + 1], pip)
        position[pk.BARS] += 1.0
        if dense:
            change = position[pk.PIPS] - pips - drawdown_weight * (pk.penalty(position, drawdown_kind) - drawdown)
            reward = reward + change if ends else change
        if opens:
            reward += entry_reward
        rewards[row] = reward
    return rewards, outcomes


@numba.njit(cache=True, nogil=True)
def _end_trade(game, seats, row, bar, last, pips, drawdown):  # type: ignore[no-untyped-def]
    # Close the position of a row and record its trade; return the reward of it. `pips` and `drawdown` are what was
    # rewarded so far.
    fills, position = game.fills, seats.positions[row]
    held = position[pk.EXPOSURE]
    long = held > 0.0
    if last:
        price = fills.last_sell[bar] if long else fills.last_buy[bar]
    else:
        price = fills.sell[bar] if long else fills.buy[bar]
    area = position[pk.AREA]
    pk.mark(position, price, game.pip)
    # The area is in pip-bars: the fill that closes adds a mark, but no bar that was held.
    position[pk.AREA] = area
    pk.let_go(position, abs(held), price)
    pnl, total = position[pk.PIPS], pk.penalty(position, game.drawdown_kind)
    reward = pk.amddp1(pnl, total, game.drawdown_weight, game.profit_floor)
    trade = seats.trades[row, seats.trade_counts[row]]
    trade[0], trade[1] = 1.0 if long else -1.0, position[pk.ENTRY_BAR]
    trade[2] = bar if last or fills.at_close else bar + 1
    trade[3], trade[4], trade[5] = position[pk.OPENED_AT], position[pk.CLOSED_AT], position[pk.COST]
    trade[6], trade[7], trade[8] = pnl, total, position[pk.MAX_DRAWDOWN]
    trade[9], trade[10], trade[11] = position[pk.PEAK], reward, position[pk.LOW]
    # A bar is held when its close finds the position open; the fill that closes it is one mark more.
    trade[12] = position[pk.BARS]
    trade[13], trade[14] = position[pk.GREATEST], position[pk.OPENED]
    seats.trade_counts[row] += 1
    position[:] = 0.0
    if game.dense:
        return pnl - pips - game.drawdown_weight * (total - drawdown)
    return reward
