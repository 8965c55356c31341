"""Every kind of picture that a competition ships becomes the same square of pixels, and everything else is refused."""

import hashlib
import io
import os
import resource
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from gap_ensemble.images import decoding, large
from gap_ensemble.images.decoding import check_picture, read_picture
from gap_ensemble.images.grey import Scale
from gap_ensemble.images.problems import BadPicture

ORANGE = (200, 100, 50)
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:  # noqa: A002 - Pillow's own name
    """Return the bytes of a picture file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def plain(mode: str = "RGB", colour: Any = ORANGE) -> Image.Image:
    """Return a picture of one colour, wider than high."""
    return Image.new(mode, (20, 16), colour)


def scene(width: int, height: int) -> Image.Image:
    """Return a smooth picture, no two of whose corners or sides look alike."""
    y, x = np.mgrid[0:height, 0:width] / [[[height]], [[width]]]
    waves = np.stack([x, y, 0.5 + 0.4 * np.sin(9 * x) * np.cos(7 * y)], axis=-1)
    return Image.fromarray((255 * waves).astype(np.uint8))


def noise(width: int, height: int) -> Image.Image:
    """Return a picture that no encoding makes much smaller."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def png(header: tuple[int, ...], pixels: bytes) -> bytes:
    """Return a PNG with this header (width, height, bits, colour type, 0, 0, 0) and this content."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", *header)), (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def jpeg_claiming(width: int, height: int, **options: Any) -> bytes:
    """Return a small JPEG whose header claims another size."""
    content = encoded(plain(), "JPEG", **options)
    marker = content.index(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0")
    return content[: marker + 5] + struct.pack(">HH", height, width) + content[marker + 9 :]


def refusal(content: bytes, size: int = 8) -> str:
    """Return why a picture is refused: one short line."""
    with pytest.raises(BadPicture) as caught:
        read_picture(content, size)
    text = str(caught.value)
    assert 5 < len(text) < 200
    assert "\n" not in text
    return text


def assert_colour(content: bytes, colour: tuple[int, int, int], tolerance: int = 4, scale: Scale | None = None) -> None:
    """Assert that a picture decodes to a square of one colour."""
    pixels = read_picture(content, 8, scale)
    assert pixels.shape == (8, 8, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - colour).max() <= tolerance


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean difference of two pictures, in steps of 255."""
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("file_format", [*FORMATS, "TIFF"])
def test_format(file_format: str) -> None:
    assert_colour(encoded(plain(), file_format), ORANGE)


@pytest.mark.parametrize(
    ("mode", "value", "file_format", "colour"),
    [
        ("L", 128, "PNG", (128, 128, 128)),
        ("L", 128, "JPEG", (128, 128, 128)),
        ("1", 1, "PNG", (255, 255, 255)),
        ("1", 0, "PNG", (0, 0, 0)),
        ("CMYK", (55, 155, 205, 0), "JPEG", ORANGE),
        ("CMYK", (55, 155, 205, 0), "TIFF", ORANGE),
        ("LA", (0, 255), "PNG", (0, 0, 0)),
        ("LA", (0, 51), "PNG", (204, 204, 204)),
        ("RGBA", (*ORANGE, 255), "PNG", ORANGE),
        ("RGBA", (0, 0, 0, 0), "PNG", (255, 255, 255)),
        ("RGBA", (*ORANGE, 128), "PNG", (227, 177, 152)),
        ("RGBA", (*ORANGE, 128), "WEBP", (227, 177, 152)),
    ],
)
def test_mode(mode: str, value: Any, file_format: str, colour: tuple[int, int, int]) -> None:
    options = {"quality": 95} if file_format == "JPEG" else {}
    assert_colour(encoded(plain(mode, value), file_format, **options), colour)


@pytest.mark.parametrize("file_format", ["PNG", "GIF"])
def test_palette(file_format: str) -> None:
    palette = plain().convert("P", palette=Image.Palette.ADAPTIVE)
    assert_colour(encoded(palette, file_format), ORANGE)
    assert_colour(encoded(palette, file_format, transparency=0), (255, 255, 255))


