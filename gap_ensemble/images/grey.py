"""Pictures whose values do not fit into 8 bits, and the one scale a data set that brings them there.

A 16-bit file may hold 8, 12 or 16 bits, a float file 0 to 1 or 0 to 255, and no file says so. One picture alone can't
tell either: the darkest of a 16-bit data set looks like an 8-bit one. So stage link collects the range of every such
picture, and one scale follows from all of them:

- integers from 0: the fewest bits that hold the largest value of the data set; the upper 8 of them are kept
- floats from 0: 0 to 1 if no value is larger, 0 to 255 if no value is larger than that, or bits as for integers
- DICOM without a window, some values below 0: from the lowest to the highest value of the data set

Everything else is refused, with the range that was found, and `data.grey_scale: [low, high]` says it instead.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from gap_ensemble.images.problems import BadPicture
from gap_ensemble.messages.errors import UserError, listed
from gap_ensemble.paths import GREY_SCALE
from gap_ensemble.storage.files import write_text

# Of a data set whose values need so many bits, a picture that ends at 255 keeps 16 grey levels at most.
BITS_THAT_DARKEN = 12
# Up to this share of such pictures are taken for dark ones; with more, the data set is a mixture.
MAX_DARK_SHARE = 0.05
# Floats that end between 1 and this are neither 0 to 1 nor, with so few levels, 0 to 255.
MIN_OF_255 = 16


class GreyRange(NamedTuple):
    """The lowest and highest value of a picture that needs a scale."""

    low: float
    high: float
    kind: Literal["integer", "float", "dicom"]


@dataclass(frozen=True)
class Scale:
    """What becomes black (`low`) and what white (`high`) in every picture of a data set."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise UserError(
                f"data.grey_scale: [{self.low:g}, {self.high:g}]; expected two numbers, the first below the second"
            )

    @property
    def bits(self) -> int | None:
        """Number of bits where the scale is 0 to 2 ** bits - 1, else None."""
        n_bits = int(self.high).bit_length() if 255 <= self.high < 2**63 else 0
        return n_bits if n_bits and self.low == 0 and self.high == 2**n_bits - 1 else None

    def __str__(self) -> str:
        return f"{_number(self.low)} to {_number(self.high)}" + (f" ({self.bits} bits)" if self.bits else "")

    def to_json(self) -> list[float]:
        """Return what `from_json` reads: the lowest and the highest value."""
        return [self.low, self.high]

    @staticmethod
    def from_json(values: Iterable[float] | None) -> "Scale | None":
        """Return the scale that `to_json` wrote; None of None."""
        return None if values is None else Scale(*map(float, values))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Bring values to 8 bits; what lies outside of the scale becomes black or white.

        Parameters
        ----------
        values : ndarray of any shape, integer or float

        Returns
        -------
        ndarray of the same shape, uint8
        """
        if self.bits and np.issubdtype(values.dtype, np.integer):
            # Shifted, so that 16 bits keep their upper byte, as 16-bit colours do.
            return (np.clip(values, 0, min(int(self.high), np.iinfo(values.dtype).max)) >> (self.bits - 8)).astype(
                np.uint8
            )
        scaled = (values.astype(np.float32) - np.float32(self.low)) * np.float32(255 / (self.high - self.low))
        return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


@dataclass(frozen=True)
class WidePixels:
    """Decoded values that need a scale.

    Parameters
    ----------
    values : ndarray of shape (height, width) or (height, width, 3), integer or float
        Grey, or red, green and blue.
    kind : {"integer", "float", "dicom"}
        Where they come from, for `find_grey_scale`.
    inverted : bool, default False
        Whether the lowest value is white (DICOM's MONOCHROME1).
    alpha : ndarray of shape (height, width), uint8, optional
        0 where the picture is transparent.
    """

    values: np.ndarray
    kind: Literal["integer", "float", "dicom"]
    inverted: bool = False
    alpha: np.ndarray | None = None

    def range(self) -> GreyRange:
        """Return the lowest and the highest value.

        Raises
        ------
        BadPicture
            If some are no finite numbers.
        """
        if not self.values.size:
            raise BadPicture("holds no pixels")
        low, high = float(self.values.min()), float(self.values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise BadPicture("holds values that are no finite numbers (NaN or infinite)")
        return GreyRange(low, high, self.kind)

    def image(self, scale: Scale | None) -> Image.Image:
        """Return the picture in 8 bits; without a scale, its own range decides."""
        own = self.range()
        pixels = (scale or _scale_of([own])).apply(self.values)
        image = Image.fromarray(255 - pixels if self.inverted else pixels)
        if self.alpha is not None:
            image = image.convert("RGB")
            image.putalpha(Image.fromarray(self.alpha))
        return image


def find_grey_scale(ranges: Mapping[str, GreyRange]) -> Scale | None:
    """Find the one scale of a data set.

    Parameters
    ----------
    ranges : mapping of file name to GreyRange
        Of the pictures that need a scale, as `check_picture` gives it. Give the training pictures' alone where there
        are some, so that other test pictures change nothing.

    Returns
    -------
    Scale or None
        None if no picture needs one.

    Raises
    ------
    UserError
        If no scale makes sense: values below 0, floats that end a little above 1, or different kinds of values.
    """
    if not ranges:
        return None
    by_kind = {kind: {file: found for file, found in ranges.items() if found.kind == kind} for kind in _KINDS}
    negative = {file: found for file, found in ranges.items() if found.low < 0 and found.kind != "dicom"}
    if negative:
        raise _refusal(negative, "values below 0", ranges)
    if by_kind["float"] and (by_kind["integer"] or by_kind["dicom"]):
        raise _mixture(by_kind["float"], {**by_kind["integer"], **by_kind["dicom"]})
    if by_kind["float"]:
        above = {file: found for file, found in ranges.items() if found.high > 1}
        if above and all(found.high < MIN_OF_255 for found in above.values()):
            raise _refusal(above, f"floats that end between 1 and {MIN_OF_255}", ranges)
    scale = _scale_of(ranges.values())
    if scale.low < 0 and by_kind["integer"]:
        raise _mixture(by_kind["integer"], by_kind["dicom"])
    dark = _dark(ranges, scale)
    if len(dark) > MAX_DARK_SHARE * len(ranges):
        raise _mixture(dark, {file: found for file, found in ranges.items() if file not in dark})
    return scale


def grey_scale_summary(ranges: Mapping[str, GreyRange], scale: Scale) -> str:
    """Say in one line which scale was found, and which pictures it makes almost black."""
    if not ranges:
        return f"Grey scale: {scale}, which no picture needs: all have 8 bits"
    dark = _dark(ranges, scale)
    but = f"; WARNING: {listed(sorted(dark))} end far below that and become almost black" if dark else ""
    return f"Grey scale: {scale} become black to white (pictures of more than 8 bits: {len(ranges):,}){but}"


_KINDS = ("integer", "float", "dicom")


def _scale_of(ranges: Iterable[GreyRange]) -> Scale:
    """Return the scale of pictures that fit together."""
    lows, highs, kinds = zip(*ranges, strict=True)
    low, high = min(lows), max(highs)
    if low < 0:
        return Scale(low, max(high, low + 1))
    if high <= 1 and "float" in kinds:
        return Scale(0, 1)
    return Scale(0, 2 ** max(8, int(np.ceil(high)).bit_length()) - 1)


def _dark(ranges: Mapping[str, GreyRange], scale: Scale) -> dict[str, GreyRange]:
    """Return the pictures that look as if they had a smaller scale; a black one is just black."""
    if scale.low != 0 or scale.high <= 1:
        return {}
    largest = 255 if scale.high >= 2**BITS_THAT_DARKEN - 1 else 1
    return {file: found for file, found in ranges.items() if 0 < found.high <= largest}


def _refusal(some: Mapping[str, GreyRange], what: str, ranges: Mapping[str, GreyRange]) -> UserError:
    low, high = min(found.low for found in ranges.values()), max(found.high for found in ranges.values())
    file, found = next(iter(some.items()))
    return UserError(
        f"{file}: found {what} ({_number(found.low)} to {_number(found.high)}; {len(some):,} such pictures); expected "
        f"integers from 0, or floats from 0 to 1 or to 255; all pictures hold {_number(low)} to {_number(high)}: set "
        f"data.grey_scale: [{_plain(low)}, {_plain(high)}], or what shall be black and white"
    )


def _mixture(one: Mapping[str, GreyRange], other: Mapping[str, GreyRange]) -> UserError:
    (file, found), (other_file, other_found) = next(iter(one.items())), next(iter(other.items()))
    return UserError(
        f"{file} and {other_file}: found pictures of different grey scales: {_number(found.low)} to "
        f"{_number(found.high)} ({found.kind}, {len(one):,} such pictures) and {_number(other_found.low)} to "
        f"{_number(other_found.high)} ({other_found.kind}, {len(other):,}); expected one scale for all; convert them, "
        "or set data.grey_scale: [low, high] to what shall be black and white in all of them"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"


def _plain(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.6g}"


def write_grey_scale(scale: Scale | None) -> None:
    """Write the data set's scale to `data/grey_scale.json`; null where no picture needs one."""
    write_text(GREY_SCALE, json.dumps(scale and scale.to_json()) + "\n")


def read_grey_scale() -> Scale | None:
    """Read what `write_grey_scale` wrote."""
    if not GREY_SCALE.is_file():
        raise UserError(f"{GREY_SCALE}: no such file; run `dvc repro`")
    return Scale.from_json(json.loads(GREY_SCALE.read_text(encoding="utf-8")))
