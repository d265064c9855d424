"""Layers on the sphere and on SO(3): transforms, convolutions, and the mean over all rotations."""
