"""Which way of labelling is meant: a table's column, folders, or the start of the name."""

import json
from pathlib import Path
from typing import Any

import pytest
from made_competitions import Tables, found, table, target_of_files, warned

from gap_ensemble.competition.found import Submission, read_competition, read_rows, write_competition
from gap_ensemble.messages.errors import UserError
from gap_ensemble.paths import SAMPLE

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

    assert target_of_files(result) == {file: name for file, name in zip(files, classes, strict=True) if name}
    assert result.submission == Submission("probabilities", ["id", *columns])


def test_sample_settles_which_labels_are_meant(tmp_path: Path) -> None:
    files = ["train/x/cat.1.jpg", "train/y/dog.1.jpg", "test/1.jpg"]

    for columns, source in (("x,y", "folders"), ("cat,dog", "prefix"), ("u,v", "t.csv:a"), ("p,q", "t.csv:b")):
        tables: Tables = {
            "sample_submission.csv": f"id,{columns}\n1,0,0\n",
            "t.csv": "id,a,b\ncat.1,u,q\ndog.1,v,p\n",
        }
        assert found(tmp_path, files, tables).task.labels_from == source


@pytest.mark.parametrize(("value", "source"), [("x", "folders"), ("cat", "prefix"), ("u 0.9", "t.csv:a")])
def test_values_of_the_sample_settle_which_labels_are_meant(tmp_path: Path, value: str, source: str) -> None:
    files = ["train/x/cat.1.jpg", "train/y/dog.1.jpg", "test/1.jpg"]
    table = "id,a,b\ncat.1,u,q\ndog.1,v,p\n"

    result = found(tmp_path, files, {"sample_submission.csv": f"id,c\n1,{value}\n", "t.csv": table})

    assert result.task.labels_from == source


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

    assert result.task.labels_from == "t.csv:y"


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

    result = found(tmp_path, files, tables, labels=labels)

    assert list(target_of_files(result).values()) == classes
    assert result.task.labels_from in (labels, f"{labels}:c")


def test_folders_complete_a_table(tmp_path: Path) -> None:
    files = ["train/c0/10.jpg", "train/c1/11.jpg", "train/c1/12.jpg", "test/1.jpg"]
    tables: Tables = {"drivers.csv": "img,class\n10,c0\n11,c1\n", "sample_submission.csv": "img,c0,c1\n1,0,0\n"}

    result = found(tmp_path, files, tables)

    assert result.task.labels_from == "folders"
    assert target_of_files(result)["train/c1/12.jpg"] == "c1"


def test_training_pictures_that_a_table_does_not_name_are_left_out_with_a_warning(tmp_path: Path) -> None:
    files = [f"train/{i}.jpg" for i in range(6)]
    table = "id,label\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(4))

    result = found(tmp_path, [*files, "test/9.jpg"], {"l.csv": table, "sample_submission.csv": "id,label\n9,a\n"})

    assert list(target_of_files(result)) == files[:4]
    assert warned(result, "2 training pictures have no row", "train/4.jpg, train/5.jpg")


def test_rows_that_systems_left_in_a_table_are_no_labels(tmp_path: Path) -> None:
    files = ["train/1.png", "train/2.png", "test/9.png"]
    table = "image,cultivar\n1.png,a\n2.png,b\n.DS_Store,\n"

    result = found(tmp_path, files, {"l.csv": table, "sample_submission.csv": "image,cultivar\n9.png,a\n"})

    assert target_of_files(result) == {"train/1.png": "a", "train/2.png": "b"}


@pytest.mark.parametrize(
    ("column", "source", "kind"), [("grade", "t.csv:grade", "grades"), ("species", "t.csv:species", "classes")]
)
def test_the_samples_column_decides_between_two(tmp_path: Path, column: str, source: str, kind: str) -> None:
    files = [f"train/{i}.jpg" for i in range(8)]
    table = "id,grade,species\n" + "".join(f"{i},{i % 4},{'ab'[i % 2]}\n" for i in range(8))
    value = {"grade": "0", "species": "a"}[column]

    result = found(
        tmp_path, [*files, "test/9.jpg"], {"t.csv": table, "sample_submission.csv": f"id,{column}\n9,{value}\n"}
    )

    assert (result.task.labels_from, result.task.kind) == (source, kind)


