"""Folders of links to look at: what they hold, and file systems that cannot hold them."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from gap_ensemble.competition.class_folders import lay_out, refuse_plain_files
from gap_ensemble.messages.errors import UserError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pictures_of(*rows: tuple[str, str, str], raw: str = "data/raw") -> pd.DataFrame:
    """Write files under `raw`, and return rows for them: file, split, class."""
    for file, _, _ in rows:
        path = Path(raw) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file)
    return pd.DataFrame(rows, columns=["file", "split", "class"])


def linked() -> dict[str, str]:
    """Return what each link under data/ leads to, by the content of the files."""
    links = [path for split in ("train", "test") for path in Path("data", split).rglob("*") if path.is_symlink()]
    assert not any(os.path.isabs(path.readlink()) for path in links)
    return {path.relative_to("data").as_posix(): path.read_text() for path in links}


def refuse_links(monkeypatch: pytest.MonkeyPatch, refused: Callable[[str], int]) -> None:
    """Imitate a file system: `refused` returns the error number for a link's path, or 0."""
    symlink = os.symlink

    def refuse(source: str, target: str, target_is_directory: bool = False) -> None:
        number = refused(os.fspath(target))
        if number:
            raise OSError(number, os.strerror(number), target)
        symlink(source, target, target_is_directory)

    monkeypatch.setattr(os, "symlink", refuse)


@pytest.mark.parametrize("raw", ["data/raw", "pictures", "far/link"])
def test_links_lead_to_the_pictures(raw: str) -> None:
    if raw == "far/link":
        Path("elsewhere/deep").mkdir(parents=True)
        Path("far").mkdir()
        Path(raw).symlink_to("../elsewhere/deep")
    rows = (("train/cat.0.jpg", "train", "cat"), ("train/dog.0.jpg", "train", "dog"), ("test/1.jpg", "test", ""))
    lay_out(Path(raw), pictures_of(*rows, raw=raw))
    assert linked() == {
        "train/cat/cat.0.jpg": "train/cat.0.jpg",
        "train/dog/dog.0.jpg": "train/dog.0.jpg",
        "test/1.jpg": "test/1.jpg",
    }


def test_what_is_gone_is_not_linked_any_more() -> None:
    lay_out(Path("data/raw"), pictures_of(("train/a.jpg", "train", "x"), ("train/b.jpg", "train", "y")))
    lay_out(Path("data/raw"), pictures_of(("train/b.jpg", "train", "y")))
    assert linked() == {"train/y/b.jpg": "train/b.jpg"}
    assert sorted(path.name for path in Path("data").iterdir()) == ["raw", "test", "train"]


def test_equal_names_of_nested_folders() -> None:
    lay_out(Path("data/raw"), pictures_of(("train/p/x/1.jpg", "train", "x"), ("train/q/x/1.jpg", "train", "x")))
    assert linked() == {"train/x/1.jpg": "train/p/x/1.jpg", "train/x/q__x__1.jpg": "train/q/x/1.jpg"}


@pytest.mark.parametrize(
    ("class_name", "folder"), [("a/b", "a%2Fb"), ("..", "%2E%2E"), (".", "%2E"), ("a\0b", "a%00b"), ("...", "...")]
)
def test_no_class_name_leads_out_of_its_folder(class_name: str, folder: str) -> None:
    lay_out(Path("data/raw"), pictures_of(("train/1.jpg", "train", class_name)))
    assert linked() == {f"train/{folder}/1.jpg": "train/1.jpg"}


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EACCES, errno.ENOSPC])
def test_a_file_system_without_links(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = pictures_of(("train/a.jpg", "train", "x"), ("test/b.jpg", "test", ""))
    lay_out(Path("data/raw"), pictures)  # These links would be out of date.
    refuse_links(monkeypatch, lambda _: number)
    lay_out(Path("data/raw"), pictures)
    assert capsys.readouterr().out.splitlines() == [
        f"WARNING: data/{split}: no folders of links to look at: {os.strerror(number)}. Nothing else is missing: no "
        "stage reads them"
        for split in ("train", "test")
    ]
    assert [path.name for path in Path("data").iterdir()] == ["raw"]
    assert Path("data/raw/train/a.jpg").read_text() == "train/a.jpg"


def test_class_names_longer_than_a_file_name_may_be(capsys: pytest.CaptureFixture[str]) -> None:
    rows = (("train/a.jpg", "train", "x" * 300), ("train/b.jpg", "train", "short"))
    lay_out(Path("data/raw"), pictures_of(*rows))
    assert linked() == {"train/short/b.jpg": "train/b.jpg"}
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("WARNING: data/train: 1 of 2 pictures have no link to look at: File name too long. ")


def test_names_that_a_file_system_cannot_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two names in one spelling (EEXIST), characters that exFAT refuses (EINVAL): the other links are made."""
    rows = (("train/a.jpg", "train", "x"), ("train/A.jpg", "train", "x"), ("train/b?.jpg", "train", "x"))
    refuse_links(monkeypatch, lambda path: errno.EEXIST if "A.jpg" in path else errno.EINVAL if "?" in path else 0)
    lay_out(Path("data/raw"), pictures_of(*rows))
    assert linked() == {"train/x/a.jpg": "train/a.jpg"}
    (line,) = capsys.readouterr().out.splitlines()
    assert "2 of 3 pictures have no link to look at: File exists, Invalid argument. " in line


@pytest.mark.parametrize("split", ["train", "test"])
def test_files_of_the_user_are_never_replaced(split: str) -> None:
    Path("data", split, "x").mkdir(parents=True)
    Path("data", split, "x", "mine.jpg").write_text("the only copy")
    with pytest.raises(UserError, match=rf"^data/{split}: found files that are no links: data/{split}/x/mine.jpg; "):
        refuse_plain_files()


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_file_or_link_instead_of_a_folder_is_never_replaced(split: str, kind: str) -> None:
    Path("data").mkdir()
    if kind == "file":
        Path("data", split).write_text("the only copy")
    else:
        Path("elsewhere").mkdir()
        Path("data", split).symlink_to("../elsewhere")
    with pytest.raises(UserError, match=f"^data/{split}: found files that are no links: data/{split}; "):
        refuse_plain_files()


def test_links_of_an_earlier_run_are_no_plain_files() -> None:
    lay_out(Path("data/raw"), pictures_of(("train/a.jpg", "train", "x"), ("test/b.jpg", "test", "")))
    Path("data/raw/train/a.jpg").unlink()
    Path("data/train/x/.DS_Store").write_text("what a file manager leaves where a person looked")
    refuse_plain_files()
