"""One format of a set of images a module."""
