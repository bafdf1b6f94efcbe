"""The vector code of ``cpu_attention.py``'s backward pass: keys lie side by side in the lanes of a vector.

A step is QUERY_STEP queries and LANES keys. What belongs to queries has a row of scalars for each query, (T, D); what
belongs to a tile's keys has a vector for each channel: four such planes (D, LANES), one after another, are

    keys | values | gradient of keys | gradient of values

All arrays are flat float32, scores in units of ln 2 as in ``simd_attention.py``.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from roomseg.geometry.vectors import I64
from roomseg.models.simd_attention import KEYS, LANES, Step, number

QUERY_STEP = KEYS


class _BackwardStep(Step):
    """QUERY_STEP queries, each a row of scalars, and a vector of keys."""

    def products(self, rows: list[Any], tile: Any, channels: Any, starts: list[Any]) -> list[Any]:
        """starts + rows . tile"""
        totals = [self.variable(start) for start in starts]
        with cgutils.for_range(self._builder, channels) as loop:
            keys = self.load(tile, self._builder.mul(loop.index, number(LANES)))
            for row, total in zip(rows, totals, strict=True):
                self._builder.store(
                    self.multiply_add(self.scalar(row, loop.index), keys, self._builder.load(total)), total
                )
        return [self._builder.load(total) for total in totals]

    def add_outer(self, rows: list[Any], factors: list[Any], tile: Any, channels: Any) -> None:
        """tile[c] += sum of rows[c] factors"""
        with cgutils.for_range(self._builder, channels) as loop:
            place = self._builder.mul(loop.index, number(LANES))
            total = self.load(tile, place)
            for row, factor in zip(rows, factors, strict=True):
                total = self.multiply_add(self.scalar(row, loop.index), factor, total)
            self.store(total, tile, place)

    def scalars(self, data: Any, at: Any) -> list[Any]:
        """The QUERY_STEP scalars from ``at`` on, each in all lanes."""
        return [self.scalar(data, self._builder.add(at, number(n))) for n in range(QUERY_STEP)]


@intrinsic
def backward_step(  # type: ignore[no-untyped-def]
    typing_context, queries, d_out, query, channels, tile, bias, d_bias, bias_at, tokens, less, shift, d_scores
):
    """The QUERY_STEP queries from ``query`` on meet a tile's keys: adds to the gradients of keys, values and bias, and
    leaves that of the scores (QUERY_STEP, LANES) in ``d_scores``. ``less`` is taken off each query's scores, ``shift``
    added to the gradients of its shares."""
    index = types.int64
    signature = types.void(queries, d_out, index, index, tile, bias, d_bias, index, index, less, shift, d_scores)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        step = _BackwardStep(context, builder, signature, arguments)
        queries, d_out, query, channels, tile, bias, d_bias, bias_at, tokens, less, shift, d_scores = step.given
        plane = builder.mul(channels, number(LANES))
        keys, values, d_keys, d_values = (builder.gep(tile, [builder.mul(plane, number(n))]) for n in range(4))
        later = builder.add(bias_at, builder.mul(tokens, number(QUERY_STEP)))
        step.prefetch(bias, later, tokens)
        step.prefetch(d_bias, later, tokens)
        at = builder.mul(query, channels)
        query_rows, out_rows = step.rows(queries, at, channels), step.rows(d_out, at, channels)
        places = [builder.add(bias_at, builder.mul(tokens, number(n))) for n in range(QUERY_STEP)]
        scores = step.products(query_rows, keys, channels, [step.load(bias, place) for place in places])
        shares = [
            step.power_of_two(builder.fsub(*pair)) for pair in zip(scores, step.scalars(less, query), strict=True)
        ]
        step.add_outer(out_rows, shares, d_values, channels)
        d_shares = step.products(out_rows, values, channels, step.scalars(shift, query))
        gradients = [builder.fmul(*pair) for pair in zip(shares, d_shares, strict=True)]
        for n, (place, gradient) in enumerate(zip(places, gradients, strict=True)):
            step.store(builder.fadd(step.load(d_bias, place), gradient), d_bias, place)
            step.store(gradient, d_scores, number(n * LANES))
        step.add_outer(query_rows, gradients, d_keys, channels)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def add_query_gradient(typing_context, d_scores, keys, key, width, d_queries, query):  # type: ignore[no-untyped-def]
    """d_queries += d_scores . keys: both rows of ``width`` channels, a multiple of LANES."""
    index = types.int64
    signature = types.void(d_scores, keys, index, index, d_queries, index)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        step = _BackwardStep(context, builder, signature, arguments)
        d_scores, keys, key, width, d_queries, query = step.given
        first_key, first_query = builder.mul(key, width), builder.mul(query, width)
        with cgutils.for_range_slice(builder, number(0), width, number(LANES), I64) as (column, _):
            places = [
                builder.add(builder.add(first_query, column), builder.mul(width, number(n))) for n in range(QUERY_STEP)
            ]
            totals = [step.load(d_queries, place) for place in places]
            for lane in range(LANES):
                row = step.load(keys, builder.add(builder.add(first_key, column), builder.mul(width, number(lane))))
                factors = [step.scalar(d_scores, number(n * LANES + lane)) for n in range(QUERY_STEP)]
                totals = [step.multiply_add(f, row, t) for f, t in zip(factors, totals, strict=True)]
            for total, place in zip(totals, places, strict=True):
                step.store(total, d_queries, place)
        return context.get_dummy_value()

    return signature, generate
