"""Kernels over many rows. What depends on the precision is compiled once for each, and called by its address.

So all other code (networks, search, self-play) is compiled once for both precisions.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import cfunc, njit, types
from numba.extending import intrinsic

from fx_pipeline.agents.muzero.engine.vectors import HAS_BF16, LANES, join_relu_row, lower_row, normalise_row, tile

_I64 = ir.IntType(64)
_INT = types.int64
_BF16_TAG, _FP32_TAG = np.uint16(0), np.float32(0)


@njit(nogil=True)
def _matmul(low, low_bytes, args):  # type: ignore[no-untyped-def]
    weights, bias, depth, panels, vectors, a, lda, rows, start, start_stride, c, ldc, narrow = args
    bytes_out = (low_bytes if narrow else 4) * LANES * vectors
    # A panel's weights stay in the cache while all rows pass.
    for _ in range(panels):
        r = 0
        while r < rows:
            left = rows - r
            x, s, o = a + r * lda, start + r * start_stride, c + r * ldc
            if vectors == 3:
                if left >= 8:
                    tile(low, 8, 3, x, lda, depth, weights, bias, s, start_stride, o, ldc, narrow)
                    r += 8
                else:
                    tile(low, 1, 3, x, lda, depth, weights, bias, s, start_stride, o, ldc, narrow)
                    r += 1
            elif vectors == 2:
                if left >= 12:
                    tile(low, 12, 2, x, lda, depth, weights, bias, s, start_stride, o, ldc, narrow)
                    r += 12
                elif left >= 4:
                    tile(low, 4, 2, x, lda, depth, weights, bias, s, start_stride, o, ldc, narrow)
                    r += 4
                else:
                    tile(low, 1, 2, x, lda, depth, weights, bias, s, start_stride, o, ldc, narrow)
                    r += 1
            elif left >= 6:
                tile(low, 6, 1, x, lda, depth, weights, bias, s, start_stride, o, ldc, narrow)
                r += 6
            else:
                tile(low, 1, 1, x, lda, depth, weights, bias, s, start_stride, o, ldc, narrow)
                r += 1
        weights += depth * 4 * LANES * vectors
        bias += 4 * LANES * vectors
        start += 4 * LANES * vectors if start_stride else 0
        c += bytes_out


@cfunc(types.void(*[_INT] * 13), cache=True)
def _matmul_bf16(  # type: ignore[no-untyped-def]
    weights, bias, depth, panels, vectors, a, lda, rows, start, start_stride, c, ldc, narrow
):
    args = (weights, bias, depth, panels, vectors, a, lda, rows, start, start_stride, c, ldc, narrow)
    _matmul(_BF16_TAG, 2, args)


@cfunc(types.void(*[_INT] * 13), cache=True)
def _matmul_fp32(  # type: ignore[no-untyped-def]
    weights, bias, depth, panels, vectors, a, lda, rows, start, start_stride, c, ldc, narrow
):
    args = (weights, bias, depth, panels, vectors, a, lda, rows, start, start_stride, c, ldc, narrow)
    _matmul(_FP32_TAG, 4, args)


@cfunc(types.void(*[_INT] * 6), cache=True)
def _normalise_bf16(x, ldx, out, ldo, rows, vectors):  # type: ignore[no-untyped-def]
    for row in range(rows):
        normalise_row(_BF16_TAG, x + row * ldx, out + row * ldo, vectors)


@cfunc(types.void(*[_INT] * 6), cache=True)
def _normalise_fp32(x, ldx, out, ldo, rows, vectors):  # type: ignore[no-untyped-def]
    for row in range(rows):
        normalise_row(_FP32_TAG, x + row * ldx, out + row * ldo, vectors)


@cfunc(types.void(*[_INT] * 6), cache=True)
def _lower_bf16(x, ldx, out, ldo, rows, vectors):  # type: ignore[no-untyped-def]
    for row in range(rows):
        lower_row(_BF16_TAG, x + row * ldx, out + row * ldo, vectors)


@cfunc(types.void(*[_INT] * 6), cache=True)
def _lower_fp32(x, ldx, out, ldo, rows, vectors):  # type: ignore[no-untyped-def]
    for row in range(rows):
        lower_row(_FP32_TAG, x + row * ldx, out + row * ldo, vectors)


@cfunc(types.void(*[_INT] * 8), cache=True)
def _join_relu_bf16(x, skip, out, ld, low, ld_low, rows, vectors):  # type: ignore[no-untyped-def]
    for row in range(rows):
        join_relu_row(_BF16_TAG, x + row * ld, skip + row * ld, out + row * ld, low + row * ld_low, vectors)


@cfunc(types.void(*[_INT] * 8), cache=True)
def _join_relu_fp32(x, skip, out, ld, low, ld_low, rows, vectors):  # type: ignore[no-untyped-def]
    for row in range(rows):
        join_relu_row(_FP32_TAG, x + row * ld, skip + row * ld, out + row * ld, low + row * ld_low, vectors)


#: Places in the table of addresses that `kernel_addresses` makes.
MATMUL, NORMALISE, LOWER, JOIN_RELU = range(4)
KERNELS = {
    "bf16": (_matmul_bf16, _normalise_bf16, _lower_bf16, _join_relu_bf16) if HAS_BF16 else (),
    "fp32": (_matmul_fp32, _normalise_fp32, _lower_fp32, _join_relu_fp32),
}


def kernel_addresses(precision: str) -> npt.NDArray[np.int64]:
    """Addresses, in this process, of what depends on the precision."""
    return np.array([kernel.address for kernel in KERNELS[precision]], dtype=np.int64)


@intrinsic
def _call(typingctx, address, args):  # type: ignore[no-untyped-def]
    """Call a kernel by its address with a tuple of integers."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Sequence[Any]) -> Any:
        address, packed = values
        count = signature.args[1].count
        kind = ir.FunctionType(ir.VoidType(), [_I64] * count)
        unpacked = [builder.extract_value(packed, place) for place in range(count)]
        builder.call(builder.inttoptr(address, kind.as_pointer()), unpacked)
        return context.get_dummy_value()

    return types.void(types.int64, args), codegen


