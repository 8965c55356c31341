"""Which folders are read, what systems leave in them, and what is said of the rest."""

import os
from pathlib import Path

import pytest
from made_competitions import found, id_of, made, target_of_files, warned

from gap_ensemble.competition.find import find_competition
from gap_ensemble.competition.system_files import is_system_file, is_system_folder
from gap_ensemble.messages.errors import UserError
from gap_ensemble.params import Data

TRAIN = ["cat.0.jpg", "dog.0.jpg"]
SAMPLE = {"sample_submission.csv": "id,label\n1,0.5\n"}


TRAIN_FOLDERS = [
    "train", "Train", "training", "train_images", "imgs/train", "train-jpg", "stage1_train", "stage_2_train",
    "train_val2019", "train_photos", "images_training_rev1", "TrainImages", "ISIC_2019_Training_Input",
    "data/comp/train",
]  # fmt: skip
TEST_FOLDERS = [
    "test", "TEST", "testing", "test_images", "imgs/test", "test_stg1", "test_set", "stage_2_test", "test-jpg",
    "public_test",
]  # fmt: skip


@pytest.mark.parametrize("train", TRAIN_FOLDERS)
@pytest.mark.parametrize("test", TEST_FOLDERS)
def test_folders_of_the_splits(tmp_path: Path, train: str, test: str) -> None:
    result = found(tmp_path, [*(f"{train}/{name}" for name in TRAIN), f"{test}/1.jpg"], SAMPLE)

    assert target_of_files(result) == {f"{train}/cat.0.jpg": "cat", f"{train}/dog.0.jpg": "dog"}
    assert id_of(result) == {f"{test}/1.jpg": "1"}


def test_class_folders_at_the_top(tmp_path: Path) -> None:
    files = ["Cover/1.jpg", "UERD/1.jpg", "Cover/2.jpg", "UERD/2.jpg", "Test/1.jpg"]

    result = found(tmp_path, files, SAMPLE)

    assert target_of_files(result) == {file: file.split("/")[0] for file in files[:4]}


@pytest.mark.parametrize(
    ("unread", "why"),
    [
        ("train_thumbnails", ""),
        ("train_masks", ""),
        ("trainResized", ""),
        ("additional_train", ""),
        ("validation", ""),
        ("more", ""),
    ],
)
def test_folders_that_are_left_unread_are_named(tmp_path: Path, unread: str, why: str) -> None:
    files = [*(f"train/{name}" for name in TRAIN), "test/1.jpg", f"{unread}/cat.7.jpg", f"{unread}/dog.7.jpg"]

    result = found(tmp_path, files, SAMPLE)

    assert len(target_of_files(result)) == 2
    assert warned(result, "2 pictures are left unread", unread, why)


def test_of_the_same_pictures_in_two_formats_one_is_read(tmp_path: Path) -> None:
    names = ["cat.0", "dog.0"]
    files = [f"{split}-{kind}/{name}.{kind}" for kind in ("tif", "jpg") for split in ("train",) for name in names]

    result = found(
        tmp_path,
        [*files, "test-jpg/1.jpg", "test-tif-v2/1.tif", "test-jpg-additional/2.jpg"],
        {"sample_submission.csv": "id,label\n1,0.5\n2,0.5\n"},
    )

    assert set(target_of_files(result)) == {"train-jpg/cat.0.jpg", "train-jpg/dog.0.jpg"}
    assert id_of(result) == {"test-jpg/1.jpg": "1", "test-jpg-additional/2.jpg": "2"}
    assert warned(result, "train-tif (the pictures of train-jpg once more)", "test-tif-v2")


def test_dicom_files_give_way_to_plain_pictures(tmp_path: Path) -> None:
    files = [
        f"{folder}train/{name}.{end}" for folder, end in (("", "dcm"), ("jpeg/", "jpg")) for name in ("c.0", "d.0")
    ]

    result = found(tmp_path, [*files, "test/1.dcm", "jpeg/test/1.jpg"], SAMPLE)

    assert set(target_of_files(result)) == {"jpeg/train/c.0.jpg", "jpeg/train/d.0.jpg"}
    assert id_of(result) == {"jpeg/test/1.jpg": "1"}


def test_several_test_folders(tmp_path: Path) -> None:
    sample = "id,label\n1,0.5\ntest_stg2/2.jpg,0.5\n"
    files = [*(f"train/{name}" for name in TRAIN), "test_stg1/1.jpg", "test_stg2/2.jpg"]

    result = found(tmp_path, files, {"sample_submission.csv": sample})

    assert id_of(result) == {"test_stg1/1.jpg": "1", "test_stg2/2.jpg": "test_stg2/2.jpg"}


def test_a_test_folder_of_which_no_id_stands_in_the_sample_is_another_stages(tmp_path: Path) -> None:
    files = [*(f"train/{name}" for name in TRAIN), "test_stg1/1.jpg", "test_stg2/2.jpg"]

    result = found(tmp_path, files, SAMPLE)

    assert id_of(result) == {"test_stg1/1.jpg": "1"}
    assert warned(result, "test_stg2 (no id of the sample submission)")


