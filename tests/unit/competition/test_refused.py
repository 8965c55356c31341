"""What cannot be read is refused in one line each: what was found, what is accepted, what to do."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from made_competitions import Tables, found, made, table

from gap_ensemble.competition.find import find_competition
from gap_ensemble.messages.errors import UserError
from gap_ensemble.params import Data

TWO = ["train/cat.0.jpg", "train/dog.0.jpg", "test/1.jpg", "test/2.jpg"]
NUMBERED = ["train/1.jpg", "train/2.jpg", "train/3.jpg", "train/4.jpg", "test/5.jpg", "test/6.jpg"]
SAMPLE = "id,label\n1,0.5\n2,0.5\n"
SAMPLE_56 = "id,label\n5,a\n6,a\n"
LABELS = "id,label\n1,a\n2,b\n3,c\n4,c\n"
STATE_FARM = ["imgs/train/c0/img_10.jpg", "imgs/train/c1/img_11.jpg", "imgs/test/img_1.jpg", "imgs/test/img_2.jpg"]
DRIVERS = "subject,classname,img\np002,c0,img_10.jpg\np012,c1,img_11.jpg\n"
STATE_FARM_SAMPLE = "img,c0,c1\nimg_1.jpg,0.1,0.1\nimg_2.jpg,0.1,0.1\n"
PLANTS = ["images/Test_0.jpg", "images/Test_1.jpg", *(f"images/Train_{i}.jpg" for i in range(4))]
ONE_HOT = "image_id,healthy,rust,scab\nTrain_0,0,0,1\nTrain_1,1,0,0\nTrain_2,0,1,0\nTrain_3,1.0,0.0,0.0\n"
PLANT_SAMPLE = "image_id,healthy,rust,scab\nTest_0,0.25,0.25,0.25\nTest_1,0.25,0.25,0.25\n"


@dataclass
class Bad:
    """A made competition that is refused: the one line that says so, without the path of the folder."""

    files: list[str]
    tables: Tables
    problem: str
    labels: str = "auto"
    positive_class: str | None = None
    data: dict[str, Any] = field(default_factory=dict)


S = {"sample_submission.csv": SAMPLE}
S56 = {"sample_submission.csv": SAMPLE_56}
REFUSED = {
    "no training pictures": Bad(TWO[2:], S, "raw: no training pictures"),
    "not unpacked": Bad(TWO[2:], S | {"train.zip": ""}, "raw: no training pictures"),
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
        "sample_submission.csv: id '1' has no picture among the test files",
    ),
    "id without picture": Bad(TWO[:3], S, "sample_submission.csv: id '2' has no picture among the test files"),
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
        "sample_submission.csv: a class without pictures: column emu has none in the training set (from prefix)",
    ),
    "class without column": Bad(
        [*TWO, "train/emu.1.jpg"],
        {"sample_submission.csv": "id,cat,dog\n1,0,0\n2,0,0\n"},
        "sample_submission.csv: no column for class emu of the training pictures (from prefix)",
    ),
    "class mistyped": Bad(
        [*TWO, "train/dgo.7.jpg"],
        {"sample_submission.csv": "id,cat,dog\n1,0,0\n2,0,0\n"},
        "sample_submission.csv: no column for class dgo of the training pictures (from prefix): 'train/dgo.7.jpg' has "
        "dgo (did you mean dog?)",
    ),
    "class without column, numbers": Bad(
        NUMBERED,
        {"labels.csv": "id,x\n1,0\n2,1\n3,0.0\n4,1\n", "sample_submission.csv": "id,0,1\n5,0,0\n6,0,0\n"},
        "sample_submission.csv: no column for class 0.0 of the training pictures (from labels.csv:x)",
    ),
    "probability of three": Bad(
        [*TWO, "train/emu.1.jpg"],
        S,
        "sample_submission.csv: label: found '0.5' beside the classes cat, dog, emu (from prefix)",
    ),
    "probability above one": Bad(
        TWO,
        {"sample_submission.csv": "id,label\n1,0.5\n2,1.5\n"},
        "sample_submission.csv: label: found '0.5', '1.5' beside the classes cat, dog (from prefix)",
    ),
    "not a number": Bad(
        TWO,
        {"sample_submission.csv": "id,label\n1,nan\n2,nan\n"},
        "sample_submission.csv: label: found 'nan' beside the classes cat, dog (from prefix)",
    ),
    "confidence in some rows": Bad(
        NUMBERED,
        {"l.csv": LABELS, "sample_submission.csv": "id,label\n5,a 0.9\n6,d e\n"},
        "sample_submission.csv: label: found 'a 0.9', 'd e' beside the classes a, b, c (from l.csv:label)",
    ),
    "names and numbers": Bad(
        TWO,
        {"sample_submission.csv": "id,label\n1,cat\n2,0.5\n"},
        "sample_submission.csv: label: found 'cat', '0.5' beside the classes cat, dog (from prefix)",
    ),
    "two classes and no values": Bad(
        TWO,
        {"sample_submission.csv": "id,label\n1,\n2,\n"},
        "sample_submission.csv: label: found no value beside the classes cat, dog (from prefix)",
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
    "label without picture": Bad(NUMBERED, S56 | {"l.csv": LABELS + "7,a\n"}, "l.csv: id '7' has no training picture"),
    "several classes for an id": Bad(
        NUMBERED, S56 | {"l.csv": LABELS + "2,c\n2,a\n"}, "l.csv: id '2' has several classes: 'b', 'c', 'a'"
    ),
    "several classes for a picture": Bad(
        NUMBERED, S56 | {"l.csv": LABELS + "2.jpg,c\n"}, "l.csv: id '2' has several classes: 'b', 'c'"
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
        NUMBERED,
        S56 | {"l.csv": LABELS + "5,a,b\n"},
        "l.csv: line 6 holds 3 values and the header 2",
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
    "one folder without a table": Bad(
        ["cats/1.jpg", "dogs/2.jpg", "dogs/3.jpg"],
        S,
        "raw: found no two classes for pictures like dogs/3.jpg (only 'dogs' from folders)",
    ),
    "table and folders differ": Bad(
        STATE_FARM,
        {
            "d.csv": DRIVERS.replace("c1", "c").replace("c0", "c1").replace("c,", "c0,"),
            "sample_submission.csv": STATE_FARM_SAMPLE,
        },
        "raw: the labels are ambiguous: d.csv:classname (2 classes), folders (2 classes)",
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
    "metric": Bad(
        TWO,
        S,
        "params.yaml: data.metric: found rmse, and prefix holds one class a row",
        data={"metric": "rmse"},
    ),
    "kappa of names": Bad(
        TWO,
        S,
        "params.yaml: data.metric: found quadratic_kappa, which needs grades, and prefix holds the names cat, dog, "
        "which have no order",
        data={"metric": "quadratic_kappa"},
    ),
    "words for numbers": Bad(
        NUMBERED,
        {"l.csv": "id,label\n1,1.5\n2,tall\n3,2\n4,2\n", "sample_submission.csv": "id,label\n5,1\n6,1\n"},
        "l.csv: id '2' holds 'tall' in label",
        data={"task": "numbers"},
    ),
    "words for grades": Bad(
        NUMBERED,
        {"l.csv": "id,label\n1,11\n2,low\n3,12\n4,12\n", "sample_submission.csv": "id,label\n5,1\n6,1\n"},
        "l.csv: id '2' holds 'low' in label",
        data={"task": "grades"},
    ),
    "probabilities where labels are several": Bad(
        NUMBERED,
        {"l.csv": "id,label\n1,a b\n2,b\n3,a\n4,a b\n", "sample_submission.csv": "id,label\n5,0.5\n6,0.5\n"},
        "sample_submission.csv: label: found '0.5' beside the labels a, b (from l.csv:label)",
    ),
    "columns that no table has": Bad(
        NUMBERED,
        {"l.csv": LABELS, "sample_submission.csv": "id,p,q\n5,0,0\n6,0,0\n"},
        "sample_submission.csv: p, q: found '0' beside the classes a, b, c (from l.csv:label)",
    ),
    "masks": Bad(
        NUMBERED,
        {"l.csv": LABELS, "sample_submission.csv": "id,EncodedPixels\n5,1 1\n6,1 1\n"},
        "sample_submission.csv: the column EncodedPixels asks for masks of pixels (segmentation)",
    ),
    "boxes": Bad(
        NUMBERED,
        {"l.csv": LABELS, "sample_submission.csv": "id,PredictionString\n5,1 1\n6,1 1\n"},
        "sample_submission.csv: the column PredictionString asks for boxes (detection)",
    ),
    "pixels in a table": Bad(
        [],
        {
            "train.csv": table("label," + ",".join(f"pixel{i}" for i in range(784)), [[3, *range(784)]] * 2),
            "sample_submission.csv": "ImageId,Label\n1,0\n",
        },
        "raw: no pictures",
    ),
    "pixels in one column": Bad(
        [], {"a.csv": table("emotion,pixels", [[3, "70 80 " * 99 + "1"]]), **S}, "raw: no pictures"
    ),
    "arrays in JSON": Bad(
        [], {"train.json": '[{"id": "a", "band_1": [' + "1.5, " * 99 + "1]}]", **S}, "raw: no pictures"
    ),
    "TFRecords": Bad([], {"train/00.tfrec": "x", **S}, "raw: no pictures"),
    "table without rows": Bad(
        NUMBERED,
        S56 | {"train.csv": ""},
        "train.csv: found no rows",
    ),
    "JSON that is broken": Bad(
        NUMBERED,
        {"train.json": "[{", **S56},
        "train.json: not readable as JSON: Expecting property name enclosed in double quotes: line 1 column 3 (char 2)",
    ),
}


@pytest.mark.parametrize("bad", REFUSED.values(), ids=REFUSED)
def test_bad_input_is_named(tmp_path: Path, bad: Bad) -> None:
    with pytest.raises(UserError) as caught:
        found(tmp_path, bad.files, bad.tables, labels=bad.labels, positive_class=bad.positive_class, **bad.data)

    assert [
        problem.replace(f"{tmp_path}/", "").replace(f"{tmp_path}", "raw").split(";")[0].split(", which no form")[0]
        for problem in caught.value.problems
    ] == bad.problem.splitlines()
    # What is accepted, or what to do.
    assert all(problem.partition(";")[2].strip() for problem in caught.value.problems)
    assert not any("\n" in problem for problem in caught.value.problems)


def test_the_converter_is_named_where_pictures_stand_in_tables(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"python -m tools.convert auto {tmp_path}"):
        found(tmp_path, [], {"train.bson": "x", **S})


def test_the_nearest_forms_are_named_with_what_speaks_for_and_against_them(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        found(tmp_path, NUMBERED, {"l.csv": LABELS, "sample_submission.csv": "id,label\n5,a\n6,0.5 x y\n"})

    line = str(caught.value)
    assert "nearest: class (for: a; against: '0.5 x y' is no class)" in line
    assert "guesses or class and confidence" in line
    assert "data.labels: FILE:COLUMN" in line


def test_tables_without_labels_are_shown_with_their_columns(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"found: train\.csv with id, a, b; .* wants label, a column of no table\), a folder"
    ):
        found(tmp_path, NUMBERED, S56 | {"train.csv": "id,a,b\n91,x,y\n92,y,x\n"})


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


@pytest.mark.parametrize(
    ("archive", "command"),
    [
        ("train.zip", "python -m tools.raw unpack --to"),
        ("train.tar.gz", "python -m tools.raw unpack --to"),
        ("train.zip.001", "python -m tools.raw unpack --to"),
        ("bundle/train.zip", "python -m tools.raw unpack .*bundle/train.zip --to"),
        ("train.7z", "7z x .*train.7z -o"),
        ("images.rar", "7z x .*images.rar -o"),
    ],
)
def test_archives_that_are_not_unpacked_are_named(tmp_path: Path, archive: str, command: str) -> None:
    name = archive.rpartition("/")[2]
    with pytest.raises(UserError, match=rf"no training pictures; .*{name} is not unpacked: run `{command}"):
        found(tmp_path, TWO[2:], {"sample_submission.csv": SAMPLE, archive: "x"})


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        found(tmp_path, [*TWO, "train/emu.jpg"], {"sample_submission.csv": SAMPLE + "4,0.5\n1,0.5\n"})

    named = ["train/emu.jpg: has no class", "id '1' stands 2 times", "id '4' has no picture"]
    assert len(caught.value.problems) == len(named)
    assert all(name in problem for name, problem in zip(named, caught.value.problems, strict=True))