@intrinsic
def address(typingctx, array):  # type: ignore[no-untyped-def]
    """Where an array's data lie; numba's own `array.ctypes.data` takes far longer to compile."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Sequence[Any]) -> Any:
        made = context.make_array(signature.args[0])(context, builder, values[0])
        return builder.ptrtoint(made.data, _I64)

    return types.int64(array), codegen


#: Columns of a layer's row in the table of `pack`.
WEIGHTS, BIAS, DEPTH, PANELS, VECTORS = range(5)


@njit(nogil=True, cache=True)
def matmul(packed, layer, a, lda, rows, start, start_stride, c, ldc, narrow):  # type: ignore[no-untyped-def]
    """c = start + bias + a W for `rows` rows of the packed layer; with `narrow`, c = low(relu(...))."""
    base, of = address(packed.weights), packed.layers[layer]
    args = (base + of[WEIGHTS], base + of[BIAS], of[DEPTH], of[PANELS], of[VECTORS],
            a, lda, rows, start, start_stride, c, ldc, narrow)  # fmt: skip
    _call(packed.kernels[MATMUL], args)


@njit(nogil=True, cache=True)
def normalise(packed, x, ldx, out, ldo, rows, vectors):  # type: ignore[no-untyped-def]
    """out = low((x - mean) / sd) of `rows` rows: a layer norm whose scale and shift are in the next weights."""
    _call(packed.kernels[NORMALISE], (x, ldx, out, ldo, rows, vectors))


@njit(nogil=True, cache=True)
def lower(packed, x, ldx, out, ldo, rows, vectors):  # type: ignore[no-untyped-def]
    """out = low(x) of `rows` rows."""
    _call(packed.kernels[LOWER], (x, ldx, out, ldo, rows, vectors))


@njit(nogil=True, cache=True)
def join_relu(packed, x, skip, out, ld, low, ld_low, rows, vectors):  # type: ignore[no-untyped-def]
    """out = relu(relu(x) + skip) of `rows` rows, as floats and as low."""
    _call(packed.kernels[JOIN_RELU], (x, skip, out, ld, low, ld_low, rows, vectors))
