"""The networks of `networks.py` as compiled loops over packed weights, for up to R rows at a time.

Inputs of matrix products are low precision; everything between them (norms, residual sums, softmax) is float32.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from fx_pipeline.agents.muzero.engine import pack as pk
from fx_pipeline.agents.muzero.engine.kernels import address, join_relu, lower, matmul, normalise
from fx_pipeline.agents.muzero.engine.vectors import (
    LANES,
    add,
    add_relu,
    add_scaled,
    copy,
    dot,
    expectation,
    layer_norm,
    relu,
)


class Scratch(NamedTuple):
    """Room for R rows and one window; every array starts on a cache line and belongs to one thread.

    ``states, hidden`` (R, H) and ``heads`` (R, max(H, bins, F)) are float32; ``low_a, low_b`` (R, H) low precision. The
    encoder has ``sums, skips, codes`` (T, channels) float32 and ``inputs, features, between`` (T, ...) low precision.
    What is low precision is held as bytes.
    """

    states: npt.NDArray[np.float32]
    hidden: npt.NDArray[np.float32]
    heads: npt.NDArray[np.float32]
    low_a: npt.NDArray[np.uint8]
    low_b: npt.NDArray[np.uint8]
    sums: npt.NDArray[np.float32]
    skips: npt.NDArray[np.float32]
    codes: npt.NDArray[np.float32]
    features: npt.NDArray[np.uint8]
    inputs: npt.NDArray[np.uint8]
    between: npt.NDArray[np.uint8]


def allocate_scratch(packed: pk.Packed, precision: pk.Precision, rows: int) -> Scratch:
    """Room for `rows` rows of the networks of `packed`."""
    sizes = packed.sizes
    hidden, channels, window = int(sizes[pk.HIDDEN]), int(sizes[pk.CHANNELS]), int(sizes[pk.WINDOW])
    low = 2 if precision == "bf16" else 4
    # Features pass through `heads` on their way to low precision.
    widest = max(hidden, int(sizes[pk.BINS]), int(sizes[pk.FEATURES]))
    return Scratch(
        states=pk.aligned((rows, hidden), np.float32),
        hidden=pk.aligned((rows, hidden), np.float32),
        heads=pk.aligned((rows, widest), np.float32),
        low_a=pk.aligned((rows, hidden * low), np.uint8),
        low_b=pk.aligned((rows, hidden * low), np.uint8),
        sums=pk.aligned((window, channels), np.float32),
        skips=pk.aligned((window, channels), np.float32),
        codes=pk.aligned((window, channels), np.float32),
        features=pk.aligned((window, int(sizes[pk.FEATURES]) * low), np.uint8),
        inputs=pk.aligned((window, channels * low), np.uint8),
        between=pk.aligned((window, channels * low), np.uint8),
    )


@njit(nogil=True, cache=True)
def vector_at(packed, place):  # type: ignore[no-untyped-def]
    """Address of one of the vectors of `pack`, such as ``pack.ZEROS``."""
    return address(packed.floats) + 4 * packed.rows[place]


@njit(nogil=True, cache=True)
def stage_features(packed, scratch, bars, out, ld):  # type: ignore[no-untyped-def]
    """Write features (T, F) float32 to rows at the address ``out`` in low precision."""
    columns, features = packed.sizes[pk.FEATURES], bars.shape[1]
    # They pass through floats, for the conversion of a whole row.
    staged = address(scratch.heads)
    scratch.heads[0, :columns] = 0.0
    for bar in range(len(bars)):
        for feature in range(features):
            scratch.heads[0, feature] = bars[bar, feature]
        lower(packed, staged, 0, out + bar * ld, 0, 1, columns // LANES)


@njit(nogil=True, cache=True)
def convolve(packed, layer, x, ld_x, dilation, bars, sums, ld):  # type: ignore[no-untyped-def]
    """Causal dilated convolution of `bars` rows into the rows at ``sums``; before the first row there is nothing.

    A sum begins with the newest bar. What lies before the window is left out, where a plain convolution multiplies
    zeros.
    """
    matmul(packed, layer, x, ld_x, bars, vector_at(packed, pk.ZEROS), 0, sums, ld, 0)
    for age in range(1, packed.sizes[pk.KERNEL]):
        back = age * dilation
        if back < bars:
            later = sums + back * ld
            matmul(packed, layer + age, x, ld_x, bars - back, later, ld, later, ld, 0)


@njit(nogil=True, cache=True)
def relu_lower(packed, x, ld, out, ld_out, rows, lanes):  # type: ignore[no-untyped-def]
    """out = low(relu(x)) of `rows` rows; x becomes relu(x)."""
    for row in range(rows):
        relu(x + row * ld, lanes)
    lower(packed, x, ld, out, ld_out, rows, lanes)


@njit(nogil=True, cache=True)
def encode(packed, scratch, window, out):  # type: ignore[no-untyped-def]
    """Market code ``out`` (channels,) of one feature window (T, F) float32: the TCN and its attention pooling."""
    sizes = packed.sizes
    length, kernel, lanes = sizes[pk.WINDOW], sizes[pk.KERNEL], sizes[pk.CHANNELS] // LANES
    sums, skips, codes = address(scratch.sums), address(scratch.skips), address(scratch.codes)
    ld, ld_low = scratch.sums.strides[0], scratch.inputs.strides[0]
    between, inputs = address(scratch.between), address(scratch.inputs)
    source, ld_source = address(scratch.features), scratch.features.strides[0]
    stage_features(packed, scratch, window, source, ld_source)
    layer = sizes[pk.TEMPORAL_LAYERS]
    dilation = 1
    for block in range(sizes[pk.TEMPORAL_BLOCKS]):
        convolve(packed, layer, source, ld_source, dilation, length, sums, ld)
        relu_lower(packed, sums, ld, between, ld_low, length, lanes)
        convolve(packed, layer + kernel, between, ld_low, dilation, length, sums, ld)
        layer += 2 * kernel
        skip = codes
        if block == 0:
            matmul(packed, layer, source, ld_source, length, vector_at(packed, pk.ZEROS), 0, skips, ld, 0)
            layer += 1
            skip = skips
        join_relu(packed, sums, skip, codes, ld, inputs, ld_low, length, lanes)
        source, ld_source = inputs, ld_low
        dilation *= 2
    pool(packed, scratch, out)


@njit(nogil=True, cache=True)
def pool(packed, scratch, out):  # type: ignore[no-untyped-def]
    """Attention over the rows of ``scratch.codes``: the market code ``out`` (channels,)."""
    length, lanes = packed.sizes[pk.WINDOW], packed.sizes[pk.CHANNELS] // LANES
    codes, ld = address(scratch.codes), scratch.codes.strides[0]
    place = packed.rows[pk.PLACE]
    scores = np.empty(length, dtype=np.float32)
    best = np.float32(-np.inf)
    for bar in range(length):
        scores[bar] = dot(codes + bar * ld, vector_at(packed, pk.ATTENTION), lanes) + packed.floats[place + bar]
        best = max(best, scores[bar])
    total = np.float32(0.0)
    for bar in range(length):
        scores[bar] = math.exp(scores[bar] - best)
        total += scores[bar]
    pooled = address(scratch.sums)
    scratch.sums[0] = 0.0
    for bar in range(length):
        add_scaled(pooled, np.float32(scores[bar] / total), codes + bar * ld, lanes)
    out[:] = scratch.sums[0]


@njit(nogil=True, cache=True)
def embed(packed, code, static, out):  # type: ignore[no-untyped-def]
    """State ``out`` (H,) of a market code (channels,) and position features (6,)."""
    floats, rows = packed.floats, packed.rows
    channels, size, inputs = packed.sizes[pk.CHANNELS], packed.sizes[pk.STATIC], len(static)
    out[:channels] = code
    mean = np.float32(0.0)
    for unit in range(size):
        total = floats[rows[pk.STATIC_BIAS] + unit]
        for place in range(inputs):
            total += floats[rows[pk.STATIC_WEIGHT] + unit * inputs + place] * static[place]
        out[channels + unit] = total
        mean += total / np.float32(size)
    variance = np.float32(0.0)
    for unit in range(size):
        variance += (out[channels + unit] - mean) ** 2 / np.float32(size)
    scale = np.float32(1.0) / np.sqrt(variance + np.float32(1e-5))
    for unit in range(size):
        value = (out[channels + unit] - mean) * scale * floats[rows[pk.STATIC_SCALE] + unit]
        value += floats[rows[pk.STATIC_SHIFT] + unit]
        # A comparison that lets NaN through.
        out[channels + unit] = np.float32(0.0) if value < 0.0 else value
    layer_norm(
        address(out),
        vector_at(packed, pk.STATE_SCALE),
        vector_at(packed, pk.STATE_SHIFT),
        address(out),
        packed.sizes[pk.HIDDEN] // LANES,
    )


@njit(nogil=True, cache=True)
def _blocks(packed, scratch, rows, layer, count):  # type: ignore[no-untyped-def]
    """Run `count` residual blocks over ``scratch.hidden``, then write its norm to ``scratch.low_a``."""
    lanes = packed.sizes[pk.HIDDEN] // LANES
    x, ld = address(scratch.hidden), scratch.hidden.strides[0]
    a, b, ld_low = address(scratch.low_a), address(scratch.low_b), scratch.low_a.strides[0]
    zeros = vector_at(packed, pk.ZEROS)
    for _ in range(count):
        normalise(packed, x, ld, a, ld_low, rows, lanes)
        matmul(packed, layer, a, ld_low, rows, zeros, 0, b, ld_low, 1)
        matmul(packed, layer + 1, b, ld_low, rows, x, ld, x, ld, 0)
        layer += 2
    normalise(packed, x, ld, a, ld_low, rows, lanes)


@njit(nogil=True, cache=True)
def _values(packed, scratch, rows, layer, out):  # type: ignore[no-untyped-def]
    """Two-hot head on ``scratch.low_a``: pips to ``out`` (rows,)."""
    heads, ld = address(scratch.heads), scratch.heads.strides[0]
    a, ld_low = address(scratch.low_a), scratch.low_a.strides[0]
    zeros, centres = vector_at(packed, pk.ZEROS), vector_at(packed, pk.CENTRES)
    matmul(packed, layer, a, ld_low, rows, zeros, 0, heads, ld, 0)
    for row in range(rows):
        out[row] = expectation(heads + row * ld, centres, packed.sizes[pk.BINS] // LANES)


@njit(nogil=True, cache=True)
def _logits(packed, scratch, rows, layer, out):  # type: ignore[no-untyped-def]
    """Linear head on ``scratch.low_a``: logits to ``out`` (rows, width)."""
    heads, ld = address(scratch.heads), scratch.heads.strides[0]
    a, ld_low = address(scratch.low_a), scratch.low_a.strides[0]
    zeros = vector_at(packed, pk.ZEROS)
    matmul(packed, layer, a, ld_low, rows, zeros, 0, heads, ld, 0)
    for row in range(rows):
        for column in range(out.shape[1]):
            out[row, column] = scratch.heads[row, column]


@njit(nogil=True, cache=True)
def policy_of(packed, scratch, states, logits):  # type: ignore[no-untyped-def]
    """Policy ``logits`` (R, A) of ``states`` (R, H), which are left as they are."""
    layer, count = packed.sizes[pk.POLICY_LAYERS], packed.sizes[pk.POLICY_BLOCKS]
    _load(packed, scratch, states)
    _blocks(packed, scratch, len(states), layer, count)
    _logits(packed, scratch, len(states), layer + 2 * count, logits)


@njit(nogil=True, cache=True)
def value_of(packed, scratch, states, values):  # type: ignore[no-untyped-def]
    """``values`` (R,) of ``states`` (R, H), which are left as they are."""
    layer, count = packed.sizes[pk.VALUE_LAYERS], packed.sizes[pk.VALUE_BLOCKS]
    _load(packed, scratch, states)
    _blocks(packed, scratch, len(states), layer, count)
    _values(packed, scratch, len(states), layer + 2 * count, values)


@njit(nogil=True, cache=True)
def _load(packed, scratch, states):  # type: ignore[no-untyped-def]
    x, ld = address(scratch.hidden), scratch.hidden.strides[0]
    for row in range(len(states)):
        copy(address(states[row]), x + row * ld, packed.sizes[pk.HIDDEN] // LANES)


@njit(nogil=True, cache=True)
def _condition(packed, scratch, rows, layer):  # type: ignore[no-untyped-def]
    """``scratch.hidden`` += the state part of a conditioned linear layer of ``scratch.states``."""
    lanes = packed.sizes[pk.HIDDEN] // LANES
    x, ld = address(scratch.hidden), scratch.hidden.strides[0]
    a, ld_low = address(scratch.low_a), scratch.low_a.strides[0]
    states = address(scratch.states)
    lower(packed, states, ld, a, ld_low, rows, lanes)
    matmul(packed, layer, a, ld_low, rows, x, ld, x, ld, 0)


@njit(nogil=True, cache=True)
def afterstate(packed, scratch, actions, logits, values):  # type: ignore[no-untyped-def]
    """Chance ``logits`` (R, C) and ``values`` (R,) of the rows of ``scratch.states`` under ``actions`` (R,)."""
    rows, sizes = len(actions), packed.sizes
    lanes, layer = sizes[pk.HIDDEN] // LANES, sizes[pk.AFTERSTATE_LAYERS]
    x, ld = address(scratch.hidden), scratch.hidden.strides[0]
    table = vector_at(packed, pk.AFTERSTATE_ACTIONS)
    for row in range(rows):
        copy(table + actions[row] * ld, x + row * ld, lanes)
    _condition(packed, scratch, rows, layer)
    for row in range(rows):
        relu(x + row * ld, lanes)
    _blocks(packed, scratch, rows, layer + 1, sizes[pk.AFTERSTATE_BLOCKS])
    layer += 1 + 2 * sizes[pk.AFTERSTATE_BLOCKS]
    _logits(packed, scratch, rows, layer, logits)
    _values(packed, scratch, rows, layer + 1, values)


@njit(nogil=True, cache=True)
def dynamics(packed, scratch, actions, outcomes, states, rewards, values):  # type: ignore[no-untyped-def]
    """What follows the rows of ``scratch.states``: next ``states`` (R, H), ``rewards`` and ``values`` (R,)."""
    rows, sizes = len(actions), packed.sizes
    lanes, layer, count = sizes[pk.HIDDEN] // LANES, sizes[pk.DYNAMICS_LAYERS], sizes[pk.DYNAMICS_BLOCKS]
    reward_head = layer + 1 + 2 * count
    x, ld = address(scratch.hidden), scratch.hidden.strides[0]
    a, ld_low = address(scratch.low_a), scratch.low_a.strides[0]
    by_action, by_outcome = vector_at(packed, pk.DYNAMICS_ACTIONS), vector_at(packed, pk.DYNAMICS_OUTCOMES)
    for row in range(rows):
        add(by_action + actions[row] * ld, by_outcome + outcomes[row] * ld, x + row * ld, lanes)
    _condition(packed, scratch, rows, layer)
    if sizes[pk.VALUE_PREFIX]:
        # `low_a` still holds the states; until `value_of`, `values` is room for their prefixes.
        _values(packed, scratch, rows, reward_head, values)
    source = address(scratch.states)
    for row in range(rows):
        add_relu(source + row * ld, x + row * ld, x + row * ld, lanes)
    _blocks(packed, scratch, rows, layer + 1, count)
    scale, shift = vector_at(packed, pk.NEXT_SCALE), vector_at(packed, pk.NEXT_SHIFT)
    for row in range(rows):
        following = address(states[row])
        layer_norm(x + row * ld, scale, shift, following, lanes)
        lower(packed, following, 0, a + row * ld_low, 0, 1, lanes)
    _values(packed, scratch, rows, reward_head, rewards)
    if sizes[pk.VALUE_PREFIX]:
        for row in range(rows):
            rewards[row] -= values[row]
    value_of(packed, scratch, states, values)


@njit(nogil=True, cache=True)
def encode_windows(packed, scratch, windows, out):  # type: ignore[no-untyped-def]
    """Market codes ``out`` (B, channels) of feature windows (B, T, F)."""
    for row in range(len(windows)):
        encode(packed, scratch, windows[row], out[row])


@njit(nogil=True, cache=True)
def embed_rows(packed, codes, static, out):  # type: ignore[no-untyped-def]
    """States ``out`` (B, H) of market codes (B, channels) and position features (B, 6)."""
    for row in range(len(codes)):
        embed(packed, codes[row], static[row], out[row])
