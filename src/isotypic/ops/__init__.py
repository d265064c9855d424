"""Stateless torch functions: actions on sampled signals, filter expansion, parity-adaptive resampling."""