def test_parameters_name_the_folders(tmp_path: Path) -> None:
    files = [*(f"a/{name}" for name in TRAIN), "b/cat.9.jpg", "c/1.jpg", "d/1.jpg"]
    made(tmp_path, files, SAMPLE)

    one = found(tmp_path, [], {}, train="a", test="c")
    two = found(tmp_path, [], {}, train=["a", "b"], test=["d"], labels="prefix")

    assert set(target_of_files(one)) == set(files[:2])
    assert id_of(one) == {"c/1.jpg": "1"}
    assert set(target_of_files(two)) == set(files[:3])
    assert id_of(two) == {"d/1.jpg": "1"}
    assert warned(one, "left unread", "b, d")


def test_additional_folders_hold_more_of_a_class(tmp_path: Path) -> None:
    files = [f"train/Type_{k}/{k}.jpg" for k in (1, 2)] + [f"additional_Type_{k}_v2/{k}1.jpg" for k in (1, 2)]
    sample = {"sample_submission.csv": "image_name,Type_1,Type_2\n9.jpg,0.5,0.5\n"}

    result = found(
        tmp_path, [*files, "test/9.jpg"], sample, train=["train", "additional_Type_1_v2", "additional_Type_2_v2"]
    )

    assert target_of_files(result)["additional_Type_2_v2/21.jpg"] == "Type_2"
    assert result.task.names == ["Type_1", "Type_2"]


@pytest.mark.parametrize("key", ["train", "test"])
@pytest.mark.parametrize(
    ("name", "said"), [("empty", "holds no pictures"), ("trian", r"is no folder \(did you mean train\?\)")]
)
def test_a_folder_without_pictures_is_refused(tmp_path: Path, key: str, name: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=rf"data.{key}: found '{name}', but .* {said}; accepted: auto, .*train"):
        found(tmp_path, [*(f"train/{file}" for file in TRAIN), "test/1.jpg"], SAMPLE, **{key: ["train", name]})


SYSTEM_FOLDERS = [
    "@eaDir", "#recycle", "#snapshot", "@Recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found",
    ".ipynb_checkpoints", ".Trash-1000", ".Trashes", ".AppleDouble", ".snapshot", ".git", "__MACOSX", ".thumbnails",
    ".Spotlight-V100", ".fseventsd", "@tmp", ".@__thumb", "__pycache__", ".cache", "Network Trash Folder",
]  # fmt: skip
SYSTEM_FILES = [
    "Icon\r", ".DS_Store", "._1.jpg", "Thumbs.db", "thumbs.db", "desktop.ini", "ehthumbs.db", "1.jpg~", "~$table.csv",
    "1.jpg.bak", ".1.jpg.swp", "#1.jpg#", "2.jpg.part", "2.jpg.crdownload", "SYNOPHOTO_THUMB_M.jpg", ".nfs000012",
    "1.jpg.tmp", "x.lnk", "1.jpg:Zone.Identifier", ".directory", "1.sync-conflict-20240101-120000-ABC.jpg",
    "1 (conflicted copy 2024-01-01).jpg",
]  # fmt: skip


@pytest.mark.parametrize("name", SYSTEM_FOLDERS)
@pytest.mark.parametrize("at", ["", "train", "train/cat", "test"])
def test_folders_of_systems_are_no_classes_and_hold_no_pictures(tmp_path: Path, name: str, at: str) -> None:
    files = ["train/cat/1.jpg", "train/dog/2.jpg", "test/1.jpg"]

    result = found(tmp_path, [*files, f"{at}/{name}/1.jpg".lstrip("/"), f"{at}/{name}/cat/3.jpg".lstrip("/")], SAMPLE)

    assert sorted(result.pictures["file"]) == sorted(files)
    assert result.task.names == ["cat", "dog"]


@pytest.mark.parametrize("name", SYSTEM_FILES, ids=ascii)
def test_files_of_systems_are_no_pictures(tmp_path: Path, name: str) -> None:
    files = ["train/cat/1.jpg", "train/dog/2.jpg", "test/1.jpg"]

    result = found(tmp_path, [*files, f"train/cat/{name}", f"test/{name}", name], SAMPLE)

    assert sorted(result.pictures["file"]) == sorted(files)


@pytest.mark.parametrize(
    "name",
    ["1.jpg", "Icon.jpg", "old.jpg", "template.png", "tmp1.jpg", "a~b.jpg", "temp", "1 (copy).jpg", "backup.jpeg"],
)
def test_names_of_pictures_are_not_taken_for_the_systems(name: str) -> None:
    assert not is_system_file(name)


@pytest.mark.parametrize("name", ["cat", "Recycling", "trash", "0", "tmp", "old", "cache", "snapshot"])
def test_names_of_classes_are_not_taken_for_the_systems(name: str) -> None:
    assert not is_system_folder(name)


