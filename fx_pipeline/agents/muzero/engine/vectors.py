"""Kernels on 16 floats at a time, written as LLVM IR: matrix tiles, and what happens to a row between two layers.

A compiler's own vectoriser leaves most of a modern core idle here: products of bfloat16 pairs (`vdpbf16ps`) have no
form in Python or C, and a tile must keep all of its sums in registers. Each kernel is a numba intrinsic: it is inlined
into the functions that call it and cached on disk with them. Addresses and strides are in bytes.

`low`, the first argument of some, is a number of the type that stands for the low precision, uint16 for bfloat16 or
float32; it only chooses the instructions. A row's result does not depend on the rows beside it: each sum runs over the
depth in the same order in every tile shape.
"""

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

#: Floats of a vector. On AVX2 LLVM makes two registers of one.
LANES = 16


def _features() -> set[str]:
    """Features of the processor that numba compiles for: this one, unless NUMBA_CPU_NAME names another."""
    if config.CPU_NAME is None or config.CPU_NAME == "host":
        return {name for name, has in llvm.get_host_cpu_features().items() if has}
    return {name[1:] for name in (config.CPU_FEATURES or "").split(",") if name.startswith("+")}


#: Whether the processor has 32 registers of 512 bits, and products of bfloat16.
HAS_AVX512 = "avx512f" in _features()
HAS_BF16 = HAS_AVX512 and "avx512bf16" in _features()
#: Widest tile, in vectors: all sums of a tile, its weights and a broadcast input must fit into the registers.
MAX_VECTORS = 3 if HAS_AVX512 else 1


class _BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite does not name."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash("bfloat")


_I32, _I64, _F32, _BF16 = ir.IntType(32), ir.IntType(64), ir.FloatType(), _BFloat()
_FLOATS = ir.VectorType(_F32, LANES)
_INTS = ir.VectorType(_I32, LANES)
_HALVES = ir.VectorType(_BF16, LANES)
_PAIRS = ir.VectorType(_BF16, 2 * LANES)
_EPSILON = 1e-5


def _is_bf16(low: Any) -> bool:
    return bool(low == types.uint16)


def _at(builder: ir.IRBuilder, address: Any, kind: ir.Type, align: int = 4) -> Any:
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = align
    return value


def _put(builder: ir.IRBuilder, value: Any, address: Any, align: int = 4) -> None:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer())).align = align


def _offset(builder: ir.IRBuilder, address: Any, *terms: Any) -> Any:
    for term in terms:
        address = builder.add(address, term)
    return address


def _splat(builder: ir.IRBuilder, scalar: Any) -> Any:
    vector = ir.VectorType(scalar.type, LANES)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, _I32(0))
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), ir.Constant(_INTS, [0] * LANES))


def _all(number: float) -> ir.Constant:
    return ir.Constant(_FLOATS, [number] * LANES)


def _function(builder: ir.IRBuilder, name: str, result: ir.Type, arguments: Sequence[ir.Type]) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, list(arguments)), name)


def _multiply_add(builder: ir.IRBuilder, a: Any, b: Any, c: Any) -> Any:
    # fmuladd, not fma: without the instruction a fused product would become a call for each lane.
    return builder.call(_function(builder, "llvm.fmuladd.v16f32", _FLOATS, [_FLOATS] * 3), [a, b, c])


def _sum(builder: ir.IRBuilder, vector: Any) -> Any:
    # Halves are added to halves, so the order is fixed.
    for half in (8, 4, 2, 1):
        other = ir.Constant(_INTS, [(lane + half) % LANES for lane in range(LANES)])
        vector = builder.fadd(vector, builder.shuffle_vector(vector, ir.Constant(_FLOATS, ir.Undefined), other))
    return builder.extract_element(vector, _I32(0))


def _greatest(builder: ir.IRBuilder, vector: Any) -> Any:
    for half in (8, 4, 2, 1):
        other = ir.Constant(_INTS, [(lane + half) % LANES for lane in range(LANES)])
        moved = builder.shuffle_vector(vector, ir.Constant(_FLOATS, ir.Undefined), other)
        vector = builder.select(builder.fcmp_ordered(">", moved, vector), moved, vector)
    return builder.extract_element(vector, _I32(0))


def _relu(builder: ir.IRBuilder, vector: Any) -> Any:
    # NaN must stay NaN: it is what tells that weights are broken.
    return builder.select(builder.fcmp_ordered("<", vector, _all(0.0)), _all(0.0), vector)


def _put_low(builder: ir.IRBuilder, bf16: bool, vector: Any, address: Any) -> None:
    _put(builder, builder.fptrunc(vector, _HALVES) if bf16 else vector, address, 2 if bf16 else 4)


