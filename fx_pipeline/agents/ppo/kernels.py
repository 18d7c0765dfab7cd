"""Compiled loops of PPO: a bar of all environments at once, and the decisions of a trained network, row by row."""

import math

import numba
import numpy as np

from fx_pipeline.agents.ppo.gate import allowed
from fx_pipeline.environment import position as pk
from fx_pipeline.environment.lockstep import describe, step_sessions

TANH, RELU = 0, 1


@numba.njit(cache=True, nogil=True)
def play_bar(game, seats, bars, chosen, last, ends, rest, flat, closed, turned, actions, of_trade, blocked):  # type: ignore[no-untyped-def]
    """Act in B sessions and move them by one bar, in place; return rewards (B,) float64.

    Parameters
    ----------
    chosen : (B,) int64
        Actions, legal or not.
    last, ends : bool
        Whether this bar is the sessions' last one, and whether the next one is.
    rest, flat : int
        What an illegal action becomes: `rest` where that is legal, or `flat`.
    closed : (T,) bool
        Where the gate is closed; empty without a gate.
    turned : (A,) int64
        Of each action, its number in a market upside down.
    actions : (2, B) int64
        Written: what is done; read: in row 1, whether a session is upside down.
    of_trade : (B,) int64
        Written: the number of the trade, among those of its session, that the step belongs to; -1 for none.
    blocked : (B,) bool
        Written: whether the gate kept the session from an entry.
    """
    batch = len(bars)
    before = np.empty(batch, np.int64)
    for row in range(batch):
        action = turned[chosen[row]] if actions[1, row] else chosen[row]
        if not seats.legal[row, action]:
            action = rest if seats.legal[row, rest] else flat
        blocked[row] = False
        if len(closed) and closed[bars[row]]:
            through = allowed(action, seats.positions[row, pk.EXPOSURE], game.targets, rest, flat)
            blocked[row] = through != action
            action = through
        actions[0, row] = action
        before[row] = seats.trade_counts[row]
    rewards, _ = step_sessions(game, seats, bars, actions[0], last)
    for row in range(batch):
        count = seats.trade_counts[row]
        if seats.positions[row, pk.EXPOSURE] != 0.0:
            of_trade[row] = count
        else:
            of_trade[row] = count - 1 if count > before[row] else -1
    describe(game, seats, ends)
    return rewards


@numba.njit(cache=True, nogil=True)
def look(features, static, bars, upside_down, factor, offset, closed, backs, columns, out):  # type: ignore[no-untyped-def]
    """Write what networks see of B sessions: features (N), position (6), and with a gate whether it is closed.

    Parameters
    ----------
    features : (T, F) float32
    static : (B, 6) float32
    bars : (B,) int64
    upside_down : (B,) int64
        Whether a session is seen so: features become offset + factor * feature, the exposure changes its sign.
    factor, offset : (F,) float32
    closed : (T,) bool
        Empty without a gate.
    backs, columns : (N,) int64
        Of the features that are shown: bars before the newest, and columns.
    out : (B, N + 6) float32, or a column more
    """
    place = len(backs)
    for row in range(len(bars)):
        for number in range(place):
            value = features[bars[row] - backs[number], columns[number]]
            if upside_down[row]:
                value = offset[columns[number]] + factor[columns[number]] * value
            out[row, number] = value
        for feature in range(static.shape[1]):
            out[row, place + feature] = static[row, feature]
        if upside_down[row]:
            out[row, place] = -out[row, place]
        if len(closed):
            out[row, place + static.shape[1]] = 1.0 if closed[bars[row]] else 0.0


@numba.njit(cache=True, nogil=True)
def decide(rows, weights, biases, activation, groups, legal, rest, flat, closed, held, targets):  # type: ignore[no-untyped-def]
    """Return the greedy action of each row (B,) int64.

    An illegal action acts as `rest`, or `flat` where that is illegal too; what is done is what all the actions that act
    alike make likeliest. Each row is computed by itself, in one order, so that it does not depend on the batch.

    Parameters
    ----------
    rows : (B, N) float32
    weights : tuple of (I, O) float32
        Of the hidden layers and of the logits.
    biases : tuple of (O,) float32
    activation : int
        TANH or RELU.
    groups : int
        Simplicial groups of the last hidden layer; 0 for none.
    legal : (B, A) bool
    closed : (B,) bool
        Whether the gate is closed.
    held : (B,) float32
        Exposures.
    targets : (A,) float64
    """
    found = np.empty(len(rows), np.int64)
    for row in range(len(rows)):
        chances = probabilities(rows[row], weights, biases, activation, groups)
        likely = np.zeros(len(chances))
        for action in range(len(chances)):
            done = action
            if not legal[row, action]:
                done = rest if legal[row, rest] else flat
            if closed[row]:
                done = allowed(done, held[row], targets, rest, flat)
            likely[done] += chances[action]
        found[row] = np.argmax(likely)
    return found


@numba.njit(cache=True, nogil=True)
def probabilities(x, weights, biases, activation, groups):  # type: ignore[no-untyped-def]
    """Return the probabilities (A,) float32 of the actions for one observation (N,) float32; see `decide`."""
    for layer in range(len(weights)):
        weight, hidden = weights[layer], biases[layer].copy()
        for source in range(len(x)):
            value = x[source]
            for unit in range(len(hidden)):
                hidden[unit] += value * weight[source, unit]
        if layer < len(weights) - 1:
            for unit in range(len(hidden)):
                hidden[unit] = math.tanh(hidden[unit]) if activation == TANH else max(hidden[unit], np.float32(0.0))
            if layer == len(weights) - 2 and groups:
                size = len(hidden) // groups
                for group in range(groups):
                    _softmax(hidden[group * size : (group + 1) * size])
        x = hidden
    _softmax(x)
    return x


@numba.njit(cache=True, nogil=True)
def _softmax(values):  # type: ignore[no-untyped-def]
    most, total = values.max(), np.float32(0.0)
    for place in range(len(values)):
        values[place] = math.exp(values[place] - most)
        total += values[place]
    for place in range(len(values)):
        values[place] /= total
