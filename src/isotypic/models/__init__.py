"""One architecture family a module; the trivial group gives the baseline."""
