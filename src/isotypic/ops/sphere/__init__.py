"""Stateless transforms of signals on the sphere and on SO(3), in real arithmetic; products of spectra; rotations."""
