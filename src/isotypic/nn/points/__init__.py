"""Layers on clouds of points: what they compute does not depend on the order of the points."""