@pytest.mark.parametrize(
    ("metric", "source"), [("rmse", "t.csv:height"), ("quadratic_kappa", "t.csv:rank"), ("accuracy", "t.csv:label")]
)
def test_the_metric_decides_between_columns(tmp_path: Path, metric: str, source: str) -> None:
    files = [f"train/{i}.jpg" for i in range(8)]
    rows = "".join(f"{i},{i * 1.5 + 0.25},{'ab'[i % 2]},{i % 4}\n" for i in range(8))
    tables = {
        "rmse": "id,height,label\n" + "".join(f"{i},{i * 1.5 + 0.25},{'ab'[i % 2]}\n" for i in range(8)),
        "quadratic_kappa": "id,rank,label\n" + "".join(f"{i},{i % 4},{'ab'[i % 2]}\n" for i in range(8)),
        "accuracy": "id,height,label,rank\n" + rows,
    }
    sample = {"rmse": "0.5", "quadratic_kappa": "0", "accuracy": "a"}[metric]

    result = found(
        tmp_path,
        [*files, "test/9.jpg"],
        {"t.csv": tables[metric], "sample_submission.csv": f"id,target\n9,{sample}\n"},
        metric=metric,
    )

    assert result.task.labels_from == source
    assert result.task.metric == metric


@pytest.mark.parametrize(
    ("values", "shown", "kind", "separator", "names"),
    [
        (["scab", "rust", "scab rust", "healthy"], "healthy", "labels", " ", ["healthy", "rust", "scab"]),
        (["0 14", "3", "14 3 0", "0"], "0", "labels", " ", ["0", "3", "14"]),  # In the order of numbers.
        (["A|B", "A", "B", "A B|B", "A B"], "A", "labels", "|", ["A", "A B", "B"]),
        (["x,y", "x", "y", "z,x", "z"], "x", "labels", ",", ["x", "y", "z"]),
        (["a b", "", "b", "a"], "a b", "labels", " ", ["a", "b"]),
        (["Sugar beet", "Fat Hen", "Charlock", "Maize"], "Maize", "classes", " ", None),
        (["Acer rubrum", "Acer mono", "Ulmus rubra"], "Acer mono", "classes", " ", None),
        (["road clear", "haze water", "clear haze", "haze water"], "haze road water", "labels", " ", None),
    ],
)
def test_several_labels_in_one_field(
    tmp_path: Path, values: list[str], shown: str, kind: str, separator: str, names: list[str] | None
) -> None:
    files = [f"train/{i}.jpg" for i in range(3 * len(values))]
    table = "id,tags\n" + "".join(f'{i},"{values[i % len(values)]}"\n' for i in range(len(files)))

    result = found(
        tmp_path, [*files, "test/99.jpg"], {"train.csv": table, "sample_submission.csv": f'id,tags\n99,"{shown}"\n'}
    )

    assert (result.task.kind, result.task.separator) == (kind, separator)
    assert result.task.names == (names or sorted({n for v in values for n in (v.split() if kind == "labels" else [v])}))
    assert set(target_of_files(result).values()) == set(values)


def test_a_name_of_two_words_is_a_label_if_the_parameters_say_so(tmp_path: Path) -> None:
    files = ["train/1.jpg", "train/2.jpg", "train/3.jpg", "test/9.jpg"]
    tables: Tables = {"l.csv": "id,t\n1,a b\n2,c d\n3,a b\n", "sample_submission.csv": "id,t\n9,a b\n"}

    assert found(tmp_path / "auto", files, tables).task.names == ["a b", "c d"]
    assert found(tmp_path / "said", files, tables, task="labels").task.names == ["a", "b", "c", "d"]


