"""The C++ header of one group and kernel: sizes, tables and straight-line transforms, from the isotypic basis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from isotypic.groups.finite import Floats
from isotypic.groups.patches import Coupling, PatchBasis
from isotypic.ops.isotypic.program import Output, Program, program


def header(basis: PatchBasis) -> str:
    """Return what the kernel includes as ``group.h``."""
    patch = program(basis.patch)
    parts = [
        "#pragma once",
        *_constants(basis),
        _transform("channel_transform", program(basis.channel)),
        _transform("channel_inverse", program(basis.channel.T)),
        _transform("position_transform", patch),
        _transform("position_inverse", program(basis.patch.T)),
        *_sparse("ENTRY", basis.block_entries),
        *_sparse("ADJOINT", basis.adjoint_blocks),
        *(_patch_transform(basis, patch, index) for index in range(len(basis.irreps))),
        _dispatch(len(basis.irreps)),
        *_uncouplings(basis),
    ]
    return "\n".join(parts) + "\n"


def _constants(basis: PatchBasis) -> Iterator[str]:
    copies, blocks = basis.channel_copies, basis.blocks
    owners = [index for index, _, _ in copies for _ in range(basis.irreps[index].dimension)]
    yield f"constexpr int ORDER = {basis.group.order}, TAPS = {basis.taps}, BLOCKS = {len(blocks)};"
    yield f"constexpr int FLAT = {sum(b.rows_in * b.rows_out for b in blocks)};"
    yield f"constexpr int COPIES = {len(copies)}, LARGEST = {max(b.irrep.dimension for b in blocks)};"
    tables = {
        "DIMENSION": [b.irrep.dimension for b in blocks],
        "COPIES_IN": [b.copies_in for b in blocks],
        "COPIES_OUT": [b.copies_out for b in blocks],
        "ROWS_IN": [b.rows_in for b in blocks],
        "ROWS_OUT": [b.rows_out for b in blocks],
        "COLUMNS": [b.columns for b in blocks],
        "FLAT_START": np.cumsum([0, *(b.rows_in * b.rows_out for b in blocks)])[:-1].tolist(),
        "COPY_IRREP": [index for index, _, _ in copies],
        "COPY_START": [start for _, start, _ in copies],
        "COPY_DIMENSION": [basis.irreps[index].dimension for index, _, _ in copies],
        "BLOCK_START": [owners.index(i) for i in range(len(blocks))],
        "COORDINATE_BLOCK": owners,
    }
    for name, values in tables.items():
        yield f"constexpr int {name}[] = {_braces(values)};"
    yield f"constexpr int COPY_OFFSET[][{len(blocks)}] = {_braces(_braces(offsets) for _, _, offsets in copies)};"


def _sparse(name: str, matrix: Floats) -> Iterator[str]:
    """Yield a matrix by its rows: where each starts, and the columns and values of what is not zero."""
    rows, columns = np.nonzero(matrix)
    starts = np.searchsorted(rows, np.arange(len(matrix) + 1))
    yield f"constexpr int {name}_START[] = {_braces(starts)}, {name}_COLUMN[] = {_braces(columns)};"
    yield f"constexpr T {name}_VALUE[] = {_braces(f'T({float(v)!r})' for v in matrix[rows, columns])};"


def _transform(name: str, steps: Program) -> str:
    lines = [f"static inline void {name}(const V* x, V* y) {{"]
    lines += [f"    const V v{i} = x[{i}];" for i in range(steps.inputs)]
    lines += _steps(steps, "v")
    lines += [f"    y[{row}] = {_value(output, 'v')};" for row, output in enumerate(steps.outputs)]
    return "\n".join([*lines, "}"])


def _patch_transform(basis: PatchBasis, steps: Program, index: int) -> str:
    """Return the function that transforms the patches of one copy of an irrep of the channels."""
    d = basis.irreps[index].dimension
    lines = [
        f"static void patch_{index}(const T* const* x, const Int* taps, T* const* z, Int P, Int pitch) {{",
        "    for (Int o = 0; o < P; o += LANES) {",
    ]
    for a in range(d):
        lines += [f"    const V v{a}_{k} = load(x[{a}] + taps[{k}] + o);" for k in range(basis.taps)]
        lines += _steps(steps, f"v{a}_")
    counts = [0] * len(basis.irreps)
    for coupling in basis.couplings[index]:
        dimension = basis.irreps[coupling.block].dimension
        lines += _couple(coupling, steps, d, f"z[{coupling.block}]", counts[coupling.block] * dimension)
        counts[coupling.block] += 1
    return "\n".join([*lines, "    }", "}"])


def _couple(coupling: Coupling, steps: Program, d: int, place: str, first: int) -> Iterator[str]:
    """Yield the stores of one coupling, a row of the buffer each."""
    for i, matrix in enumerate(coupling.matrix):
        terms = []
        for a, b in zip(*np.nonzero(matrix), strict=True):
            output = steps.outputs[coupling.patch + a]
            terms.append(_value(Output(output.index, output.scale * float(matrix[a, b])), f"v{b}_"))
        yield f"    store({place} + {first + i} * pitch + o, {' + '.join(terms)});"


def _uncouplings(basis: PatchBasis) -> Iterator[str]:
    """Yield the transposed couplings: from the rows of the patches to the positions of one channel of an irrep."""
    names = []
    for index, irrep in enumerate(basis.irreps):
        names.append([f"uncouple_{index}_{channel}" for channel in range(irrep.dimension)])
        for channel, name in enumerate(names[-1]):
            yield f"static void {name}(const T* const* z, Int pitch, V* to) {{"
            for row, terms in enumerate(_uncoupled(basis, index, channel)):
                yield f"    to[{row}] = {' + '.join(terms) or 'V{}'};"
            yield "}"
    yield "typedef void (*Uncoupling)(const T* const*, Int, V*);"
    yield f"static const Uncoupling UNCOUPLE[][LARGEST] = {_braces(_braces(row) for row in names)};"


def _uncoupled(basis: PatchBasis, index: int, channel: int) -> list[list[str]]:
    """Return, for every row of the positions' basis, the terms that one channel of an irrep has there."""
    terms: list[list[str]] = [[] for _ in range(basis.taps)]
    counts = [0] * len(basis.irreps)
    for coupling in basis.couplings[index]:
        first = counts[coupling.block]
        counts[coupling.block] += len(coupling.matrix)
        for i, a in zip(*np.nonzero(coupling.matrix[:, :, channel]), strict=True):
            value = f"load(z[{coupling.block}] + {first + i} * pitch)"
            terms[coupling.patch + a].append(_times(float(coupling.matrix[i, a, channel]), value))
    return terms


