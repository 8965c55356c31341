"""The pipeline's stages, one module for each stage of dvc.yaml, by the same name."""
