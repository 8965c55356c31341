"""TFRecord files of tf.train.Example with a picture file each, as Kaggle's flower and cassava competitions' are."""

import os
from collections.abc import Iterator
from pathlib import Path

from gap_ensemble.converting.record import Record
from gap_ensemble.messages.errors import UserError, one_line

PICTURE_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
NAMES = ("id", "image_id", "image_name", "image/filename", "filename", "file_name", "name", "image/key/sha256")


def read(path: Path) -> Iterator[Record]:
    """Yield each example. TensorFlow checks the sums in the file.

    Raises
    ------
    UserError
        If the file is damaged or cut off, or an example holds no picture.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf  # Seconds, which the other formats need not wait for.

    n_read = 0
    with open(path, "rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    records = tf.data.TFRecordDataset(str(path), compression_type="GZIP" if is_gzip else "").as_numpy_iterator()
    number = 0
    while True:
        number += 1
        try:
            content = next(records, None)
        except tf.errors.OpError:
            raise UserError(
                f"{path}: record {number}: damaged or cut off, or no TFRecord; get the file again"
            ) from None
        if content is None:
            return
        n_read += len(content) + 16
        try:
            features = tf.train.Example.FromString(content).features.feature
        except Exception as error:  # protobuf's own, which moves between versions
            raise UserError(
                f"{path}: record {number}: no tf.train.Example ({one_line(error, 80)}); expected one a record"
            ) from None
        picture, columns = None, {}
        for key in sorted(features):
            feature = features[key]
            values = list((feature.bytes_list or feature.int64_list or feature.float_list).value) or [
                *feature.int64_list.value,
                *feature.float_list.value,
            ]
            if values and isinstance(values[0], bytes) and values[0].startswith(PICTURE_STARTS):
                picture = values[0]
            else:
                columns[key] = " ".join(
                    value.decode(errors="replace")
                    if isinstance(value, bytes)
                    else f"{value:g}"
                    if isinstance(value, float)
                    else str(value)
                    for value in values
                )
        if picture is None:
            raise UserError(f"{path}: record {number}: holds no picture file; found {', '.join(sorted(features))[:80]}")
        name = next((columns.pop(key) for key in NAMES if columns.get(key)), None)
        yield Record(picture, columns, n_read, name)
