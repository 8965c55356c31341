"""The pictures of a row are pooled, rows follow their names, and no file's name decides the order."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from gap_ensemble.messages.errors import UserError
from gap_ensemble.storage.concatenate import check_same_pictures, fill_missing, pool_of, rows_with_pictures
from gap_ensemble.storage.features import create_features
from gap_ensemble.storage.hdf5 import text_array

PICTURES = pd.DataFrame({"id": ["b", "a", "b", "c"], "slot": ["L", "L", "R", "R"], "md5": list("1234")})
FEATURES = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0]], np.float32)


@pytest.mark.parametrize(
    ("how", "slots", "expected"),
    [
        ("mean", [], [[2, 20], [2, 20], [4, 40]]),
        ("max", [], [[2, 20], [3, 30], [4, 40]]),
        ("side_by_side", ["L", "R"], [[2, 20, np.nan, np.nan], [1, 10, 3, 30], [np.nan, np.nan, 4, 40]]),
    ],
)
def test_pooling(tmp_path: Path, how: str, slots: list[str], expected: list[list[float]]) -> None:
    pool = pool_of(PICTURES, ["a", "b", "c"], how, slots)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        found = pool.read(file.create_dataset("train", data=FEATURES), slice(0, 3))
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


def test_a_missing_place_gets_the_mean_of_the_training_rows(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        train = file.create_dataset("train", data=np.array([[1.0, np.nan], [3.0, 5.0]], np.float32))
        test = file.create_dataset("test", data=np.array([[np.nan, np.nan]], np.float32))
        fill_missing(test, fill_missing(train))
        assert train[:].tolist() == [[1, 5], [3, 5]]
        assert test[:].tolist() == [[2, 5]]


def test_training_rows_follow_the_contents_and_test_rows_the_sample() -> None:
    rows = pd.DataFrame({"row": ["a", "b", "z", "c", "b"], "split": ["train", "train", "train", "test", "test"]})
    assert rows_with_pictures(PICTURES, rows, "train") == ["b", "a"]
    assert rows_with_pictures(PICTURES, rows, "test") == ["c", "b"]


def test_features_of_other_pictures_are_refused_by_name_all_at_once(tmp_path: Path) -> None:
    expected = {
        "order": (["2.jpg", "1.jpg"], ["3.jpg"], "train_file row 0 is 2.jpg instead of 1.jpg"),
        "count": (["1.jpg"], ["3.jpg"], "1 rows of train_file instead of 2"),
        "test": (["1.jpg", "2.jpg"], ["4.jpg"], "test_file row 0 is 4.jpg instead of 3.jpg"),
    }
    files = {}
    for name, (train, test, _) in {"first": (["1.jpg", "2.jpg"], ["3.jpg"], ""), **expected}.items():
        files[name] = h5py.File(tmp_path / f"{name}.h5", "w")
        create_features(files[name], 3, {"train_file": text_array(train), "test_file": text_array(test)}, {})
    with pytest.raises(UserError) as caught:
        check_same_pictures(files)
    assert caught.value.problems == [
        f"features/gap/{name}.h5: not the same pictures in the same order as first.h5: {found}; run "
        f"`dvc repro --force extract@{name} extract@first`"
        for name, (_, _, found) in expected.items()
    ]
