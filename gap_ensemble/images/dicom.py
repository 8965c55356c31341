"""DICOM files (optional: `pip install pydicom`): from stored values to what a viewer shows first.

The first frame; colours converted to RGB (PS3.3 C.7.6.3.1.2); grey by rescale slope and intercept or modality LUT
(C.11.1), then VOI LUT or window (C.11.2: the first of several), then MONOCHROME1 turned round. Grey of more than 8 bits
without a window gets the data set's scale (`grey.py`).
"""

import io
import logging
from typing import Any

import numpy as np
from PIL import Image

from gap_ensemble.images.grey import Scale, WidePixels
from gap_ensemble.images.problems import BadPicture

try:
    import pydicom
    from pydicom.errors import InvalidDicomError
    from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, pixel_array
except ImportError:
    pydicom = None
else:
    # It reports values that break the standard, by the hundred; what matters here is whether pixels come out.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)


def is_dicom(content: bytes) -> bool:
    """Tell a DICOM file by its mark, behind a preamble of 128 bytes."""
    return content[128:132] == b"DICM"


def is_dicom_without_preamble(content: bytes) -> bool:
    """Tell what older devices write, which begins with its first element: group 2 or 8, a small element number."""
    return len(content) > 132 and content[:2] in (b"\x02\x00", b"\x08\x00") and content[3] == 0


def read_dicom(content: bytes, max_pixels: int) -> Image.Image | WidePixels:
    """Read the first frame of a DICOM file.

    Raises
    ------
    BadPicture
        If it holds no pixels, is too large or damaged, or needs a library that is not installed.
    """
    if pydicom is None:
        raise BadPicture("is a DICOM file, which needs pydicom: pip install pydicom")
    try:
        data = pydicom.dcmread(io.BytesIO(content), force=True)
        syntax = data.file_meta.get("TransferSyntaxUID") if hasattr(data, "file_meta") else None
        if syntax is None:
            data.file_meta = pydicom.dataset.FileMetaDataset()
            data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        n_pixels = int(data.get("Rows", 0)) * int(data.get("Columns", 0))
    except (InvalidDicomError, Exception) as error:
        raise BadPicture(f"is damaged DICOM ({_reason(error)})") from None
    if not n_pixels or not any(name in data for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise BadPicture("is a DICOM file without pixels")
    if n_pixels > max_pixels:
        raise BadPicture(f"is too large ({n_pixels / 1e6:,.0f} million pixels)")
    return _shown(data, _first_frame(data))


def _first_frame(data: Any) -> np.ndarray:
    """Decode the first frame; YBR becomes RGB."""
    try:
        return pixel_array(data, index=0)
    except Exception as error:
        text = str(error)
        if "missing dependencies" in text or "missing required dependencies" in text:
            name = data.file_meta.TransferSyntaxUID.name
            raise BadPicture(
                f"is DICOM compressed as {name}, for which no decoder is installed: pip install pylibjpeg "
                "pylibjpeg-libjpeg pylibjpeg-openjpeg pylibjpeg-rle, or decompress the files (gdcmconv --raw IN OUT)"
            ) from None
        raise BadPicture(f"is damaged DICOM ({_reason(error)})") from None


def _shown(data: Any, stored: np.ndarray) -> Image.Image | WidePixels:
    """Turn stored values into what is shown."""
    photometric = str(data.get("PhotometricInterpretation", "MONOCHROME2"))
    try:
        if photometric == "PALETTE COLOR":
            colours = apply_color_lut(stored, data)
            shift = 8 * (colours.dtype.itemsize - 1)
            return Image.fromarray((colours >> shift).astype(np.uint8)[..., :3])
        if stored.ndim == 3:
            n_bits = int(data.get("BitsStored", 8))
            return Image.fromarray((stored >> max(0, n_bits - 8)).astype(np.uint8)[..., :3])
        inverted = photometric == "MONOCHROME1"
        transform = _functional_group(data, "PixelValueTransformationSequence") or data
        values = apply_modality_lut(stored, transform)
        voi = _functional_group(data, "FrameVOILUTSequence") or data
        if voi.get("VOILUTSequence"):
            n_bits = int(voi.VOILUTSequence[0].LUTDescriptor[2]) or 16
            shown = Scale(0, 2 ** max(8, n_bits) - 1).apply(apply_voi(values, voi))
        elif (window := _window(voi)) is not None:
            shown = _windowed(values.astype(np.float64), *window)
        elif values.dtype == np.uint8:
            shown = values
        else:
            return _wide(values, inverted)
    except Exception as error:  # Tables and windows of the wrong length or type.
        raise BadPicture(f"is damaged DICOM ({_reason(error)})") from None
    return Image.fromarray(255 - shown if inverted else shown)


def _functional_group(data: Any, name: str) -> Any:
    """Return what newer multi-frame files keep a frame, of the first frame or of all of them; None if there is none."""
    for sequence in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        groups = data.get(sequence)
        if groups and groups[0].get(name):
            return groups[0].get(name)[0]
    return None


def _window(data: Any) -> tuple[float, float, str] | None:
    """Return centre, width and function of the first window; None if there is none that can be used."""
    centre, width = (
        value[0] if isinstance(value, (list, pydicom.multival.MultiValue)) and len(value) else value
        for value in (data.get("WindowCenter"), data.get("WindowWidth"))
    )
    if centre in (None, "") or width in (None, "") or not float(width) >= 1:
        return None
    return float(centre), float(width), str(data.get("VOILUTFunction") or "LINEAR").upper()


def _windowed(values: np.ndarray, centre: float, width: float, function: str) -> np.ndarray:
    """Apply a window: the formulas of PS3.3 C.11.2.1.2 and C.11.2.1.3, with black 0 and white 255."""
    if function == "SIGMOID":
        shown = 255 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -500, 500)))
    elif function == "LINEAR_EXACT" or width == 1:
        shown = ((values - centre) / width + 0.5) * 255
    else:
        shown = ((values - (centre - 0.5)) / (width - 1) + 0.5) * 255
    return np.rint(np.clip(shown, 0, 255)).astype(np.uint8)


def _wide(values: np.ndarray, inverted: bool) -> WidePixels:
    """Keep whole numbers as integers: the rescale makes floats of them."""
    if values.dtype.kind == "f" and (values == np.floor(values)).all() and np.abs(values).max(initial=0) < 2**31:
        values = values.astype(np.int32)
    return WidePixels(values, "dicom", inverted)


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
