"""Learning on spherical images."""
