"""Measurements: each module prints a table that README.md in this folder quotes."""
