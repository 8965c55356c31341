"""The form of the submission, read from the sample, the targets and the metric."""

from pathlib import Path

import pytest
from made_competitions import found, table, target_of, warned

from gap_ensemble.competition.sample_submission import is_sample
from gap_ensemble.competition.summary import form_summary
from gap_ensemble.messages.errors import UserError

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

    submission = found(tmp_path, files, {"sample_submission.csv": sample}, positive_class=positive).submission

    assert submission is not None
    assert (submission.form, submission.positive_class) == expected
    assert submission.columns == ["id", column]


THREE = [f"train/{name}/{i}.jpg" for i, name in enumerate(["a", "b", "c", "a", "b", "c"])]


def test_zeros_may_be_decisions_and_the_line_to_set_is_named(tmp_path: Path) -> None:
    files = ["train/cat.0.jpg", "train/dog.0.jpg", "test1/1.jpg", "test1/2.jpg"]
    tables = {"sampleSubmission.csv": "id,label\n1,0\n2,0\n"}

    auto = found(tmp_path, files, tables)
    hard = found(tmp_path, [], {}, metric="accuracy")
    ranked = found(tmp_path, [], {}, metric="roc_auc")

    assert auto.submission is not None
    assert (auto.submission.form, auto.task.metric) == ("probability", "log_loss")
    assert warned(auto, "only 0 and 1", "data.metric: accuracy")
    assert hard.submission is not None
    assert (hard.submission.form, hard.submission.positive_class, hard.task.metric) == ("hard", "dog", "accuracy")
    assert ranked.submission is not None
    assert (ranked.submission.form, ranked.task.metric) == ("probability", "roc_auc")
    assert not hard.warnings
    assert not ranked.warnings


def test_halves_are_no_decisions(tmp_path: Path) -> None:
    result = found(
        tmp_path,
        ["train/cat.0.jpg", "train/dog.0.jpg", "test/1.jpg"],
        {"sample_submission.csv": "id,label\n1,0.5\n"},
    )

    assert not result.warnings


@pytest.mark.parametrize(
    ("values", "n", "unknown"),
    [
        (["a b c", "a c b"], 3, []),
        (["a b", "c b"], 2, []),
        (["b a new_one", "a b c"], 3, ["new_one"]),
        (["w_9 a b c w_8"], 5, ["w_8", "w_9"]),
    ],
)
def test_guesses_are_as_many_as_the_sample_shows(tmp_path: Path, values: list[str], n: int, unknown: list[str]) -> None:
    sample = "Image,Id\n" + "".join(f"{i},{value}\n" for i, value in enumerate(values))

    result = found(
        tmp_path, [*THREE, *(f"test/{i}.jpg" for i in range(len(values)))], {"sample_submission.csv": sample}
    )

    assert result.submission is not None
    assert (result.submission.form, result.submission.n_guesses) == ("guesses", n)
    assert result.task.metric == f"map_at_{n}"
    assert result.task.names == ["a", "b", "c"]
    assert all(warned(result, repr(name), "never predicted") for name in unknown)


def test_guesses_of_numbers_that_are_no_classes(tmp_path: Path) -> None:
    files = [f"train/{i}.jpg" for i in range(8)]
    tables = {
        "t.csv": table("id,category_id", [(i, (400, 17)[i % 2]) for i in range(8)]),
        "sample_submission.csv": "id,predicted\n99,71 108 339 341 560\n",
    }

    result = found(tmp_path, [*files, "test/99.jpg"], tables)

    assert result.submission is not None
    assert (result.submission.form, result.submission.n_guesses) == ("guesses", 5)


@pytest.mark.parametrize(("metric", "n"), [("map_at_5", 5), ("map_at_3", 3), ("top_5_error", 5)])
def test_the_metric_asks_for_more_guesses_than_the_sample(tmp_path: Path, metric: str, n: int) -> None:
    sample = {"sample_submission.csv": "Image,Id\n9,a\n"}

    result = found(tmp_path, [*THREE, "test/9.jpg"], sample, metric=metric)

    assert result.submission is not None
    assert (result.submission.form, result.submission.n_guesses) == ("guesses", n)


@pytest.mark.parametrize(
    ("names", "value"),
    [(["17", "42", "400"], "0"), (["a", "b", "c"], "unknown"), (["17", "42", "400"], "-1")],
)
def test_placeholders_in_a_sample_are_no_classes(tmp_path: Path, names: list[str], value: str) -> None:
    files = [f"train/{name}/x{i}.jpg" for i, name in enumerate(names)]

    result = found(tmp_path, [*files, "test/9.jpg"], {"sample_submission.csv": f"id,predicted\n9,{value}\n"})

    assert result.submission is not None
    assert result.submission.form == "class"
    assert result.task.names == sorted(names)
    assert warned(result, repr(value), "no training picture")


