"""One data set a module."""
