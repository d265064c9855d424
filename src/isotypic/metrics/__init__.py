"""Figures of merit that torchmetrics does not have."""