def test_one_probability_of_several_classes(tmp_path: Path) -> None:
    folders = ["Cover", "JMiPOD", "UERD"]
    files = [f"{folder}/{i:05d}.jpg" for folder in folders for i in range(1, 5)] + ["Test/0001.jpg", "Test/0002.jpg"]
    tables = {"sample_submission.csv": "Id,Label\n0001.jpg,0\n0002.jpg,0\n"}

    with pytest.raises(UserError, match=r"data.positive_class names .* such as \[JMiPOD, UERD\]"):
        found(tmp_path, files, tables)
    result = found(tmp_path, [], {}, positive_class=["JMiPOD", "UERD"])

    assert result.task.names == ["Cover", "JMiPOD or UERD"]
    assert result.submission is not None
    assert (result.submission.form, result.submission.positive_class) == ("probability", "JMiPOD or UERD")
    assert target_of(result)["UERD/00001.jpg"] == "JMiPOD or UERD"


# The targets of eight rows, the sample's value, parameters, and the kind, form and metric that they mean.
KINDS = {
    "grades": ("diagnosis", "01234012", "0", {}, ("grades", "grade", "quadratic_kappa")),
    "grades that are said": ("label", "01234012", "0", {"task": "grades"}, ("grades", "grade", "quadratic_kappa")),
    "grades by the metric": (
        "label",
        "01234012",
        "0",
        {"metric": "quadratic_kappa"},
        ("grades", "grade", "quadratic_kappa"),
    ),
    "grades, scored otherwise": ("level", "01234012", "0", {"metric": "accuracy"}, ("grades", "grade", "accuracy")),
    "classes that are said": ("diagnosis", "01234012", "0", {"task": "classes"}, ("classes", "class", "accuracy")),
    "fractions": ("y", ["1.5", "2.25", "0.1", "7"] * 2, "0", {}, ("numbers", "numbers", "rmse")),
    "whole numbers, fractions in the sample": ("y", "13524680", "20.31", {}, ("numbers", "numbers", "rmse")),
    "numbers that are said": ("y", "13524680", "0", {"task": "numbers"}, ("numbers", "numbers", "rmse")),
    "numbers by the metric": ("y", "13524680", "0", {"metric": "mae"}, ("numbers", "numbers", "mae")),
    "negative numbers": ("y", ["-1.5", "2.5"] * 4, "0", {}, ("numbers", "numbers", "rmse")),
    "ages": ("age", [str(20 + 7 * i) for i in range(8)], "0", {}, ("numbers", "numbers", "rmse")),
    "whole numbers with a point": ("y", ["1.0", "2.0", "3.0", "1.0"] * 2, "1.0", {}, ("classes", "class", "accuracy")),
    "grades with a point": ("grade", ["0.0", "1.0", "2.0", "4.0"] * 2, "0", {}, ("grades", "grade", "quadratic_kappa")),
    "marks": ("y", "01010101", "0.5", {}, ("classes", "probability", "log_loss")),
}


@pytest.mark.parametrize(("column", "values", "shown", "data", "expected"), KINDS.values(), ids=KINDS)
def test_kind_form_and_metric(
    tmp_path: Path,
    column: str,
    values: list[str],
    shown: str,
    data: dict[str, str],
    expected: tuple[str, str, str],
) -> None:
    files = [f"train/p{i}.jpg" for i in range(8)]
    tables = {
        "t.csv": table(f"id,{column}", [(f"p{i}", value) for i, value in enumerate(values)]),
        "sample_submission.csv": f"id,{column}\nq,{shown}\n",
    }

    result = found(tmp_path, [*files, "test/q.jpg"], tables, **data)

    assert result.submission is not None
    assert (result.task.kind, result.submission.form, result.task.metric) == expected
    assert list(target_of(result).values()) == [
        value.removesuffix(".0") if shown != "1.0" else value for value in values
    ]


