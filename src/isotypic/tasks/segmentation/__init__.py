"""Segmentation: what is learned, the losses of every head, and a session of training."""
