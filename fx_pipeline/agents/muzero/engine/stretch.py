"""Market codes of consecutive bars: what their windows share is computed once.

Before a window there is nothing, so near its first bar the causal convolutions answer otherwise than in the window
before. As far as a layer reaches back, its outputs belong to one window (its edge); all others depend on the bar alone
(they are steady). A sum begins with the newest bar, so what an edge takes from steady bars comes first: it is a partial
sum of the steady ones, and shared too. The order is that of `forward.convolve`, so a code equals that of
`forward.encode` to the bit.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from fx_pipeline.agents.muzero.engine import pack as pk
from fx_pipeline.agents.muzero.engine.forward import encode, pool, relu_lower, stage_features, vector_at
from fx_pipeline.agents.muzero.engine.kernels import address, join_relu, matmul
from fx_pipeline.agents.muzero.engine.vectors import LANES, copy

#: Most windows of a stretch.
STRETCH_BARS = 24
#: Of fewer windows each is encoded alone: their edges are too few rows for whole tiles.
_LEAST_BARS = 4


class Stretch(NamedTuple):
    """Room for a stretch of G windows of T bars, beside a `forward.Scratch`.

    Edges have the rows of all windows of a position side by side, the positions one after another. Steady rows are
    those of the bars of the stretch; ``partials`` (K - 1, bars, channels) are their sums over the newest 1 .. K - 1
    taps. What is low precision is held in floats that are never computed with.
    """

    edge_inputs: npt.NDArray[np.float32]
    edge_between: npt.NDArray[np.float32]
    edge_sums: npt.NDArray[np.float32]
    edge_codes: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]
    inputs: npt.NDArray[np.float32]
    between: npt.NDArray[np.float32]
    partials: npt.NDArray[np.float32]
    sums: npt.NDArray[np.float32]
    codes: npt.NDArray[np.float32]


def allocate_stretch(packed: pk.Packed, precision: pk.Precision) -> Stretch:
    """Room for stretches of the networks of `packed`."""
    sizes = packed.sizes
    window, channels, features = int(sizes[pk.WINDOW]), int(sizes[pk.CHANNELS]), int(sizes[pk.FEATURES])
    share = 2 if precision == "bf16" else 1
    bars, rows = STRETCH_BARS + window - 1, STRETCH_BARS * window
    return Stretch(
        edge_inputs=pk.aligned((rows, channels // share), np.float32),
        edge_between=pk.aligned((rows, channels // share), np.float32),
        edge_sums=pk.aligned((rows, channels), np.float32),
        edge_codes=pk.aligned((rows, channels), np.float32),
        features=pk.aligned((bars, features // share), np.float32),
        inputs=pk.aligned((bars, channels // share), np.float32),
        between=pk.aligned((bars, channels // share), np.float32),
        partials=pk.aligned((int(sizes[pk.KERNEL]) - 1, bars, channels), np.float32),
        sums=pk.aligned((bars, channels), np.float32),
        codes=pk.aligned((bars, channels), np.float32),
    )


@njit(nogil=True, cache=True)
def _take(edge, steady, windows, begin, end, channels):  # type: ignore[no-untyped-def]
    """Positions [begin, end) of the edges from what is steady: window g has bar p + g at its position p.

    ``edge`` and ``steady`` are addresses of rows of floats and ``channels`` their width.
    """
    row, lanes = 4 * channels, channels // LANES
    for position in range(begin, end):
        for window in range(windows):
            copy(steady + (position + window) * row, edge + (position * windows + window) * row, lanes)


@njit(nogil=True, cache=True)
def _convolve(packed, layer, room, reach, dilation, windows, edge, steady):  # type: ignore[no-untyped-def]
    """Convolve ``edge`` and ``steady`` (low precision) into ``room.edge_sums`` and ``room.sums``.

    The edges' input counts below position `reach`, the steady input from there on; so do the sums, below and from the
    position that is returned.
    """
    length, kernel, channels = packed.sizes[pk.WINDOW], packed.sizes[pk.KERNEL], packed.sizes[pk.CHANNELS]
    bars = windows + length - 1
    further = min(reach + (kernel - 1) * dilation, length)
    zeros = vector_at(packed, pk.ZEROS)
    ld, ld_low = room.sums.strides[0], steady.strides[0]
    edge_sums, x, edge_x = address(room.edge_sums), address(steady), address(edge)
    if reach > 0:
        matmul(packed, layer, edge_x, ld_low, reach * windows, zeros, 0, edge_sums, ld, 0)
    start, stride = zeros, 0
    for age in range(kernel):
        first = reach + age * dilation
        if first >= length:
            break
        sums = address(room.sums) if age == kernel - 1 else address(room.partials[age])
        begin = start + first * stride
        matmul(packed, layer + age, x + reach * ld_low, ld_low, bars - first, begin, stride, sums + first * ld, ld, 0)
        if age < kernel - 1:
            _take(edge_sums, sums, windows, first, min(first + dilation, further), channels)
        start, stride = sums, ld
    for age in range(1, kernel):
        first = age * dilation
        end = min(first + reach, length)
        if first < end:
            sums = edge_sums + first * windows * ld
            matmul(packed, layer + age, edge_x, ld_low, (end - first) * windows, sums, ld, sums, ld, 0)
    return further


@njit(nogil=True, cache=True)
def _encode_stretch(packed, scratch, room, features, first, windows, out):  # type: ignore[no-untyped-def]
    """Codes ``out`` (windows, channels) of the windows that end at the bars from ``first`` on."""
    sizes = packed.sizes
    length, kernel, channels = sizes[pk.WINDOW], sizes[pk.KERNEL], sizes[pk.CHANNELS]
    lanes = channels // LANES
    bars = windows + length - 1
    x, ld_features = address(room.features), room.features.strides[0]
    stage_features(packed, scratch, features[first - length + 1 : first + windows], x, ld_features)
    layer = sizes[pk.TEMPORAL_LAYERS]
    sums, codes, ld, ld_low = address(room.sums), address(room.codes), room.codes.strides[0], room.inputs.strides[0]
    edge_sums, edge_codes = address(room.edge_sums), address(room.edge_codes)
    # The first block's skip is a layer of its own, behind its convolutions.
    zeros = vector_at(packed, pk.ZEROS)
    matmul(packed, layer + 2 * kernel, x, ld_features, bars, zeros, 0, codes, ld, 0)
    steady = room.features
    reach, dilation = 0, 1
    for block in range(sizes[pk.TEMPORAL_BLOCKS]):
        middle = _convolve(packed, layer, room, reach, dilation, windows, room.edge_inputs, steady)
        between = address(room.edge_between)
        relu_lower(packed, edge_sums, ld, between, ld_low, middle * windows, lanes)
        if middle < length:
            between = address(room.between) + middle * ld_low
            relu_lower(packed, sums + middle * ld, ld, between, ld_low, bars - middle, lanes)
        further = _convolve(packed, layer + kernel, room, middle, dilation, windows, room.edge_between, room.between)
        _take(edge_codes, codes, windows, reach, further, channels)
        inputs = address(room.edge_inputs)
        join_relu(packed, edge_sums, edge_codes, edge_codes, ld, inputs, ld_low, further * windows, lanes)
        if further < length:
            behind, inputs = codes + further * ld, address(room.inputs) + further * ld_low
            join_relu(packed, sums + further * ld, behind, behind, ld, inputs, ld_low, bars - further, lanes)
        layer += 2 * kernel + (1 if block == 0 else 0)
        steady = room.inputs
        reach = further
        dilation *= 2
    for window in range(windows):
        for position in range(length):
            code = codes + (position + window) * ld
            if position < reach:
                code = edge_codes + (position * windows + window) * ld
            copy(code, address(scratch.codes) + position * ld, lanes)
        pool(packed, scratch, out[window])


@njit(nogil=True, cache=True)
def encode_bars(packed, scratch, room, features, bars, out):  # type: ignore[no-untyped-def]
    """Market codes ``out`` (K, channels) of the windows of ``features`` (T, F) that end at each of ``bars`` (K,).

    Consecutive bars, as far as there are any, are encoded together.
    """
    length = packed.sizes[pk.WINDOW]
    row = 0
    while row < len(bars):
        count = 1
        while count < STRETCH_BARS and row + count < len(bars) and bars[row + count] == bars[row] + count:
            count += 1
        if count >= _LEAST_BARS:
            _encode_stretch(packed, scratch, room, features, bars[row], count, out[row : row + count])
        else:
            for one in range(row, row + count):
                encode(packed, scratch, features[bars[one] - length + 1 : bars[one] + 1], out[one])
        row += count
