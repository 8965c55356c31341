"""Programs run by hand around the pipeline: none of them is a stage."""
