"""Decoding: from a file's content to a square of pixels."""
