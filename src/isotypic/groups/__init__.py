"""Finite groups, their representations and real irreps; NumPy float64 only."""
