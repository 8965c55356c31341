"""Metrics, and the decisions that turn probabilities into what is submitted."""
