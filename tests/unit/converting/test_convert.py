"""Containers of pixels become the pictures that are in them, a table, and nothing else."""

import gzip
import io
import json
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gap_ensemble.converting import json_arrays
from gap_ensemble.converting.convert import convert
from gap_ensemble.messages.errors import UserError
from gap_ensemble.storage.tables import read_table

RNG = np.random.default_rng(0)
DIGITS = RNG.integers(0, 256, (5, 4, 4), dtype=np.uint8)


def picture(i: int, file_format: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (40 * i, 0, 0)).save(file, file_format)
    return file.getvalue()


def pixels(path: Path) -> list[Any]:
    with Image.open(path) as image:
        return np.asarray(image).tolist()


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return the folder of what is converted, with a sample submission."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "sample_submission.csv").write_text("ImageId,Label\n1,0\n2,0\n")
    return folder


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "data" / "raw"


def problem(wanted: str, inputs: list[Path], to: Path) -> str:
    """Return the one line with which it is refused; nothing is left in the folder."""
    before = names(to) if to.exists() else []
    with pytest.raises(UserError) as caught:
        convert(wanted, inputs, to)
    (line,) = caught.value.problems
    assert "\n" not in line
    assert (names(to) if to.exists() else []) == before
    return line


def write_digits(source: Path) -> None:
    header = [f"pixel{i}" for i in range(16)]
    table = pd.DataFrame(DIGITS.reshape(5, 16), columns=header)
    table[:3].assign(label=[7, 1, 9])[["label", *header]].to_csv(source / "train.csv", index=False)
    table[3:].to_csv(source / "test.csv", index=False)


