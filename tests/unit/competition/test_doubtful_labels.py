from pathlib import Path

import pytest
from made_competitions import found, table

from gap_ensemble.competition.doubtful_labels import MIN_RATIO

N = 120


def said(folder: Path, values: list[str], **data: str) -> list[str]:
    """Return what is doubted in a column of labels, of which the last is the sample's, too."""
    files = [f"train/{i}.jpg" for i in range(len(values))] + ["test/x.jpg"]
    tables = {
        "train.csv": table("id,label", enumerate(values)),
        "sample_submission.csv": table("id,label", [("x", values[-1])]),
    }
    return [line for line in found(folder, files, tables, **data).warnings if "correct" in line or "fill" in line]


@pytest.mark.parametrize("mistyped", ["scabb", "Scab", "SCAB", "sacb"])
def test_a_class_like_a_frequent_one_is_named_with_its_row(tmp_path: Path, mistyped: str) -> None:
    assert said(tmp_path, [mistyped, *["scab", "rust"] * N]) == [
        f"train.csv:label: '{mistyped}' stands in 1 row (such as '0'), and 'scab' in {N}; correct it if it is mistyped"
    ]


@pytest.mark.parametrize(
    "values",
    [
        ["frog", *["scab", "rust"] * N],  # Rare, and like no other.
        ["scab_1", *["scab_2", "rust"] * N],  # Numbered.
        ["scabb"] * (N // MIN_RATIO + 1) + ["scab", "rust"] * N,  # Not rare.
    ],
)
def test_rare_classes_that_are_meant_are_not_doubted(tmp_path: Path, values: list[str]) -> None:
    assert said(tmp_path, values) == []


def test_a_label_like_a_frequent_one_is_named(tmp_path: Path) -> None:
    (line,) = said(tmp_path, ["rustt", "scab rustt", *["scab", "scab rust", "rust"] * N])
    assert "'rustt' stands in 2 rows (such as '0'), and 'rust' in 240" in line


def test_labels_that_stand_together_once_are_named_with_their_row(tmp_path: Path) -> None:
    (line,) = said(tmp_path, ["healthy scab", *["healthy", "scab", "scab rust", "rust"] * N])
    assert "'0' has both healthy and scab, which hardly ever stand together (121 and 241 rows have them)" in line


def test_a_row_without_a_label_is_named_where_all_others_have_one(tmp_path: Path) -> None:
    values = ["scab", "scab rust", "rust"] * N
    assert said(tmp_path / "few", ["", *values]) == [
        "train.csv:label: no label in 1 row (such as '0'); fill it in if it was forgotten"
    ]
    assert said(tmp_path / "many", [""] * N + values) == []
