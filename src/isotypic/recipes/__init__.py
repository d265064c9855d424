"""One YAML a system."""
