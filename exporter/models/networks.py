"""Sorting networks: comparisons whose order does not depend on the values, so that sixteen columns are sorted side by
side with SIMD minima and maxima, and all that is compared stays in registers.

Everything is made of Batcher's odd-even merge (Knuth, The Art of Computer Programming, volume 3, section 5.3.4), which
merges two ascending runs of any lengths. Networks are no kernels themselves: they become part of each `@kernel` that
calls them. (That word also puts this file among the sources whose digest names the cache, see kernels.py.)
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import accumulate, pairwise
from typing import Any, cast

import numpy as np
import numpy.typing as npt

import exporter.kernels  # noqa: F401 -- says where numba keeps its cache, before numba is imported

# isort: split
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

Pairs = list[tuple[int, int]]
Sorter = Callable[[F32, I64, int, F32, int], None]
Chooser = Callable[[F32, I64, int, I32, F32, int], None]

LANES = 16  # columns worked on at once; where a register holds fewer, LLVM takes several


def merging_network(lengths: Collection[int], ranks: range) -> tuple[Pairs, list[int]]:
    """Comparisons that merge ascending runs of these lengths as far as `ranks` need it; runs of 1 make it sort.

    Inputs are numbered through the runs one after the other. Returns the pairs to compare and exchange in this order
    (the smaller value goes to the first of a pair) and, for each rank, the input whose place holds it afterwards.
    """
    pairs: Pairs = []
    bounds = accumulate(lengths, initial=0)
    order = _merge_all([list(range(start, end)) for start, end in pairwise(bounds)], pairs)
    wanted = [order[rank] for rank in ranks]
    return _needed(pairs, wanted), wanted


def _merge_all(runs: list[list[int]], pairs: Pairs) -> list[int]:
    """Merge neighbouring runs until one is left; appends the comparisons, returns the inputs in ascending order."""
    while len(runs) > 1:
        merged = [_merge(runs[k], runs[k + 1], pairs) for k in range(0, len(runs) - 1, 2)]
        runs = merged + runs[2 * len(merged) :]
    return runs[0]


def _merge(a: list[int], b: list[int], pairs: Pairs) -> list[int]:
    """Odd-even merge of two ascending runs."""
    if not a or not b:
        return a + b
    if len(a) == len(b) == 1:
        pairs.append((a[0], b[0]))
        return a + b
    odd, even = _merge(a[::2], b[::2], pairs), _merge(a[1::2], b[1::2], pairs)
    out = odd[:1]
    for low, high in zip(even, odd[1:], strict=False):
        pairs.append((low, high))
        out += (low, high)
    return out + odd[len(even) + 1 :] + even[len(odd) - 1 :]


def _needed(pairs: Pairs, wanted: Collection[int]) -> Pairs:
    """The comparisons that the wanted places depend on."""
    places = set(wanted)
    kept = []
    for pair in reversed(pairs):
        if not places.isdisjoint(pair):
            kept.append(pair)
            places.update(pair)
    return kept[::-1]


def sorter(size: int) -> Sorter:
    """Sorts windows of `size` samples; for kernels: ``run(source, places, at, out, to)``.

    Sixteen columns at once: input i of column k is ``source[places[i] + at + k]``, the sample of rank j goes to
    ``out[j, to + k]``. Shapes: source any contiguous float32, places (size,), out (size, at least to + 16). No NaN may
    be among the inputs; nothing checks the places.
    """
    pairs, order = merging_network([1] * size, range(size))

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, places, out = _arrays(context, builder, signature, arguments, (0, 1, 3))
        values = _compared(builder, _inputs(builder, source, places, arguments[2], size), pairs)
        for rank, place in enumerate(order):
            builder.store(values[place], _sixteen(builder, out, _F32, rank, arguments[4]), align=4)
        return context.get_dummy_value()

    @intrinsic
    def run(typing: Any, source: Any, places: Any, at: Any, out: Any, to: Any) -> Any:
        return types.void(source, places, types.int64, out, types.int64), emit

    return cast(Sorter, run)


def chooser(lengths: Collection[int], ranks: range) -> Chooser:
    """Merges ascending runs and chooses two ranks of each; for kernels: ``run(source, places, at, wanted, out, to)``.

    Inputs as for `sorter`. Of the j-th of `ranks`, ``out[0, to + k]`` is the one with j = ``wanted[0, to + k]``,
    ``out[1, to + k]`` that with j = ``wanted[1, to + k]``; undefined for other numbers. Shapes: wanted, out (2, at
    least to + 16).
    """
    pairs, order = merging_network(lengths, ranks)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, places, wanted, out = _arrays(context, builder, signature, arguments, (0, 1, 3, 4))
        values = _compared(builder, _inputs(builder, source, places, arguments[2], sum(lengths)), pairs)
        for row in (0, 1):
            number = builder.load(_sixteen(builder, wanted, _I32, row, arguments[5]), align=4)
            chosen = values[order[0]]
            for j, place in enumerate(order[1:], 1):
                this = builder.icmp_signed("==", number, ir.Constant(number.type, [j] * LANES))
                chosen = builder.select(this, values[place], chosen)
            builder.store(chosen, _sixteen(builder, out, _F32, row, arguments[5]), align=4)
        return context.get_dummy_value()

    @intrinsic
    def run(typing: Any, source: Any, places: Any, at: Any, wanted: Any, out: Any, to: Any) -> Any:
        return types.void(source, places, types.int64, wanted, out, types.int64), emit

    return cast(Chooser, run)


@intrinsic
def _bits(typing: Any, x: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], _I32)

    return types.int32(types.float32), emit


@intrinsic
def _from_bits(typing: Any, bits: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], _F32)

    return types.float32(types.int32), emit


# The bits of a float32 as a whole number, and back; for kernels.
bits_of = cast(Callable[[np.float32], np.int32], _bits)
float_of = cast(Callable[[np.int32], np.float32], _from_bits)


# --- pieces of LLVM code ----------------------------------------------------------------------------------------------

_F32, _I32, _I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)


def _arrays(context: Any, builder: Any, signature: Any, arguments: Any, numbers: Collection[int]) -> list[Any]:
    """The arguments of these numbers as arrays."""
    return [context.make_array(signature.args[i])(context, builder, arguments[i]) for i in numbers]


def _sixteen(builder: Any, array: Any, kind: Any, row: int, column: Any) -> Any:
    """Where sixteen columns of a row of a two-dimensional array begin."""
    width = builder.extract_value(array.shape, 1)
    start = builder.gep(array.data, [builder.add(builder.mul(width, ir.Constant(_I64, row)), column)])
    return builder.bitcast(start, ir.VectorType(kind, LANES).as_pointer())


def _inputs(builder: Any, source: Any, places: Any, at: Any, count: int) -> list[Any]:
    """The network's inputs, sixteen columns of each."""
    values = []
    for i in range(count):
        place = builder.load(builder.gep(places.data, [ir.Constant(_I64, i)]))
        start = builder.gep(source.data, [builder.add(place, at)])
        values.append(builder.load(builder.bitcast(start, ir.VectorType(_F32, LANES).as_pointer()), align=4))
    return values


def _compared(builder: Any, values: list[Any], pairs: Pairs) -> list[Any]:
    """The values after the network's comparisons."""
    for low, high in pairs:
        a, b = values[low], values[high]
        values[low] = builder.select(builder.fcmp_ordered("<", a, b), a, b)
        values[high] = builder.select(builder.fcmp_ordered(">", a, b), a, b)
    return values