def test_a_line_a_label_makes_several_labels(tmp_path: Path) -> None:
    files = [f"train/{i}.jpg" for i in range(12)]
    lines = [(i, label) for i in range(12) for label in ("ab", "b", "ca")[i % 3]]
    table = "id,label\n" + "".join(f"{i},{label}\n" for i, label in lines)

    result = found(tmp_path, [*files, "test/99.jpg"], {"t.csv": table, "sample_submission.csv": "id,label\n99,a b\n"})

    assert result.task.kind == "labels"
    assert next(iter(target_of_files(result).values())) == "a b"


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        (["1,0", "0,1", "1,0", "0,1"], "classes"),
        (["1,0", "1,1", "0,0", "0,1"], "labels"),
        (["1.0,0.0", "0.0,1.0", "1.0,0.0", "0.0,1.0"], "classes"),
        (["0.25,0.75", "0.5,0.5", "1,0", "0.3,0.7"], "numbers"),
        (["12,0", "3,7", "0,0", "1,1"], "numbers"),
    ],
)
def test_a_column_a_name(tmp_path: Path, rows: list[str], kind: str) -> None:
    files = [f"train/{i}.jpg" for i in range(4)]
    table = "id,x,y\n" + "".join(f"{i},{row}\n" for i, row in enumerate(rows))

    result = found(tmp_path, [*files, "test/9.jpg"], {"t.csv": table, "sample_submission.csv": "id,x,y\n9,0,0\n"})

    assert (result.task.kind, result.task.names) == (kind, ["x", "y"])


def test_a_few_rows_without_exactly_one_class_are_mistakes_among_many(tmp_path: Path) -> None:
    files = [f"train/{i}.jpg" for i in range(200)]
    table = "id,x,y\n" + "".join(f"{i},{int(i % 2 == 0 or i == 7)},{i % 2}\n" for i in range(200))
    tables: Tables = {"t.csv": table, "sample_submission.csv": "id,x,y\n999,0,0\n"}

    with pytest.raises(UserError, match=r"id '7' holds 1, 1 in x, y; accepted: exactly one 1 a row"):
        found(tmp_path, [*files, "test/999.jpg"], tables)
    assert found(tmp_path, [], {}, task="labels").task.kind == "labels"


def test_some_rows_without_exactly_one_class_among_few_are_warned_of(tmp_path: Path) -> None:
    table = "id,x,y\n1,1,0\n2,0,1\n3,1,1\n4,1,0\n"
    files = [f"train/{i}.jpg" for i in range(1, 5)]

    result = found(tmp_path, [*files, "test/9.jpg"], {"t.csv": table, "sample_submission.csv": "id,x,y\n9,0,0\n"})

    assert result.task.kind == "labels"
    assert warned(result, "1 of 4 rows, such as '3'", "data.task: classes")


def test_classes_are_called_as_the_samples_columns_are(tmp_path: Path) -> None:
    files = [f"train/{i}.jpg" for i in range(4)]
    table = "id,species\n0,Acer rubrum\n1,acer mono\n2,Acer rubrum\n3,acer mono\n"
    sample = "id,Acer_Mono,Acer_Rubrum\n9,0.5,0.5\n"

    result = found(tmp_path, [*files, "test/9.jpg"], {"t.csv": table, "sample_submission.csv": sample})

    assert result.task.names == ["Acer_Mono", "Acer_Rubrum"]
    assert target_of_files(result)["train/0.jpg"] == "Acer_Rubrum"


def test_integers_that_may_be_grades_are_warned_of(tmp_path: Path) -> None:
    files = [f"train/{i}.jpg" for i in range(8)]
    tables: Tables = {
        "t.csv": "id,label\n" + "".join(f"{i},{i % 4}\n" for i in range(8)),
        "sample_submission.csv": "id,label\n99,0\n",
    }

    auto = found(tmp_path, [*files, "test/99.jpg"], tables)
    said = found(tmp_path, [], {}, task="grades")

    assert auto.task.kind == "classes"
    assert warned(auto, "data.task: grades")
    assert (said.task.kind, said.task.metric) == ("grades", "quadratic_kappa")
    assert not warned(said, "data.task")


def test_missing_grades_between_others_are_grades(tmp_path: Path) -> None:
    files = [f"train/{i}.jpg" for i in range(6)]
    table = "id,level\n" + "".join(f"{i},{(0, 1, 4)[i % 3]}\n" for i in range(6))

    result = found(tmp_path, [*files, "test/99.jpg"], {"t.csv": table, "sample_submission.csv": "id,level\n99,0\n"})

    assert result.task.names == ["0", "1", "2", "3", "4"]


def test_bad_rows_are_left_out_if_the_parameters_say_so(tmp_path: Path) -> None:
    files = ["train/1.jpg", "train/2.jpg", "train/3.jpg", "test/8.jpg"]
    tables: Tables = {
        "l.csv": "id,label\n1,a\n2,b\n3,\n4,b\n",
        "sample_submission.csv": "id,label\n8,a\n9,a\n",
    }

    with pytest.raises(UserError) as caught:
        found(tmp_path, files, tables)
    result = found(tmp_path, [], {}, bad_images="skip")

    assert len(caught.value.problems) == 3
    assert all("data.bad_images: skip" in problem for problem in caught.value.problems)
    assert target_of_files(result) == {"train/1.jpg": "a", "train/2.jpg": "b"}
    assert list(result.rows["pictures"]) == [1, 1, 1, 0]
    assert warned(result, "'9'", "data.bad_images: skip")


