"""What a person reads while the pipeline runs: errors that can be fixed, progress. Nothing here changes a result."""