def test_transparent_colour_of_a_png_without_alpha() -> None:
    assert_colour(encoded(plain(), "PNG", transparency=ORANGE), (255, 255, 255))


@pytest.mark.parametrize("value", [0, 0x0180, 0x8000, 0xC0FF, 0xFFFF])
def test_16_bits_keep_their_upper_byte(value: int) -> None:
    """Pillow's own conversion clips all but the darkest of a 16-bit grey picture to white."""
    upper = value >> 8
    grey = Image.fromarray(np.full((16, 20), value, np.uint16))
    for content in (encoded(grey, "PNG"), encoded(grey, "TIFF")):
        assert_colour(content, (upper, upper, upper), 0, Scale(0, 65535))
    row = b"\0" + struct.pack(">HHH", value, 0x8000, 0) * 20
    assert_colour(png((20, 16, 16, 2, 0, 0, 0), row * 16), (upper, 128, 0), 0, Scale(0, 65535))


@pytest.mark.parametrize("alpha", [False, True], ids=["RGB", "RGBA"])
def test_12_bits_in_16_bit_colours(alpha: bool) -> None:
    """Of which Pillow gives the upper byte only, 0 to 15."""
    pixel = struct.pack(">HHH", 0xFFF, 0x804, 0x010) + (b"\xff\xff" if alpha else b"")
    content = png((20, 16, 16, 6 if alpha else 2, 0, 0, 0), (b"\0" + pixel * 20) * 16)
    assert_colour(content, (255, 128, 1), 0, Scale(0, 4095))


@pytest.mark.parametrize("dtype", [np.int32, np.uint16, np.float32])
def test_wide_grey_tiff(dtype: type) -> None:
    content = encoded(Image.fromarray(np.full((16, 20), 2048, dtype)), "TIFF")
    assert_colour(content, (128, 128, 128), 1, Scale(0, 4095))
    assert_colour(content, (255, 255, 255), 0, Scale(0, 255))


def test_first_frame_of_an_animation() -> None:
    frames = {"save_all": True, "append_images": [plain("RGB", (0, 0, 255))]}
    for file_format in ("GIF", "WEBP", "PNG"):
        assert_colour(encoded(plain(), file_format, **frames), ORANGE)


# The sides of the upright picture on which the first row and the first column of the file lie, from the EXIF standard.
SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def turned(upright: np.ndarray, orientation: int) -> Image.Image:
    """Return the pixels as a camera stores them that says `orientation`."""
    row, column = SIDES[orientation]
    stored = upright if row in ("top", "bottom") else upright.swapaxes(0, 1)
    stored = stored[::-1] if row in ("bottom", "right") else stored
    return Image.fromarray(stored[:, ::-1] if column in ("bottom", "right") else stored)


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", SIDES)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation(file_format: str, orientation: int) -> None:
    upright = np.asarray(scene(96, 64))
    options = {"lossless": True} if file_format == "WEBP" else {"quality": 95, "subsampling": 0}
    content = encoded(turned(upright, orientation), file_format, exif=exif_of(orientation), **options)
    expected = read_picture(encoded(Image.fromarray(upright), "PNG"), 32)
    assert distance(read_picture(content, 32), expected) < 1
    if orientation > 1:
        assert distance(read_picture(encoded(turned(upright, orientation), "PNG"), 32), expected) > 20


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("block", [b"", b"II*\0", b"garbage, no TIFF header", b"MM\0*\0\0\0\x08\0\x05\x01\x12"])
def test_a_damaged_exif_block_leaves_the_pixels(file_format: str, block: bytes) -> None:
    assert_colour(encoded(plain(), file_format, exif=b"Exif\0\0" + block), ORANGE)