COCO: dict[str, list[dict[str, Any]]] = {
    "images": [{"id": i, "file_name": f"train/{i % 2}/x{i}.jpg", "location": i % 3} for i in range(12)],
    "annotations": [{"id": 100 + i, "image_id": i, "category_id": 40 + i % 4} for i in range(12)],
    "categories": [{"id": 40 + k, "name": f"species {k}"} for k in range(4)],
}
COCO_FILES = [f"train/{i % 2}/x{i}.jpg" for i in range(12)]
COCO_TEST = {"images": [{"id": 500 + i, "file_name": f"test/y{i}.jpg"} for i in range(3)]}


@pytest.mark.parametrize(("value", "column"), [("40", "category_id"), ("species 1", "category_name")])
def test_annotations_as_coco_writes_them(tmp_path: Path, value: str, column: str) -> None:
    tables: Tables = {
        "train.json": json.dumps(COCO),
        "test.json": json.dumps(COCO_TEST),
        "sample_submission.csv": "Id,Category\n" + "".join(f"{500 + i},{value}\n" for i in range(3)),
    }

    result = found(tmp_path, [*COCO_FILES, *(f"test/y{i}.jpg" for i in range(3))], tables)

    assert result.task.labels_from == f"train.json:{column}"
    assert target_of_files(result)["train/1/x1.jpg"] == {"category_id": "41", "category_name": "species 1"}[column]
    assert list(result.rows["row"][-3:]) == ["500", "501", "502"]
    assert set(result.pictures["file"][-3:]) == {"test/y0.jpg", "test/y1.jpg", "test/y2.jpg"}


def test_a_picture_of_two_categories_is_left_out_where_one_is_asked_for(tmp_path: Path) -> None:
    second = {"id": 999, "image_id": 0, "category_id": 43}
    tables: Tables = {
        "train.json": json.dumps({**COCO, "annotations": [*COCO["annotations"], second]}),
        "sample_submission.csv": "Id,Category\ny0,40\n",
    }

    result = found(tmp_path, [*COCO_FILES, "test/y0.jpg"], tables)

    assert result.task.kind == "classes"
    assert "train/0/x0.jpg" not in target_of_files(result)
    assert warned(result, "1 rows such as '", "several categories")


def test_annotations_in_two_files_are_read_together(tmp_path: Path) -> None:
    halves = [
        {
            "images": [row for row in COCO["images"] if int(str(row["id"])) % 2 == k],
            "annotations": [row for row in COCO["annotations"] if int(str(row["image_id"])) % 2 == k],
        }
        for k in (0, 1)
    ]
    tables: Tables = {
        "train2019.json": json.dumps(halves[0]),
        "val2019.json": json.dumps(halves[1]),
        "sample_submission.csv": "id,category_id\ny0,40\n",
    }

    result = found(tmp_path, [*COCO_FILES, "test/y0.jpg"], tables)

    assert sorted(target_of_files(result)) == sorted(COCO_FILES)
    assert result.task.labels_from == "train2019.json and val2019.json:category_id"


@pytest.mark.parametrize(
    "content",
    [
        [{"id": "1", "label": "a", "box": [0, 1, 2, 3]}, {"id": "2", "label": "b", "box": [0, 1, 2, 3]}],
        {"1.jpg": "a", "2.jpg": "b"},
        {"1": {"label": "a"}, "2": {"label": "b"}},
    ],
)
def test_other_json_tables(tmp_path: Path, content: object) -> None:
    tables: Tables = {"train.json": json.dumps(content), "sample_submission.csv": "id,label\n9,a\n"}

    result = found(tmp_path, ["train/1.jpg", "train/2.jpg", "test/9.jpg"], tables)

    assert target_of_files(result) == {"train/1.jpg": "a", "train/2.jpg": "b"}


