"""Eight pixels at once, for the rasteriser: the one loop in which the compiler does not find the vectors itself.

A pixel is a key: the bits of its inverse depth (positive floats compare as integers) above the complement of its
face's number. So the larger key is the nearer face, of equally near ones the lower number, in whatever order they come.
Both functions touch the eight keys from ``start`` on; those behind the end of a row must exist.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 8
_I32, _I64, _F32, _F64 = ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.DoubleType()


def _vector(kind: ir.Type) -> ir.VectorType:
    return ir.VectorType(kind, LANES)


def _constant(kind: ir.Type, values: list[Any]) -> ir.Constant:
    return ir.Constant(_vector(kind), values)


def _splat(builder: Any, value: Any, kind: ir.Type) -> Any:
    empty = ir.Constant(_vector(kind), ir.Undefined)
    return builder.shuffle_vector(
        builder.insert_element(empty, value, ir.Constant(_I32, 0)), empty, _constant(_I32, [0] * LANES)
    )


def _keep_nearer(builder: Any, data: Any, start: Any, inside: Any, inverse_depth: Any, face_bits: Any) -> None:
    at = builder.bitcast(builder.gep(data, [start]), _vector(_I64).as_pointer())
    depth_bits = builder.zext(builder.bitcast(inverse_depth, _vector(_I32)), _vector(_I64))
    key = builder.or_(builder.shl(depth_bits, _constant(_I64, [32] * LANES)), _splat(builder, face_bits, _I64))
    old = builder.load(at, align=8)
    nearer = builder.and_(builder.icmp_signed(">", key, old), inside)
    builder.store(builder.select(nearer, key, old), at, align=8)


@intrinsic
def draw_triangle_row(typing_context, keys, start, a, xa, b, xb, c, xc, wa, wb, wc, face_bits):  # type: ignore[no-untyped-def]
    """Draw where the edge functions a + xa lane, b + xb lane and c + xc lane (int32) are not negative; weighed with wa,
    wb and wc (float32) they add up to the inverse depth. ``keys`` is (N,) int64, ``start`` uint64."""
    signature = types.void(keys, types.uint64, *[types.int32] * 6, *[types.float32] * 3, types.int64)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array, start, *edges = arguments[:8]
        lane, signs, inverse_depth = _constant(_I32, list(range(LANES))), _constant(_I32, [0] * LANES), None
        for edge, step, weight in zip(edges[::2], edges[1::2], arguments[8:11], strict=True):
            value = builder.add(_splat(builder, edge, _I32), builder.mul(_splat(builder, step, _I32), lane))
            signs = builder.or_(signs, value)
            part = builder.fmul(builder.sitofp(value, _vector(_F32)), _splat(builder, weight, _F32))
            inverse_depth = part if inverse_depth is None else builder.fadd(inverse_depth, part)
        inside = builder.icmp_signed(">=", signs, _constant(_I32, [0] * LANES))
        data = context.make_array(signature.args[0])(context, builder, array).data
        _keep_nearer(builder, data, start, inside, inverse_depth, arguments[11])
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def draw_span(typing_context, keys, start, n, inverse_depth, step, face_bits):  # type: ignore[no-untyped-def]
    """Draw the first n (int64, may be more than there are lanes); the inverse depth (float64) grows by ``step``."""
    signature = types.void(keys, types.uint64, types.int64, types.float64, types.float64, types.int64)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array, start, n, first, step, face_bits = arguments
        lane = _constant(_F64, [float(k) for k in range(LANES)])
        exact = builder.fadd(_splat(builder, first, _F64), builder.fmul(_splat(builder, step, _F64), lane))
        inside = builder.icmp_signed("<", _constant(_I64, list(range(LANES))), _splat(builder, n, _I64))
        data = context.make_array(signature.args[0])(context, builder, array).data
        _keep_nearer(builder, data, start, inside, builder.fptrunc(exact, _vector(_F32)), face_bits)
        return context.get_dummy_value()

    return signature, generate


def _scope(builder: Any) -> Any:
    module = builder.module
    domain = module.add_metadata([ir.MetaDataString(module, "roomseg")])
    return module.add_metadata([module.add_metadata([ir.MetaDataString(module, "roomseg.read_only"), domain])])


def _element(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


@intrinsic
def fetch(typing_context, array, index):  # type: ignore[no-untyped-def]
    """array[index] of a (N,) array that nothing is ``put`` into: only with this promise the compiler may vectorise a
    loop that reads at computed places."""
    signature = array.dtype(array, index)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        value = builder.load(_element(context, builder, signature.args[0], *arguments))
        value.set_metadata("alias.scope", _scope(builder))
        return value

    return signature, generate


@intrinsic
def put(typing_context, array, index, value):  # type: ignore[no-untyped-def]
    """array[index] = value, for a (N,) array that nothing is fetched from in the same loop."""
    signature = types.void(array, types.int64, array.dtype)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array, index, value = arguments
        store = builder.store(value, _element(context, builder, signature.args[0], array, index))
        store.set_metadata("noalias", _scope(builder))
        return context.get_dummy_value()

    return signature, generate
