"""Finite groups, their representations and real irreps; NumPy float64 only."""

from isotypic.groups.catalogue import named
from isotypic.groups.circle import O2, SO2, FieldSum, Frequency, O2Fields, SO2Fields, field_sum
from isotypic.groups.fields import FieldType, regular_fields, scalar_fields
from isotypic.groups.finite import FiniteGroup, generate
from isotypic.groups.irreps import Irrep, IrrepType, fourier_blocks, fourier_matrix, irreps, isotypic_basis
from isotypic.groups.representations import (
    Representation,
    direct_sum,
    permutation,
    quotient,
    regular,
    tensor_product,
    trivial,
    vector,
)

__all__ = [
    "O2",
    "SO2",
    "FieldSum",
    "FieldType",
    "FiniteGroup",
    "Frequency",
    "Irrep",
    "IrrepType",
    "O2Fields",
    "Representation",
    "SO2Fields",
    "direct_sum",
    "field_sum",
    "fourier_blocks",
    "fourier_matrix",
    "generate",
    "irreps",
    "isotypic_basis",
    "named",
    "permutation",
    "quotient",
    "regular",
    "regular_fields",
    "scalar_fields",
    "tensor_product",
    "trivial",
    "vector",
]
