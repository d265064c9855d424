"""Candidates in scans: where voxels lie in the world, and a patch around each candidate."""
