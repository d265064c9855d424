"""Data that is read by several processes at once, and training on them: one process, several, or a cluster."""
