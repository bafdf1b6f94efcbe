"""The vector code of ``cpu_attention.py``'s forward pass: queries lie side by side in the lanes of a vector.

So scores, exponentials and sums need no other lane, and keys and values are read where they are, an element at a time
for all queries. QUERIES at once are a tile, KEYS at once a step: as many as keep a step's scores in registers.
Scores are in units of ln 2, which leaves powers of two. All arrays are flat float32; a tile's are rows of QUERIES:

    sums of the shares | shifts, taken off the scores | D rows of queries | D rows of output
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from roomseg.geometry.vectors import F32, I32, I64, Lanes

LANES, KEYS = (16, 8) if binding.get_host_cpu_features().get("avx512f") else (8, 4)
QUERIES = 2 * LANES
BLOCK = 4  # columns that are transposed at once
SUMS, SHIFTS, FIRST_QUERY = range(3)  # rows of a tile

_HIGHEST, _LOWEST = 100.0, -100.0  # scores beyond them become these, and NaN the highest
_TO_WHOLE = 1.5 * 2**23  # a float32 that has it added is rounded, and has the whole number in its low bits
_POWER_OF_TWO = (1.0, 0.69314700, 0.24022242, 0.05550734, 0.0096715176, 0.0013264708)  # 2^r within 1.5e-7, |r| <= 1/2

_Vectors = list[Any]  # one for each half of a tile's queries


class Step(Lanes):
    """KEYS keys and all queries of a tile."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        super().__init__(LANES, context, builder, signature, arguments)

    def scores(
        self, keys: Any, at: Any, stride: Any, channels: Any, bias: Any, bias_at: Any, tile: Any
    ) -> list[_Vectors]:
        """bias + keys . queries, a pair of vectors for each key."""
        totals = []
        for k in range(KEYS):
            start = self._builder.add(bias_at, number(k * QUERIES))
            totals.append([self.variable(half) for half in self._row(bias, start)])
        rows = self.rows(keys, at, stride)
        with cgutils.for_range(self._builder, channels) as loop:
            queries = self._row(tile, self._tile_row(self._builder.add(loop.index, number(FIRST_QUERY))))
            for row, total in zip(rows, totals, strict=True):
                key = self.scalar(row, loop.index)
                for half, query in zip(total, queries, strict=True):
                    self._builder.store(self.multiply_add(key, query, self._builder.load(half)), half)
        return [[self._builder.load(half) for half in total] for total in totals]

    def add_values(self, shares: list[_Vectors], values: Any, at: Any, stride: Any, channels: Any, tile: Any) -> None:
        """output += shares . values"""
        rows = self.rows(values, at, stride)
        first = self._builder.add(channels, number(FIRST_QUERY))
        with cgutils.for_range(self._builder, channels) as loop:
            place = self._tile_row(self._builder.add(loop.index, first))
            totals = self._row(tile, place)
            for row, share in zip(rows, shares, strict=True):
                value = self.scalar(row, loop.index)
                totals = [self.multiply_add(value, *pair) for pair in zip(share, totals, strict=True)]
            self._put_row(totals, tile, place)

    def power_of_two(self, x: Any) -> Any:
        add, subtract, choose = self._builder.fadd, self._builder.fsub, self._builder.select
        highest, lowest, to_whole = (self.all(F32, value) for value in (_HIGHEST, _LOWEST, _TO_WHOLE))
        x = choose(self._builder.fcmp_ordered("<", x, highest), x, highest)
        x = choose(self._builder.fcmp_ordered(">", x, lowest), x, lowest)
        whole = add(x, to_whole)
        rest = subtract(x, subtract(whole, to_whole))
        power = self.all(F32, _POWER_OF_TWO[-1])
        for coefficient in _POWER_OF_TWO[-2::-1]:
            power = self.multiply_add(power, rest, self.all(F32, coefficient))
        exponent = self._builder.shl(self._as(I32, whole), self.all(I32, 23))
        return self._as(F32, self._builder.add(self._as(I32, power), exponent))

    def update(self, tile: Any, row: int, combine: Any, values: list[_Vectors]) -> None:
        """Combine the step's values of each query pairwise, and what comes of it with a row of the tile."""
        while len(values) > 1:
            values = [
                [combine(*pair) for pair in zip(*each, strict=True)]
                for each in zip(values[::2], values[1::2], strict=True)
            ]
        before = self._row(tile, number(row * QUERIES))
        self._put_row([combine(*pair) for pair in zip(before, values[0], strict=True)], tile, number(row * QUERIES))

    def larger(self, a: Any, b: Any) -> Any:
        return self._builder.select(self._builder.fcmp_ordered(">", b, a), b, a)

    def minus_row(self, values: list[_Vectors], tile: Any, row: int) -> list[_Vectors]:
        less = self._row(tile, number(row * QUERIES))
        return [[self._builder.fsub(*pair) for pair in zip(each, less, strict=True)] for each in values]

    def prefetch(self, data: Any, at: Any, stride: Any) -> None:
        """Ask for the rows from memory: they lie too far apart for the machine to foresee that they are read next."""
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
        function = cgutils.get_or_insert_function(self._builder.module, kind, "llvm.prefetch.p0")
        options = [ir.Constant(I32, value) for value in (0, 3, 1)]  # to read, keep close, data
        for row in self.rows(data, at, stride):
            self._builder.call(function, [self._builder.bitcast(row, byte), *options])

    def _row(self, data: Any, at: Any) -> _Vectors:
        return [self.load(data, self._builder.add(at, number(lane))) for lane in (0, LANES)]

    def _put_row(self, values: _Vectors, data: Any, at: Any) -> None:
        for lane, value in zip((0, LANES), values, strict=True):
            self.store(value, data, self._builder.add(at, number(lane)))

    def _tile_row(self, row: Any) -> Any:
        return self._builder.mul(row, number(QUERIES))

    def rows(self, data: Any, at: Any, stride: Any) -> list[Any]:
        return [
            self._builder.gep(data, [self._builder.add(at, self._builder.mul(stride, number(k)))]) for k in range(KEYS)
        ]

    def scalar(self, data: Any, at: Any) -> Any:
        """One element, in all lanes."""
        return self.splat(self._builder.load(self._builder.gep(data, [at])))

    def variable(self, value: Any) -> Any:
        place = cgutils.alloca_once(self._builder, value.type)
        self._builder.store(value, place)
        return place

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        kind = self.vector(F32)
        name = f"llvm.fmuladd.v{LANES}f32"
        function = cgutils.get_or_insert_function(self._builder.module, ir.FunctionType(kind, [kind] * 3), name)
        return self._builder.call(function, [a, b, c])

    def _as(self, kind: ir.Type, value: Any) -> Any:
        return self._builder.bitcast(value, self.vector(kind))


