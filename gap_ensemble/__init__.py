"""A pipeline for image competitions: pooled features of many networks, ensembled.

Which subject has which room stands in `docs/architecture.md`.
"""
