"""One grey scale a data set: found from all pictures, and refused where it makes no sense."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gap_ensemble.images.decoding import check_picture, read_linked_picture
from gap_ensemble.images.grey import GreyRange, Scale, find_grey_scale, grey_scale_summary
from gap_ensemble.messages.errors import UserError


def integers(*highs: float) -> dict[str, GreyRange]:
    return {f"{i}.png": GreyRange(0, high, "integer") for i, high in enumerate(highs)}


def floats(*highs: float) -> dict[str, GreyRange]:
    return {f"{i}.tif": GreyRange(0, high, "float") for i, high in enumerate(highs)}


def test_pictures_of_8_bits_need_no_scale() -> None:
    assert find_grey_scale({}) is None


@pytest.mark.parametrize(
    ("ranges", "scale"),
    [
        (integers(255, 3, 0), (0, 255)),
        (integers(0), (0, 255)),
        (integers(4000, 2000), (0, 4095)),
        (integers(65535, 3000), (0, 65535)),
        (integers(300, 200), (0, 511)),
        (floats(1, 0.3), (0, 1)),
        (floats(0.2), (0, 1)),
        (floats(254.5, 20), (0, 255)),
        (floats(3000.5, 1500), (0, 4095)),
        ({"ct.dcm": GreyRange(-1024, 3071, "dicom")}, (-1024, 3071)),
        ({"x.dcm": GreyRange(0, 3071, "dicom")}, (0, 4095)),
    ],
)
def test_scale_of_a_data_set(ranges: dict[str, GreyRange], scale: tuple[float, float]) -> None:
    found = find_grey_scale(ranges)
    assert found == Scale(*scale)
    assert Scale.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        ({"a.tif": GreyRange(-3.5, 9, "float")}, ["a.tif", "below 0", "data.grey_scale: [-3.5, 9]"]),
        ({"a.tif": GreyRange(-3, 900, "integer")}, ["a.tif", "below 0", "-3 to 900"]),
        (floats(1.5, 0.9), ["0.tif", "end between 1 and 16"]),
        (floats(0.9, 200), ["0.tif and 1.tif", "different grey scales", "0 to 200"]),
        ({**floats(0.9), **integers(200)}, ["0.tif and 0.png", "different grey scales"]),
        (integers(200, 210, 60_000), ["0.png and 2.png", "different grey scales", "2 such pictures"]),
        (
            {"a.dcm": GreyRange(-1024, 3071, "dicom"), **integers(4000)},
            ["0.png and a.dcm", "different grey scales"],
        ),
    ],
    ids=["negative", "negative integers", "a little above 1", "floats", "kinds", "bits", "DICOM"],
)
def test_what_makes_no_sense_is_refused_in_one_line(ranges: dict[str, GreyRange], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        find_grey_scale(ranges)
    (line,) = caught.value.problems
    assert all(word in line for word in words), line
    assert "data.grey_scale" in line


def test_a_few_dark_pictures_are_named_and_no_mixture() -> None:
    ranges = integers(*[60_000] * 40, 200)
    scale = find_grey_scale(ranges)
    assert scale == Scale(0, 65535)
    assert "40.png" in grey_scale_summary(ranges, scale)
    assert "WARNING" not in grey_scale_summary(integers(60_000), scale)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (0, float("nan")), (float("-inf"), 0)])
def test_a_scale_needs_two_numbers(low: float, high: float) -> None:
    with pytest.raises(UserError, match=r"data\.grey_scale"):
        Scale(low, high)


def test_values_outside_become_black_and_white() -> None:
    assert Scale(-10, 10).apply(np.array([-99.0, -10, 0, 10, 99])).tolist() == [0, 0, 128, 255, 255]
    assert Scale(0, 4095).apply(np.array([-5, 0, 16, 4095, 70_000])).tolist() == [0, 0, 1, 255, 255]
    assert Scale(0, 65535).apply(np.array([0x0180, 65535], np.uint16)).tolist() == [1, 255]


RAMP = np.linspace(0, 1, 64)[None, :] * np.ones((64, 1))


@pytest.mark.parametrize(
    ("dtype", "most", "suffix"),
    [
        ("float32", 1, "tif"),
        ("float32", 255, "tif"),
        ("float64", 1, "npy"),
        ("float16", 1, "npy"),
        ("uint16", 255, "png"),
        ("uint16", 255, "tif"),
        ("uint16", 4095, "png"),
        ("uint16", 4095, "npy"),
        ("uint16", 65535, "png"),
        ("int32", 4095, "tif"),
        ("uint8", 255, "png"),
    ],
)
def test_every_range_keeps_its_levels_and_brightness(tmp_path: Path, dtype: str, most: int, suffix: str) -> None:
    """A ramp of 64 levels has as many at the end, and a data set's darker picture stays darker."""
    ranges = {}
    paths = [tmp_path / f"{name}.{suffix}" for name in ("bright", "dark")]
    for path, brightness in zip(paths, (1, 0.5), strict=True):
        values = (RAMP * most * brightness).astype(dtype)
        if suffix == "npy":
            np.save(path, values)
        else:
            Image.fromarray(values).save(path)
        md5, problem, found = check_picture(path)
        assert (len(md5), problem) == (32, "")
        if found is not None:
            ranges[path.name] = found
    scale = find_grey_scale(ranges)
    assert (scale is None) == (dtype == "uint8")
    bright, dark = (read_linked_picture(path, 64, scale) for path in paths)
    assert len(np.unique(bright)) > 60
    assert bright.max() == 255
    assert 126 <= dark.max() <= 128


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_bad_pictures(tmp_path: Path, value: float) -> None:
    values = RAMP.astype(np.float32)
    values[3, 5] = value
    Image.fromarray(values).save(tmp_path / "1.tif")
    np.save(tmp_path / "1.npy", values)
    for name in ("1.tif", "1.npy"):
        assert "no finite numbers" in check_picture(tmp_path / name).problem
