"""`python -m tools.raw`: every shape of zip that Kaggle hands out, and everything that can be wrong with one."""

import errno
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections import namedtuple
from collections.abc import Callable
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path, PurePosixPath

import pytest

from gap_ensemble.messages.errors import UserError
from gap_ensemble.unpacking import kaggle as kaggle_client
from gap_ensemble.unpacking import placing, reading

Save = Callable[[str, bytes], Path]
REPOSITORY = Path(__file__).parents[3]
CAT, DOG, TABLE = b"cat " * 100, b"dog " * 100, b"id,label\n1,0.5\n"


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return the bytes of a zip."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, hidden ones too."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def problem(zips: list[Path], to: Path) -> str:
    """Return what `unpack` refuses with: one problem on one line."""
    with pytest.raises(UserError) as caught:
        placing.unpack(zips, to)
    assert len(caught.value.problems) == 1
    assert "\n" not in caught.value.problems[0]
    return caught.value.problems[0]


@pytest.fixture
def to(tmp_path: Path) -> Path:
    """Return an empty folder to fill, inside a folder where an escaping member would show."""
    folder = tmp_path / "repository" / "data" / "raw"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Return a function that puts bytes among the user's downloads."""

    def write(name: str, content: bytes) -> Path:
        path = tmp_path / "Downloads" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path

    return write


TRAIN, TEST = {"train/cat.0.jpg": CAT, "train/dog.0.jpg": DOG}, {"test/1.jpg": CAT}
FLAT = {"cat.0.jpg": CAT, "dog.0.jpg": DOG}
# What is downloaded, and what must lie in data/raw then.
SHAPES: dict[str, tuple[dict[str, dict[str, bytes]], dict[str, bytes]]] = {
    "redux": (
        {
            "dogs-vs-cats-redux-kernels-edition.zip": {
                "sample_submission.csv": TABLE,
                "test.zip": packed(TEST),
                "train.zip": packed(TRAIN),
            }
        },
        TRAIN | TEST | {"sample_submission.csv": TABLE},
    ),
    "2013": (
        {
            "dogs-vs-cats.zip": {
                "sampleSubmission.csv": TABLE,
                "test1.zip": packed({"test1/1.jpg": CAT}),
                "train.zip": packed(TRAIN),
            }
        },
        TRAIN | {"test1/1.jpg": CAT, "sampleSubmission.csv": TABLE},
    ),
    "newer": (
        {"cassava-leaf-disease.zip": TRAIN | TEST | {"train.csv": TABLE}},
        TRAIN | TEST | {"train.csv": TABLE},
    ),
    "train.zip and test.zip": ({"train.zip": TRAIN, "test.zip": TEST}, TRAIN | TEST),
    "flat": (
        {"train.zip": FLAT, "test1.zip": {"1.jpg": CAT}, "stage1_test.zip": {"1.jpg": CAT}},
        TRAIN | {"test1/1.jpg": CAT, "stage1_test/1.jpg": CAT},
    ),
    "flat inside": (
        {"aptos2019.zip": {"train_images.zip": packed(FLAT), "test-jpg.zip": packed({"1.jpg": CAT}), "a.csv": TABLE}},
        {"train_images/cat.0.jpg": CAT, "train_images/dog.0.jpg": DOG, "test-jpg/1.jpg": CAT, "a.csv": TABLE},
    ),
    "competition named like a split": ({"test-competition-2.zip": TRAIN | TEST}, TRAIN | TEST),
    "zips in a folder": (
        {"bundle.zip": {"bundle/train.zip": packed(FLAT), "bundle/test.zip": packed(TEST)}},
        {f"bundle/{name}": content for name, content in (TRAIN | TEST).items()},
    ),
    "class folders": (
        {"train.zip": {"cat/0.jpg": CAT, "dog/0.jpg": DOG}},
        {"train/cat/0.jpg": CAT, "train/dog/0.jpg": DOG},
    ),
    "folder and table": ({"train.zip": TRAIN | {"train.csv": TABLE}}, TRAIN | {"train.csv": TABLE}),
    "zipped tables": (
        {
            "dog-breeds.zip": {
                "labels.csv.zip": packed({"labels.csv": TABLE}),
                "train.zip": packed({"train.csv": TABLE}),
            }
        },
        {"labels.csv": TABLE, "train.csv": TABLE},
    ),
    "macOS": (
        {"train.zip": TRAIN | {"__MACOSX/train/._cat.0.jpg": b"x", ".DS_Store": b"x", "train/.DS_Store": b"x"}},
        TRAIN,
    ),
    "Windows": ({"train.zip": {"train\\": b"", "train\\cat.0.jpg": CAT}}, {"train/cat.0.jpg": CAT}),
    "folder entries": ({"train.zip": {"train/": b"", "train/cat.0.jpg": CAT}}, {"train/cat.0.jpg": CAT}),
}


