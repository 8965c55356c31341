"""Thumbnails of the report, where the pictures are and where they are not."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gap_ensemble.reporting.thumbnails import SIZE, thumbnail


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == (SIZE, SIZE)
        return np.asarray(image.convert("RGB")).astype(int)


def test_a_picture(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), (250, 10, 10)).save(tmp_path / "a.png")
    assert (abs(pixels(thumbnail(tmp_path / "a.png")) - (250, 10, 10)) < 8).all()


@pytest.mark.parametrize("name", ["gone.jpg", "gone/a.jpg", "file.txt/a.jpg", "file.txt", "empty.jpg", "."])
def test_a_picture_that_is_gone_or_none_is_a_grey_note(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.txt").write_text("no picture")
    (tmp_path / "empty.jpg").touch()
    square = pixels(thumbnail(tmp_path / name))
    assert (abs(square[:10] - 221) < 4).all()
    assert (square < 150).any()  # the note
