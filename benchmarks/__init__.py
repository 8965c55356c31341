"""Measurements: each module prints a table that README.md in this folder quotes."""

from gap_ensemble.libraries import require_libraries

require_libraries()