def test_an_odd_tag_beside_the_orientation() -> None:
    """Some cameras give the rows a resolution of the wrong type: no reason to lose the turn, or the picture."""
    exif = exif_of(6)
    exif[0x011A] = 72.0  # x resolution, a fraction
    block = exif.tobytes().replace(b"\x01\x1a\x00\x05", b"\x01\x1a\x00\x07")  # now of undefined type
    assert block != exif.tobytes()
    upright = np.asarray(scene(96, 64))
    content = encoded(turned(upright, 6), "JPEG", exif=block, quality=95)
    assert distance(read_picture(content, 32), read_picture(encoded(Image.fromarray(upright), "PNG"), 32)) < 2


@pytest.mark.parametrize("name", ["1.jpg", "1.JPG", "1.jpeg", "1.png", "1"])
@pytest.mark.parametrize("file_format", FORMATS)
def test_the_content_decides_not_the_suffix(tmp_path: Path, name: str, file_format: str) -> None:
    content = encoded(plain(), file_format)
    (tmp_path / name).write_bytes(content)
    assert check_picture(tmp_path / name) == (hashlib.md5(content).hexdigest(), "", None)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_downscaling_is_antialiased(file_format: str) -> None:
    """A fine checkerboard from afar is grey; dropping pixels would leave black, white or stripes."""
    board = Image.fromarray((np.indices((300, 300)).sum(axis=0) % 2 * 255).astype(np.uint8))
    inner = read_picture(encoded(board, file_format, quality=95), 32)[1:-1, 1:-1].astype(int)
    assert np.abs(inner - 128).max() <= 4


def test_the_whole_picture_is_seen() -> None:
    """No cropping: what stands at the edges of a long picture is still there."""
    image = plain("RGB", "black").resize((160, 16))
    image.paste((255, 0, 0), (0, 0, 20, 16))
    image.paste((0, 0, 255), (140, 0, 160, 16))
    pixels = read_picture(encoded(image, "PNG"), 16)
    assert pixels[:, 0].tolist() == [[255, 0, 0]] * 16
    assert pixels[:, -1].tolist() == [[0, 0, 255]] * 16


@pytest.mark.parametrize("size", [32, 96, 224])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_large_jpeg_decodes_small_and_looks_the_same(
    monkeypatch: pytest.MonkeyPatch, size: int, progressive: bool
) -> None:
    content = encoded(scene(1600, 1200), "JPEG", quality=90, progressive=progressive)
    with Image.open(io.BytesIO(content)) as file:
        full = np.asarray(file.resize((size, size), Image.Resampling.BILINEAR))
    resized: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def remember(image: Image.Image, *arguments: Any) -> Image.Image:
        resized.append(image.size)
        return resize(image, *arguments)

    monkeypatch.setattr(Image.Image, "resize", remember)
    pixels = read_picture(content, size)
    assert resized == [{32: (200, 150), 96: (400, 300), 224: (800, 600)}[size]]
    assert distance(pixels, full) < 0.7
    assert np.abs(pixels.astype(int) - full).max() <= 6


@pytest.mark.parametrize("size", [20, 64, 200])
def test_small_pictures_are_resized_by_the_bilinear_filter(size: int) -> None:
    """Every size of noise tells the filters apart; a small JPEG decodes whole."""
    for options in ({"format": "PNG"}, {"format": "JPEG", "quality": 95}):
        content = encoded(noise(60, 38), **options)
        with Image.open(io.BytesIO(content)) as file:
            expected = file.resize((size, size), Image.Resampling.BILINEAR)
        assert read_picture(content, size).tolist() == np.asarray(expected).tolist()


def test_empty() -> None:
    assert refusal(b"") == "is empty (0 bytes)"


@pytest.mark.parametrize("content", [b"id,label\n1,0.5\n", b"<html>404 Not Found</html>", b"\0" * 5000, b"\xff\xd8"])
def test_no_picture(content: bytes) -> None:
    assert refusal(content) == "is no picture (no known image format)"


