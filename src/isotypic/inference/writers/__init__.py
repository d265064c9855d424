"""Writing what a segmentation found, one format a file."""
