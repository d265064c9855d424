"""Readers, data sets, splits, augmentation and loaders; no knowledge of models."""
