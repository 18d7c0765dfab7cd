"""Market codes of consecutive bars: what their windows share is computed once.

A window begins with zeros, so near its first bar the causal convolutions answer otherwise than in the window before. As
far as a layer reaches back, its outputs belong to one window (its edge); all others depend on the bar alone (they are
steady). The sums are the same in both, so a code equals that of `forward.encode` to the bit.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from fx_pipeline.agents.muzero.engine import pack as pk
from fx_pipeline.agents.muzero.engine.forward import encode, pool
from fx_pipeline.agents.muzero.engine.kernels import address, join_relu, lower, matmul
from fx_pipeline.agents.muzero.engine.vectors import LANES

#: Most windows of a stretch.
STRETCH_BARS = 16
#: Of fewer windows each is encoded alone: their edges are too few rows for whole tiles.
_LEAST_BARS = 4


class Stretch(NamedTuple):
    """Room for a stretch of G windows of T bars, beside a `forward.Scratch`.

    Edges have the rows of all windows of a position side by side, the positions one after another; before the first lie
    the zeros that precede a window. Steady rows are those of the bars of the stretch. What is low precision is held in
    floats that are never computed with.
    """

    edge_features: npt.NDArray[np.float32]
    edge_inputs: npt.NDArray[np.float32]
    edge_between: npt.NDArray[np.float32]
    edge_sums: npt.NDArray[np.float32]
    edge_codes: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]
    inputs: npt.NDArray[np.float32]
    between: npt.NDArray[np.float32]
    sums: npt.NDArray[np.float32]
    codes: npt.NDArray[np.float32]


def allocate_stretch(packed: pk.Packed, precision: pk.Precision) -> Stretch:
    """Room for stretches of the networks of `packed`."""
    sizes = packed.sizes
    window, channels, features = int(sizes[pk.WINDOW]), int(sizes[pk.CHANNELS]), int(sizes[pk.FEATURES])
    share = 2 if precision == "bf16" else 1
    before = int(sizes[pk.KERNEL] - 1) * 2 ** int(sizes[pk.TEMPORAL_BLOCKS] - 1)
    bars, rows = STRETCH_BARS + window - 1, STRETCH_BARS * window
    padded = rows + STRETCH_BARS * before
    return Stretch(
        edge_features=pk.aligned((padded, features // share), np.float32),
        edge_inputs=pk.aligned((padded, channels // share), np.float32),
        edge_between=pk.aligned((padded, channels // share), np.float32),
        edge_sums=pk.aligned((rows, channels), np.float32),
        edge_codes=pk.aligned((rows, channels), np.float32),
        features=pk.aligned((bars, features // share), np.float32),
        inputs=pk.aligned((bars, channels // share), np.float32),
        between=pk.aligned((bars, channels // share), np.float32),
        sums=pk.aligned((bars, channels), np.float32),
        codes=pk.aligned((bars, channels), np.float32),
    )


@njit(nogil=True, cache=True)
def _fill(edge, ahead, steady, windows, begin, end):  # type: ignore[no-untyped-def]
    """Positions [begin, end) of the edges from what is steady: window g has bar g + p at its position p."""
    for position in range(begin, end):
        for window in range(windows):
            target, source = ahead + position * windows + window, position + window
            for column in range(edge.shape[1]):
                edge[target, column] = steady[source, column]


@njit(nogil=True, cache=True)
def _convolve(packed, layer, reach, dilation, stretch_rows, edge, ahead, steady, windows, outputs, narrow):  # type: ignore[no-untyped-def]
    """One convolution of the edges and of what is steady; returns how far it reaches back from there on."""
    edge_out, ahead_out, steady_out = outputs
    length, bars = packed.sizes[pk.WINDOW], stretch_rows
    back = (packed.sizes[pk.KERNEL] - 1) * dilation
    further = min(reach + back, length)
    zeros = address(packed.floats) + 4 * packed.rows[pk.ZEROS]
    _fill(edge, ahead, steady, windows, reach, further)
    ld, ld_out = edge.strides[0], edge_out.strides[0]
    matmul(packed, layer, address(edge) + (ahead - back * windows) * ld, ld, further * windows, zeros, 0,
           address(edge_out) + ahead_out * ld_out, ld_out, narrow, dilation * windows * ld)  # fmt: skip
    if further < length:
        matmul(packed, layer, address(steady) + (further - back) * ld, ld, bars - further, zeros, 0,
               address(steady_out) + further * ld_out, ld_out, narrow, dilation * ld)  # fmt: skip
    return further


@njit(nogil=True, cache=True)
def _encode_stretch(packed, scratch, room, features, first, windows, out):  # type: ignore[no-untyped-def]
    """Codes ``out`` (windows, channels) of the windows that end at the bars from ``first`` on."""
    sizes = packed.sizes
    length, lanes = sizes[pk.WINDOW], sizes[pk.CHANNELS] // LANES
    bars = windows + length - 1
    ahead = room.edge_inputs.shape[0] - room.edge_sums.shape[0]
    zeros = address(packed.floats) + 4 * packed.rows[pk.ZEROS]
    staged, ld_features = address(scratch.heads), room.features.strides[0]
    for bar in range(bars):
        for feature in range(sizes[pk.FEATURES]):
            known = feature < features.shape[1]
            scratch.heads[0, feature] = features[first - length + 1 + bar, feature] if known else np.float32(0.0)
        lower(packed, staged, 0, address(room.features) + bar * ld_features, 0, 1, sizes[pk.FEATURES] // LANES)
    layer = sizes[pk.TEMPORAL_LAYERS]
    codes, ld = address(room.codes), room.codes.strides[0]
    edge_codes = address(room.edge_codes)
    ld_low = room.inputs.strides[0]
    # The first block's skip is a layer of its own, behind its convolutions.
    matmul(packed, layer + 2, address(room.features), ld_features, bars, zeros, 0, codes, ld, 0, 0)
    edge, steady = room.edge_features, room.features
    reach, dilation = 0, 1
    for block in range(sizes[pk.TEMPORAL_BLOCKS]):
        between = (room.edge_between, ahead, room.between)
        middle = _convolve(packed, layer, reach, dilation, bars, edge, ahead, steady, windows, between, 1)
        sums = (room.edge_sums, 0, room.sums)
        further = _convolve(
            packed, layer + 1, middle, dilation, bars, room.edge_between, ahead, room.between, windows, sums, 0
        )
        _fill(room.edge_codes, 0, room.codes, windows, reach, further)
        join_relu(packed, address(room.edge_sums), edge_codes, edge_codes, ld,
                  address(room.edge_inputs) + ahead * ld_low, ld_low, further * windows, lanes)  # fmt: skip
        if further < length:
            behind = codes + further * ld
            join_relu(packed, address(room.sums) + further * ld, behind, behind, ld,
                      address(room.inputs) + further * ld_low, ld_low, bars - further, lanes)  # fmt: skip
        layer += 3 if block == 0 else 2
        edge, steady = room.edge_inputs, room.inputs
        reach = further
        dilation *= 2
    for window in range(windows):
        for position in range(length):
            at_edge = position < reach
            for column in range(room.codes.shape[1]):
                scratch.codes[position, column] = (
                    room.edge_codes[position * windows + window, column]
                    if at_edge
                    else room.codes[position + window, column]
                )
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
