"""Labels in tables: however they are written, and whichever column names the pictures."""

from pathlib import Path

import pytest
from made_competitions import Tables, found, target_of_files

NUMBERED = ["train/1.jpg", "train/2.jpg", "train/3.jpg", "train/4.jpg", "test/5.jpg", "test/6.jpg"]
SAMPLE_56 = "id,label\n5,a\n6,a\n"
LABELS = "id,label\n1,a\n2,b\n3,c\n4,c\n"
# What NUMBERED is labelled by in most tables below.
ABCC = {"train/1.jpg": "a", "train/2.jpg": "b", "train/3.jpg": "c", "train/4.jpg": "c"}

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

    assert target_of_files(result) == ABCC
    assert result.task.labels_from.startswith(f"{name}:")


@pytest.mark.parametrize("table", WRITINGS.values(), ids=WRITINGS)
def test_named_table_is_read_however_it_is_written(tmp_path: Path, table: str | bytes) -> None:
    other = "id,x\n1,u\n2,u\n3,v\n4,v\n"

    result = found(
        tmp_path, NUMBERED, {"a.csv": table, "b.csv": other, "sample_submission.csv": "id,y\n5,\n6,\n"}, labels="a.csv"
    )

    assert target_of_files(result) == ABCC


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

    assert target_of_files(result) == ABCC


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

    assert target_of_files(result) == {f"train/{row['id']}.jpg": row["label"] for row in rows}


def test_ids_of_training_pictures_in_folders(tmp_path: Path) -> None:
    files = ["train/a/1.jpg", "train/b/1.jpg", "train/b/2.jpg", "test/5.jpg", "test/6.jpg"]
    table = "path,label\na/1.jpg,x\nb/1.jpg,y\ntrain/b/2,z\n"

    result = found(tmp_path, files, {"train.csv": table, "sample_submission.csv": "id,label\n5,x\n6,x\n"})

    assert target_of_files(result) == {"train/a/1.jpg": "x", "train/b/1.jpg": "y", "train/b/2.jpg": "z"}