@pytest.mark.parametrize(
    ("metric", "form"), [("auto", "probabilities"), ("roc_auc", "probabilities"), ("f1_macro", "indicators")]
)
def test_a_column_a_label(tmp_path: Path, metric: str, form: str) -> None:
    files = [f"train/p{i}.jpg" for i in range(8)]
    tables = {
        "t.csv": table("id,x - a,y", [(f"p{i}", int(i % 2), int(i % 4 > 0)) for i in range(8)]),
        "sample_submission.csv": "id,x - a,y\nq,0,0\n",
    }

    result = found(tmp_path, [*files, "test/q.jpg"], tables, metric=metric)

    assert result.submission is not None
    assert result.submission.form == form
    assert (result.task.kind, result.task.names, result.task.separator) == ("labels", ["x - a", "y"], "|")
    assert target_of(result)["p3"] == "x - a|y"
    assert target_of(result)["p0"] == ""


@pytest.mark.parametrize("wide", [False, True])
def test_a_row_for_every_pair_of_id_and_label(tmp_path: Path, wide: bool) -> None:
    names = ["epidural", "any_kind"] if wide else ["epidural", "any"]
    pairs = [(f"ID_{i}", name) for i in range(6) for name in names]
    value = {pair: int(pair[0] in ("ID_1", "ID_4")) for pair in pairs}
    train = (
        table("ID,any_kind,epidural", [(f"ID_{i}", *[value[f"ID_{i}", name] for name in names]) for i in range(6)])
        if wide
        else table("ID,Label", [(f"{row}_{name}", value[row, name]) for row, name in pairs])
    )
    sample = table("ID,Label", [(f"ID_{i}_{name}", 0.5) for i in (8, 9) for name in names])
    files = [f"stage_2_train/ID_{i}.dcm" for i in range(6)] + [f"stage_2_test/ID_{i}.dcm" for i in (8, 9)]

    result = found(tmp_path, files, {"stage_2_train.csv": train, "stage_2_sample_submission.csv": sample})

    assert result.submission is not None
    assert (result.submission.form, result.submission.id_template) == ("long", "{row}_{label}")
    assert (result.task.kind, result.task.names) == ("labels", names)
    assert list(result.rows["row"]) == [*(f"ID_{i}" for i in range(6)), "ID_8", "ID_9"]
    assert (target_of(result)["ID_0"], target_of(result)["ID_1"]) == ("", " ".join(names))


def test_several_numbers(tmp_path: Path) -> None:
    files = [f"images_training_rev1/{i}.jpg" for i in range(100, 106)] + ["images_test_rev1/200.jpg"]
    tables = {
        "training_solutions_rev1.csv": table("GalaxyID,Class1.1,Class1.2", [(100 + i, 0.25, i / 4) for i in range(6)]),
        "all_zeros_benchmark.csv": "GalaxyID,Class1.1,Class1.2\n200,0,0\n",
    }

    result = found(tmp_path, files, tables)

    assert (result.task.kind, result.task.names, result.task.metric) == ("numbers", ["Class1.1", "Class1.2"], "rmse")
    assert target_of(result)["102"] == "0.25 0.5"
    assert list(result.rows.columns)[-2:] == ["target_0", "target_1"]


def test_ids_may_stand_in_the_second_column(tmp_path: Path) -> None:
    sample = {"sample_submission_file.csv": table("Category,Id", [("a", f"x-{i}.jpg") for i in range(3)])}

    result = found(tmp_path, [*THREE, *(f"test/0/x-{i}.jpg" for i in range(3))], sample)

    assert result.submission is not None
    assert (result.submission.columns, result.submission.id_column) == (["Category", "Id"], "Id")
    assert list(result.rows["row"][-3:]) == ["x-0.jpg", "x-1.jpg", "x-2.jpg"]


def test_the_sample_with_ids_of_most_test_pictures_is_chosen(tmp_path: Path) -> None:
    files = [*THREE, "test_stg1/img_1.jpg", "test_stg2/image_1.jpg"]
    tables = {
        "sample_submission_stg1.csv": "image,a,b,c\nimg_1.jpg,1,0,0\n",
        "sample_submission_stg2.csv": "image,a,b,c\nimg_1.jpg,1,0,0\ntest_stg2/image_1.jpg,1,0,0\n",
    }

    result = found(tmp_path, files, tables)

    assert list(result.rows["row"][-2:]) == ["img_1.jpg", "test_stg2/image_1.jpg"]
    assert warned(result, "left unread: sample_submission_stg1.csv")


def test_an_empty_sample_gives_way_to_a_full_one(tmp_path: Path) -> None:
    tables = {"sample_submission.csv": "id,y\n1,a\n", "sample_submission_null.csv": "id,y\n1,\n"}

    result = found(tmp_path, [*THREE, "test/1.jpg"], tables)

    assert warned(result, "sample_submission.csv is the sample submission")


