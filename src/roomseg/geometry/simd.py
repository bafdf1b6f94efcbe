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

from roomseg.geometry.vectors import F32, F64, I32, I64, Lanes

LANES = 8


def _keep_nearer(
    lanes: Lanes, builder: Any, data: Any, start: Any, inside: Any, inverse_depth: Any, face_bits: Any
) -> None:
    at = builder.bitcast(builder.gep(data, [start]), lanes.vector(I64).as_pointer())
    depth_bits = builder.zext(builder.bitcast(inverse_depth, lanes.vector(I32)), lanes.vector(I64))
    key = builder.or_(builder.shl(depth_bits, lanes.all(I64, 32)), lanes.splat(face_bits))
    old = builder.load(at, align=8)
    nearer = builder.and_(builder.icmp_signed(">", key, old), inside)
    builder.store(builder.select(nearer, key, old), at, align=8)


@intrinsic
def draw_triangle_row(typing_context, keys, start, a, xa, b, xb, c, xc, wa, wb, wc, face_bits):  # type: ignore[no-untyped-def]
    """Draw where the edge functions a + xa lane, b + xb lane and c + xc lane (int32) are not negative; weighed with wa,
    wb and wc (float32) they add up to the inverse depth. ``keys`` is (N,) int64, ``start`` uint64."""
    signature = types.void(keys, types.uint64, *[types.int32] * 6, *[types.float32] * 3, types.int64)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        lanes = Lanes(LANES, context, builder, signature, arguments)
        data, start, *edges = lanes.given[:8]
        lane, signs, inverse_depth = lanes.constant(I32, list(range(LANES))), lanes.all(I32, 0), None
        for edge, step, weight in zip(edges[::2], edges[1::2], arguments[8:11], strict=True):
            value = builder.add(lanes.splat(edge), builder.mul(lanes.splat(step), lane))
            signs = builder.or_(signs, value)
            part = builder.fmul(builder.sitofp(value, lanes.vector(F32)), lanes.splat(weight))
            inverse_depth = part if inverse_depth is None else builder.fadd(inverse_depth, part)
        inside = builder.icmp_signed(">=", signs, lanes.all(I32, 0))
        _keep_nearer(lanes, builder, data, start, inside, inverse_depth, arguments[11])
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def draw_span(typing_context, keys, start, n, inverse_depth, step, face_bits):  # type: ignore[no-untyped-def]
    """Draw the first n (int64, may be more than there are lanes); the inverse depth (float64) grows by ``step``."""
    signature = types.void(keys, types.uint64, types.int64, types.float64, types.float64, types.int64)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        lanes = Lanes(LANES, context, builder, signature, arguments)
        data, start, n, first, step, face_bits = lanes.given
        lane = lanes.constant(F64, [float(k) for k in range(LANES)])
        exact = builder.fadd(lanes.splat(first), builder.fmul(lanes.splat(step), lane))
        inside = builder.icmp_signed("<", lanes.constant(I64, list(range(LANES))), lanes.splat(n))
        _keep_nearer(lanes, builder, data, start, inside, builder.fptrunc(exact, lanes.vector(F32)), face_bits)
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