class _Blocks(Lanes):
    """BLOCK columns of LANES rows: BLOCK vectors, the n-th with all columns of the rows n, n + BLOCK, ..."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        super().__init__(LANES, context, builder, signature, arguments)

    def load_rows(self, data: Any, at: Any, stride: Any) -> list[Any]:
        joined = []
        for start in range(BLOCK):
            parts = [
                self._builder.load(self._block(data, at, stride, start + n), align=4) for n in range(0, LANES, BLOCK)
            ]
            while len(parts) > 1:
                order = ir.Constant(ir.VectorType(I32, 2 * parts[0].type.count), list(range(2 * parts[0].type.count)))
                parts = [
                    self._builder.shuffle_vector(*pair, order) for pair in zip(parts[::2], parts[1::2], strict=True)
                ]
            joined += parts
        return joined

    def store_rows(self, rows: list[Any], data: Any, at: Any, stride: Any) -> None:
        for start, row in enumerate(rows):
            for n in range(0, LANES, BLOCK):
                order = ir.Constant(ir.VectorType(I32, BLOCK), list(range(n, n + BLOCK)))
                part = self._builder.shuffle_vector(row, ir.Constant(row.type, ir.Undefined), order)
                self._builder.store(part, self._block(data, at, stride, start + n), align=4)

    def swapped(self, vectors: list[Any]) -> list[Any]:
        """Transpose each BLOCK x BLOCK: the n-th vector and the n-th lanes change places."""
        groups, half = range(0, LANES, BLOCK), BLOCK // 2
        rounds = BLOCK.bit_length() - 1
        low, high = (
            self.constant(
                I32, [start + n // 2 + n % 2 * LANES for start in groups for n in range(first, first + BLOCK)]
            )
            for first in (0, BLOCK)
        )
        for _ in range(rounds):  # each round takes the highest bit of a vector's number to the lowest of its lane's
            pairs = list(zip(vectors[:half], vectors[half:], strict=True))
            vectors = [self._builder.shuffle_vector(*pair, order) for pair in pairs for order in (low, high)]
        return vectors

    def _block(self, data: Any, at: Any, stride: Any, row: int) -> Any:
        place = self._builder.gep(data, [self._builder.add(at, self._builder.mul(stride, number(row)))])
        return self._builder.bitcast(place, ir.VectorType(F32, BLOCK).as_pointer())


def number(value: int) -> ir.Constant:
    return ir.Constant(I64, value)


@intrinsic
def add_step(typing_context, qkv, key_at, value_at, stride, channels, bias, bias_at, tile):  # type: ignore[no-untyped-def]
    """Add what KEYS keys and values, ``stride`` apart, give to a tile's sums and output. bias (KEYS, QUERIES)."""
    index = types.int64
    signature = types.void(qkv, index, index, index, index, bias, index, tile)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        step = Step(context, builder, signature, arguments)
        qkv, key_at, value_at, stride, channels, bias, bias_at, tile = step.given
        later = builder.mul(stride, number(KEYS))
        step.prefetch(qkv, builder.add(key_at, later), stride)
        step.prefetch(qkv, builder.add(value_at, later), stride)
        scores = step.scores(qkv, key_at, stride, channels, bias, bias_at, tile)
        shares = [[step.power_of_two(x) for x in pair] for pair in step.minus_row(scores, tile, SHIFTS)]
        step.update(tile, SUMS, builder.fadd, shares)
        step.add_values(shares, qkv, value_at, stride, channels, tile)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def raise_shifts(typing_context, qkv, key_at, stride, channels, bias, bias_at, tile):  # type: ignore[no-untyped-def]
    """Raise a tile's shifts to the largest scores with KEYS keys; NaN are passed over."""
    index = types.int64
    signature = types.void(qkv, index, index, index, bias, index, tile)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        step = Step(context, builder, signature, arguments)
        qkv, key_at, stride, channels, bias, bias_at, tile = step.given
        step.update(tile, SHIFTS, step.larger, step.scores(qkv, key_at, stride, channels, bias, bias_at, tile))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def load_transposed(typing_context, source, at, stride, factor, target, target_at):  # type: ignore[no-untyped-def]
    """target[column QUERIES + row] = factor source[row stride + column], for LANES rows and BLOCK columns."""
    index = types.int64
    signature = types.void(source, index, index, types.float32, target, index)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        blocks = _Blocks(context, builder, signature, arguments)
        source, at, stride, factor, target, target_at = blocks.given
        factor = blocks.splat(factor)
        for n, column in enumerate(blocks.swapped(blocks.load_rows(source, at, stride))):
            blocks.store(builder.fmul(column, factor), target, builder.add(target_at, number(n * QUERIES)))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def store_shares(typing_context, tile, row, lane, target, at, stride):  # type: ignore[no-untyped-def]
    """target[n stride + c] = tile[row + c, lane + n] / the query's sum, for LANES queries and BLOCK rows."""
    signature = types.void(tile, types.int64, types.int64, target, types.int64, types.int64)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        blocks = _Blocks(context, builder, signature, arguments)
        tile, row, lane, target, at, stride = blocks.given
        whole = builder.fdiv(blocks.all(F32, 1.0), blocks.load(tile, builder.add(lane, number(SUMS * QUERIES))))
        start = builder.add(builder.mul(row, number(QUERIES)), lane)
        rows = [blocks.load(tile, builder.add(start, number(n * QUERIES))) for n in range(BLOCK)]
        blocks.store_rows(blocks.swapped([builder.fmul(row, whole) for row in rows]), target, at, stride)
        return context.get_dummy_value()

    return signature, generate
