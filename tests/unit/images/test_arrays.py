"""NumPy arrays: which are pictures, and which are refused."""

import io
from typing import Any

import numpy as np
import pytest

from gap_ensemble.images.decoding import read_picture
from gap_ensemble.images.grey import Scale
from gap_ensemble.images.problems import BadPicture


def npy(array: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


COLOURS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "array",
    [
        COLOURS,
        COLOURS.transpose(2, 0, 1),
        np.asfortranarray(COLOURS),
        np.dstack([COLOURS, np.full((8, 8), 255, np.uint8)]),
    ],
    ids=["channels last", "channels first", "Fortran", "opaque"],
)
def test_colours(array: np.ndarray) -> None:
    assert read_picture(npy(array), 8).tolist() == COLOURS.tolist()


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (1, 8, 8)])
def test_grey(shape: tuple[int, ...]) -> None:
    pixels = read_picture(npy(COLOURS[..., 0].reshape(shape)), 8)
    assert all(pixels[..., i].tolist() == COLOURS[..., 0].tolist() for i in range(3))


def test_a_stack_is_laid_out_from_top_to_bottom() -> None:
    stack = np.repeat(np.arange(6, dtype=np.float16), 8 * 48).reshape(6, 8, 48) / 5
    pixels = read_picture(npy(stack), 48, Scale(0, 1))
    assert pixels[4::8, 0, 0].tolist() == [0, 51, 102, 153, 204, 255]


def test_kinds_of_numbers() -> None:
    square = np.arange(64).reshape(8, 8)
    for dtype in ("<u2", ">u2", "<i8", "<f8", ">f4"):
        assert read_picture(npy(square.astype(dtype)), 8, Scale(0, 255))[..., 0].tolist() == square.tolist(), dtype
    assert set(read_picture(npy(square > 30), 8).ravel()) == {0, 255}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (npy(COLOURS)[:-1], "is truncated"),
        (npy(COLOURS)[:20], "is damaged"),
        (npy(np.zeros(5, np.uint8)), "shape (5,)"),
        (npy(np.zeros((0, 5), np.uint8)), "shape (0, 5)"),
        (npy(np.zeros((2, 3, 4, 5), np.uint8)), "shape (2, 3, 4, 5)"),
        (npy(np.zeros((20, 30, 2), np.uint8)), "shape (20, 30, 2)"),
        (npy(np.zeros((20, 30, 50), np.uint8)), "shape (20, 30, 50)"),
        (npy(np.zeros((8, 8, 4), np.float32)), "4 channels of float32"),
        (npy(np.zeros((8, 8), complex)), "complex128"),
        (npy(np.array([["a"]])), "<U1"),
        (npy(np.array([[None]]), allow_pickle=True), "object"),
    ],
)
def test_other_arrays_are_refused(content: bytes, found: str) -> None:
    with pytest.raises(BadPicture) as caught:
        read_picture(content, 8)
    assert found in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_header_takes_no_memory() -> None:
    """It says 10 million million values, and none of them is there."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (10**7, 10**6)})
    with pytest.raises(BadPicture, match="too large"):
        read_picture(file.getvalue(), 8)
