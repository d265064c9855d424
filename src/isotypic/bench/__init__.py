"""What `isotypic bench` runs: interleaved timings against the plain layer."""
