"""DICOM files: what a viewer shows first."""

import io
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from gap_ensemble.images import dicom
from gap_ensemble.images.decoding import check_picture, read_picture
from gap_ensemble.images.grey import GreyRange, Scale
from gap_ensemble.images.problems import BadPicture

pydicom = pytest.importorskip("pydicom")

RAMP = np.arange(64).reshape(8, 8)


def dicom_file(values: np.ndarray, syntax: str = "1.2.840.10008.1.2.1", preamble: bool = True, **tags: Any) -> bytes:
    """Return an uncompressed DICOM file of values of shape (rows, columns), (frames, …) or (…, 3)."""
    is_colour = values.shape[-1] == 3
    shape = values.shape[:-1] if is_colour else values.shape
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    data.SOPClassUID, data.SOPInstanceUID = pydicom.uid.SecondaryCaptureImageStorage, "1.2.3"
    data.Rows, data.Columns = shape[-2:]
    if len(shape) == 3:
        data.NumberOfFrames = shape[0]
    data.SamplesPerPixel = 3 if is_colour else 1
    if is_colour:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation = "RGB" if is_colour else "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8 * values.dtype.itemsize
    data.PixelRepresentation = int(values.dtype.kind == "i")
    for name, value in tags.items():
        setattr(data, name, value)
    data.HighBit = data.BitsStored - 1
    data.PixelData = values.tobytes()
    file = io.BytesIO()
    if preamble:
        data.save_as(file, enforce_file_format=True)
    else:
        del data.file_meta
        data.save_as(file, implicit_vr=True, little_endian=True)
    return file.getvalue()


def grey(content: bytes, scale: Scale | None = None) -> list[list[int]]:
    """Return the grey values, and assert that they are grey."""
    pixels = read_picture(content, 8, scale)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0].tolist()


def test_8_bits_are_taken_as_they_are() -> None:
    values = (RAMP * 4).astype(np.uint8)
    assert grey(dicom_file(values)) == values.tolist()
    assert grey(dicom_file(values, preamble=False)) == values.tolist()
    assert grey(dicom_file(values, PhotometricInterpretation="MONOCHROME1")) == (255 - values).tolist()


def test_a_window_on_hounsfield_units() -> None:
    """Stored 0 to 4095 are -1024 to 3071; the window shows 0 to 80, of several the first."""
    values = np.array([[0, 1024], [1064, 4095]], np.uint16)
    tags: dict[str, Any] = {
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "WindowCenter": [40, 600],
        "WindowWidth": [80, 2800],
    }
    pixels = read_picture(dicom_file(values, **tags), 2)[..., 0]
    assert pixels.tolist() == [[0, 0], [129, 255]]
    turned = read_picture(dicom_file(values, PhotometricInterpretation="MONOCHROME1", **tags), 2)[..., 0]
    assert turned.tolist() == [[255, 255], [126, 0]]


def test_functions_of_a_window() -> None:
    values = np.array([[0, 50], [75, 100]], np.int16)
    exact = dicom_file(values, WindowCenter=50, WindowWidth=100, VOILUTFunction="LINEAR_EXACT")
    assert read_picture(exact, 2)[..., 0].tolist() == [[0, 128], [191, 255]]
    sigmoid = dicom_file(values, WindowCenter=50, WindowWidth=100, VOILUTFunction="SIGMOID")
    assert read_picture(sigmoid, 2)[..., 0].tolist() == [[30, 128], [186, 225]]


def test_a_voi_table_comes_before_a_window() -> None:
    table = pydicom.Dataset()
    table.LUTDescriptor, table.LUTData = [4, 0, 16], [0, 0x4000, 0x8000, 0xFFFF]
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "US"
    content = dicom_file(np.array([[0, 1], [2, 3]], np.uint16), VOILUTSequence=[table], WindowCenter=0, WindowWidth=2)
    assert read_picture(content, 2)[..., 0].tolist() == [[0, 64], [128, 255]]