@pytest.mark.parametrize("part", [0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(
    ("file_format", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("GIF", {}), ("BMP", {}), ("WEBP", {})],
)
def test_truncated(tmp_path: Path, file_format: str, options: dict[str, Any], part: float) -> None:
    """Also by the small decode of stage link, and not only where the header breaks off."""
    content = encoded(noise(80, 60), file_format, **options)
    cut = content[: int(len(content) * part)]
    said = "is damaged" if file_format == "WEBP" else "is truncated"
    assert refusal(cut, 8).startswith(said)
    assert refusal(cut, 64).startswith(said)
    (tmp_path / "1.jpg").write_bytes(cut)
    md5, problem, _ = check_picture(tmp_path / "1.jpg")
    assert md5 == hashlib.md5(cut).hexdigest()
    assert problem.startswith(said)


def test_a_jpeg_without_its_last_two_bytes_is_truncated() -> None:
    content = encoded(scene(80, 60), "JPEG")
    assert refusal(content[:-2], 64).startswith("is truncated")


@pytest.mark.parametrize(
    ("content", "millions"),
    [
        (png((20_000, 20_000, 8, 2, 0, 0, 1), b""), "400"),
        (png((2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0), b""), "4,611,686,014,132"),
        (b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + encoded(plain(), "GIF")[10:], "4,295"),
        (jpeg_claiming(9_000, 9_000, progressive=True), "81"),
        (jpeg_claiming(65_500, 65_500), "4,290"),
    ],
    ids=["interlaced PNG", "largest PNG", "GIF", "progressive JPEG", "largest JPEG"],
)
def test_a_bomb_is_refused_before_any_pixel_is_decoded(
    monkeypatch: pytest.MonkeyPatch, content: bytes, millions: str
) -> None:
    loaded: list[object] = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", loaded.append)
    assert refusal(content).startswith(f"is too large ({millions} million pixels")
    assert not loaded


# What the limit is made small for: the shapes that lie on both sides of it, at every size of a network.
SIZES = (1, 8, 50, 100, 299, 600)


@pytest.mark.parametrize("width_height", [(400, 160), (6000, 20), (20, 6000), (141, 141)])
@pytest.mark.parametrize("options", [{"format": "JPEG"}, {"format": "JPEG", "progressive": True}, {"format": "GIF"}])
def test_what_passes_the_check_passes_every_extraction(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, width_height: tuple[int, int], options: dict[str, Any]
) -> None:
    """The limit on decoded pixels once depended on the size of the network."""
    monkeypatch.setattr(decoding, "MAX_PIXELS", 20_000)
    monkeypatch.setattr(decoding, "MAX_PROGRESSIVE_PIXELS", 26_000)
    content = encoded(scene(*width_height).convert("L"), **options)
    (tmp_path / "1").write_bytes(content)
    passes = not check_picture(tmp_path / "1").problem
    n_pixels = width_height[0] * width_height[1]
    assert passes == (n_pixels <= (20_000 if options["format"] == "GIF" else 26_000 if len(options) > 1 else 10**9))
    for size in SIZES:
        if passes:
            assert read_picture(content, size).shape == (size, size, 3)
        else:
            assert "too large" in refusal(content, size)


def test_a_long_grey_jpeg_is_read_at_every_size() -> None:
    """60 million pixels, of which a network of 299 would have decoded all."""
    content = encoded(Image.new("L", (60_000, 1_000), 128), "JPEG")
    for size in (8, 299, 600):
        assert read_picture(content, size).tolist() == [[[128] * 3] * size] * size


def lossless_jpeg(width: int, height: int, value: int) -> bytes:
    """Return a lossless grey JPEG of one value: the first pixel differs from 128 by so much, all others by nothing.

    Process 14 of ITU T.81, predictor 1. The Huffman table has a code of 2 bits for each of 0, 7 and 8 more bits.
    """
    difference = value - 128
    assert 64 <= abs(difference) < 128
    extra = difference if difference > 0 else difference + 127
    bits = "01" + f"{extra:07b}" + "00" * (width * height - 1)
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    frame = struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0)
    table = bytes([0, 0, 3, *[0] * 14, 0, 7, 8])
    segments = [(0xC3, frame), (0xC4, table), (0xDA, bytes([1, 1, 0, 1, 0, 0]))]
    return (
        b"\xff\xd8"
        + b"".join(struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data for marker, data in segments)
        + scan
        + b"\xff\xd9"
    )


def test_a_lossless_jpeg_is_decoded_whole() -> None:
    """No decoder scales it down, and Pillow then took the result for damaged."""
    content = lossless_jpeg(64, 48, 200)
    with Image.open(io.BytesIO(content)) as file:
        assert np.asarray(file).tolist() == [[200] * 64] * 48
    assert_colour(content, (200, 200, 200), 0)


def test_large_pictures_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_PIXELS", 20_000)
    monkeypatch.setattr(large, "pyvips", None)
    assert "pip install 'pyvips[binary]'" in refusal(encoded(scene(200, 160), "PNG"))
    assert read_picture(encoded(scene(140, 140), "PNG"), 8).shape == (8, 8, 3)


def test_check_picture_of_a_missing_file(tmp_path: Path) -> None:
    assert check_picture(tmp_path / "gone.jpg") == ("", "can't be read (No such file or directory)", None)


def test_a_fault_inside_a_decoder_names_no_other_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    content = encoded(plain(), "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    assert refusal(content) == "needs more memory than there is to decode"


# Where a file says how large it is: what stands before it, the bytes between, and how the numbers are packed.
SIZE_FIELDS = {
    "PNG": (b"IHDR", 0, ">II"),
    "JPEG": (b"\xff\xc0", 3, ">HH"),
    "progressive JPEG": (b"\xff\xc2", 3, ">HH"),
    "GIF": (b"GIF8", 2, "<HH"),
    "frame of a GIF": (b"\x2c\0\0\0\0", 0, "<HH"),
    "BMP": (b"BM", 16, "<ii"),
    "lossless WebP": (b"VP8L", 5, "<HH"),
    "WebP": (b"\x9d\x01\x2a", 0, "<HH"),
    **{
        f"TIFF tag {tag}, {form}": (struct.pack("<HHI", tag, kind, 1), 0, form)
        for tag in (256, 257, 278, 279)  # width, height, rows and bytes of a strip
        for kind, form in ((3, "<H"), (4, "<I"))
    },
}
ABSURD = (0, 1, 2**7, 20_000, 2**15 - 1, 2**16 - 1, 2**24, 2**31 - 1, 2**32 - 1)


def with_other_sizes(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a picture file that claims absurd sizes, wherever its format has a place for them."""
    for mark, n_between, form in SIZE_FIELDS.values():
        at = content.find(mark)
        if at >= 0:
            at += len(mark) + n_between
            largest = 2**31 - 1 if "i" in form else 2 ** (8 * struct.calcsize(form[1])) - 1
            sizes = struct.pack(form, *(min(int(rng.choice(ABSURD)), largest) for _ in form[1:]))
            content = content[:at] + sizes + content[at + len(sizes) :]
            if mark == b"IHDR":  # Else the checksum would be all that is noticed.
                content = content[:29] + struct.pack(">I", zlib.crc32(content[12:29])) + content[33:]
    return content


def bombs() -> list[bytes]:
    """Return small files of huge pictures."""
    strips = io.BytesIO()
    plain().save(strips, "TIFF", compression="tiff_deflate", tiffinfo={278: 2**31 - 1})
    return [
        png((20_000, 20_000, 1, 0, 0, 0, 0), b"\0" * 2501 * 20_000),
        png((20_000, 20_000, 8, 6, 0, 0, 0), b""),
        png((64, 64, 8, 2, 0, 0, 0), b"\0" * 50_000_000),
        b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + encoded(plain(), "GIF")[10:],
        b"GIF89a" + struct.pack("<HH", 9_000, 9_000) + encoded(plain(), "GIF")[10:],
        jpeg_claiming(65_500, 65_500),
        jpeg_claiming(20_000, 20_000),
        jpeg_claiming(9_000, 9_000, progressive=True),
        strips.getvalue(),
    ]


def fuzz(n: int, seed: int) -> None:
    """Assert that damaged pictures either decode or are refused, and that both happen."""
    rng = np.random.default_rng(seed)
    image = scene(32, 24)
    whole = [encoded(image, file_format) for file_format in (*FORMATS, "TIFF")]
    whole += [encoded(image.convert("P"), "PNG"), encoded(image, "JPEG", progressive=True, exif=exif_of(6))]
    whole += [encoded(image, "WEBP", lossless=True), encoded(image, "TIFF", compression="tiff_lzw")]
    huge = bombs()

    def place(content: bytes) -> int:
        return int(rng.integers(len(content)))

    decoded = 0
    for i in range(n + len(huge)):
        content, other = whole[i % len(whole)], whole[int(rng.integers(len(whole)))]
        match i // len(whole) % 5 if i < n else None:
            case 0:
                flipped = bytearray(content)
                for _ in range(int(rng.integers(1, 10))):
                    flipped[place(content)] ^= 1 << int(rng.integers(8))
                content = bytes(flipped)
            case 1:
                content = content[: place(content)]
            case 2:
                content = content[: place(content)] + other[place(other) :]
            case 3:
                content = other[:16] + content[16:]
            case 4:
                content = with_other_sizes(content, rng)
            case None:
                content = huge[i - n]
        print(f"picture {i} of seed {seed}: {content[:40]!r}", flush=True)  # The last line names a culprit.
        signal.alarm(20)  # Kills the process, also inside a decoder.
        try:
            pixels = read_picture(content, 8)
        except BadPicture:
            continue
        finally:
            signal.alarm(0)
        assert pixels.shape == (8, 8, 3)
        decoded += 1
    assert n / 20 < decoded < n * 0.7


def largest_memory() -> int:
    """Return the most bytes of memory that this process has ever taken."""
    status = Path("/proc/self/status")
    if status.exists():  # `ru_maxrss` begins with that of the process that started this one.
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def assert_in_a_child(call: str) -> None:
    """Assert that a call to this module neither crashes nor hangs nor takes a gibibyte of memory."""
    code = f"import test_decoding\ntest_decoding.{call}\nprint(test_decoding.largest_memory())"
    folders = [str(Path(__file__).resolve().parents[3]), str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    last = done.stdout.splitlines()[-1] if done.stdout else ""
    assert done.returncode == 0, (signal.strsignal(-done.returncode) if done.returncode < 0 else done.stderr, last)
    assert int(last) < 2**30


def test_damaged_pictures_decode_or_are_refused() -> None:
    assert_in_a_child("fuzz(250, seed=1)")


@pytest.mark.long
def test_many_damaged_pictures_decode_or_are_refused() -> None:
    assert_in_a_child("fuzz(20_000, seed=2)")


def decode_a_huge_jpeg() -> None:
    """Decode 400 million pixels: a grey block of 16 pixels takes four bytes, here 1,250 times 1,250 times."""
    content = encoded(Image.new("RGB", (16, 16), (128, 128, 128)), "JPEG", subsampling="4:2:0")
    size, start = content.index(b"\xff\xc0") + 5, len(content) - 6
    huge = content[:size] + struct.pack(">HH", 20_000, 20_000) + content[size + 4 : start]
    huge += content[start : start + 4] * 1250 * 1250 + b"\xff\xd9"
    assert read_picture(huge, 224).tolist() == [[[128] * 3] * 224] * 224


def test_a_jpeg_of_400_million_pixels_is_decoded_small() -> None:
    assert_in_a_child("decode_a_huge_jpeg()")
