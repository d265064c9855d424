"""Equivariant layers: ordinary modules on plain tensors."""
