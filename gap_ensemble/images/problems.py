"""What makes a file no picture for this pipeline."""


class BadPicture(Exception):  # noqa: N818 - it names a thing, as the report does
    """A file that can't be decoded; the text says why in a few words."""
