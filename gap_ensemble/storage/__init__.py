"""Files: written whole or not at all, tables, feature files, the store of features, predictions."""
