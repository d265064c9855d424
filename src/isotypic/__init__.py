"""Deep learning that is exactly equivariant to a symmetry group."""

__version__ = "0.1.0"
