"""Only pixels count: whatever else stands in a file neither refuses it nor prints anything."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from gap_ensemble.images.decoding import read_picture
from gap_ensemble.images.metadata import png_without_metadata

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def png(**options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG", **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes, checksum: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + data) if checksum is None else checksum
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


LARGE = zlib.compress(b"x" * 3_000_000)
ODD_CHUNKS = {
    "large text": chunk(b"zTXt", b"Comment\0\0" + LARGE),
    "large international text": chunk(b"iTXt", b"Comment\0\1\0\0\0" + LARGE),
    "large colour profile": chunk(b"iCCP", b"ICC\0\0" + LARGE),
    "damaged colour profile": chunk(b"iCCP", b"ICC\0\0no zlib"),
    "empty colour profile": chunk(b"iCCP", b""),
    "short resolution": chunk(b"pHYs", b"\0"),
    "short gamma": chunk(b"gAMA", b""),
    "short chromaticities": chunk(b"cHRM", b"\0\0\0"),
    "wrong checksum": chunk(b"tEXt", b"a\0b", checksum=1),
    "a lot of text": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 1_000_000)) * 80,
    "private": chunk(b"prVt", b"\xff" * 99),
}


@pytest.mark.parametrize("odd", ODD_CHUNKS.values(), ids=ODD_CHUNKS)
@pytest.mark.parametrize("place", ["before", "after"])
def test_odd_chunks_of_a_png(odd: bytes, place: str) -> None:
    content = png()
    at = content.index(b"IDAT") - 4 if place == "before" else content.index(b"IEND") - 4
    assert read_picture(content[:at] + odd + content[at:], 16).tolist() == PIXELS.tolist()


def test_what_belongs_to_the_pixels_stays() -> None:
    content = png()
    assert png_without_metadata(content) is content
    palette = Image.fromarray(PIXELS).convert("P")
    file = io.BytesIO()
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "x" * 100)
    palette.save(file, "PNG", transparency=3, pnginfo=info)
    shorter = png_without_metadata(file.getvalue())
    assert len(shorter) == len(file.getvalue()) - 120
    assert read_picture(shorter, 16).tolist() == read_picture(file.getvalue(), 16).tolist()


def test_orientation_in_a_text_of_imagemagick() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    block = exif.tobytes()
    text = "\nexif\n" + f"{len(block):8}\n" + block.hex() + "\n"
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", text, zip=True)
    assert read_picture(png(pnginfo=info), 16).tolist() == PIXELS[::-1, ::-1].tolist()


def test_a_truncated_png_is_no_less_truncated() -> None:
    content = png()
    at = content.index(b"IDAT") - 4
    content = (content[:at] + ODD_CHUNKS["large text"] + content[at:])[:-200]
    with pytest.raises(Exception, match="truncated"):
        read_picture(content, 16)


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF", "WEBP", "GIF"])  # A PNG has checksums.
def test_what_pillow_decodes_whole_is_not_refused(file_format: str) -> None:
    """Bits flipped at the beginning, where the metadata stands."""
    rng, file, n_decoded = np.random.default_rng(5), io.BytesIO(), 0
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0
    Image.fromarray(PIXELS).resize((64, 48)).save(file, file_format, exif=exif, icc_profile=b"y" * 300)
    for _ in range(100):
        flipped = bytearray(file.getvalue())
        for _ in range(int(rng.integers(1, 4))):
            flipped[int(rng.integers(min(len(flipped), 700)))] ^= 1 << int(rng.integers(8))
        try:
            with Image.open(io.BytesIO(flipped)) as image:
                if image.width * image.height > 1_000_000:
                    continue
                image.load()
        except Exception:  # Pillow raises almost anything.
            continue
        n_decoded += 1
        assert read_picture(bytes(flipped), 8).shape == (8, 8, 3)
    assert n_decoded > 10


def test_c_libraries_print_nothing(tmp_path: Path) -> None:
    """libtiff writes to the terminal itself, past Python: once a picture, with a name that says nothing."""
    for i, compression in enumerate(["tiff_lzw", "tiff_adobe_deflate", "jpeg", "group4"]):
        file = io.BytesIO()
        image = Image.fromarray(PIXELS).convert("1" if compression == "group4" else "RGB").resize((64, 64))
        image.save(file, "TIFF", compression=compression, tiffinfo={315: "artist"})
        content = file.getvalue()
        (tmp_path / f"whole{i}.tif").write_bytes(content.replace(b"artist", b"\xff\0\xff\0\xff\0"))
        (tmp_path / f"damaged{i}.tif").write_bytes(content[:8] + b"\x55" * 60 + content[68:])
        at = content.find(struct.pack("<HH", 277, 3)) + 8  # samples a pixel
        (tmp_path / f"samples{i}.tif").write_bytes(content[:at] + b"\x07" + content[at + 1 :])
        (tmp_path / f"tag{i}.tif").write_bytes(content.replace(struct.pack("<HH", 315, 2), struct.pack("<HH", 315, 77)))
    code = f"""
from pathlib import Path
from gap_ensemble.images.decoding import check_picture
print(sum(not check_picture(path).problem for path in Path({str(tmp_path)!r}).glob("whole*.tif")))
for path in Path({str(tmp_path)!r}).glob("*.tif"):
    check_picture(path)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("4\n", "")
