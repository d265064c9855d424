"""Jets: batches, sources and sets of them, and what the network sees of a particle."""
