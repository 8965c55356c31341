"""Programs run by hand around the pipeline: none of them is a stage."""

from gap_ensemble.libraries import require_libraries

require_libraries()
