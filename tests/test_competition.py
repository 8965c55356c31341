"""`find_competition`: every shape in which Kaggle ships labels and submissions, and everything that can be wrong."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pytest

from gap_ensemble.competition import competition
from gap_ensemble.competition.competition import (
    Found,
    Submission,
    find_competition,
    read_competition,
    read_manifest,
    write_competition,
)
from gap_ensemble.competition.folders import picture_stem
from gap_ensemble.messages.errors import UserError
from gap_ensemble.params import Data
from gap_ensemble.paths import MANIFEST
from gap_ensemble.paths import SAMPLE as SAMPLE_FILE
from gap_ensemble.storage.tables import read_table, write_table

TWO = ["train/cat.0.jpg", "train/dog.0.jpg", "test/1.jpg", "test/2.jpg"]
Tables = Mapping[str, str | bytes]
NUMBERED = ["train/1.jpg", "train/2.jpg", "train/3.jpg", "train/4.jpg", "test/5.jpg", "test/6.jpg"]
SAMPLE = "id,label\n1,0.5\n2,0.5\n"
SAMPLE_56 = "id,label\n5,a\n6,a\n"
LABELS = "id,label\n1,a\n2,b\n3,c\n4,c\n"
# What NUMBERED is labelled by in most tables below.
ABCC = {"train/1.jpg": "a", "train/2.jpg": "b", "train/3.jpg": "c", "train/4.jpg": "c"}


def made(folder: Path, files: list[str], tables: Tables) -> Path:
    """Make a raw folder of empty pictures: `find_competition` opens none."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    for name, text in tables.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def found(
    folder: Path,
    files: list[str],
    tables: Tables,
    labels: str = "auto",
    positive_class: str | None = None,
) -> Found:
    """Make a raw folder and read it."""
    return find_competition(made(folder, files, tables), Data(raw="raw", labels=labels, positive_class=positive_class))


def class_of(result: Found) -> dict[str, str]:
    pictures = result.pictures[result.pictures["split"] == "train"]
    return dict(zip(pictures["file"], pictures["class"], strict=True))


def id_of(result: Found) -> dict[str, str]:
    pictures = result.pictures[result.pictures["split"] == "test"]
    return dict(zip(pictures["file"], pictures["id"], strict=True))


@dataclass
class Shape:
    """A made competition, and what must be found in it."""

    files: list[str]
    tables: Tables
    class_of: dict[str, str]
    labels_from: str
    submission: Submission
    id_of: dict[str, str]
    options: dict[str, str] = field(default_factory=dict)


PROBABILITY = Submission("probability", ["id", "label"], "dog")
CATS_AND_DOGS = {"train/cat.0.jpg": "cat", "train/dog.0.jpg": "dog"}
IDS = {"test/1.jpg": "1", "test/2.jpg": "2"}
STATE_FARM = ["imgs/train/c0/img_10.jpg", "imgs/train/c1/img_11.jpg", "imgs/test/img_1.jpg", "imgs/test/img_2.jpg"]
DRIVERS = "subject,classname,img\np002,c0,img_10.jpg\np012,c1,img_11.jpg\n"
STATE_FARM_SAMPLE = "img,c0,c1\nimg_1.jpg,0.1,0.1\nimg_2.jpg,0.1,0.1\n"
PLANTS = ["images/Test_0.jpg", "images/Test_1.jpg", *(f"images/Train_{i}.jpg" for i in range(4))]
ONE_HOT = "image_id,healthy,rust,scab\nTrain_0,0,0,1\nTrain_1,1,0,0\nTrain_2,0,1,0\nTrain_3,1.0,0.0,0.0\n"
PLANT_SAMPLE = "image_id,healthy,rust,scab\nTest_0,0.25,0.25,0.25\nTest_1,0.25,0.25,0.25\n"
LANDMARKS = [
    "train/0/0/0/000a.jpg",
    "train/0/0/1/001b.jpg",
    "train/f/0/1/f01c.jpg",
    "test/a/0/0/a00d.jpg",
    "test/a/1/0/a10e.jpg",
]