def _steps(steps: Program, name: str) -> Iterator[str]:
    for index, step in enumerate(steps.steps, start=steps.inputs):
        left, right = f"{name}{step.left}", f"{name}{step.right}"
        added = {1.0: f"+ {right}", -1.0: f"- {right}"}.get(step.factor, f"+ T({step.factor!r}) * {right}")
        yield f"    const V {name}{index} = {left} {added};"


def _value(output: Output, name: str) -> str:
    if output.index is None:
        return "V{}"
    return _times(output.scale, f"{name}{output.index}")


def _times(factor: float, value: str) -> str:
    return {1.0: value, -1.0: f"(-{value})"}.get(factor, f"T({factor!r}) * {value}")


def _dispatch(irreps: int) -> str:
    names = _braces(f"patch_{index}" for index in range(irreps))
    return (
        "typedef void (*PatchTransform)(const T* const*, const Int*, T* const*, Int, Int);\n"
        f"static const PatchTransform PATCH_TRANSFORMS[] = {names};\n"
        "static void patch_transform(int i, const T* const* x, const Int* taps, T* const* z, Int P, Int pitch) {\n"
        "    PATCH_TRANSFORMS[i](x, taps, z, P, pitch);\n"
        "}"
    )


def _braces(values: Iterable[object]) -> str:
    return "{" + ", ".join(map(str, values)) + "}"