@pytest.mark.parametrize("sample", [True, False])
def test_without_test_pictures_everything_up_to_the_scores_runs(tmp_path: Path, sample: bool) -> None:
    tables = {"sample_submission.csv": "id,a,b,c\n1,0,0,0\n"} if sample else {}

    result = found(tmp_path, [*THREE, *([] if sample else ["test/1.jpg"])], tables)

    assert list(result.rows["split"].unique()) == ["train"]
    assert (result.submission is not None) == sample
    assert warned(result, "everything up to the scores runs")


SAMPLES = [
    "sample_submission.csv", "sampleSubmission.csv", "SampleSubmission_v2.csv", "stage_2_sample_submission.csv",
    "kaggle_sample_submission.csv", "sample_submission_randomlabel.csv", "submission_format.csv",
    "all_ones_benchmark.csv", "example_submission.csv", "sample.csv",
]  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_names_of_samples(name: str) -> None:
    assert is_sample(name)


@pytest.mark.parametrize(
    "name", ["train.csv", "train_subsample.csv", "samples.csv", "submission.csv", "test_sample_ids.csv"]
)
def test_names_that_are_no_samples(name: str) -> None:
    assert not is_sample(name)


@pytest.mark.parametrize(
    ("values", "metric", "sample", "said"),
    [
        ("01", "rmse", "0.5", ["makes numbers of label", "0 and 1 only"]),
        ("01", "quadratic_kappa", "0.5", ["whole grades", "holds '0.5' in label", "log_loss or roc_auc"]),
        (["a b", "b", "a"], "roc_auc", "a", ["scores probabilities", "holds labels in label", "f1_samples"]),
        ("01", "roc_auc", "0.5", []),
        ("01234", "quadratic_kappa", "0", []),
        (["0.5", "1"], "rmse", "0.5", []),
    ],
)
def test_a_metric_that_hardly_fits_the_sample_is_doubted(
    tmp_path: Path, values: list[str], metric: str, sample: str, said: list[str]
) -> None:
    files = [f"images/{i}.jpg" for i in range(14)]
    tables = {
        "train.csv": table("id,label", [(i, values[i % len(values)]) for i in range(12)]),
        "sample_submission.csv": table("id,label", [(i, sample) for i in (12, 13)]),
    }
    warnings = [line for line in found(tmp_path, files, tables, metric=metric).warnings if "data.metric: found" in line]
    assert len(warnings) == bool(said)
    assert all(part in warnings[0] for part in said)


def test_a_mistyped_class_is_named(tmp_path: Path) -> None:
    files = [f"images/{i}.jpg" for i in range(302)]
    tables = {
        "train.csv": table("id,label", [(i, "O" if i == 7 else i % 2) for i in range(300)]),
        "sample_submission.csv": table("id,label", [(i, "0.5") for i in (300, 301)]),
    }
    with pytest.raises(UserError, match=r"1 of 300 rows are neither 0 nor 1, such as '7' with 'O': correct them"):
        found(tmp_path, files, tables)


@pytest.mark.parametrize(
    ("column", "positive"), [("has_cactus", "cactus"), ("cactus", "cactus"), ("label", "none"), ("is_none", "none")]
)
def test_a_column_of_probabilities_is_of_the_class_that_it_is_called_like(
    tmp_path: Path, column: str, positive: str
) -> None:
    files = [f"train/{i}.jpg" for i in range(4)] + ["test/a.jpg"]
    labels = f"id,{column}\n0,cactus\n1,none\n2,cactus\n3,none\n"
    result = found(tmp_path, files, {"train.csv": labels, "sample_submission.csv": f"id,{column}\na,0.5\n"})
    submission = result.competition.submission
    assert submission is not None
    assert submission.positive_class == positive
    assert ("the last by name" in form_summary(submission)) == (column == "label")


@pytest.mark.parametrize("metric", ["log_loss", "roc_auc"])
@pytest.mark.parametrize(("values", "task", "form"), [("abc", "classes", "class"), ("0123", "grades", "grade")])
def test_probabilities_are_not_scored_where_decisions_are_submitted(
    tmp_path: Path, values: str, task: str, form: str, metric: str
) -> None:
    tables = {
        "train.csv": table("id,label", [(i, values[i % len(values)]) for i in range(12)]),
        "sample_submission.csv": table("id,label", [(i, values[0]) for i in (12, 13)]),
    }
    with pytest.raises(UserError, match=f"found {metric}, which scores probabilities, .* holds {form} in label"):
        found(tmp_path, [f"images/{i}.jpg" for i in range(14)], tables, metric=metric, task=task)