SHAPES = {
    "dogs vs cats": Shape(TWO, {"sample_submission.csv": SAMPLE}, CATS_AND_DOGS, "prefix", PROBABILITY, IDS),
    "dogs vs cats of 2013": Shape(
        ["train/cat.0.jpg", "train/dog.0.jpg", "test1/1.jpg", "test1/2.jpg"],
        {"sampleSubmission.csv": "id,label\n1,0\n2,0\n"},
        CATS_AND_DOGS,
        "prefix",
        PROBABILITY,
        {"test1/1.jpg": "1", "test1/2.jpg": "2"},
    ),
    "state farm": Shape(
        STATE_FARM,
        {"driver_imgs_list.csv": DRIVERS, "sample_submission.csv": STATE_FARM_SAMPLE},
        {STATE_FARM[0]: "c0", STATE_FARM[1]: "c1"},
        "driver_imgs_list.csv:classname",
        Submission("probabilities", ["img", "c0", "c1"]),
        {STATE_FARM[2]: "img_1.jpg", STATE_FARM[3]: "img_2.jpg"},
    ),
    "dog breeds": Shape(
        NUMBERED,
        {
            "labels.csv": "id,breed\n1,pug\n2,husky\n3,pug\n4,husky\n",
            "sample_submission.csv": "id,pug,husky\n6,1,0\n5,1,0\n",
        },
        {"train/1.jpg": "pug", "train/2.jpg": "husky", "train/3.jpg": "pug", "train/4.jpg": "husky"},
        "labels.csv:breed",
        Submission("probabilities", ["id", "pug", "husky"]),  # The order of the file, not of the names.
        {"test/5.jpg": "5", "test/6.jpg": "6"},
    ),
    "plant seedlings": Shape(
        ["train/Sugar beet/0a.png", "train/Black-grass/0b.png", "train/Fat Hen/0c.png", "test/1d.png"],
        {"sample_submission.csv": "file,species\n1d.png,Sugar beet\n"},
        {
            "train/Black-grass/0b.png": "Black-grass",
            "train/Fat Hen/0c.png": "Fat Hen",
            "train/Sugar beet/0a.png": "Sugar beet",
        },
        "folders",
        Submission("class", ["file", "species"]),
        {"test/1d.png": "1d.png"},
    ),
    "cassava": Shape(
        ["train_images/10.jpg", "train_images/11.jpg", "train_images/12.jpg", "test_images/22.jpg"],
        {
            "train.csv": "image_id,label\n10.jpg,0\n11.jpg,4\n12.jpg,10\n",
            "sample_submission.csv": "image_id,label\n22.jpg,4\n",
        },
        {"train_images/10.jpg": "0", "train_images/11.jpg": "4", "train_images/12.jpg": "10"},
        "train.csv:label",
        Submission("class", ["image_id", "label"]),
        {"test_images/22.jpg": "22.jpg"},
    ),
    "google landmarks": Shape(
        LANDMARKS,
        {
            "train.csv": "id,url,landmark_id\n000a,http://a.b/c/d/000a.jpg,8815\n001b,http://a.b/1.jpg,6\nf01c,None,8815\n",
            "sample_submission.csv": "id,landmarks\na00d,8815 0.93\na10e,6 0.001\n",
        },
        {LANDMARKS[0]: "8815", LANDMARKS[1]: "6", LANDMARKS[2]: "8815"},
        "train.csv:landmark_id",
        Submission("class_confidence", ["id", "landmarks"]),
        {LANDMARKS[3]: "a00d", LANDMARKS[4]: "a10e"},
    ),
    "whales": Shape(
        ["train/0a.jpg", "train/0b.jpg", "train/0c.jpg", "test/1a.jpg"],
        {
            "train.csv": "Image,Id\n0a.jpg,new_whale\n0b.jpg,w_1\n0c.jpg,w_2\n",
            "sample_submission.csv": "Image,Id\n1a.jpg,new_whale\n",
        },
        {"train/0a.jpg": "new_whale", "train/0b.jpg": "w_1", "train/0c.jpg": "w_2"},
        "train.csv:Id",
        Submission("class", ["Image", "Id"]),
        {"test/1a.jpg": "1a.jpg"},
    ),
    "plant pathology: one folder, one column a class": Shape(
        PLANTS,
        {"train.csv": ONE_HOT, "test.csv": "image_id\nTest_0\nTest_1\n", "sample_submission.csv": PLANT_SAMPLE},
        {PLANTS[2]: "scab", PLANTS[3]: "healthy", PLANTS[4]: "rust", PLANTS[5]: "healthy"},
        "train.csv, one column a class",
        Submission("probabilities", ["image_id", "healthy", "rust", "scab"]),
        {PLANTS[0]: "Test_0", PLANTS[1]: "Test_1"},
    ),
    "melanoma: the sample's column among many": Shape(
        NUMBERED,
        {
            "train.csv": "id,patient,sex,target\n1,p1,m,0\n2,p1,f,0\n3,p2,m,1\n4,p2,m,1\n",
            "sample_submission.csv": "id,target\n5,0\n6,0\n",
        },
        {"train/1.jpg": "0", "train/2.jpg": "0", "train/3.jpg": "1", "train/4.jpg": "1"},
        "train.csv:target",
        Submission("probability", ["id", "target"], "1"),
        {"test/5.jpg": "5", "test/6.jpg": "6"},
    ),
    "paddies: folders and the same in a table, a sample without values": Shape(
        ["train_images/blast/1.jpg", "train_images/tungro/2.jpg", "train_images/normal/3.jpg", "test_images/4.jpg"],
        {
            "train.csv": "image_id,label,variety,age\n1.jpg,blast,B,45\n2.jpg,tungro,B,50\n3.jpg,normal,B,50\n",
            "sample_submission.csv": "image_id,label\n4.jpg,\n",
        },
        {
            "train_images/blast/1.jpg": "blast",
            "train_images/normal/3.jpg": "normal",
            "train_images/tungro/2.jpg": "tungro",
        },
        "train.csv:label",
        Submission("class", ["image_id", "label"]),
        {"test_images/4.jpg": "4.jpg"},
    ),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_shape_is_read(tmp_path: Path, shape: Shape) -> None:
    result = found(tmp_path, shape.files, shape.tables, **shape.options)

    assert class_of(result) == shape.class_of
    assert result.competition.class_names == sorted(set(shape.class_of.values()))
    assert result.competition.labels_from == shape.labels_from
    assert result.competition.submission == shape.submission
    assert id_of(result) == shape.id_of
    assert list(result.pictures.columns) == ["file", "split", "class", "id"]
    assert list(result.pictures["split"]) == ["train"] * len(shape.class_of) + ["test"] * len(shape.id_of)


# Ways to write the table of NUMBERED that must all be read alike.
WRITINGS: Tables = {
    "plain": LABELS,
    "byte-order mark": b"\xef\xbb\xbf" + LABELS.encode(),
    "Windows line ends": LABELS.replace("\n", "\r\n"),
    "old Macintosh line ends": LABELS.replace("\n", "\r"),
    "no line end": LABELS.rstrip(),
    "semicolons": LABELS.replace(",", ";"),
    "tabs": LABELS.replace(",", "\t"),
    "quotes": '"id","label"\n"1","a"\n"2","b"\n"3","c"\n"4","c"\n',
    "commas in quotes": '"id";"the label, by hand, or so"\n1;a\n2;b\n3;c\n4;c\n',
    "spaces": "id , label \n1, a\n 2 ,b \n3 , c\n4,c  \n",
    "quotes and spaces": '"id" , "label"\n"1" , "a" \n"2" , "b"\n"3", "c"\n"4", "c"\n',
    "blank lines": "\n" + LABELS.replace("\n", "\n\n") + " \n,\n",
    "commas at the end": "id,label,\n1,a,\n2,b,\n3,c,\n4,c,\n",
    "commas at the end of rows": "id,label\n1,a,\n2,b,\n3,c,\n4,c,\n",
    "other names": "Bild,Art\n1,a\n2,b\n3,c\n4,c\n",
    "the class first": "label,id\na,1\nb,2\nc,3\nc,4\n",
    "row numbers": ",id,label\n100,1,a\n101,2,b\n102,3,c\n103,4,c\n",
    "row numbers that name pictures": ",n,label\n4,1,a\n3,2,b\n2,3,c\n1,4,c\n",
    "commas in quotes in the first name": '"id, by hand";"label"\n1;a\n2;b\n3;c\n4;c\n',
    "the same row again": LABELS + "4,c\n",
    "suffix": "id,label\n1.jpg,a\n2.jpg,b\n3.jpg,c\n4.jpg,c\n",
    "another suffix": "id,label\n1.png,a\n2.png,b\n3.JPG,c\n4.jpeg,c\n",
    "paths": "id,label\ntrain/1.jpg,a\ntrain/2.jpg,b\ntrain/3.jpg,c\ntrain/4.jpg,c\n",
    "paths without suffix": "id,label\ntrain/1,a\ntrain/2,b\ntrain/3,c\ntrain/4,c\n",
    "a column of addresses": "id,label,url\n1,a,http://a.b/1.jpg\n2,b,http://a.b/2\n3,c,http://a.b/3\n4,c,http://a.b/4\n",
    "a column that never changes": "id,label,split\n1,a,train\n2,b,train\n3,c,train\n4,c,train\n",
    "name and path": "id,path,label\n1,train/1.jpg,a\n2,train/2.jpg,b\n3,train/3.jpg,c\n4,train/4.jpg,c\n",
}


@pytest.mark.parametrize("table", WRITINGS.values(), ids=WRITINGS)
@pytest.mark.parametrize("name", ["labels.csv", "train.csv", "Train.CSV", "tables/x.csv", "train/train.csv"])
def test_table_is_read_however_it_is_written(tmp_path: Path, name: str, table: str | bytes) -> None:
    result = found(tmp_path, NUMBERED, {name: table, "sample_submission.csv": SAMPLE_56})

    assert class_of(result) == ABCC
    assert result.competition.labels_from.startswith(f"{name}:")


@pytest.mark.parametrize("table", WRITINGS.values(), ids=WRITINGS)
def test_named_table_is_read_however_it_is_written(tmp_path: Path, table: str | bytes) -> None:
    other = "id,x\n1,u\n2,u\n3,v\n4,v\n"

    result = found(
        tmp_path, NUMBERED, {"a.csv": table, "b.csv": other, "sample_submission.csv": "id,y\n5,\n6,\n"}, "a.csv"
    )

    assert class_of(result) == ABCC


# The pictures and the ids of one sample submission, and the picture of each id.
IDS_AND_FILES = {
    "names": (["1", "2"], ["test/1.jpg", "test/2.jpg"]),
    "upper-case suffix": (["1", "2"], ["test/1.JPG", "test/2.Jpeg"]),
    "ids with suffix": (["1.jpg", "2.jpg"], ["test/1.jpg", "test/2.jpg"]),
    "ids with another case of suffix": (["1.jpg", "2.JPG"], ["test/1.JPG", "test/2.jpg"]),
    "ids with another suffix": (["1.tif", "2.tif"], ["test/1.jpg", "test/2.jpg"]),
    "suffixes tell two apart": (["1.jpg", "1.png"], ["test/1.jpg", "test/1.png"]),
    "leading zeros": (["01", "1"], ["test/01.jpg", "test/1.jpg"]),
    "nested": (["1", "2"], ["test/a/1.jpg", "test/b/c/2.jpg"]),
    "nested in the same name": (["1", "2"], ["test/test/1.jpg", "test/test/2.jpg"]),
    "paths": (["a/1.jpg", "b/1.jpg"], ["test/a/1.jpg", "test/b/1.jpg"]),
    "paths without suffix": (["test/a/1", "test/b/1"], ["test/a/1.jpg", "test/b/1.jpg"]),
    "dots in names": (["1.5", "1.6.jpg"], ["test/1.5.jpg", "test/1.6.jpg"]),
    "no suffix": (["1", "2"], ["test/1", "test/2"]),
    "composed and decomposed letters": (["\u00e9", "e\u0301e"], ["test/e\u0301.jpg", "test/\u00e9e.jpg"]),
    "another order": (["10", "9", "1"], ["test/10.jpg", "test/9.jpg", "test/1.jpg"]),
    "spaces": (["a b", "a  b"], ["test/a b.jpg", "test/a  b.jpg"]),
    "a comma": (['"1,5"', "2"], ["test/1,5.jpg", "test/2.jpg"]),
}


@pytest.mark.parametrize(("ids", "files"), IDS_AND_FILES.values(), ids=IDS_AND_FILES)
def test_ids_are_matched_by_name(tmp_path: Path, ids: list[str], files: list[str]) -> None:
    sample = "id,label\n" + "".join(f"{i},0.5\n" for i in ids)

    result = found(tmp_path, [*TWO[:2], *files], {"sample_submission.csv": sample})

    # As the sample writes them: a submission must repeat its ids to the letter.
    assert id_of(result) == dict(zip(files, (i.strip('"') for i in ids), strict=True))
    assert list(result.sample["id"]) == [i.strip('"') for i in ids]


LABELLED = {
    "prefix": (["tabby_cat-12.jpg", "dog.house.3.PNG"], ["tabby_cat", "dog.house"]),
    "prefix in folders": (["a/cat_1.jpg", "a/dog_1.jpg"], ["cat", "dog"]),
    "folders": (["cat/1.jpg", "dog/1.jpg"], ["cat", "dog"]),
    "folders below a folder": (["train/cat/1.jpg", "train/dog/2.jpg"], ["cat", "dog"]),
    "folders in folders": (["cat/a/1.jpg", "cat/2.jpg", "dog/b/c/3.jpg"], ["cat", "cat", "dog"]),
    "folders that names repeat": (["A/A1.jpg", "B/B1.jpg"], ["A", "B"]),
    "folders and prefix alike": (["n01/n01_1.JPEG", "n02/n02_1.JPEG"], ["n01", "n02"]),
    "numbers": (["0/1.jpg", "10/2.jpg", "9/3.jpg"], ["0", "10", "9"]),
    "hidden and foreign files": (
        ["cat/1.jpg", "cat/.1.jpg", ".x/2.jpg", "Thumbs.db", "dog/2.jpg"],
        ["cat", "", "", "", "dog"],
    ),
    "spaces at the end": (["cat /1.jpg", "fat cat/2.jpg"], ["cat", "fat cat"]),
    "other alphabets": (["猫/1.jpg", "собака/2.jpg", "e\u0301cureuil/3.jpg"], ["猫", "собака", "\u00e9cureuil"]),
    "case": (["A/1.jpg", "a/2.jpg"], ["A", "a"]),
}


@pytest.mark.parametrize(("files", "classes"), LABELLED.values(), ids=LABELLED)
def test_names_and_folders_are_labels(tmp_path: Path, files: list[str], classes: list[str]) -> None:
    files = [f"train/{file}" for file in files]
    columns = sorted({name for name in classes if name})
    sample = f"id,{','.join(columns)}\n1{',0' * len(columns)}\n"

    result = found(tmp_path, [*files, "test/1.jpg"], {"sample_submission.csv": sample})

    assert class_of(result) == {file: name for file, name in zip(files, classes, strict=True) if name}
    assert result.competition.submission == Submission("probabilities", ["id", *columns])


@pytest.mark.parametrize(
    "train", ["train", "Train", "training", "train_images", "imgs/train", "train-jpg", "stage1_train"]
)
@pytest.mark.parametrize("test", ["test", "TEST", "testing", "test_images", "imgs/test", "test_stg1", "test_set"])
def test_folders_of_the_splits(tmp_path: Path, train: str, test: str) -> None:
    files = [f"{train}/cat.0.jpg", f"{train}/dog.0.jpg", f"{test}/1.jpg"]

    result = found(tmp_path, files, {"sample_submission.csv": "id,label\n1,0.5\n"})

    assert class_of(result) == {files[0]: "cat", files[1]: "dog"}
    assert id_of(result) == {files[2]: "1"}


# Classes, the sample's column and values, data.positive_class, and the submission that they mean.
ONE_COLUMN = {
    "last by name": (["cat", "dog"], "label", ["0.5"], None, ("probability", "dog")),
    "said": (["cat", "dog"], "label", ["0.5"], "cat", ("probability", "cat")),
    "zeros": (["cat", "dog"], "label", ["0"], None, ("probability", "dog")),
    "ones": (["cat", "dog"], "label", ["1", "0"], None, ("probability", "dog")),
    "exponents": (["cat", "dog"], "label", ["1e-05"], None, ("probability", "dog")),
    "called like the first class": (["cat", "dog"], "cat", ["0.5"], None, ("probability", "cat")),
    "called like the first class, but for case": (["Cat", "dog"], "cat", ["0.5"], None, ("probability", "Cat")),
    "called like the last class": (["cat", "dog"], "Dog", ["0.5"], None, ("probability", "dog")),
    "called like a class, but said": (["cat", "dog"], "cat", ["0.5"], "dog", ("probability", "dog")),
    "classes 0 and 1, halves": (["0", "1"], "label", ["0.5"], None, ("probability", "1")),
    "classes 0 and 1, zeros": (["0", "1"], "label", ["0"], None, ("probability", "1")),
    "classes 0 and 1, both": (["0", "1"], "label", ["0", "1"], None, ("probability", "1")),
    "classes 0 and 1, said": (["0", "1"], "label", ["0"], "0", ("probability", "0")),
    "classes 1 and 2": (["1", "2"], "label", ["1"], None, ("class", None)),
    "classes 1 and 2, said": (["1", "2"], "label", ["1"], "1", ("probability", "1")),
    "classes 1 and 2, halves": (["1", "2"], "label", ["0.5"], None, ("probability", "2")),
    "two names": (["cat", "dog"], "label", ["cat"], None, ("class", None)),
    "truth": (["False", "True"], "label", ["0.1"], None, ("probability", "True")),
    "truth by name": (["False", "True"], "label", ["False"], None, ("class", None)),
    "numbers": (["0", "1", "2"], "label", ["0"], None, ("class", None)),
    "numbers of two digits": (["00", "01", "10"], "label", ["01"], None, ("class", None)),
    "nothing": (["a", "b", "c"], "label", [""], None, ("class", None)),
    "names that end in numbers": (["Type 0", "Type 1", "x"], "label", ["Type 1"], None, ("class", None)),
    "confidence": (["a", "b", "c"], "label", ["a 0.93", "c 1e-3"], None, ("class_confidence", None)),
    "confidence of numbers": (["1", "2", "3"], "label", ["1 0.93"], None, ("class_confidence", None)),
    "confidence of one of two": (["1", "2"], "label", ["1 0.93"], None, ("class_confidence", None)),
    "confidence and names with spaces": (
        ["a b", "c", "d"],
        "label",
        ["a b 0.9", "c 1"],
        None,
        ("class_confidence", None),
    ),
}


@pytest.mark.parametrize(("names", "column", "values", "positive", "expected"), ONE_COLUMN.values(), ids=ONE_COLUMN)
def test_one_column(
    tmp_path: Path,
    names: list[str],
    column: str,
    values: list[str],
    positive: str | None,
    expected: tuple[str, str | None],
) -> None:
    files = [f"train/{name}/x{i}.jpg" for i, name in enumerate(names)] + [f"test/{i}.jpg" for i in range(len(values))]
    sample = f"id,{column}\n" + "".join(f"{i},{value}\n" for i, value in enumerate(values))

    submission = found(tmp_path, files, {"sample_submission.csv": sample}, "auto", positive).competition.submission

    assert (submission.kind, submission.positive_class) == expected
    assert submission.columns == ["id", column]


def test_sample_settles_which_labels_are_meant(tmp_path: Path) -> None:
    files = ["train/x/cat.1.jpg", "train/y/dog.1.jpg", "test/1.jpg"]

    for columns, source in (("x,y", "folders"), ("cat,dog", "prefix"), ("u,v", "t.csv:a"), ("p,q", "t.csv:b")):
        tables: Tables = {
            "sample_submission.csv": f"id,{columns}\n1,0,0\n",
            "t.csv": "id,a,b\ncat.1,u,q\ndog.1,v,p\n",
        }
        assert found(tmp_path, files, tables).competition.labels_from == source


@pytest.mark.parametrize(("value", "source"), [("x", "folders"), ("cat", "prefix"), ("u 0.9", "t.csv:a")])
def test_values_of_the_sample_settle_which_labels_are_meant(tmp_path: Path, value: str, source: str) -> None:
    files = ["train/x/cat.1.jpg", "train/y/dog.1.jpg", "test/1.jpg"]
    table = "id,a,b\ncat.1,u,q\ndog.1,v,p\n"

    result = found(tmp_path, files, {"sample_submission.csv": f"id,c\n1,{value}\n", "t.csv": table})

    assert result.competition.labels_from == source


@pytest.mark.parametrize(
    "names",
    [
        ["0/0/00a", "0/1/01b", "1/1/11c"],  # Folders that only spread the pictures.
        ["2017_01_05", "2017_01_06", "2017_02_01"],  # Dates.
        ["img_1", "img_2", "img_3"],
        ["cat_1", "dog_1", "3", "4", "5"],
        ["cat/1", "dog/1", "3", "4", "5"],
    ],
)
def test_names_and_folders_without_classes_are_no_labels(tmp_path: Path, names: list[str]) -> None:
    table = "path,y\n" + "".join(f"{name},{'ab'[i % 2]}\n" for i, name in enumerate(names))
    files = [*(f"train/{name}.jpg" for name in names), "test/9.jpg"]

    result = found(tmp_path, files, {"t.csv": table, "sample_submission.csv": "id,z\n9,0.5\n"})

    assert result.competition.labels_from == "t.csv:y"


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ("prefix", ["cat", "dog"]),
        ("folders", ["x", "y"]),
        ("t.csv:a", ["u", "v"]),
        ("t.csv:b", ["q", "p"]),
        ("sub/t.csv", ["m", "n"]),
    ],
)
def test_params_say_which_labels_are_meant(tmp_path: Path, labels: str, classes: list[str]) -> None:
    files = ["train/x/cat.1.jpg", "train/y/dog.1.jpg", "test/1.jpg"]
    tables: Tables = {
        "sample_submission.csv": "id,p\n1,0.5\n",
        "t.csv": "id,a,b\ncat.1,u,q\ndog.1,v,p\n",
        "sub/t.csv": "id,c\ncat.1,m\ndog.1,n\n",
    }

    result = found(tmp_path, files, tables, labels)

    assert list(class_of(result).values()) == classes
    assert result.competition.labels_from in (labels, f"{labels}:c")