def test_files_that_were_found_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = '\ufeffid;Fat Hen;"a, b";猫;x;y\r\n01;0;0;0;0;0\r\n"1 ; 2";0;0;0;0;0\r\n'
    files = [f"train/{name}/{i}.jpg" for i, name in enumerate(["Fat Hen", "a, b", "猫", "x", "y"])]
    result = found(tmp_path / "raw", [*files, "test/01.jpg", "test/1 ; 2.jpg"], {"sample_submission.csv": sample})
    monkeypatch.chdir(tmp_path)

    write_competition(result)

    assert read_competition() == result.competition
    assert read_rows().to_dict() == result.rows.to_dict()
    assert SAMPLE.read_text(encoding="utf-8").startswith('id,Fat Hen,"a, b",猫,x,y\n01,')


def test_class_folders_below_folders_of_patients(tmp_path: Path) -> None:
    files = [f"train/{8863 + p}/{k}/{8863 + p}_x{i}.png" for p in range(4) for k in (0, 1) for i in range(2)]

    result = found(tmp_path, [*files, "test/9.png"], {"sample_submission.csv": "id,label\n9,0.5\n"})

    assert result.task.names == ["0", "1"]
    assert target_of_files(result)["train/8864/1/8864_x0.png"] == "1"


def test_a_column_a_class_where_the_sample_asks_for_the_class(tmp_path: Path) -> None:
    files = [f"train/p{i}.jpg" for i in range(6)]
    table = "id,a,b,c\n" + "".join(f"p{i},{int(i % 3 == 0)},{int(i % 3 == 1)},{int(i % 3 == 2)}\n" for i in range(6))

    result = found(tmp_path, [*files, "test/z.jpg"], {"t.csv": table, "sample_submission.csv": "id,label\nz,a\n"})

    assert (result.task.kind, result.task.names, result.task.metric) == ("classes", ["a", "b", "c"], "accuracy")
    assert target_of_files(result)["train/p4.jpg"] == "b"


GRADED = [f"train/{i}.jpg" for i in range(20)] + ["test/a.jpg"]


def graded(stray: str) -> dict[str, str]:
    """Return a table of grades from 0 to 4, one of which is mistyped."""
    grades = [str(i % 5) for i in range(20)]
    grades[3] = stray
    labels = table("id,diagnosis", [[str(i), grade] for i, grade in enumerate(grades)])
    return {"train.csv": labels, "sample_submission.csv": "id,diagnosis\na,0\n"}


@pytest.mark.parametrize("stray", ["33", "l"])
def test_a_mistyped_grade_that_makes_classes_of_all_is_named(tmp_path: Path, stray: str) -> None:
    result = found(tmp_path, GRADED, graded(stray))
    said = (f"train.csv: id '3' holds '{stray}' in diagnosis", "without it diagnosis would hold grades")
    assert warned(result, *said), result.warnings


@pytest.mark.parametrize(
    ("stray", "data", "said"),
    [
        ("l", {"metric": "quadratic_kappa"}, "holds 'l' in diagnosis, where no other row does"),
        ("33", {"metric": "quadratic_kappa"}, "holds '33' in diagnosis, and the grades below it stand nowhere"),
        ("33", {"task": "grades"}, "holds '33' in diagnosis, and the grades below it stand nowhere"),
        ("11", {"metric": "quadratic_kappa"}, "holds '11' in diagnosis, and the grades below it stand nowhere"),
        ("l", {"task": "grades"}, "holds 'l' in diagnosis; accepted: a whole number"),
    ],
)
def test_a_mistyped_grade_is_refused_where_grades_are_meant(
    tmp_path: Path, stray: str, data: dict[str, str], said: str
) -> None:
    with pytest.raises(UserError, match=rf"train\.csv: id '3' {said}"):
        found(tmp_path, GRADED, graded(stray), **data)


def test_one_number_among_classes_is_refused(tmp_path: Path) -> None:
    labels = table("id,has_cactus", [[str(i), "11" if i == 3 else str(i % 2)] for i in range(20)])
    tables = {"train.csv": labels, "sample_submission.csv": "id,has_cactus\na,0.5\n"}
    with pytest.raises(UserError, match=r"train\.csv: id '3' holds '11' in has_cactus, where no other row does"):
        found(tmp_path, GRADED, tables)


def test_a_rare_value_of_the_same_kind_is_nobodys_mistake(tmp_path: Path) -> None:
    assert not found(tmp_path, GRADED, graded("5")).warnings
