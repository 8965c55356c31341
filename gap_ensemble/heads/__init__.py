"""What is trained on the features, and how several are combined."""
