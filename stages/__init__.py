"""The pipeline's stages, one module for each stage of dvc.yaml, by the same name."""

from gap_ensemble.libraries import require_libraries

require_libraries()
