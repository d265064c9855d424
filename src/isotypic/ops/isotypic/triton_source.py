"""The Triton kernels of one group and kernel size as the text of a module, from the isotypic basis.

Three functions: ``transform`` brings the channels of a signal into the Fourier basis, ``convolve`` and ``correlate``
read it. All transforms are straight-line code on tiles, as in :mod:`isotypic.ops.isotypic.source`; tiles lie in memory
with the fields of one Fourier row next to each other, so that a tap is a load of whole lines at one distance from the
first. A plane is a volume of one slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from isotypic.groups.patches import PatchBasis
from isotypic.ops.isotypic.program import program
from isotypic.ops.isotypic.triton_tables import (
    Copies,
    Product,
    Tables,
    Target,
    additions,
    body,
    expression,
    indented,
)
from isotypic.ops.resampling import Sizes

MOST_SUMS = 32
"""Entries of a pair of fields whose gradients a program sums: tiles of 64 by 16 fields, in registers."""

WIDEST = 8
"""Channels of a field that one load or store brings: 16 bytes in half precision."""

_HEAD = """\
import triton
import triton.language as tl
"""

_TRANSFORM = """
@triton.jit
def transform(
    x, f, images, fields, seen, image_pitch, channel_pitch, pitch_z, pitch_y, pitch_x, size_z, size_y, size_x,
    full_z, full_y, full_x, before_z, before_y, before_x, gap_z, gap_y, gap_x,
    SAMPLES: tl.constexpr, SEEN: tl.constexpr,
):
    sample = tl.program_id(0) * SAMPLES + tl.arange(0, SAMPLES)
    field = tl.program_id(1) * SEEN + tl.arange(0, SEEN)
    image = sample // (full_z * full_y * full_x)
    at_z = sample // (full_y * full_x) % full_z - before_z
    at_y = sample // full_x % full_y - before_y
    at_x = sample % full_x - before_x
    inside = (at_z >= 0) & (at_z % gap_z == 0) & (at_z < size_z * gap_z)
    inside &= (at_y >= 0) & (at_y % gap_y == 0) & (at_y < size_y * gap_y)
    inside &= (at_x >= 0) & (at_x % gap_x == 0) & (at_x < size_x * gap_x)
    inside = (inside & (image < images))[:, None, None] & (field < fields)[None, :, None]
    x += (image.to(tl.int64) * image_pitch + at_z // gap_z * pitch_z)[:, None, None]
    x += (at_y // gap_y * pitch_y + at_x // gap_x * pitch_x)[:, None, None]
    x += field[None, :, None] * {order} * channel_pitch
{loads}
{steps}
    written = (image < images)[:, None] & (field < seen)[None, :]
    plane = tl.cast(images * full_z * full_y * full_x, tl.int64) * seen
    f += sample.to(tl.int64)[:, None] * seen + field[None, :]
{stores}
"""

_GEOMETRY = """\
    out_z, out_y, out_x, full_z, full_y, full_x, stride_z, stride_y, stride_x, dilation_z, dilation_y, dilation_x,
"""

# Arguments for whose values no kernel of its own is made: a network has many sizes, and a kernel takes long to compile.
_SIZES = ["outputs", "fields", "stretch", *_GEOMETRY.replace(",", " ").split()]

_PLACE = """\
at_z, at_y, at_x = {0} // (out_y * out_x) % out_z * stride_z, {0} // out_x % out_y * stride_y, {0} % out_x * stride_x
sample = (({0} // (out_z * out_y * out_x) * full_z + at_z) * full_y + at_y) * full_x + at_x"""

_CONVOLVE = """
@triton.jit(do_not_specialize={sizes})
def convolve(
    f, weight, bias, y, outputs, fields, plane, seen, made,
{geometry}\
    RELU: tl.constexpr, PRECISION: tl.constexpr,
    OUTPUTS: tl.constexpr, MADE: tl.constexpr, SEEN: tl.constexpr,
):
    tiles = made // MADE
    output = tl.program_id(0) // tiles * OUTPUTS + tl.arange(0, OUTPUTS)
    field = tl.program_id(0) % tiles * MADE + tl.arange(0, MADE)
    # What lies behind the last output is computed from its patch, and not written.
    last = tl.minimum(output, outputs - 1)
{place}
    plane, block = tl.cast(plane, tl.int64), tl.cast(seen * made, tl.int64)
    f += sample.to(tl.int64)[:, None] * seen + tl.arange(0, SEEN)[None, :]
    # Two rows of a block that come together lie next to each other in one product, and `far` apart in memory.
    both = tl.program_id(0) % tiles * MADE + tl.arange(0, 2 * MADE) % MADE
    far = (tl.arange(0, 2 * MADE) // MADE).to(tl.int64)[None, :] * block
    weight += tl.arange(0, SEEN)[:, None] * made
{taps}
{sums}
{loops}
{inverse}
    shift = tl.load(bias + field, mask=field < fields, other=0.0).to(tl.float32)[None, :]
{shifts}
    if RELU:
{rectified}
    y += output.to(tl.int64)[:, None, None] * fields * {order} + field[None, :, None] * {order}
    written = (output < outputs)[:, None, None] & (field < fields)[None, :, None]
{stores}
"""

_CORRELATE = """
@triton.jit(do_not_specialize={sizes})
def correlate(
    f, gradient, to, outputs, stretch, plane, seen, made,
{geometry}\
    SHARE: tl.constexpr, PRECISION: tl.constexpr, OUTPUTS: tl.constexpr, MADE: tl.constexpr, SEEN: tl.constexpr,
):
    tiles = made // MADE
    field = tl.program_id(0) % tiles * MADE + tl.arange(0, MADE)
    origin = tl.program_id(0) // tiles * SEEN + tl.arange(0, SEEN)
    copy, part = tl.program_id(1), tl.program_id(2)
    begin, end = part * stretch, tl.minimum(part * stretch + stretch, outputs)
    plane, block = tl.cast(plane, tl.int64), tl.cast(seen * made, tl.int64)
    spread = tl.cast(outputs, tl.int64) * made
    both = tl.program_id(0) % tiles * MADE + tl.arange(0, 2 * MADE) % MADE
    far = (tl.arange(0, 2 * MADE) // MADE).to(tl.int64)[None, :]
    f += origin[None, :]
    to += part * {entries} * block + origin[:, None] * made
{taps}
{branches}
"""


def kernels(basis: PatchBasis, kernel: Sizes) -> str:
    """Return the text of the module with ``transform``, ``convolve`` and ``correlate``."""
    tables = Tables(basis)
    taps = _taps(kernel)
    return _HEAD + _transform(basis) + _convolve(tables, taps) + _correlate(tables, taps)


def shares(basis: PatchBasis) -> list[int]:
    """Return, for every SHARE of ``correlate``, how many copies of its irrep there are among the channels."""
    return [share.copies.count for share in _shares(Tables(basis))]


def _width(order: int) -> int:
    """Return how many channels of a field are loaded and stored at once: a power of two that divides the order."""
    return min(WIDEST, order & -order)


def _transform(basis: PatchBasis) -> str:
    order, width = basis.group.order, _width(basis.group.order)
    loads = []
    for first in range(0, order, width):
        place = f"x + ({first} + tl.arange(0, {width})[None, None, :]) * channel_pitch"
        loads.append(f"c{first} = tl.load({place}, mask=inside, other=0.0).to(tl.float32)")
        loads += _split(f"c{first}", first, 1, width)
    forth = program(basis.channel)
    stores = [
        f"tl.store(f + {row} * plane, ({expression(output, 'v')}).to(f.dtype.element_ty), mask=written)"
        for row, output in enumerate(forth.outputs)
    ]
    return _TRANSFORM.format(order=order, loads=body(loads), steps=body(additions(forth, "v")), stores=body(stores))


def _split(name: str, first: int, step: int, width: int) -> Iterator[str]:
    """Yield what takes a tile ``[samples, fields, width]`` apart into channels ``first, first + step, ...``."""
    if width == 1:
        yield f"v{first} = tl.reshape({name}, (SAMPLES, SEEN))"
        return
    halves = f"tl.reshape({name}, (SAMPLES, SEEN, {width // 2}, 2))"
    yield f"{name}_a, {name}_b = tl.split({halves})"
    yield from _split(f"{name}_a", first, 2 * step, width // 2)
    yield from _split(f"{name}_b", first + step, 2 * step, width // 2)


def _join(names: Sequence[str]) -> str:
    """Return the tile ``[outputs, fields, names]`` of tiles ``[outputs, fields]``."""
    if len(names) == 1:
        return f"tl.reshape({names[0]}, (OUTPUTS, MADE, 1))"
    halves = f"tl.join({_join(names[::2])}, {_join(names[1::2])})"
    return f"tl.reshape({halves}, (OUTPUTS, MADE, {len(names)}))"


def _convolve(tables: Tables, taps: Sequence[str]) -> str:
    made = [f"y{g}" for g in range(tables.order)]
    return _CONVOLVE.format(
        geometry=_GEOMETRY,
        sizes=_SIZES,
        order=tables.order,
        place=body(_PLACE.format("last").splitlines()),
        taps=body(taps),
        sums=body(f"{name} = tl.zeros((OUTPUTS, {shape}), dtype=tl.float32)" for name, shape in _sums(tables)),
        loops=body(line for copies in tables.copies() for line in _loop(tables, copies)),
        inverse=body(_inverse(tables, made)),
        shifts=body(f"{name} += shift" for name in made),
        rectified=body((f"{name} = tl.maximum({name}, 0.0)" for name in made), 2),
        stores=body(_stores(made)),
    )


def _sums(tables: Tables) -> Iterator[tuple[str, str]]:
    """Yield the names of all sums of a convolution, with their columns."""
    for index, block in enumerate(tables.basis.blocks):
        for target in tables.targets(index):
            yield from ((f"acc_{index}_{target.row}_{i}", target.shape) for i in range(block.columns))


def _inverse(tables: Tables, made: Sequence[str]) -> Iterator[str]:
    """Yield what leads from the sums back to the channels of a field."""
    for name, shape in _sums(tables):
        if shape != "MADE":
            b, _, i = name.split("_")[1:]
            halves = f"tl.permute(tl.reshape({name}, (OUTPUTS, 2, MADE)), (0, 2, 1))"
            yield f"acc_{b}_0_{i}, acc_{b}_1_{i} = tl.split({halves})"
    inverse = program(tables.basis.channel.T)
    yield from (f"v{h} = acc_{row}" for h, row in enumerate(tables.rows))
    yield from additions(inverse, "v")
    yield from (f"{name} = {expression(output, 'v')}" for name, output in zip(made, inverse.outputs, strict=True))


def _stores(made: Sequence[str]) -> Iterator[str]:
    width = _width(len(made))
    for first in range(0, len(made), width):
        tile = _join(made[first : first + width])
        place = f"y + {first} + tl.arange(0, {width})[None, None, :]"
        yield f"tl.store({place}, {tile}.to(y.dtype.element_ty), mask=written)"


def _loop(tables: Tables, copies: Copies) -> Iterator[str]:
    """Yield the loop over the input fields of the channels of one irrep."""
    d = tables.basis.irreps[copies.index].dimension
    start = str(copies.start)
    if copies.count == 1:
        yield "for n in range(0, seen, SEEN):"
    else:
        yield f"for step in range(0, {copies.count} * seen, SEEN):"
        yield "    copy, n = step // seen, tl.multiple_of(step % seen, SEEN)"
        start = f"({start} + {d} * copy)"
    yield f"    x, w = f + {start} * plane + n, weight + n * made"
    yield from indented(tables.loads(copies))
    for made in tables.products(copies):
        yield from indented(_made_tiles(made))
        for target in tables.targets(made.block):
            yield f"    m = tl.load(w + {tables.entry(made, target, copies)} * block + {target.place('far')})"
            for i in range(len(made.columns)):
                name = f"acc_{made.block}_{target.row}_{i}"
                yield f"    {name} = tl.dot(z{i}, m, {name}, input_precision=PRECISION)"


def _made_tiles(made: Product) -> Iterator[str]:
    for i, column in enumerate(made.columns):
        yield f"z{i} = ({column}).to(f.dtype.element_ty)"


class _Share(NamedTuple):
    """Products with the patches of some copies whose sums fit a program's registers."""

    copies: Copies
    products: list[Product]


def _shares(tables: Tables) -> Iterator[_Share]:
    for copies in tables.copies():
        share, sums = _Share(copies, []), 0
        for made in tables.products(copies):
            rows = tables.basis.blocks[made.block].rows_out
            if sums + rows > MOST_SUMS:
                yield share
                share, sums = _Share(copies, []), 0
            share.products.append(made)
            sums += rows
        yield share


def _correlate(tables: Tables, taps: Sequence[str]) -> str:
    branches = [line for index, share in enumerate(_shares(tables)) for line in _branch(tables, index, share)]
    return _CORRELATE.format(
        geometry=_GEOMETRY, sizes=_SIZES, entries=tables.entries, taps=body(taps), branches=body(branches)
    )


def _branch(tables: Tables, index: int, share: _Share) -> Iterator[str]:
    """Yield what sums the products of patches with gradients over a part of the outputs."""
    copies = share.copies
    d = tables.basis.irreps[copies.index].dimension
    found = list(enumerate(share.products))
    sums = [(p, made, target) for p, made in found for target in tables.targets(made.block)]
    yield f"if SHARE == {index}:"
    yield from (f"    acc_{p}_{t.row} = tl.zeros((SEEN, {t.shape}), dtype=tl.float32)" for p, _, t in sums)
    yield "    for start in range(begin, end, OUTPUTS):"
    yield "        output = start + tl.arange(0, OUTPUTS)"
    yield "        counted, last = (output < end)[:, None], tl.minimum(output, outputs - 1)"
    yield from indented(_PLACE.format("last").splitlines(), 2)
    yield f"        x = f + ({copies.start} + {d} * copy) * plane + sample.to(tl.int64)[:, None] * seen"
    yield "        g = gradient + last.to(tl.int64)[:, None] * made"
    yield from indented(_gradients(tables, sorted({target for _, _, target in sums})), 2)
    yield from indented(tables.loads(copies), 2)
    for p, made in found:
        yield from indented(_made_tiles(made), 2)
        for t in tables.targets(made.block):
            for i in range(len(made.columns)):
                terms = f"tl.trans(z{i}), g_{t.block}_{t.row}_{i}, acc_{p}_{t.row}"
                yield f"        acc_{p}_{t.row} = tl.dot({terms}, input_precision=PRECISION)"
    for p, made, t in sums:
        place = f"to + {tables.entry(made, t, copies)} * block + {t.place('block * far')}"
        yield f"    tl.store({place}, acc_{p}_{t.row})"


def _gradients(tables: Tables, targets: Sequence[Target]) -> Iterator[str]:
    """Yield what reads the rows of the gradient that some products meet."""
    for target in targets:
        for i in range(tables.basis.blocks[target.block].columns):
            first, *others = (
                tables.rows.index(f"{target.block}_{row}_{i}") for row in range(target.row, target.row + target.rows)
            )
            apart = target._replace(apart=others[0] - first if others else 0)
            place = f"g + {first} * spread + {apart.place('spread * far')}"
            yield f"g_{target.block}_{target.row}_{i} = tl.load({place}, mask=counted, other=0.0)"


def _taps(kernel: Sizes) -> list[str]:
    """Return how far from the first sample of a patch every tap lies."""
    whole = (1,) * (3 - len(kernel)) + tuple(kernel)
    distance = "(({} * dilation_z * full_y + {} * dilation_y) * full_x + {} * dilation_x) * seen"
    return [f"t{k} = {distance.format(*tap)}" for k, tap in enumerate(product(*map(range, whole)))]
