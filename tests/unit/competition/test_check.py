"""Pictures that can't be decoded: all are named at once, or left out, and no class is lost without a word."""

from pathlib import Path

import pandas as pd
import pytest

from gap_ensemble.competition.check import check_pictures, leave_out_bad_pictures
from gap_ensemble.competition.find import find_competition
from gap_ensemble.competition.found import Found
from gap_ensemble.messages.errors import UserError
from gap_ensemble.params import Data
from tools.sample import draw_competition


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    draw_competition(tmp_path, n_train=4, n_test=2)
    return tmp_path


def checked(raw: Path) -> tuple[Path, Found, pd.DataFrame]:
    found = find_competition(raw, Data(raw=str(raw)))
    return raw, found, check_pictures(raw, found.pictures)[0]


def spoil(raw: Path) -> None:
    (raw / "train/cat.0.jpg").write_bytes(b"")
    (raw / "train/dog.0.jpg").write_text("<html>404</html>")
    content = (raw / "test/1.jpg").read_bytes()
    (raw / "test/1.jpg").write_bytes(content[: len(content) // 2])


def test_every_bad_picture_is_named_at_once(raw: Path) -> None:
    spoil(raw)
    with pytest.raises(UserError) as caught:
        leave_out_bad_pictures(*checked(raw), "error")
    expected = ["train/cat.0.jpg: is empty (0 bytes)", "train/dog.0.jpg: is no picture", "test/1.jpg: is truncated"]
    assert len(caught.value.problems) == len(expected)
    for problem, start in zip(sorted(caught.value.problems), sorted(expected), strict=True):
        assert problem.startswith(f"{raw}/{start}")
        assert problem.endswith("; fix or remove it, or set data.bad_images: skip")


def test_bad_pictures_are_left_out_by_name(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(raw)
    _, found, pictures = checked(raw)
    leave_out_bad_pictures(raw, found, pictures, "skip")
    problem = pictures.set_index("file")["problem"]
    assert {file: text.split(" (")[0] for file, text in problem.items()} == {
        "train/cat.0.jpg": "is empty",
        "train/cat.1.jpg": "",
        "train/dog.0.jpg": "is no picture",
        "train/dog.1.jpg": "",
        "test/1.jpg": "is truncated",
        "test/2.jpg": "",
    }
    assert capsys.readouterr().out.count("WARNING") == 3


def test_a_class_of_which_every_picture_is_bad_is_refused(raw: Path) -> None:
    for path in (raw / "train").glob("cat.*"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"^a class without pictures: cat: every one is bad; fix or replace them$"):
        leave_out_bad_pictures(*checked(raw), "skip")


def test_every_test_picture_may_be_bad(raw: Path) -> None:
    for path in (raw / "test").iterdir():
        path.write_bytes(b"")
    leave_out_bad_pictures(*checked(raw), "skip")
