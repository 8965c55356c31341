"""Groups: rows that stay in one fold, and the warning where something looks like one."""

from pathlib import Path

import pytest
from made_competitions import Tables, found, group_of, table, warned

from gap_ensemble.messages.errors import UserError

SAMPLE: Tables = {"sample_submission.csv": "id,target\nq,0.5\n"}


def tables(column: str, values: list[object]) -> Tables:
    rows = [(f"p{i}", value, i * 7 // 3 % 2) for i, value in enumerate(values)]
    return {"train.csv": table(f"id,{column},target", rows), **SAMPLE}


FILES = [*(f"train/p{i}.jpg" for i in range(12)), "test/q.jpg"]


GROUP_COLUMNS = [
    "patient", "patient_id", "PatientID", "Patient_ID", "subject", "lesion_id", "driver", "location", "series",
    "seq_id", "sequence", "person_id", "RescuerID", "individual", "camera", "eye_donor", "study", "StudyInstanceUID",
    "experiment",
]  # fmt: skip


@pytest.mark.parametrize("column", GROUP_COLUMNS)
def test_a_column_that_looks_like_a_group_is_named(tmp_path: Path, column: str) -> None:
    result = found(tmp_path, FILES, tables(column, [f"g{i // 3}" for i in range(12)]))

    assert warned(result, f"{column} looks like a group", f"data.groups: {column}")
    assert set(group_of(result).values()) == {""}


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("patient", [f"g{i}" for i in range(12)]),  # No value stands twice.
        ("Subject Focus", [i % 2 for i in range(12)]),  # A mark.
        ("width", [i // 3 for i in range(12)]),
        ("age", [40 + i // 3 for i in range(12)]),
        ("patient", ["one"] * 12),
    ],
)
def test_other_columns_are_not_named(tmp_path: Path, column: str, values: list[object]) -> None:
    assert not warned(found(tmp_path, FILES, tables(column, values)), "looks like a group")


def test_what_is_predicted_by_another_name_is_no_group(tmp_path: Path) -> None:
    rows = [(f"p{i}", f"species{i % 3}", f"family{i % 3}") for i in range(12)]
    made = {"train.csv": table("id,label,family", rows), "sample_submission.csv": "id,label\nq,species1\n"}

    assert not warned(found(tmp_path, FILES, made), "looks like a group")


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        ([f"{i // 2}_{('left', 'right')[i % 2]}" for i in range(12)], "(left|right)"),
        ([f"{9000 + i // 2}{'LR'[i % 2]}" for i in range(12)], "[LR]"),
        ([f"person{i // 3}_bacteria_{i}" for i in range(12)], "person"),
        ([f"patient-{i // 3}-{i}" for i in range(12)], "patient"),
        ([f"video{i // 4}_frame_{i}" for i in range(12)], "frame"),
        ([f"a{i // 4}-slice{i}" for i in range(12)], "slice"),
    ],
)
def test_names_that_look_like_groups_are_named_and_the_pattern_works(
    tmp_path: Path, names: list[str], pattern: str
) -> None:
    files = [f"train/{'ab'[i % 5 % 2]}/{name}.jpg" for i, name in enumerate(names)]
    result = found(tmp_path, [*files, "test/q.jpg"], SAMPLE)

    warning = next(warning for warning in result.warnings if "data.groups" in warning)
    assert pattern in warning
    said = found(tmp_path, [], {}, groups=warning.rpartition("data.groups: '")[2].rstrip("'"))
    groups = list(group_of(said).values())
    assert 1 < len(set(groups)) < len(groups)
    assert "" not in groups
    assert not warned(said, "looks like")


@pytest.mark.parametrize("names", [[f"img_{i}" for i in range(12)], [f"{i * 7919:08x}" for i in range(12)]])
def test_plain_names_are_no_groups(tmp_path: Path, names: list[str]) -> None:
    files = [f"train/{'ab'[i % 2]}/{name}.jpg" for i, name in enumerate(names)]

    assert not warned(found(tmp_path, [*files, "test/q.jpg"], SAMPLE), "groups")


@pytest.mark.parametrize("folders", [12, 2])
def test_names_that_start_again_in_every_folder_are_no_groups(tmp_path: Path, folders: int) -> None:
    files = [f"train/c{k}/{i}.jpg" for k in range(folders) for i in range(24 // folders if folders > 2 else 1)]

    assert not warned(found(tmp_path, [*files, "test/q.jpg"], {"sample_submission.csv": "id,x\nq,c1\n"}), "groups")


def test_folders_of_patients_are_named(tmp_path: Path) -> None:
    files = [f"train/patient{p:05d}/study1/view{v}.jpg" for p in range(6) for v in (1, 2)]
    rows = [(file, p % 2) for file, p in zip(files, [p for p in range(6) for _ in (1, 2)], strict=True)]
    tables: Tables = {"train.csv": table("Path,target", rows), "sample_submission.csv": "Path,target\nq.jpg,0.5\n"}

    result = found(tmp_path, [*files, "test/q.jpg"], tables)

    assert warned(result, r"data.groups: '(patient[-_ ]?\d+)'")
    assert len(set(group_of(found(tmp_path, [], {}, groups=r"(patient[-_ ]?\d+)")).values())) == 6


def test_the_same_names_in_several_class_folders_are_named(tmp_path: Path) -> None:
    files = [f"train/{folder}/{i:05d}.jpg" for folder in ("Cover", "UERD") for i in range(6)]

    result = found(tmp_path, [*files, "test/q.jpg"], SAMPLE)
    said = found(tmp_path, [], {}, groups="([^/]+)$")

    assert warned(result, "the same file names", "([^/]+)$")
    assert group_of(said)["train/Cover/00003.jpg"] == group_of(said)["train/UERD/00003.jpg"]


def test_a_column_of_another_table_than_that_of_the_labels(tmp_path: Path) -> None:
    files = [f"train/{'ab'[i % 2]}/p{i}.jpg" for i in range(12)]
    made = {"meta.csv": table("image,lesion_id", [(f"p{i}.jpg", f"L{i // 3}") for i in range(12)]), **SAMPLE}

    hinted = found(tmp_path, [*files, "test/q.jpg"], made)
    said = found(tmp_path, [], {}, groups="lesion_id")

    assert warned(hinted, "meta.csv: lesion_id looks like a group")
    assert group_of(said)["train/a/p4.jpg"] == "L1"


def test_a_name_that_fits_no_pattern_is_a_group_of_its_own(tmp_path: Path) -> None:
    files = ["train/a/person1_x.jpg", "train/b/person1_y.jpg", "train/a/IM-0001.jpg", "test/q.jpg"]

    result = found(tmp_path, files, SAMPLE, groups=r"(person\d+)_")

    assert group_of(result) == dict(zip(sorted(files[:3]), ["", "person1", "person1"], strict=True))
    (line,) = (line for line in result.warnings if "data.groups" in line)
    assert "1 of 3 training rows are in no group (such as " in line
    assert "IM-0001" in line


@pytest.mark.parametrize(
    ("groups", "problem"),
    [
        ("nobody", "no parentheses"),
        (r"(nobody\d+)_", "fits no picture's name"),
        ("(person", "no pattern"),
    ],
)
def test_a_group_that_is_none_is_refused(tmp_path: Path, groups: str, problem: str) -> None:
    with pytest.raises(UserError, match=rf"data.groups: found .*{problem}.*accepted: a column \(id, patient, target\)"):
        found(tmp_path, FILES, tables("patient", [i // 3 for i in range(12)]), groups=groups)