def test_csv_of_pixels(source: Path, to: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ids count from 1, as those of the sample submission do."""
    write_digits(source)
    convert("auto", [source], to)
    assert names(to) == sorted(
        ["sample_submission.csv", "train.csv", "test/1.png", "test/2.png", *(f"train/train_{i}.png" for i in (1, 2, 3))]
    )
    assert pixels(to / "test/1.png") == DIGITS[3].tolist()
    assert pixels(to / "train/train_3.png") == DIGITS[2].tolist()
    assert read_table(to / "train.csv").to_dict("list") == {
        "ImageId": ["train_1", "train_2", "train_3"],
        "label": ["7", "1", "9"],
    }
    assert "3 train pictures, 2 test pictures" in capsys.readouterr().out


def test_csv_with_all_pixels_in_one_field(source: Path, to: Path) -> None:
    row = " ".join(map(str, DIGITS[0].ravel()))
    (source / "train.csv").write_text(f"emotion,pixels,Usage\n3,{row},Training\n")
    convert("csv", [source], to)
    assert pixels(to / "train/train_1.png") == DIGITS[0].tolist()
    assert list(read_table(to / "train.csv").columns) == ["ImageId", "emotion", "Usage"]


def icebergs() -> list[dict[str, Any]]:
    bands = RNG.normal(-20, 5, (3, 2, 16))
    return [
        {
            "id": f"a{i}",
            "band_1": band[0].tolist(),
            "band_2": band[1].tolist(),
            "inc_angle": [43.9, "na", 30][i],
            "is_iceberg": i % 2,
        }
        for i, band in enumerate(bands)
    ]


@pytest.mark.parametrize("lines", [False, True], ids=["list", "lines"])
@pytest.mark.parametrize("block", [7, 2**20])
def test_json_arrays(source: Path, to: Path, monkeypatch: pytest.MonkeyPatch, lines: bool, block: int) -> None:
    """One scale for both bands of all pictures: the lowest value is black, the highest white."""
    monkeypatch.setattr(json_arrays, "BLOCK", block)
    entries = icebergs()
    text = "\n".join(map(json.dumps, entries)) if lines else json.dumps(entries, indent=1)
    (source / "train.json").write_text(text)
    test = [{key: value for key, value in entries[0].items() if key != "is_iceberg"}]
    (source / "test.json").write_text(json.dumps(test))
    convert("auto", [source], to)
    values = np.array([[entry["band_1"], entry["band_2"]] for entry in entries])
    scaled = (values - values.min()) / (values.max() - values.min()) * 255
    for i in range(3):
        shown = np.array(pixels(to / f"train/a{i}.png"))
        assert np.abs(shown[..., 0].ravel() - scaled[i, 0]).max() < 1
        assert np.abs(shown[..., 1].ravel() - scaled[i, 1]).max() < 1
        assert np.abs(shown[..., 2].ravel() - scaled[i].mean(axis=0)).max() < 1
    assert pixels(to / "test/a0.png") == pixels(to / "train/a0.png")
    assert read_table(to / "train.csv")["inc_angle"].tolist() == ["43.9", "na", "30"]
    assert list(read_table(to / "test.csv").columns) == ["ImageId", "id", "inc_angle"]


def bson(**fields: Any) -> bytes:
    """Return a document of integers, texts, bytes, lists and documents."""
    content = b""
    for name, value in fields.items():
        key = name.encode() + b"\0"
        match value:
            case int():
                content += b"\x10" + key + struct.pack("<i", value)
            case str():
                content += b"\x02" + key + struct.pack("<i", len(value.encode()) + 1) + value.encode() + b"\0"
            case bytes():
                content += b"\x05" + key + struct.pack("<iB", len(value), 0) + value
            case list():
                content += b"\x04" + key + bson(**{str(i): item for i, item in enumerate(value)})
            case dict():
                content += b"\x03" + key + bson(**value)
    return struct.pack("<i", len(content) + 5) + content + b"\0"


def test_bson(source: Path, to: Path) -> None:
    products = [
        bson(_id=10, category_id=1000, imgs=[{"picture": picture(0)}, {"picture": picture(1)}]),
        bson(_id=11, category_id=2000, imgs=[{"picture": picture(2)}]),
    ]
    (source / "train.bson").write_bytes(b"".join(products))
    (source / "test.bson").write_bytes(bson(_id=12, imgs=[{"picture": picture(3)}]))
    (source / "sample_submission.csv").write_text("_id,category_id\n12,1000\n")
    convert("auto", [source], to)
    assert (to / "train/10_1.jpg").read_bytes() == picture(1)
    assert (to / "test/12.jpg").read_bytes() == picture(3)
    assert read_table(to / "train.csv").to_dict("list") == {
        "image": ["10_0", "10_1", "11"],
        "_id": ["10", "10", "11"],
        "category_id": ["1000", "1000", "2000"],
    }


def test_tfrecord(source: Path, to: Path) -> None:
    tf = pytest.importorskip("tensorflow")

    def example(i: int, **more: int) -> bytes:
        def of_bytes(value: bytes) -> Any:
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

        feature = {"image": of_bytes(picture(i)), "id": of_bytes(f"flower{i}".encode())}
        feature |= {k: tf.train.Feature(int64_list=tf.train.Int64List(value=[v])) for k, v in more.items()}
        return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()

    (source / "train").mkdir()
    for i in (0, 1):
        with tf.io.TFRecordWriter(str(source / f"train/{i:02}-1.tfrec")) as writer:
            writer.write(example(i, **{"class": 100 + i}))
    with tf.io.TFRecordWriter(str(source / "test-1.tfrec"), "GZIP") as writer:
        writer.write(example(2))
    convert("auto", [source], to)
    assert gzip.decompress((source / "test-1.tfrec").read_bytes())
    assert (to / "test/flower2.jpg").read_bytes() == picture(2)
    assert read_table(to / "train.csv").to_dict("list") == {
        "ImageId": ["flower0", "flower1"],
        "class": ["100", "101"],
    }
    damaged = bytearray((source / "train/00-1.tfrec").read_bytes())
    damaged[40] ^= 1
    (source / "train/00-1.tfrec").write_bytes(damaged)
    assert "damaged or cut off" in problem("tfrecord", [source], to.parent / "other")


def test_hdf5_of_arrays_with_columns(source: Path, to: Path) -> None:
    with h5py.File(source / "train.h5", "w") as file:
        file["images"] = DIGITS[:3].astype(np.float32) / 255
        file["labels"] = np.array([3, 4, 5])
        file["names"] = ["x", "y", "z"]
    convert("auto", [source], to)
    assert pixels(to / "train/train_2.png") == DIGITS[1].tolist()
    assert read_table(to / "train.csv")[["labels", "names"]].values.tolist() == [["3", "x"], ["4", "y"], ["5", "z"]]


def test_hdf5_of_picture_files_beside_a_table(source: Path, to: Path) -> None:
    with h5py.File(source / "train-image.hdf5", "w") as file:
        for i in range(3):
            file[f"ISIC_{i}"] = np.void(picture(i))
    (source / "train-metadata.csv").write_text("isic_id,target\nISIC_0,0\nISIC_1,1\nISIC_2,0\n")
    convert("auto", [source], to)
    assert names(to) == ["sample_submission.csv", "train-metadata.csv", *(f"train/ISIC_{i}.jpg" for i in range(3))]
    assert (to / "train/ISIC_1.jpg").read_bytes() == picture(1)


def test_the_competitions_own_table_stays(source: Path, to: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(source / "train.h5", "w") as file:
        file["images"], file["labels"] = DIGITS, np.arange(5)
    (source / "train.csv").write_text("ImageId,label\ntrain_1,a\n")
    convert("auto", [source], to)
    assert (to / "train.csv").read_text() == "ImageId,label\ntrain_1,a\n"
    assert "labels" in capsys.readouterr().out


def test_nothing_is_overwritten(source: Path, to: Path) -> None:
    write_digits(source)
    to.mkdir(parents=True)
    (to / "train.csv").write_text("mine")
    assert "not overwritten" in problem("auto", [source], to)
    assert (to / "train.csv").read_text() == "mine"


BROKEN: dict[str, tuple[str, bytes, str]] = {
    "a row too short": ("train.csv", b"pixel0" + b",pixel1" * 15 + b"\n1,2\n", "line 2: found 2 values; expected 16"),
    "no number": (
        "train.csv",
        b"p0" + b"".join(b",p%d" % i for i in range(1, 16)) + b"\n" + b"x," * 15 + b"1\n",
        "line 2",
    ),
    "no square": (
        "train.csv",
        b"p0" + b"".join(b",p%d" % i for i in range(1, 17)) + b"\n" + b"1," * 16 + b"1\n",
        "17 pixels",
    ),
    "JSON cut off": ("train.json", json.dumps(icebergs()).encode()[:-50], "damaged or not whole JSON"),
    "JSON of numbers": ("train.json", b"[1, 2]", "expected an object"),
    "JSON without pixels": ("train.json", b'[{"id": 1}]', "object 1: found no arrays of pixels"),
    "NaN": ("train.json", json.dumps([{"id": "a", "band": [float("nan")] * 16}]).encode(), "no finite numbers"),
    "BSON cut off": ("train.bson", bson(_id=1, imgs=[picture(0)])[:-9], "document 1: cut off"),
    "BSON damaged": ("train.bson", b"\x20\0\0\0" + b"\x77" * 28, "document 1: damaged BSON"),
    "no BSON": ("train.bson", b"<html>", "no BSON"),
    "BSON without picture": ("train.bson", bson(_id=1), "holds no picture"),
    "BSON of something else": ("train.bson", bson(_id=1, picture=b"nothing"), "no picture file"),
    "names that lead out": ("train.bson", bson(_id="../../x", picture=picture(0)), "no name for a file"),
    "a name twice": ("train.bson", bson(_id=1, a=picture(0)) * 2, "a second picture of this name"),
    "HDF5": ("train.h5", b"\x89HDF\r\n\x1a\n", "not a whole HDF5 file"),
    "nothing": ("train.txt", b"", "found nothing to convert"),
}


@pytest.mark.parametrize(("name", "content", "found"), BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_is_one_line(source: Path, to: Path, name: str, content: bytes, found: str) -> None:
    (source / name).write_bytes(content)
    line = problem("auto", [source], to)
    assert found in line
    assert str(source) in line or "picture file" in line


def test_two_formats_are_a_choice(source: Path, to: Path) -> None:
    write_digits(source)
    (source / "train.json").write_text(json.dumps(icebergs()))
    assert "say which to convert" in problem("auto", [source], to)
    convert("csv", [source], to)
    assert (to / "test/2.png").exists()