def test_symbolic_links_are_followed(tmp_path: Path) -> None:
    made(tmp_path / "elsewhere", ["c/1.jpg", "2.jpg"], {})
    raw = made(tmp_path / "raw", ["train/d/3.jpg"], {"sample_submission.csv": "id,label\n2,0.5\n"})
    (raw / "train/c").symlink_to(tmp_path / "elsewhere/c")
    (raw / "test").mkdir()
    (raw / "test/2.jpg").symlink_to("../../elsewhere/2.jpg")

    result = find_competition(raw, Data(raw="raw"))

    assert class_of(result) == {"train/c/1.jpg": "c", "train/d/3.jpg": "d"}
    assert id_of(result) == {"test/2.jpg": "2"}


@dataclass
class Bad:
    """A made competition that is refused: the one line that says so, without the path of the folder."""

    files: list[str]
    tables: Tables
    problem: str
    labels: str = "auto"
    positive_class: str | None = None


S = {"sample_submission.csv": SAMPLE}
S56 = {"sample_submission.csv": SAMPLE_56}
REFUSED = {
    "no training pictures": Bad(TWO[2:], S, "raw: no training pictures"),
    "no test pictures": Bad(TWO[:2], S, "raw: no test pictures"),
    "not unpacked": Bad(TWO[2:], S | {"train.zip": ""}, "raw: no training pictures"),
    "no sample": Bad(TWO, {}, "raw: no sample_submission.csv (or sampleSubmission.csv)"),
    "two samples": Bad(
        TWO, S | {"sampleSubmission.csv": SAMPLE}, "raw: found sampleSubmission.csv, sample_submission.csv"
    ),
    "two training folders": Bad([*TWO, "training/cat.1.jpg"], S, "raw: found train, training"),
    "only test pictures": Bad(
        ["images/1.jpg", "images/2.jpg"], S, "raw: every picture is a test picture of sample_submission.csv"
    ),
    "one folder, none of the ids": Bad(
        ["images/7.jpg", "images/8.jpg"],
        S,
        "sample_submission.csv: no id is the name of a test picture: found '1', and pictures like images/7.jpg",
    ),
    # The sample submission and the test pictures.
    "no id matches": Bad(
        [*TWO[:2], "test/a.jpg", "test/b.jpg"],
        S,
        "sample_submission.csv: no id is the name of a test picture: found '1', and pictures like test/a.jpg",
    ),
    "leading zeros lost": Bad(
        [*TWO[:2], "test/01.jpg", "test/2.jpg"],
        S,
        "sample_submission.csv: id '1' has no picture among the test files\n"
        "test/01.jpg: a test picture without an id in sample_submission.csv",
    ),
    "id without picture": Bad(TWO[:3], S, "sample_submission.csv: id '2' has no picture among the test files"),
    "test picture without id": Bad(
        [*TWO, "test/3.jpg"], S, "test/3.jpg: a test picture without an id in sample_submission.csv"
    ),
    "id twice": Bad(TWO, {"sample_submission.csv": SAMPLE + "2,0.5\n"}, "sample_submission.csv: id '2' stands 2 times"),
    "two ids, one picture": Bad(
        TWO,
        {"sample_submission.csv": SAMPLE + "2.jpg,0.5\n"},
        "sample_submission.csv: id '2' and '2.jpg' both mean test/2.jpg",
    ),
    "two pictures, one id": Bad(
        [*TWO, "test/2.png"], S, "sample_submission.csv: id '2' is claimed by test/2.jpg, test/2.png"
    ),
    "two pictures, one id, by folders": Bad(
        [*TWO, "test/a/2.jpg"], S, "sample_submission.csv: id '2' is claimed by test/2.jpg, test/a/2.jpg"
    ),
    "two pictures, one id, by case": Bad(
        [*TWO, "test/2.JPG"], S, "sample_submission.csv: id '2' is claimed by test/2.JPG, test/2.jpg"
    ),
    "empty id": Bad(
        TWO,
        {"sample_submission.csv": SAMPLE + ",0.5\n"},
        "sample_submission.csv: id '' has no picture among the test files",
    ),
    "column twice": Bad(
        TWO,
        {"sample_submission.csv": "id,cat,cat\n1,0,0\n2,0,0\n"},
        "sample_submission.csv: column cat stands more than once",
    ),
    "one column": Bad(
        TWO, {"sample_submission.csv": "id\n1\n2\n"}, "sample_submission.csv: found 2 rows and 1 columns"
    ),
    "header only": Bad(
        TWO, {"sample_submission.csv": "id,label\n"}, "sample_submission.csv: found 0 rows and 2 columns"
    ),
    "empty file": Bad(TWO, {"sample_submission.csv": ""}, "sample_submission.csv: found 0 rows and 0 columns"),
    "row too long": Bad(
        TWO,
        {"sample_submission.csv": "id,label\n1,0.5\n2,0,5\n"},
        "sample_submission.csv: line 3 holds 3 values and the header 2",
    ),
    "row too short": Bad(
        TWO,
        {"sample_submission.csv": "id,label\n1,0.5\n2\n"},
        "sample_submission.csv: line 3 holds 1 values and the header 2",
    ),
    "not UTF-8": Bad(
        TWO,
        {"sample_submission.csv": "id,größe\n1,0\n2,0\n".encode("latin-1")},
        "sample_submission.csv: not readable as a table: 'utf-8' codec can't decode byte 0xf6 "
        "in position 5: invalid start byte",
    ),
    "UTF-16": Bad(
        TWO,
        {"sample_submission.csv": SAMPLE.encode("utf-16")},
        "sample_submission.csv: not readable as a table: 'utf-8' codec can't decode byte 0xff "
        "in position 0: invalid start byte",
    ),
    # The form of the submission.
    "class without pictures": Bad(
        TWO,
        {"sample_submission.csv": "id,cat,dog,emu\n1,0,0,0\n2,0,0,0\n"},
        "sample_submission.csv: a class without pictures: column emu has none in the training set",
    ),
    "class without column": Bad(
        [*TWO, "train/emu.1.jpg"],
        {"sample_submission.csv": "id,cat,dog\n1,0,0\n2,0,0\n"},
        "sample_submission.csv: no column for class emu of the training pictures",
    ),
    "class without column, numbers": Bad(
        NUMBERED,
        {"labels.csv": "id,x\n1,0\n2,1\n3,0.0\n4,1\n", "sample_submission.csv": "id,0,1\n5,0,0\n6,0,0\n"},
        "sample_submission.csv: no column for class 0.0 of the training pictures",
    ),
    "value without pictures": Bad(
        NUMBERED,
        {"l.csv": LABELS, "sample_submission.csv": "id,label\n5,a\n6,d\n"},
        "sample_submission.csv: label: found 'd' beside the classes a, b, c",
    ),
    "probability of three": Bad(
        [*TWO, "train/emu.1.jpg"], S, "sample_submission.csv: label: found '0.5' beside the classes cat, dog, emu"
    ),
    "probability above one": Bad(
        TWO,
        {"sample_submission.csv": "id,label\n1,0.5\n2,1.5\n"},
        "sample_submission.csv: label: found '0.5', '1.5' beside the classes cat, dog",
    ),
    "not a number": Bad(
        TWO,
        {"sample_submission.csv": "id,label\n1,nan\n2,nan\n"},
        "sample_submission.csv: label: found 'nan' beside the classes cat, dog",
    ),
    "several classes": Bad(
        NUMBERED,
        {"l.csv": LABELS, "sample_submission.csv": "id,label\n5,a b c\n6,a b c\n"},
        "sample_submission.csv: label: found 'a b c' beside the classes a, b, c",
    ),
    "confidence of a class without pictures": Bad(
        NUMBERED,
        {"l.csv": LABELS, "sample_submission.csv": "id,label\n5,a 0.9\n6,d 0.9\n"},
        "sample_submission.csv: label: found 'd' beside the classes a, b, c",
    ),
    "confidence in some rows": Bad(
        NUMBERED,
        {"l.csv": LABELS, "sample_submission.csv": "id,label\n5,a 0.9\n6,d e\n"},
        "sample_submission.csv: label: found 'a 0.9', 'd e' beside the classes a, b, c",
    ),
    "names and numbers": Bad(
        TWO,
        {"sample_submission.csv": "id,label\n1,cat\n2,0.5\n"},
        "sample_submission.csv: label: found '0.5' beside the classes cat, dog",
    ),
    "two classes and no values": Bad(
        TWO,
        {"sample_submission.csv": "id,label\n1,\n2,\n"},
        "sample_submission.csv: label: found no value beside the classes cat, dog",
    ),
    "positive class": Bad(TWO, S, "params.yaml: data.positive_class: found 'Dog'", "auto", "Dog"),
    # Labels.
    "no labels": Bad(NUMBERED, S56, "raw: found no two classes for pictures like train/1.jpg"),
    "labels of other pictures": Bad(
        NUMBERED,
        S56 | {"labels.csv": "id,label\n91,a\n92,b\n"},
        "raw: found no two classes for pictures like train/1.jpg",
    ),
    "leading zeros lost in labels": Bad(
        ["train/01.jpg", "train/02.jpg", *NUMBERED[4:]],
        S56 | {"l.csv": LABELS},
        "raw: found no two classes for pictures like train/01.jpg",
    ),
    "one class in all names": Bad(
        ["train/cat.1.jpg", *TWO[2:]],
        S,
        "raw: found no two classes for pictures like train/cat.1.jpg (only 'cat' from prefix)",
    ),
    "one class": Bad(["train/cat.1.jpg", *TWO[2:]], S, "raw: found only class 'cat' (from prefix)", "prefix"),
    "one class in a table": Bad(
        NUMBERED, S56 | {"l.csv": "id,label\n1,a\n2,a\n3,a\n4,a\n"}, "raw: found only class 'a' (from l.csv:label)"
    ),
    "one class folder": Bad(["train/cat/1.jpg", *TWO[2:]], S, "raw: found only class 'cat' (from folders)", "folders"),
    "empty class folder": Bad(
        ["train/a/1.jpg", "train/b/2.jpg", "train/c/.x", *TWO[2:]], S, "train/c: a class without pictures"
    ),
    "empty class folder of two": Bad(
        ["train/a/1.jpg", "train/b/.x", *TWO[2:]],
        S,
        "train/b: a class without pictures\nraw: found only class 'a' (from folders)",
    ),
    "outside of class folders": Bad(
        ["train/a/1.jpg", "train/b/2.jpg", "train/3.jpg", *TWO[2:]],
        S,
        "train/3.jpg: lies in no class folder (expected: CLASS/1.jpg)",
    ),
    "no class in the name": Bad(
        [*TWO, "train/emu.jpg"], S, "train/emu.jpg: has no class in its name (expected: cat.0.jpg)"
    ),
    "not a picture": Bad(
        [*TWO, "train/read me.txt"], S, "train/read me.txt: has no class in its name (expected: cat.0.jpg)"
    ),
    "label without picture": Bad(NUMBERED, S56 | {"l.csv": LABELS + "7,a\n"}, "l.csv: id '7' has no training picture"),
    "picture without label": Bad(
        NUMBERED, S56 | {"l.csv": LABELS.replace("2,b\n", "")}, "train/2.jpg: has no row in l.csv:label"
    ),
    "several classes for an id": Bad(
        NUMBERED, S56 | {"l.csv": LABELS + "2,c\n2,a\n"}, "l.csv: id '2' has several classes: 'b', 'c', 'a'"
    ),
    "several classes for a picture": Bad(
        NUMBERED, S56 | {"l.csv": LABELS + "2.jpg,c\n"}, "l.csv: id '2.jpg' has several classes: 'b', 'c'"
    ),
    "empty label": Bad(
        NUMBERED,
        S56 | {"l.csv": LABELS.replace("2,b", "2,")},
        "l.csv: id '2' has an empty label",
    ),
    "empty id of a label": Bad(NUMBERED, S56 | {"l.csv": LABELS + ",a\n"}, "l.csv: id '' has no training picture"),
    "two pictures, one label": Bad(
        [*NUMBERED, "train/a/1.jpg"],
        S56 | {"l.csv": LABELS},
        "l.csv: id '1' is claimed by train/1.jpg, train/a/1.jpg",
    ),
    "row too long in a table": Bad(
        NUMBERED, S56 | {"l.csv": LABELS + "5,a,b\n"}, "l.csv: line 6 holds 3 values and the header 2"
    ),
    "ambiguous": Bad(
        ["train/x/cat.1.jpg", "train/y/dog.1.jpg", *TWO[2:]],
        S,
        "raw: the labels are ambiguous: folders (2 classes), prefix (2 classes)",
    ),
    "ambiguous tables": Bad(
        NUMBERED,
        S56 | {"l.csv": LABELS, "m.csv": LABELS.replace("4,c", "4,a")},
        "raw: the labels are ambiguous: l.csv:label (3 classes), m.csv:label (3 classes)",
    ),
    "ambiguous columns": Bad(
        NUMBERED,
        {"l.csv": "id,x,y\n1,p,u\n2,p,v\n3,q,v\n4,q,v\n", "sample_submission.csv": "id,z\n5,0\n6,0\n"},
        "raw: the labels are ambiguous: l.csv:x (2 classes), l.csv:y (2 classes)",
    ),
    "ambiguous ids": Bad(
        NUMBERED,
        {"l.csv": "n,m,x\n1,4,a\n2,3,b\n3,2,b\n4,1,a\n", "sample_submission.csv": "id,x\n5,a\n6,a\n"},
        "l.csv: columns n and m name two pictures in one row: train/1.jpg and train/4.jpg",
    ),
    "no such table": Bad(
        NUMBERED, S56, "params.yaml: data.labels: found 'labels.csv', but there is no file labels.csv", "labels.csv"
    ),
    "no such column": Bad(
        NUMBERED,
        S56 | {"l.csv": LABELS},
        "l.csv: no column 'breed' of classes beside one of training ids",
        "l.csv:breed",
    ),
    "the ids as classes": Bad(
        NUMBERED, S56 | {"l.csv": LABELS}, "l.csv: no column 'id' of classes beside one of training ids", "l.csv:id"
    ),
    "no way to label": Bad(
        NUMBERED, S56, "params.yaml: data.labels: found 'prefixes', but there is no file prefixes", "prefixes"
    ),
    "several ones": Bad(
        PLANTS,
        {"t.csv": ONE_HOT.replace("1,0,0", "1,0,1"), "sample_submission.csv": PLANT_SAMPLE},
        "t.csv: image_id 'Train_1' holds 1, 0, 1 in healthy, rust, scab",
    ),
    "no one": Bad(
        PLANTS,
        {"t.csv": ONE_HOT.replace("1,0,0", "0,0,0"), "sample_submission.csv": PLANT_SAMPLE},
        "t.csv: image_id 'Train_1' holds 0, 0, 0 in healthy, rust, scab",
    ),
    "shares": Bad(
        PLANTS,
        {"t.csv": ONE_HOT.replace("1,0,0", ".5,.5,0"), "sample_submission.csv": PLANT_SAMPLE},
        "t.csv: image_id 'Train_1' holds .5, .5, 0 in healthy, rust, scab",
    ),
    "nothing in a column": Bad(
        PLANTS,
        {"t.csv": ONE_HOT.replace("1,0,0", "1,,0"), "sample_submission.csv": PLANT_SAMPLE},
        "t.csv: image_id 'Train_1' holds 1, , 0 in healthy, rust, scab",
    ),
    "one folder, a picture in no table": Bad(
        [*PLANTS, "images/Other.jpg"],
        {"t.csv": ONE_HOT, "sample_submission.csv": PLANT_SAMPLE},
        "images/Other.jpg: has no row in t.csv, one column a class",
    ),
    "one folder without a table": Bad(
        ["cats/1.jpg", "dogs/2.jpg", "dogs/3.jpg"],
        S,
        "cats: a class without pictures\nraw: found only class 'dogs' (from folders)\nraw: no folders train/ and test/",
    ),
    "table and folders differ": Bad(
        STATE_FARM,
        {
            "d.csv": DRIVERS.replace("c1", "c").replace("c0", "c1").replace("c,", "c0,"),
            "sample_submission.csv": STATE_FARM_SAMPLE,
        },
        "raw: the labels are ambiguous: d.csv:classname (2 classes), folders (2 classes)",
    ),
    "empty label in a table beside folders": Bad(
        [*STATE_FARM, "imgs/train/c1/img_12.jpg"],
        {"d.csv": DRIVERS.replace("c1", "") + "p,c1,img_12.jpg\n", "sample_submission.csv": STATE_FARM_SAMPLE},
        "d.csv: img 'img_11.jpg' has an empty classname",
    ),
    "row numbers beside numbers": Bad(
        NUMBERED,
        S56 | {"l.csv": "row,pic,label\n1,2,a\n2,3,b\n3,4,c\n4,9,c\n"},
        "l.csv: columns row and pic name two pictures in one row: train/1.jpg and train/2.jpg",
    ),
    "row numbers": Bad(
        NUMBERED,
        S56 | {"l.csv": "id,file,label\n1,2.jpg,a\n2,3.jpg,b\n3,4.jpg,c\n4,1.jpg,c\n"},
        "l.csv: columns id and file name two pictures in one row: train/1.jpg and train/2.jpg",
    ),
    "class that leaves the folder": Bad(
        NUMBERED,
        S56 | {"l.csv": LABELS.replace("2,b", "2,..")},
        "raw: the class '..' (from l.csv:label) can't be the name of a folder",
    ),
}


