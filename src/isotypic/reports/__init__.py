"""Figures and the HTML page; reads records only."""
