"""Which rows validate which model: folds, groups, near-duplicates."""
