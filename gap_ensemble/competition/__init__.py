"""What a competition's files say: folders, labels, groups, the sample submission."""
