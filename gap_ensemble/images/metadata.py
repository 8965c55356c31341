"""What stands in a picture file beside its pixels, and must not decide whether they can be read."""

import struct

PNG_MARK = b"\x89PNG\r\n\x1a\n"
# Header, palette, transparency, pixels, end, the frames of an animation, and the orientation.
PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT", b"eXIf"}
# ImageMagick keeps the orientation in a text of this name.
PNG_EXIF_TEXT, MAX_EXIF_TEXT = b"Raw profile type exif\0", 2**18
# The frames of a JPEG that libjpeg can decode at a smaller scale: baseline, extended, progressive, with either coding.
JPEG_SCALABLE = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}
JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def png_without_metadata(content: bytes) -> bytes:
    """Return a PNG without texts, colour profiles and the like: Pillow refuses the whole file when they are odd.

    Content that is no PNG, or holds nothing of the kind, is returned as it is.
    """
    if not content.startswith(PNG_MARK):
        return content
    kept, start, position = [], 0, len(PNG_MARK)
    while position + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        is_metadata = kind not in PNG_PIXELS and kind.isalpha() and kind[0] >= ord("a")  # Lower case: not critical.
        if is_metadata and not (
            length <= MAX_EXIF_TEXT and content.startswith(PNG_EXIF_TEXT, position + 8)  # zTXt and iTXt, too
        ):
            kept.append(content[start:position])
            start = end
        if kind == b"IEND":
            break
        position = end
    return b"".join([*kept, content[start:]]) if kept else content


def jpeg_is_scalable(content: bytes) -> bool:
    """Tell whether a JPEG can be decoded at a smaller scale: a lossless one can't."""
    position = 2
    while position + 4 <= len(content):
        if content[position] != 0xFF:
            position += 1  # Bytes between segments, which decoders skip.
            continue
        marker = content[position + 1]
        if marker in JPEG_FRAMES:
            return marker in JPEG_SCALABLE
        if marker == 0xFF or marker == 0 or 0xD0 <= marker <= 0xD8 or marker == 0x01:
            position += 1 if marker == 0xFF else 2
            continue
        if marker in (0xD9, 0xDA):
            return False
        position += 2 + int.from_bytes(content[position + 2 : position + 4])
    return False