@pytest.mark.parametrize(("zips", "expected"), SHAPES.values(), ids=SHAPES)
def test_shape_ends_in_the_right_files(
    zips: dict[str, dict[str, bytes]],
    expected: dict[str, bytes],
    to: Path,
    save: Save,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = [save(name, packed(members)) for name, members in zips.items()]
    placing.unpack(paths, to)
    assert tree(to) == expected
    last_line = capsys.readouterr().out.splitlines()[-1]
    assert f"{len(expected)} files" in last_line
    assert str(to) in last_line
    assert "dvc repro" in last_line
    assert all(path.is_file() for path in paths)


def test_zips_in_the_folder_are_found_and_left_there(to: Path) -> None:
    zips = {"train.zip": packed(TRAIN), "Test.ZIP": packed(TEST)}
    for name, content in zips.items():
        (to / name).write_bytes(content)
    placing.unpack(placing.to_unpack(to), to)
    assert tree(to) == TRAIN | TEST | zips


def test_no_zips_found(tmp_path: Path, to: Path) -> None:
    (to / "README.md").write_text("not a zip")
    for folder in (to, tmp_path / "absent"):
        with pytest.raises(UserError, match=r"no archives found.*download COMPETITION"):
            placing.to_unpack(folder)


@pytest.mark.parametrize("shape", ["redux", "newer", "flat"])
def test_second_run_changes_nothing_and_says_so(
    shape: str, to: Path, save: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    zips, expected = SHAPES[shape]
    paths = [save(name, packed(members)) for name, members in zips.items()]
    placing.unpack(paths, to)
    before = {path: path.stat().st_mtime_ns for path in to.rglob("*")} | {to: to.stat().st_mtime_ns}
    capsys.readouterr()
    placing.unpack(paths, to)
    out = capsys.readouterr().out
    assert "nothing to do" in out
    assert f"all {len(expected)} files" in out
    assert {path: path.stat().st_mtime_ns for path in to.rglob("*")} | {to: to.stat().st_mtime_ns} == before


def test_missing_files_are_filled_in(to: Path, save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    """What a kill while moving leaves behind: a part of the files, each whole."""
    (to / "train").mkdir()
    (to / "train" / "cat.0.jpg").write_bytes(CAT)
    placing.unpack([save("train.zip", packed(TRAIN))], to)
    assert tree(to) == TRAIN
    assert "unpacked 1 files (1 more were there)" in capsys.readouterr().out


def test_competition_zip_beside_the_zips_it_held(to: Path, save: Save) -> None:
    """Two zips with the same files do not clash."""
    placing.unpack([save("redux.zip", packed({"train.zip": packed(TRAIN)})), save("train.zip", packed(TRAIN))], to)
    assert tree(to) == TRAIN


@pytest.mark.parametrize("nested", [False, True], ids=["outer", "nested"])
@pytest.mark.parametrize(
    "name",
    ["../x", "train/../../x", "/x", "C:\\x", "c:x", "..\\x", "train\\..\\..\\x", "\\x", "\\\\host\\share\\x"],
)
def test_member_outside_is_refused(name: str, nested: bool, tmp_path: Path, to: Path, save: Save) -> None:
    content = packed(TRAIN | {name: b"out"})
    path = save("evil.zip", packed({"a.csv": TABLE, "train.zip": content}) if nested else content)
    before = tree(tmp_path)
    text = problem([save("test.zip", packed(TEST)), path], to)
    assert str(path) in text
    assert repr(name) in text
    assert "outside" in text
    assert ("train.zip" in text) == nested
    (tmp_path / "Downloads" / "test.zip").unlink()
    assert tree(tmp_path) == {key: value for key, value in before.items() if not key.endswith("/test.zip")}
    assert list(to.iterdir()) == []


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO])
def test_link_is_refused(kind: int, to: Path, save: Save) -> None:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        link = zipfile.ZipInfo("train/link")
        link.external_attr = (kind | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "'train/link' is a link" in problem([save("train.zip", file.getvalue())], to)
    assert list(to.iterdir()) == []


def damaged_inside() -> bytes:
    """Return a zip with one flipped bit in the last picture."""
    content = packed(TRAIN, zipfile.ZIP_STORED)
    return content.replace(DOG, DOG[:-1] + b"!")


def encrypted() -> bytes:
    """Return a zip whose directory says that its member has a password."""
    content = bytearray(packed({"train/cat.0.jpg": CAT}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def lost_member() -> bytes:
    """Return a zip whose directory says that its member starts ten bytes before the end."""
    content = bytearray(packed({"train/cat.0.jpg": CAT}))
    start = content.index(b"PK\x01\x02") + 42
    content[start : start + 4] = (len(content) - 10).to_bytes(4, "little")
    return bytes(content)


BROKEN = {
    "empty": (b"", "an empty file"),
    "login page": (b"<!DOCTYPE html><html>", "not a zip (it starts with b'<!DOCTYPE html><')"),
    "truncated": (packed(TRAIN)[:-40], "only the beginning of a zip"),
    "bit flipped": (damaged_inside(), "Bad CRC-32 for file 'train/dog.0.jpg'"),
    "encrypted": (encrypted(), "'train/cat.0.jpg' is encrypted"),
    "lost member": (lost_member(), "damaged or not readable here"),
    "no members": (packed({}), "holds no files"),
}


@pytest.mark.parametrize("nested", [False, True], ids=["outer", "nested"])
@pytest.mark.parametrize(("content", "found"), BROKEN.values(), ids=BROKEN)
def test_broken_zip_names_itself_and_leaves_nothing(
    content: bytes, found: str, nested: bool, to: Path, save: Save
) -> None:
    path = save("redux.zip", packed({"a.csv": TABLE, "train.zip": content}) if nested else content)
    text = problem([save("test.zip", packed(TEST)), path], to)
    assert text.startswith(f"{path}/train.zip: " if nested else f"{path}: ")
    assert found in text
    assert "accepted: " in text
    assert list(to.iterdir()) == []


def test_members_are_listed_in_the_order_of_their_bytes() -> None:
    """Any other order unpacks a compressed zip inside a zip again for every picture."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in FLAT.items():
            archive.writestr(name, content)
        archive.filelist.reverse()  # the directory is written on closing
    file.seek(0)
    with ExitStack() as stack:
        members = reading.survey(file, "photos.zip", PurePosixPath(), stack)
    assert [str(member.target) for member in members] == list(FLAT)


@pytest.mark.slow
# Every eleventh byte, and with -m long every byte.
@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_anywhere_is_an_error_a_user_can_fix(method: int, step: int, to: Path, save: Save) -> None:
    """Wherever a byte is wrong or the file ends, the files are right all the same or it is one UserError."""
    whole = packed({"train.zip": packed({"train/ça.jpg": b"cat " * 20}, method), "é.csv": TABLE}, method)
    path = save("redux.zip", whole)
    n_refused = 0
    for position in range(0, len(whole), step):
        flipped = bytearray(whole)
        flipped[position] ^= 0x55
        for damaged in (flipped, whole[:position]):
            path.write_bytes(damaged)
            try:
                placing.unpack([path], to)
            except UserError:
                n_refused += 1
                assert list(to.iterdir()) == []
            else:
                assert set(tree(to).values()) <= {b"cat " * 20, TABLE}
                shutil.rmtree(to)
                to.mkdir()
    assert n_refused > len(whole) / step


def test_full_disk_is_no_fault_of_the_zip(to: Path, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", fill)
    with pytest.raises(OSError, match="No space left"):
        placing.unpack([save("train.zip", packed(TRAIN))], to)
    assert list(to.iterdir()) == []


def test_name_too_long_for_the_disk(to: Path, save: Save) -> None:
    assert "File name too long" in problem([save("train.zip", packed(TRAIN | {"train/" + "x" * 300: CAT}))], to)
    assert list(to.iterdir()) == []


def test_zip_in_zip_for_ever(to: Path, save: Save) -> None:
    content = packed(TRAIN)
    for _ in range(reading.MAX_DEPTH + 1):
        content = packed({"train.zip": content})
    assert "deep" in problem([save("quine.zip", content)], to)
    placing.unpack([save("deep.zip", zipfile.ZipFile(BytesIO(content)).read("train.zip"))], to)
    assert tree(to) == TRAIN


def test_missing_zips_are_all_named(to: Path, save: Save, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        placing.unpack([to / "a.zip", save("train.zip", packed(TRAIN)), tmp_path], to)
    assert [line.split(";")[0] for line in caught.value.problems] == [
        f"{to / 'a.zip'}: no such file",
        f"{tmp_path}: a folder",
    ]
    assert list(to.iterdir()) == []


@pytest.mark.parametrize("other", [b"cow " * 100, b"short"], ids=["same size", "other size"])
def test_existing_file_is_not_overwritten(other: bytes, to: Path, save: Save) -> None:
    (to / "train").mkdir()
    (to / "train" / "dog.0.jpg").write_bytes(other)
    text = problem([save("train.zip", packed(TRAIN)), save("test.zip", packed(TEST))], to)
    assert str(to / "train" / "dog.0.jpg") in text
    assert "not overwritten" in text
    assert tree(to) == {"train/dog.0.jpg": other}
    assert not (to / "test").exists()


def test_file_where_a_folder_must_be(to: Path, save: Save) -> None:
    (to / "train").write_bytes(CAT)
    assert f"{to / 'train'}: must be a folder" in problem([save("train.zip", packed(TRAIN))], to)
    assert tree(to) == {"train": CAT}


def test_member_that_is_a_file_and_a_folder(to: Path, save: Save) -> None:
    assert "must be a folder" in problem([save("redux.zip", packed(TRAIN | {"train": CAT}))], to)
    assert list(to.iterdir()) == []


def test_folder_where_a_file_must_be(to: Path, save: Save) -> None:
    (to / "train" / "cat.0.jpg").mkdir(parents=True)
    assert "not overwritten" in problem([save("train.zip", packed(TRAIN))], to)


def test_two_zips_with_different_files_of_one_name(to: Path, save: Save) -> None:
    paths = [save("a.zip", packed({"train/cat.0.jpg": CAT})), save("b.zip", packed({"train/cat.0.jpg": DOG}))]
    text = problem(paths, to)
    assert all(str(path) in text for path in paths)
    assert list(to.iterdir()) == []


def test_full_disk_is_refused_first(to: Path, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    path = save("redux.zip", packed({"train.zip": packed(TRAIN)}))
    n_needed = len(CAT) + len(DOG)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(n_needed - 1))
    text = problem([path], to)
    assert "0.00 GB free" in text
    assert "--to" in text
    assert list(to.iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(n_needed))
    placing.unpack([path], to)
    assert tree(to) == TRAIN


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_error_while_moving_takes_everything_out_again(
    error: BaseException, to: Path, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    (to / "train").mkdir()
    (to / "train" / "cat.0.jpg").write_bytes(CAT)
    move, moved = shutil.move, list[object]()

    def fail_at_the_end(source: Path, target: Path) -> None:
        if len(moved) == 2:
            raise error
        moved.append(move(source, target))

    monkeypatch.setattr(shutil, "move", fail_at_the_end)
    with pytest.raises(type(error)):
        placing.unpack([save("redux.zip", packed(TRAIN | TEST | {"a.csv": TABLE}))], to)
    assert len(moved) == 2
    assert tree(to) == {"train/cat.0.jpg": CAT}
    assert [path.name for path in to.iterdir()] == ["train"]


def test_leftover_of_a_kill_is_removed(to: Path, save: Save) -> None:
    (to / placing.PARTIAL / "train").mkdir(parents=True)
    (to / placing.PARTIAL / "train" / "half.jpg").write_bytes(b"half")
    placing.unpack([save("train.zip", packed(TRAIN))], to)
    assert tree(to) == TRAIN


def command(*args: object, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the module as a user does."""
    environment = os.environ | ({} if path is None else {"PATH": path})
    return subprocess.run(
        [sys.executable, "-m", "tools.raw", *map(str, args)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_command_line(to: Path, save: Save) -> None:
    (to / "train.zip").write_bytes(packed(TRAIN))
    done = command("unpack", "--to", to)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].endswith("Next: dvc repro")
    done = command("unpack", save("test.zip", packed(TEST)), "--to", to)
    assert done.returncode == 0
    assert tree(to).keys() == TRAIN.keys() | TEST.keys() | {"train.zip"}
    done = command("unpack", save("bad.zip", b"<html>"), "--to", to)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("ERROR: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes a `kaggle` of the given Python code the only one there is.

    The code finds the competition's name and the folder after -p.
    """
    folder, interpreter = tmp_path / "bin", sys.executable
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", str(folder / "python"))

    def install(code: str) -> None:
        script = folder / "kaggle"
        script.write_text(
            f"#!{interpreter}\nimport os, sys\n"
            "assert sys.argv[1:4] == ['competitions', 'download', '-c'] and sys.argv[5] == '-p', sys.argv\n"
            f"name, folder = sys.argv[4], sys.argv[6]\n{code}\n"
        )
        script.chmod(0o755)

    return install


SAVES_ZIP = "os.makedirs(folder); open(f'{{folder}}/{{name}}.zip', 'wb').write({!r})"


def test_download(kaggle: Callable[[str], None], to: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = packed({"sample_submission.csv": TABLE, "train.zip": packed(TRAIN)})
    kaggle(f"sys.stderr.write('\\r 50%|bar'); print('words'); {SAVES_ZIP.format(content)}")
    kaggle_client.download("dogs-vs-cats", to)
    assert tree(to) == TRAIN | {"sample_submission.csv": TABLE}
    assert not any(path.name.startswith(".") for path in to.iterdir())
    out, err = capfd.readouterr()
    assert "50%|bar" in err
    assert "dvc repro" in out.splitlines()[-1]


def test_download_that_cannot_be_unpacked_is_kept(kaggle: Callable[[str], None], to: Path) -> None:
    (to / "train").write_bytes(b"in the way")
    kaggle(SAVES_ZIP.format(packed(TRAIN)))
    with pytest.raises(UserError, match="must be a folder"):
        kaggle_client.download("dogs-vs-cats", to)
    assert tree(to).keys() == {"train", ".dogs-vs-cats.download/dogs-vs-cats.zip"}


@pytest.mark.parametrize(
    ("code", "found", "fix"),
    [
        (
            "print('some advice'); sys.exit('403 Client Error: Forbidden for url: https://www.kaggle.com/api')",
            ": 403 Client Error: Forbidden for url: https://www.kaggle.com/api; ",
            "accept the rules on https://www.kaggle.com/competitions/dogs-vs-cats/rules",
        ),
        ("sys.exit('404 - Not Found')", ": 404 - Not Found; ", "check the competition's name"),
        (
            "sys.exit('OSError: Could not find kaggle.json.')",
            ": OSError: Could not find kaggle.json.; ",
            "https://www.kaggle.com/settings",
        ),
        (
            "sys.exit('Authentication required to call the Kaggle API.\\n\\n    Save the token')",
            "Save the token; ",
            "https://www.kaggle.com/settings",
        ),
        ("sys.exit('NameResolutionError')", ": NameResolutionError; ", "https://www.kaggle.com/competitions/dogs-vs"),
        ("pass", "no zip and no word, status 0", "by hand"),
    ],
    ids=["403", "404", "kaggle.json", "no token", "offline", "nothing"],
)
def test_download_failure_says_the_last_line_and_what_to_do(
    code: str, found: str, fix: str, kaggle: Callable[[str], None], to: Path
) -> None:
    kaggle(code)
    with pytest.raises(UserError) as caught:
        kaggle_client.download("dogs-vs-cats", to)
    assert found in str(caught.value)
    assert fix in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(to.iterdir()) == []


def test_download_that_breaks_off_is_not_unpacked(kaggle: Callable[[str], None], to: Path) -> None:
    kaggle(f"{SAVES_ZIP.format(packed(TRAIN))}; sys.exit('connection lost')")
    with pytest.raises(UserError, match="connection lost"):
        kaggle_client.download("dogs-vs-cats", to)
    assert tree(to).keys() == {".dogs-vs-cats.download/dogs-vs-cats.zip"}


@pytest.mark.usefixtures("kaggle")
def test_download_without_the_client(to: Path) -> None:
    with pytest.raises(UserError, match="not installed; pip install kaggle"):
        kaggle_client.download("dogs-vs-cats", to)


@pytest.mark.parametrize("name", ["https://www.kaggle.com/c/dogs-vs-cats", "../dogs", "", "-f"])
@pytest.mark.usefixtures("kaggle")
def test_download_wants_a_name(name: str, to: Path) -> None:
    with pytest.raises(UserError, match="last part of its address"):
        kaggle_client.download(name, to)
