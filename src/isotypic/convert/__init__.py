"""Ordinary networks made equivariant, checked, and folded back to plain torch."""