def _low_bytes(bf16: bool) -> int:
    return (2 if bf16 else 4) * LANES


def _exp(builder: ir.IRBuilder, x: Any) -> Any:
    """e^x for x <= 0, as Cephes' expf: 2^n times a polynomial; relative error below 2e-7."""
    x = builder.select(builder.fcmp_ordered("<", x, _all(-87.0)), _all(-87.0), x)
    n = _multiply_add(builder, x, _all(1.44269504088896341), _all(0.5))
    n = builder.call(_function(builder, "llvm.floor.v16f32", _FLOATS, [_FLOATS]), [n])
    r = _multiply_add(builder, n, _all(-0.693359375), x)
    r = _multiply_add(builder, n, _all(2.12194440e-4), r)
    p = _all(1.9875691500e-4)
    for coefficient in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        p = _multiply_add(builder, p, r, _all(coefficient))
    p = builder.fadd(_multiply_add(builder, p, builder.fmul(r, r), r), _all(1.0))
    exponent = builder.add(builder.fptosi(n, _INTS), ir.Constant(_INTS, [127] * LANES))
    power = builder.bitcast(builder.shl(exponent, ir.Constant(_INTS, [23] * LANES)), _FLOATS)
    return builder.fmul(p, power)


@intrinsic(prefer_literal=True)
def tile(  # type: ignore[no-untyped-def]
    typingctx, low, rows, vectors, a, lda, depth, b, bias, start, start_stride, c, ldc, narrow
):
    """c[r] = start[r] + bias + a[r] . b for `rows` rows and `vectors` * 16 columns; all sums stay in registers."""
    height, width, bf16 = rows.literal_value, vectors.literal_value, _is_bf16(low)
    signature = types.void(low, rows, vectors, *[types.int64] * 10)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Sequence[Any]) -> Any:
        a, lda, depth, b, bias, start, start_stride, c, ldc, narrow = args[3:]
        product = (
            _function(builder, "llvm.x86.avx512bf16.dpbf16ps.512", _FLOATS, [_FLOATS, _PAIRS, _PAIRS]) if bf16 else None
        )
        places = [(r, z) for r in range(height) for z in range(width)]
        biases = [_at(builder, _offset(builder, bias, _I64(64 * z)), _FLOATS) for z in range(width)]
        first = []
        for r, z in places:
            address = _offset(builder, start, builder.mul(_I64(r), start_stride), _I64(64 * z))
            first.append(builder.fadd(_at(builder, address, _FLOATS), biases[z]))
        entry = builder.block
        inner = builder.append_basic_block("depth")
        done = builder.append_basic_block("done")
        builder.branch(inner)

        builder.position_at_end(inner)
        k, k_a, k_b = (builder.phi(_I64) for _ in range(3))
        sums = [builder.phi(_FLOATS) for _ in places]
        weights = []
        for z in range(width):
            loaded = _at(builder, _offset(builder, k_b, _I64(64 * z)), _INTS if bf16 else _FLOATS, 64)
            weights.append(builder.bitcast(loaded, _PAIRS) if bf16 else loaded)
        grown = []
        for r in range(height):
            scalar = _at(builder, _offset(builder, k_a, builder.mul(_I64(r), lda)), _I32 if bf16 else _F32)
            spread = _splat(builder, scalar)
            if bf16:
                spread = builder.bitcast(spread, _PAIRS)
            for z in range(width):
                if bf16:
                    grown.append(builder.call(product, [sums[r * width + z], spread, weights[z]]))
                else:
                    grown.append(_multiply_add(builder, spread, weights[z], sums[r * width + z]))
        next_k, next_a = builder.add(k, _I64(1)), builder.add(k_a, _I64(4))
        next_b = builder.add(k_b, _I64(64 * width))
        builder.cbranch(builder.icmp_signed("<", next_k, depth), inner, done)

        for phi, begin, then in ((k, _I64(0), next_k), (k_a, a, next_a), (k_b, b, next_b)):
            phi.add_incoming(begin, entry)
            phi.add_incoming(then, inner)
        for phi, begin, then in zip(sums, first, grown, strict=True):
            phi.add_incoming(begin, entry)
            phi.add_incoming(then, inner)

        builder.position_at_end(done)
        with builder.if_else(builder.icmp_signed("!=", narrow, _I64(0))) as (to_low, to_float):
            with to_low:
                for (r, z), value in zip(places, grown, strict=True):
                    address = _offset(builder, c, builder.mul(_I64(r), ldc), _I64(_low_bytes(bf16) * z))
                    _put_low(builder, bf16, _relu(builder, value), address)
            with to_float:
                for (r, z), value in zip(places, grown, strict=True):
                    _put(builder, value, _offset(builder, c, builder.mul(_I64(r), ldc), _I64(64 * z)))
        return context.get_dummy_value()

    return signature, codegen