@pytest.mark.parametrize("bad", REFUSED.values(), ids=REFUSED)
def test_bad_input_is_named(tmp_path: Path, bad: Bad) -> None:
    with pytest.raises(UserError) as caught:
        found(tmp_path, bad.files, bad.tables, bad.labels, bad.positive_class)

    assert [
        problem.replace(f"{tmp_path}/", "").replace(f"{tmp_path}", "raw").split(";")[0]
        for problem in caught.value.problems
    ] == bad.problem.splitlines()
    # What is accepted, or what to do.
    assert all(problem.partition(";")[2].strip() for problem in caught.value.problems)
    assert not any("\n" in problem for problem in caught.value.problems)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder \(data\.raw\)"):
        find_competition(tmp_path / "nowhere", Data(raw="raw"))


def test_file_name_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    raw = made(tmp_path, TWO, {"sample_submission.csv": SAMPLE})
    try:
        (raw / os.fsdecode(b"train/caf\xe9.1.jpg")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 only")

    with pytest.raises(UserError, match=r"not UTF-8: 'train/caf\\udce9.1.jpg'; rename"):
        find_competition(raw, Data(raw="raw"))


def test_other_tables_are_passed_over(tmp_path: Path) -> None:
    others: Tables = {
        "classes.csv": "class\na\nb\nc\n",
        "nothing.csv": "",
        "._labels.csv": b"\x00\x05\x16\xff",  # macOS puts its own beside every file in a zip.
        "__MACOSX/._labels.csv": b"\x00\x05\x16\xff",
        "boxes.csv": "n,width\n1,10\n91,20\n92,30\n",
        "test.csv": "id,label\n1,b\n2,b\n3,b\n4,a\n",
        "my submission.csv": "id,label\n1,b\n2,b\n3,b\n4,a\n",
    }

    result = found(tmp_path, NUMBERED, {"labels.csv": LABELS, "sample_submission.csv": SAMPLE_56, **others})

    assert class_of(result) == ABCC


@pytest.mark.parametrize(
    "table",
    [
        "label,id\n0,1\n1,2\n2,3\n2,4\n",  # Every class is the name of a picture, but not every picture is named.
        "label,id\n1,1\n2,2\n3,3\n3,4\n",
        "n,label,id\n0,0,4\n1,1,2\n2,2,3\n3,1,1\n",  # The sample's name for the ids beside row numbers.
        "n,label,id\n4,0,1\n3,1,2\n2,2,3\n1,1,4\n",
        ",label,id\n4,0,1\n3,1,2\n2,2,3\n1,1,4\n",
    ],
)
def test_numbers_are_not_taken_for_ids(tmp_path: Path, table: str) -> None:
    sample = "id,label\n5,1\n6,1\n"
    rows = [dict(zip(table.split("\n")[0].split(","), row.split(","), strict=True)) for row in table.split("\n")[1:-1]]

    result = found(tmp_path, NUMBERED, {"train.csv": table, "sample_submission.csv": sample})

    assert class_of(result) == {f"train/{row['id']}.jpg": row["label"] for row in rows}


def test_ids_of_training_pictures_in_folders(tmp_path: Path) -> None:
    files = ["train/a/1.jpg", "train/b/1.jpg", "train/b/2.jpg", "test/5.jpg", "test/6.jpg"]
    table = "path,label\na/1.jpg,x\nb/1.jpg,y\ntrain/b/2,z\n"

    result = found(tmp_path, files, {"train.csv": table, "sample_submission.csv": "id,label\n5,x\n6,x\n"})

    assert class_of(result) == {"train/a/1.jpg": "x", "train/b/1.jpg": "y", "train/b/2.jpg": "z"}


def test_folders_complete_a_table(tmp_path: Path) -> None:
    files = [*STATE_FARM, "imgs/train/c1/img_12.jpg"]

    result = found(tmp_path, files, {"drivers.csv": DRIVERS, "sample_submission.csv": STATE_FARM_SAMPLE})

    assert result.competition.labels_from == "folders"
    assert class_of(result)["imgs/train/c1/img_12.jpg"] == "c1"


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        found(tmp_path, [*TWO, "train/emu.jpg", "test/3.jpg"], {"sample_submission.csv": SAMPLE + "4,0.5\n1,0.5\n"})

    named = [
        "train/emu.jpg: has no class",
        "id '1' stands 2 times",
        "id '4' has no picture",
        "test/3.jpg: a test picture",
    ]
    assert len(caught.value.problems) == len(named)
    assert all(name in problem for name, problem in zip(named, caught.value.problems, strict=True))


def test_many_problems_take_no_longer_than_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search a problem would take minutes here, and days with a million pictures."""
    n = 20_000
    raw = made(
        tmp_path,
        ["train/1.jpg", "test/1.jpg"],
        {
            "labels.csv": "id,label\n" + "".join(f"{i},{i % 5000}\n{i},{i % 4999}\n{i}x,0\n" for i in range(n)),
            "sample_submission.csv": "id,label\n" + "".join(f"{i},1\n{i},1\n" for i in range(n)),
        },
    )
    train, test = [f"train/{i}.jpg" for i in range(n)], [f"test/{i + n // 2}.jpg" for i in range(n)]

    monkeypatch.setattr(
        competition, "files_below", lambda _, folder: train if folder == PurePosixPath("train") else test
    )
    start = time.monotonic()

    with pytest.raises(UserError) as caught:
        find_competition(raw, Data(raw="raw"))

    assert time.monotonic() - start < 10
    # Each id has two classes from 4,999 on, and one without a picture; each stands twice, and half have no picture.
    assert len(caught.value.problems) == (n - 4999) + n + n + n // 2 + n // 2


def test_written_files_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = '\ufeffid;Fat Hen;"a, b";猫;x;y\r\n01;0;0;0;0;0\r\n"1 ; 2";0;0;0;0;0\r\n'
    files = [f"train/{name}/{i}.jpg" for i, name in enumerate(["Fat Hen", "a, b", "猫", "x", "y"])]
    result = found(tmp_path / "raw", [*files, "test/01.jpg", "test/1 ; 2.jpg"], {"sample_submission.csv": sample})
    monkeypatch.chdir(tmp_path)

    write_competition(result)
    write_table(MANIFEST, result.pictures)

    assert read_competition() == result.competition
    assert read_manifest().to_dict() == result.pictures.to_dict()
    assert read_table(SAMPLE_FILE).to_dict() == result.sample.to_dict()
    assert SAMPLE_FILE.read_bytes().startswith('id,Fat Hen,"a, b",猫,x,y\n01,0,0,0,0,0\n1 ; 2,0'.encode())


@pytest.mark.parametrize(
    ("file", "stem"),
    [("train/cat.0.jpg", "cat.0"), ("1.JPEG", "1"), ("a.b/c", "c"), ("1.5", "1.5"), ("a/x.jpg.png", "x.jpg")],
)
def test_picture_stem(file: str, stem: str) -> None:
    assert picture_stem(file) == stem
