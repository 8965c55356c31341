"""Pictures beyond the limit are read at a smaller scale, with bounded memory."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gap_ensemble.images import decoding
from gap_ensemble.images.decoding import check_picture, read_linked_picture, read_picture
from gap_ensemble.images.grey import Scale
from gap_ensemble.images.problems import BadPicture

pytest.importorskip("pyvips")


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def scene(mode: str) -> Image.Image:
    """Return a smooth picture of 400 × 300 pixels."""
    y, x = np.mgrid[0:300, 0:400] / 400
    waves = np.stack([x, y, 0.5 + 0.4 * np.sin(5 * x) * np.cos(4 * y), 1 - x / 2], axis=-1)
    image = Image.fromarray((255 * waves).astype(np.uint8))
    return image if mode == "RGBA" else image.convert("RGB").convert(mode)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
@pytest.mark.parametrize(
    ("file_format", "options"),
    [("PNG", {}), ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {}), ("TIFF", {"compression": "tiff_adobe_deflate"})],
)
@pytest.mark.parametrize("size", [8, 50, 150])
def test_looks_like_the_picture_decoded_whole(
    monkeypatch: pytest.MonkeyPatch, mode: str, file_format: str, options: dict[str, Any], size: int
) -> None:
    content = encoded(scene(mode), file_format, **options)
    whole = read_picture(content, size).astype(int)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 60_000)
    difference = np.abs(read_picture(content, size) - whole)
    assert difference.mean() < ({"1": 16, "P": 8}.get(mode, 1.5))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_orientation(monkeypatch: pytest.MonkeyPatch, file_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(scene("RGB"), file_format, exif=exif)
    whole = read_picture(content, 50).astype(int)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 60_000)
    assert np.abs(read_picture(content, 50) - whole).mean() < 1.5


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_wide_grey_has_one_range_at_every_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dtype: type) -> None:
    values: np.ndarray = (np.asarray(scene("L")).astype(np.float32) * 16).astype(dtype)
    content = encoded(Image.fromarray(values), "TIFF")
    (tmp_path / "1.tif").write_bytes(content)
    whole = read_picture(content, 50, Scale(0, 4095)).astype(int)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 60_000)
    assert np.abs(read_picture(content, 50, Scale(0, 4095)) - whole).mean() < 1.5
    found = check_picture(tmp_path / "1.tif").grey_range
    assert found is not None
    assert abs(found.high - values.max()) < 40


@pytest.mark.parametrize("part", [0.3, 0.7, 0.99])
@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_truncated(monkeypatch: pytest.MonkeyPatch, file_format: str, part: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8))
    content = encoded(noise, file_format, **({"compression": "tiff_lzw"} if file_format == "TIFF" else {}))
    monkeypatch.setattr(decoding, "MAX_PIXELS", 60_000)
    with pytest.raises(BadPicture, match=r"is (damaged|truncated|no picture)"):
        read_picture(content[: int(len(content) * part)], 8)


def test_a_large_file_is_read_from_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    content = encoded(scene("RGB"), "PNG")
    path = tmp_path / "1.png"
    path.write_bytes(content)
    expected = check_picture(path), read_linked_picture(path, 50).tolist()
    monkeypatch.setattr(decoding, "MAX_FILE_IN_MEMORY", 1000)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("read as a whole"))
    assert (check_picture(path), read_linked_picture(path, 50).tolist()) == expected


def test_memory_follows_the_result(tmp_path: Path) -> None:
    """63 million pixels, as the slide of UBC-OCEAN's miniature: 189 MB of colours are never together."""
    path = tmp_path / "slide.png"
    packer, row = zlib.compressobj(1), b"\0" + bytes(i * 255 // 27_000 for i in range(27_000))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 9000, 7000, 8, 2, 0, 0, 0)),
        (b"IDAT", b"".join(packer.compress(row * 100) for _ in range(70)) + packer.flush()),
        (b"IEND", b""),
    ]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )
    code = f"""
import resource
from pathlib import Path
from gap_ensemble.images.decoding import read_linked_picture, read_picture
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert read_linked_picture(Path({str(path)!r}), 299).std() > 5
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100 * (1024 if sys.platform != "darwin" else 2**20)
    assert done.stderr == ""