def _each(builder: ir.IRBuilder, vectors: Any, body: Callable[[Any], None]) -> None:
    with cgutils.for_range(builder, vectors, intp=_I64) as loop:
        body(loop.index)


def _float_at(builder: ir.IRBuilder, address: Any, index: Any) -> Any:
    return _at(builder, builder.add(address, builder.mul(index, _I64(64))), _FLOATS)


def _moments(builder: ir.IRBuilder, x: Any, vectors: Any) -> tuple[Any, Any]:
    """Mean and 1 / sqrt(variance + epsilon) of a row, spread over the lanes; two passes, as the oracle's."""
    count = builder.fmul(builder.sitofp(vectors, _F32), ir.Constant(_F32, float(LANES)))
    total = cgutils.alloca_once_value(builder, _all(0.0))
    _each(builder, vectors, lambda i: builder.store(builder.fadd(builder.load(total), _float_at(builder, x, i)), total))
    mean = _splat(builder, builder.fdiv(_sum(builder, builder.load(total)), count))
    squares = cgutils.alloca_once_value(builder, _all(0.0))

    def add_square(i: Any) -> None:
        difference = builder.fsub(_float_at(builder, x, i), mean)
        builder.store(_multiply_add(builder, difference, difference, builder.load(squares)), squares)

    _each(builder, vectors, add_square)
    variance = builder.fdiv(_sum(builder, builder.load(squares)), count)
    root = builder.call(
        _function(builder, "llvm.sqrt.f32", _F32, [_F32]), [builder.fadd(variance, ir.Constant(_F32, _EPSILON))]
    )
    return mean, _splat(builder, builder.fdiv(ir.Constant(_F32, 1.0), root))


@intrinsic
def normalise_row(typingctx, low, x, out, vectors):  # type: ignore[no-untyped-def]
    """out = low((x - mean) / sd) of one row of floats: a layer norm whose scale and shift are in the next weights."""
    bf16 = _is_bf16(low)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Sequence[Any]) -> Any:
        _, x, out, vectors = args
        mean, scale = _moments(builder, x, vectors)

        def write(i: Any) -> None:
            value = builder.fmul(builder.fsub(_float_at(builder, x, i), mean), scale)
            _put_low(builder, bf16, value, builder.add(out, builder.mul(i, _I64(_low_bytes(bf16)))))

        _each(builder, vectors, write)
        return context.get_dummy_value()

    return types.void(low, types.int64, types.int64, types.int64), codegen