def test_more_than_8_bits_without_a_window_get_the_scale_of_the_data_set(tmp_path: Any) -> None:
    values = (RAMP * 64).astype(np.uint16)
    content = dicom_file(values, BitsStored=12)
    (tmp_path / "1.dcm").write_bytes(content)
    assert check_picture(tmp_path / "1.dcm").grey_range == GreyRange(0, 4032, "dicom")
    assert grey(content, Scale(0, 4095)) == (values >> 4).tolist()
    inverted = dicom_file(values, BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    assert grey(inverted, Scale(0, 4095)) == (255 - (values >> 4)).tolist()
    (tmp_path / "2.dcm").write_bytes(dicom_file(values, RescaleSlope=1, RescaleIntercept=-1024))
    assert check_picture(tmp_path / "2.dcm").grey_range == GreyRange(-1024, 3008, "dicom")


def test_first_of_several_frames() -> None:
    frames = np.stack([RAMP, RAMP * 2]).astype(np.uint8)
    assert grey(dicom_file(frames)) == RAMP.tolist()


def test_colours() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert read_picture(dicom_file(colours), 8).tolist() == colours.tolist()
    ybr = np.full((8, 8, 3), (76, 85, 255), np.uint8)  # red in YBR_FULL
    red = read_picture(dicom_file(ybr, PhotometricInterpretation="YBR_FULL"), 8)
    assert np.abs(red.astype(int) - (255, 0, 0)).max() <= 2


def test_a_window_of_a_newer_file_stands_with_its_frames() -> None:
    window, frame = pydicom.Dataset(), pydicom.Dataset()
    window.WindowCenter, window.WindowWidth = 32, 64
    frame.FrameVOILUTSequence = [window]
    content = dicom_file(RAMP[None].repeat(2, 0).astype(np.uint16), SharedFunctionalGroupsSequence=[frame])
    assert grey(content)[0][0] == 0
    assert grey(content)[7][7] == 255


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (dicom_file(RAMP.astype(np.uint8))[:-10], "damaged"),
        (dicom_file(RAMP.astype(np.uint8))[:200], "DICOM"),
        (b"\0" * 128 + b"DICM", "without pixels"),
        (dicom_file(RAMP.astype(np.uint8), Rows=60_000, Columns=60_000), "is too large (3,600 million pixels)"),
        (dicom_file(RAMP.astype(np.uint8), BitsAllocated=7), "damaged"),
    ],
    ids=["truncated", "header", "empty", "huge", "bits"],
)
def test_what_is_no_picture_is_refused(content: bytes, found: str) -> None:
    with pytest.raises(BadPicture) as caught:
        read_picture(content, 8)
    text = str(caught.value)
    assert found in text
    assert "\n" not in text
    assert len(text) < 200


def test_damage_anywhere_is_no_other_error() -> None:
    rng, n_refused = np.random.default_rng(3), 0
    window: dict[str, Any] = {"WindowCenter": 50, "WindowWidth": 100, "RescaleSlope": 1, "RescaleIntercept": -5}
    whole = dicom_file((RAMP * 9).astype(np.uint16), **window)
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(int(rng.integers(1, 8))):
            damaged[int(rng.integers(len(damaged)))] ^= 1 << int(rng.integers(8))
        try:
            assert read_picture(bytes(damaged), 8).shape == (8, 8, 3)
        except BadPicture:
            n_refused += 1
    assert 0 < n_refused < 200


def test_a_compression_without_a_decoder_is_one_line_that_says_what_helps() -> None:
    encapsulated = pydicom.dcmread(io.BytesIO(dicom_file(RAMP.astype(np.uint8))))
    encapsulated.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.70"  # JPEG lossless
    encapsulated.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    encapsulated["PixelData"].VR = "OB"
    file = io.BytesIO()
    encapsulated.save_as(file, enforce_file_format=True)
    with pytest.raises(BadPicture, match=r"JPEG Lossless.*pip install pylibjpeg") as caught:
        read_picture(file.getvalue(), 8)
    assert "\n" not in str(caught.value)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom, "pydicom", None)
    with pytest.raises(BadPicture, match="pip install pydicom"):
        read_picture(dicom_file(RAMP.astype(np.uint8)), 8)


def test_odd_values_of_other_tags_print_nothing(tmp_path: Any) -> None:
    """Whole data sets break the standard in some tag, and the library warns of each."""
    with pytest.warns(UserWarning, match="UID"):
        content = dicom_file(RAMP.astype(np.uint8), PatientID="x" * 100, StudyInstanceUID="not a UID")
    (tmp_path / "1.dcm").write_bytes(content)
    code = (
        "from pathlib import Path; from gap_ensemble.images.decoding import check_picture\n"
        f"print(check_picture(Path({str(tmp_path / '1.dcm')!r})).problem or 'fine')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("fine\n", "")
