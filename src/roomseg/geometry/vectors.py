"""Vectors of equal elements inside numba kernels, for loops in which the compiler does not find them itself.

The body of an ``@intrinsic`` writes LLVM's vector operations through these helpers. Vectors that are wider than the
machine's registers are split by LLVM, so the code runs everywhere.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F32, F64 = ir.FloatType(), ir.DoubleType()
START = ir.Constant(I64, 0)  # of an array


class Lanes:
    """Vectors of ``lanes`` elements, from and to arrays. ``given`` are the arguments, of arrays the address."""

    def __init__(self, lanes: int, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self._lanes, self._builder = lanes, builder
        self.given = [
            context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args, arguments, strict=True)
        ]

    def vector(self, kind: ir.Type) -> ir.VectorType:
        return ir.VectorType(kind, self._lanes)

    def constant(self, kind: ir.Type, values: list[Any]) -> ir.Constant:
        return ir.Constant(self.vector(kind), values)

    def all(self, kind: ir.Type, value: float) -> ir.Constant:
        return self.constant(kind, [value] * self._lanes)

    def splat(self, value: Any) -> Any:
        empty = ir.Constant(self.vector(value.type), ir.Undefined)
        first = self._builder.insert_element(empty, value, ir.Constant(I32, 0))
        return self._builder.shuffle_vector(first, empty, self.all(I32, 0))

    def load(self, data: Any, at: Any) -> Any:
        return self._builder.load(self._place(data, at), align=1)

    def store(self, values: Any, data: Any, at: Any) -> None:
        self._builder.store(values, self._place(data, at), align=1)

    def _place(self, data: Any, at: Any) -> Any:
        return self._builder.bitcast(self._builder.gep(data, [at]), self.vector(data.type.pointee).as_pointer())
