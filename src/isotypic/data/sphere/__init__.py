"""Spherical images: functions on the sphere that can be read at any point, and what is read on the SOFT grid."""
