"""What the Triton kernels of a group are written from: the isotypic basis as expressions, and where they go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from isotypic.groups.finite import Floats
from isotypic.groups.irreps import IrrepType, fourier_blocks
from isotypic.groups.patches import Block, Coupling, PatchBasis
from isotypic.ops.isotypic.program import Output, Program, program


class Product(NamedTuple):
    """Rows of a patch that meet the same entries of a block: the components of a copy share them, or it is one row.

    Attributes:
        block: which irrep of the group.
        row: the row of the block for the first of the channel copies.
        pitch: rows from one of the channel copies to the next.
        columns: an expression a component.
    """

    block: int
    row: int
    pitch: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Copies:
    """The copies of one irrep among the channels, which differ by where they begin.

    Attributes:
        index: the irrep.
        start: the first row of the first copy.
        count: how many there are.
        first: the first of them among all copies.
    """

    index: int
    start: int
    count: int
    first: int


class Target(NamedTuple):
    """Rows of the output that one product leads to: one, or two that share the patch.

    Attributes:
        block: which irrep of the group.
        row: the first row of the block.
        rows: how many there are.
        apart: entries from one to the next.
    """

    block: int
    row: int
    rows: int
    apart: int

    def place(self, pitch: str) -> str:
        """Return where the columns of its tile lie, from the first row on."""
        return "field[None, :]" if self.rows == 1 else f"both[None, :] + {self.apart} * {pitch}"

    @property
    def shape(self) -> str:
        """How many columns its tile has."""
        return "MADE" if self.rows == 1 else "2 * MADE"


class Tables:
    """The isotypic basis as what is written in kernels."""

    def __init__(self, basis: PatchBasis) -> None:
        self.basis, self.order = basis, basis.group.order
        self.patch = program(basis.patch)
        sizes = [b.rows_in * b.rows_out for b in basis.blocks]
        *self.flat, self.entries = accumulate(sizes, initial=0)
        self.rows = tuple(_rows(basis))

    def copies(self) -> Iterator[Copies]:
        """Yield the copies of every irrep among the channels."""
        irreps = [index for index, _, _ in self.basis.channel_copies]
        for index in dict.fromkeys(irreps):
            first = irreps.index(index)
            yield Copies(index, self.basis.channel_copies[first][1], irreps.count(index), first)

    def loads(self, copies: Copies) -> Iterator[str]:
        """Yield what reads the taps of a copy, and the sums over positions that its patches are made of."""
        for a in range(self.basis.irreps[copies.index].dimension):
            names = range(self.basis.taps)
            yield from (f"v{a}_{k} = tl.load(x + {a} * plane + t{k})" for k in names)
            yield from additions(self.patch, f"v{a}_")

    def products(self, copies: Copies) -> Iterator[Product]:
        """Yield the rows of the patches of a copy, with the rows of the blocks that they meet."""
        couplings = self.basis.couplings[copies.index]
        counts = list(self.basis.channel_copies[copies.first][2])
        for coupling in couplings:
            irrep = self.basis.irreps[coupling.block]
            pitch = sum(other.block == coupling.block for other in couplings)
            rows = tuple(_couple(coupling, self.patch))
            row = counts[coupling.block]
            counts[coupling.block] += 1
            if irrep.type is IrrepType.REAL:
                yield Product(coupling.block, row, pitch, rows)
                continue
            d = irrep.dimension
            yield from (Product(coupling.block, row * d + i, pitch * d, (one,)) for i, one in enumerate(rows))

    def targets(self, block: int) -> Iterator[Target]:
        """Yield what the rows of a block's patches lead to."""
        rows, apart = self.basis.blocks[block].rows_out, self.basis.blocks[block].rows_in
        together = 2 if rows == 2 else 1
        yield from (Target(block, row, together, apart) for row in range(0, rows, together))

    def entry(self, made: Product, target: Target, copies: Copies) -> str:
        """Return which entry of a pair of fields leads from rows of a patch to a row of the output."""
        entry = self.flat[made.block] + target.row * target.apart + made.row
        return str(entry) if copies.count == 1 else f"({entry} + {made.pitch} * copy)"


def _rows(basis: PatchBasis) -> Iterator[str]:
    """Yield, for every row of an output field, the sum it comes from: block, row of the block, column."""
    seen = [0] * len(basis.irreps)
    for copy in fourier_blocks(basis.group):
        block = basis.irreps.index(copy.irrep)
        yield from (_place(basis.blocks[block], block, seen[block], i) for i in range(copy.irrep.dimension))
        seen[block] += 1


def _place(block: Block, index: int, copy: int, component: int) -> str:
    row, column = divmod(copy * block.irrep.dimension + component, block.columns)
    return f"{index}_{row}_{column}"


def _couple(coupling: Coupling, patch: Program) -> Iterator[str]:
    """Yield the rows of one coupling, from the sums over the positions of every component of the channels."""
    for matrix in coupling.matrix:
        yield " + ".join(_terms(matrix, coupling.patch, patch))


def _terms(matrix: Floats, first: int, patch: Program) -> Iterator[str]:
    for a, b in zip(*matrix.nonzero(), strict=True):
        output = patch.outputs[first + a]
        yield expression(Output(output.index, output.scale * float(matrix[a, b])), f"v{b}_")


def additions(steps: Program, name: str) -> Iterator[str]:
    """Yield the assignments of a program whose values are called by a name and their index."""
    for index, step in enumerate(steps.steps, start=steps.inputs):
        left, right = f"{name}{step.left}", f"{name}{step.right}"
        added = {1.0: f"+ {right}", -1.0: f"- {right}"}.get(step.factor, f"+ {step.factor!r} * {right}")
        yield f"{name}{index} = {left} {added}"


def expression(output: Output, name: str) -> str:
    """Return an output of a program; none is zero, as it is a row of a basis."""
    value = f"{name}{output.index}"
    return {1.0: value, -1.0: f"(-{value})"}.get(output.scale, f"{output.scale!r} * {value}")


def body(statements: Iterable[str], depth: int = 1) -> str:
    """Return statements as indented lines."""
    return "\n".join(indented(statements, depth))


def indented(statements: Iterable[str], depth: int = 1) -> Iterator[str]:
    """Yield statements further to the right."""
    for statement in statements:
        yield "    " * depth + statement
