"""Clustering of jets: what is learned, its loss, its schedule, and a session of training."""
