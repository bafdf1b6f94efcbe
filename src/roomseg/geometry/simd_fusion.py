"""Sixteen voxels or pixels at once, for fusion: gathers, comparisons in float64 and masked sums, of which the compiler
does not make vectors by itself.

A set of voxels is an int64 whose bit n stands for the n-th of the sixteen. Arrays are flat and contiguous; what lies
between ``at`` and ``at + LANES`` must exist.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from roomseg.geometry.bricks import VOXELS
from roomseg.geometry.vectors import F32, F64, I1, I8, I16, I32, I64, START, Lanes

LANES = 16


class _Lanes(Lanes):
    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        super().__init__(LANES, context, builder, signature, arguments)

    def add(self, values: Any, data: Any, at: Any) -> None:
        add = self._builder.fadd if values.type.element == F32 else self._builder.add
        self.store(add(self.load(data, at), values), data, at)

    def gather(self, data: Any, indices: Any) -> Any:
        found = ir.Constant(self.vector(data.type.pointee), ir.Undefined)
        for lane in (ir.Constant(I32, n) for n in range(LANES)):
            at = self._builder.zext(self._builder.extract_element(indices, lane), I64)
            found = self._builder.insert_element(found, self._builder.load(self._builder.gep(data, [at])), lane)
        return found

    def both(self, *masks: Any) -> Any:
        result = masks[0]
        for mask in masks[1:]:
            result = self._builder.and_(result, mask)
        return result

    def bits(self, mask: Any) -> Any:
        return self._builder.zext(self._builder.bitcast(mask, I16), I64)

    def mask(self, bits: Any) -> Any:
        return self._builder.bitcast(self._builder.trunc(bits, I16), self.vector(I1))


@intrinsic
def pack_pixels(typing_context, rgb, label, at, packed):  # type: ignore[no-untyped-def]
    """Sixteen pixels of an image as uint32 each: red, green, blue and class, from the lowest byte up."""
    signature = types.void(rgb, label, types.int64, packed)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        lanes = _Lanes(context, builder, signature, arguments)
        rgb, label, at, packed = lanes.given
        place = builder.gep(rgb, [builder.mul(at, ir.Constant(I64, 3))])
        triples = builder.load(builder.bitcast(place, ir.VectorType(I8, 3 * LANES).as_pointer()), align=1)
        order = [byte for n in range(LANES) for byte in (3 * n, 3 * n + 1, 3 * n + 2, 3 * n)]
        fours = builder.shuffle_vector(
            triples, ir.Constant(triples.type, ir.Undefined), ir.Constant(ir.VectorType(I32, 4 * LANES), order)
        )
        color = builder.and_(builder.bitcast(fours, lanes.vector(I32)), lanes.all(I32, 0xFFFFFF))
        class_id = builder.shl(builder.zext(lanes.load(label, at), lanes.vector(I32)), lanes.all(I32, 24))
        lanes.store(builder.or_(color, class_id), packed, at)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def add_distances(typing_context, depth, place, steps, voxel, size, per_m, distance, weight, at, pixels):  # type: ignore[no-untyped-def]
    """Add what the frame says of the voxels to ``distance`` and ``weight``; returns which are near a surface.

    ``place`` (x, y, z) is that of the brick's first voxel (see ``bricks.Rays``), ``steps`` (3 VOXELS,) float64 go from
    there to all of the brick, ``voxel`` is the number of the first of the sixteen in it. ``size``: height and width.
    The numbers of their pixels go into ``pixels`` (LANES,) int32, if any is near.
    """
    three, two = types.UniTuple(types.float64, 3), types.UniTuple(types.float64, 2)
    signature = types.int64(
        depth, three, steps, types.int64, two, types.float64, distance, weight, types.int64, pixels
    )  # fmt: skip

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        lanes = _Lanes(context, builder, signature, arguments)
        depth, place, steps, voxel, size, per_m, distance, weight, at, pixels = lanes.given
        zero, one, minus_one = (lanes.all(F64, value) for value in (0, 1, -1))
        x, y, z = (
            builder.fadd(
                lanes.splat(builder.extract_value(place, axis)),
                lanes.load(steps, builder.add(voxel, ir.Constant(I64, axis * VOXELS))),
            )
            for axis in range(3)
        )
        inverse, inside = builder.fdiv(one, z), builder.fcmp_ordered(">", z, zero)
        height, width = (builder.extract_value(size, n) for n in range(2))
        pixel = []
        for value, end in ((builder.fmul(y, inverse), height), (builder.fmul(x, inverse), width)):
            from_0, to_end = builder.fcmp_ordered(">=", value, zero), builder.fcmp_ordered("<", value, lanes.splat(end))
            inside = lanes.both(inside, from_0, to_end)
            pixel.append(value)
        row, col = (builder.fptosi(builder.select(inside, value, zero), lanes.vector(I32)) for value in pixel)
        index = builder.add(builder.mul(row, lanes.splat(builder.fptosi(width, I32))), col)
        lanes.store(index, pixels, START)
        seen_depth = lanes.gather(depth, index)
        d = builder.fmul(builder.fsub(builder.fpext(seen_depth, lanes.vector(F64)), z), lanes.splat(per_m))
        measured, ahead = builder.fcmp_ordered(">", seen_depth, lanes.all(F32, 0)), builder.fcmp_ordered("<", d, one)
        seen = lanes.both(inside, measured, builder.fcmp_ordered(">=", d, minus_one))
        with builder.if_then(builder.icmp_unsigned("!=", lanes.bits(seen), START)):
            step = builder.fptrunc(builder.select(ahead, d, one), lanes.vector(F32))
            lanes.add(builder.select(seen, step, lanes.all(F32, 0)), distance, at)
            lanes.add(builder.uitofp(seen, lanes.vector(F32)), weight, at)
        return lanes.bits(lanes.both(seen, ahead, builder.fcmp_ordered(">", d, minus_one)))

    return signature, generate


@intrinsic
def add_colors(typing_context, packed, pixels, voxels, color, at, classes):  # type: ignore[no-untyped-def]
    """Add the colours of their pixels to the brick's three planes; the classes go into ``classes`` (LANES,) uint8."""
    signature = types.void(packed, pixels, types.int64, color, types.int64, classes)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        lanes = _Lanes(context, builder, signature, arguments)
        packed, pixels, voxels, color, at, classes = lanes.given
        found = lanes.gather(packed, lanes.load(pixels, START))
        lanes.store(builder.trunc(builder.lshr(found, lanes.all(I32, 24)), lanes.vector(I8)), classes, START)
        found = builder.select(lanes.mask(voxels), found, lanes.all(I32, 0))
        for channel in range(3):
            value = builder.and_(builder.lshr(found, lanes.all(I32, 8 * channel)), lanes.all(I32, 255))
            lanes.add(value, color, builder.add(at, ir.Constant(I64, channel * VOXELS)))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def add_votes(typing_context, classes, class_id, voxels, votes, at):  # type: ignore[no-untyped-def]
    """One vote more for those of the voxels that have the class; returns the others."""
    signature = types.int64(classes, types.uint8, types.int64, votes, types.int64)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        lanes = _Lanes(context, builder, signature, arguments)
        classes, class_id, voxels, votes, at = lanes.given
        same = builder.icmp_unsigned("==", lanes.load(classes, START), lanes.splat(class_id))
        same = lanes.both(same, lanes.mask(voxels))
        lanes.add(builder.zext(same, lanes.vector(I16)), votes, at)
        return builder.and_(voxels, builder.not_(lanes.bits(same)))

    return signature, generate


@intrinsic
def first_of(typing_context, voxels):  # type: ignore[no-untyped-def]
    """The lowest number in a set that is not empty."""
    signature = types.int64(types.int64)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], ir.Constant(I1, 1))

    return signature, generate