def test_files_that_are_no_pictures_are_passed_over(tmp_path: Path) -> None:
    others = [
        "train/read me.txt",
        "train/notes.md",
        "test/list.xml",
        "train/model.h5",
        "train/clip.mp4",
        "train/t.json",
    ]

    result = found(tmp_path, [*(f"train/{name}" for name in TRAIN), "test/1.jpg", *others], SAMPLE)

    assert sorted(result.pictures["file"]) == ["test/1.jpg", "train/cat.0.jpg", "train/dog.0.jpg"]


def _unreadable(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0)
    if os.access(folder, os.R_OK):
        pytest.skip("this user may read everything")


def test_a_folder_that_this_user_may_not_read_stops_nothing_if_it_is_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = made(tmp_path, [*(f"train/{name}" for name in TRAIN), "test/1.jpg", "secret/x.jpg"], SAMPLE)
    walk_without(monkeypatch, raw / "secret")

    result = find_competition(raw, Data(raw="raw"))

    assert len(target_of_files(result)) == 2
    assert warned(result, "may not read", "secret")


@pytest.mark.parametrize("folder", ["train", "test", "train/sub"])
def test_a_folder_that_is_needed_and_not_readable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    raw = made(tmp_path, [*(f"train/{name}" for name in TRAIN), "train/sub/x.1.jpg", "test/1.jpg"], SAMPLE)
    walk_without(monkeypatch, raw / folder)

    with pytest.raises(UserError, match=rf"{folder}: not readable by this user; change its permissions"):
        find_competition(raw, Data(raw="raw"))


def walk_without(monkeypatch: pytest.MonkeyPatch, closed: Path) -> None:
    """Let a folder refuse to be read, as it does for any user but root."""
    scandir = os.scandir

    def refusing(path: object) -> object:
        if Path(str(path)) == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", refusing)


def test_links_to_files_are_followed(tmp_path: Path) -> None:
    made(tmp_path / "elsewhere", ["2.jpg"], {})
    raw = made(tmp_path / "raw", ["train/c/3.jpg", "train/d/3.jpg"], {"sample_submission.csv": "id,label\n2,0.5\n"})
    (raw / "test").mkdir()
    (raw / "test/2.jpg").symlink_to("../../elsewhere/2.jpg")

    assert id_of(find_competition(raw, Data(raw="raw"))) == {"test/2.jpg": "2"}


def linked(tmp_path: Path) -> Path:
    made(tmp_path / "disk", ["train/cat.0.jpg", "train/dog.0.jpg"], {})
    raw = made(tmp_path / "raw", ["test/1.jpg"], SAMPLE)
    (raw / "train").symlink_to(tmp_path / "disk/train")
    return raw


def test_a_link_to_a_folder_that_dvc_does_not_watch_is_refused(tmp_path: Path) -> None:
    raw = linked(tmp_path)

    with pytest.raises(
        UserError, match=rf"raw/train: a link to the folder {tmp_path}/disk/train, .* `- {tmp_path}/disk"
    ):
        find_competition(raw, Data(raw="raw"))


def test_a_link_to_a_folder_that_dvc_watches_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = linked(tmp_path)
    (tmp_path / "dvc.yaml").write_text(f"stages:\n  link:\n    deps:\n      - ${{data.raw}}\n      - {tmp_path}/disk\n")
    monkeypatch.chdir(tmp_path)

    assert len(target_of_files(find_competition(raw, Data(raw="raw")))) == 2


def test_the_raw_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    made(tmp_path / "disk", [*(f"train/{name}" for name in TRAIN), "test/1.jpg"], SAMPLE)
    (tmp_path / "raw").symlink_to(tmp_path / "disk")

    assert len(target_of_files(find_competition(tmp_path / "raw", Data(raw="raw")))) == 2


def test_a_link_that_leads_back_is_no_end_of_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = made(tmp_path / "raw", [*(f"train/{name}" for name in TRAIN), "test/1.jpg"], SAMPLE)
    (raw / "train/again").symlink_to(raw)
    monkeypatch.chdir(tmp_path)

    assert len(target_of_files(find_competition(raw, Data(raw="raw")))) == 2


@pytest.mark.parametrize(
    "data", [{"task": "grades"}, {"metric": "quadratic_kappa"}, {"task": "grades", "labels": "folders"}]
)
def test_folders_of_grades_are_ordered_and_an_empty_one_between_counts(tmp_path: Path, data: dict[str, str]) -> None:
    files = [f"train/{grade}/{i}.jpg" for i, grade in enumerate([0, 2, 10] * 4)] + ["test/x.jpg"]
    result = found(tmp_path, files, {"sample_submission.csv": "id,level\nx,0\n"}, **data)
    assert result.competition.task.kind == "grades"
    assert result.competition.task.names == [str(grade) for grade in range(11)]


@pytest.mark.parametrize("task", ["labels", "numbers", "grades"])
def test_a_task_that_folders_can_not_say_is_refused(tmp_path: Path, task: str) -> None:
    files = [f"train/{'cd'[i % 2]}/{i}.jpg" for i in range(9)] + ["test/x.jpg"]
    with pytest.raises(UserError, match=f"data.task: found {task}, and folders say one class a picture"):
        found(tmp_path, files, {"sample_submission.csv": "id,label\nx,0\n"}, task=task)