@intrinsic
def layer_norm(typingctx, x, scale, shift, out, vectors):  # type: ignore[no-untyped-def]
    """out = scale (x - mean) / sd + shift of one row, in floats."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Sequence[Any]) -> Any:
        x, scale, shift, out, vectors = args
        mean, factor = _moments(builder, x, vectors)

        def write(i: Any) -> None:
            value = builder.fmul(builder.fsub(_float_at(builder, x, i), mean), factor)
            value = _multiply_add(builder, value, _float_at(builder, scale, i), _float_at(builder, shift, i))
            _put(builder, value, builder.add(out, builder.mul(i, _I64(64))))

        _each(builder, vectors, write)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), codegen


@intrinsic
def lower_row(typingctx, low, x, out, vectors):  # type: ignore[no-untyped-def]
    """out = low(x) of one row."""
    bf16 = _is_bf16(low)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Sequence[Any]) -> Any:
        _, x, out, vectors = args
        _each(
            builder,
            vectors,
            lambda i: _put_low(
                builder, bf16, _float_at(builder, x, i), builder.add(out, builder.mul(i, _I64(_low_bytes(bf16))))
            ),
        )
        return context.get_dummy_value()

    return types.void(low, types.int64, types.int64, types.int64), codegen


@intrinsic
def copy(typingctx, x, out, vectors):  # type: ignore[no-untyped-def]
    """out = x of one row of floats."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Sequence[Any]) -> Any:
        x, out, vectors = args
        _each(
            builder,
            vectors,
            lambda i: _put(builder, _float_at(builder, x, i), _offset(builder, out, builder.mul(i, _I64(64)))),
        )
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def add(typingctx, x, y, out, vectors):  # type: ignore[no-untyped-def]
    """out = x + y of one row of floats."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Sequence[Any]) -> Any:
        x, y, out, vectors = args

        def write(i: Any) -> None:
            value = builder.fadd(_float_at(builder, x, i), _float_at(builder, y, i))
            _put(builder, value, builder.add(out, builder.mul(i, _I64(64))))

        _each(builder, vectors, write)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen


@intrinsic
def relu(typingctx, x, vectors):  # type: ignore[no-untyped-def]
    """x = relu(x) of one row of floats."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Sequence[Any]) -> Any:
        x, vectors = args

        def write(i: Any) -> None:
            _put(builder, _relu(builder, _float_at(builder, x, i)), builder.add(x, builder.mul(i, _I64(64))))

        _each(builder, vectors, write)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def add_relu(typingctx, state, x, out, vectors):  # type: ignore[no-untyped-def]
    """out = state + relu(x) of one row of floats."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Sequence[Any]) -> Any:
        state, x, out, vectors = args

        def write(i: Any) -> None:
            value = builder.fadd(_float_at(builder, state, i), _relu(builder, _float_at(builder, x, i)))
            _put(builder, value, builder.add(out, builder.mul(i, _I64(64))))

        _each(builder, vectors, write)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen


@intrinsic
def join_relu_row(typingctx, low, x, skip, out, out_low, vectors):  # type: ignore[no-untyped-def]
    """out = relu(relu(x) + skip) of one row, as floats and as low."""
    bf16 = _is_bf16(low)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Sequence[Any]) -> Any:
        _, x, skip, out, out_low, vectors = args

        def write(i: Any) -> None:
            value = builder.fadd(_relu(builder, _float_at(builder, x, i)), _float_at(builder, skip, i))
            value = _relu(builder, value)
            _put(builder, value, builder.add(out, builder.mul(i, _I64(64))))
            _put_low(builder, bf16, value, builder.add(out_low, builder.mul(i, _I64(_low_bytes(bf16)))))

        _each(builder, vectors, write)
        return context.get_dummy_value()

    return types.void(low, *[types.int64] * 5), codegen


@intrinsic
def dot(typingctx, x, y, vectors):  # type: ignore[no-untyped-def]
    """Sum of x * y of two rows of floats."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Sequence[Any]) -> Any:
        x, y, vectors = args
        total = cgutils.alloca_once_value(builder, _all(0.0))

        def grow(i: Any) -> None:
            product = _multiply_add(builder, _float_at(builder, x, i), _float_at(builder, y, i), builder.load(total))
            builder.store(product, total)

        _each(builder, vectors, grow)
        return _sum(builder, builder.load(total))

    return types.float32(types.int64, types.int64, types.int64), codegen


@intrinsic
def add_scaled(typingctx, out, factor, x, vectors):  # type: ignore[no-untyped-def]
    """out += factor * x of one row of floats."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Sequence[Any]) -> Any:
        out, factor, x, vectors = args
        spread = _splat(builder, factor)

        def write(i: Any) -> None:
            value = _multiply_add(builder, spread, _float_at(builder, x, i), _float_at(builder, out, i))
            _put(builder, value, builder.add(out, builder.mul(i, _I64(64))))

        _each(builder, vectors, write)
        return context.get_dummy_value()

    return types.void(types.int64, types.float32, types.int64, types.int64), codegen


@intrinsic
def expectation(typingctx, logits, centres, vectors):  # type: ignore[no-untyped-def]
    """Mean of `centres` under softmax(logits) of one row: a two-hot head's value. NaN in, NaN out."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Sequence[Any]) -> Any:
        logits, centres, vectors = args
        best = cgutils.alloca_once_value(builder, _all(-3.0e38))

        def climb(i: Any) -> None:
            value, highest = _float_at(builder, logits, i), builder.load(best)
            builder.store(builder.select(builder.fcmp_ordered(">", value, highest), value, highest), best)

        _each(builder, vectors, climb)
        peak = _splat(builder, _greatest(builder, builder.load(best)))
        mass = cgutils.alloca_once_value(builder, _all(0.0))
        moment = cgutils.alloca_once_value(builder, _all(0.0))

        def grow(i: Any) -> None:
            weight = _exp(builder, builder.fsub(_float_at(builder, logits, i), peak))
            builder.store(builder.fadd(builder.load(mass), weight), mass)
            product = _multiply_add(builder, weight, _float_at(builder, centres, i), builder.load(moment))
            builder.store(product, moment)

        _each(builder, vectors, grow)
        return builder.fdiv(_sum(builder, builder.load(moment)), _sum(builder, builder.load(mass)))

    return types.float32(types.int64, types.int64, types.int64), codegen
