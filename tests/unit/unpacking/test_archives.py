"""Archives other than plain zips: unpacked as safely, or named with the command that unpacks them."""

import io
import shlex
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from gap_ensemble.messages.errors import UserError
from gap_ensemble.unpacking.archives import archive_hint, archives_in, command_for
from gap_ensemble.unpacking.placing import to_unpack, unpack

CAT, DOG, TABLE = b"cat " * 100, b"dog " * 100, b"id,label\n1,0.5\n"
TRAIN = {"train/cat.0.jpg": CAT, "train/dog.0.jpg": DOG}


def tar(members: dict[str, bytes], mode: str = "w:gz", links: dict[str, bytes] | None = None) -> bytes:
    """Return the bytes of a tar; `links`: names and what kind of member they are."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, kind in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    return file.getvalue()


def packed(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def save(folder: Path, **files: bytes) -> list[Path]:
    """Write files; a name's __ stands for a dot."""
    folder.mkdir(exist_ok=True)
    paths = [folder / name.replace("__", ".") for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.write_bytes(content)
    return paths


def refusal(paths: list[Path], to: Path) -> str:
    with pytest.raises(UserError) as caught:
        unpack(paths, to)
    (line,) = caught.value.problems
    assert "\n" not in line
    assert not to.exists() or not list(to.iterdir())
    return line


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [("tar", "w:"), ("tar__gz", "w:gz"), ("tgz", "w:gz"), ("tar__bz2", "w:bz2"), ("tar__xz", "w:xz"), ("txz", "w:xz")],
)
def test_tar(tmp_path: Path, suffix: str, mode: str) -> None:
    macos = {"./train/._cat.0.jpg": b"x", ".DS_Store": b"x"}
    save(tmp_path / "raw", **{f"train__{suffix}": tar({f"./{name}": c for name, c in TRAIN.items()} | macos, mode)})
    unpack(to_unpack(tmp_path / "raw"), tmp_path / "to")
    assert tree(tmp_path / "to") == TRAIN


def test_a_tar_of_bare_pictures_gets_its_folder_and_may_hold_zips(tmp_path: Path) -> None:
    paths = save(
        tmp_path,
        train__tar__gz=tar({"cat.0.jpg": CAT}),
        other__tar=tar({"test.zip": packed({"1.jpg": DOG}), "labels.csv": TABLE}, "w:"),
        outer__zip=packed({"extra.tgz": tar({"extra/2.jpg": CAT})}),
    )
    unpack(paths, tmp_path / "to")
    assert tree(tmp_path / "to") == {
        "train/cat.0.jpg": CAT,
        "test/1.jpg": DOG,
        "labels.csv": TABLE,
        "extra/2.jpg": CAT,
    }


def test_the_same_files_again_are_nothing_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = save(tmp_path, train__tar__gz=tar(TRAIN))
    unpack([path], tmp_path / "to")
    unpack([path], tmp_path / "to")
    assert "nothing to do" in capsys.readouterr().out
    (tmp_path / "to/train/dog.0.jpg").write_bytes(b"cow " * 100)  # As long as before.
    with pytest.raises(UserError, match="not overwritten"):
        unpack([path], tmp_path / "to")


@pytest.mark.parametrize("name", ["../x", "train/../../x", "/x", "C:\\x", "..\\x"])
def test_a_member_outside_is_refused(tmp_path: Path, name: str) -> None:
    line = refusal(save(tmp_path, a__tar__gz=tar(TRAIN | {name: b"out"})), tmp_path / "to")
    assert repr(name) in line
    assert "outside" in line


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    line = refusal(save(tmp_path, a__tar=tar(TRAIN, "w:", {"train/link": kind})), tmp_path / "to")
    assert "'train/link' is a link or a device" in line


@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:bz2", "w:xz"])
def test_damage_anywhere_is_an_error_a_user_can_fix(tmp_path: Path, mode: str) -> None:
    """A tar has no checksums of its own: without compression only its headers and its length are checked."""
    whole = tar(TRAIN, mode)
    to, n_refused, positions = tmp_path / "to", 0, range(0, len(whole), max(7, len(whole) // 60))
    for position in positions:
        (path,) = save(tmp_path, a__tar=whole[:position])
        try:
            unpack([path], to)
        except UserError:
            n_refused += 1
            assert not to.exists() or not list(to.iterdir())
        else:
            assert tree(to) == TRAIN
            for file in to.rglob("*.jpg"):
                file.unlink()
    content_ends = 4 * 512 + 2 * 512 if mode == "w:" else len(whole)
    assert n_refused >= sum(position < content_ends * 0.6 for position in positions)


def split_zip(members: dict[str, bytes], size: int) -> list[bytes]:
    """Return the parts x.z01, x.z02 … x.zip: offsets count from the beginning of the part in which a member starts."""
    whole = b"PK\x07\x08" + packed(members)
    directory = whole.index(b"PK\x01\x02")
    starts = [*range(0, directory, size)]
    content = bytearray(whole)
    position, last = directory, len(starts) - 1
    while content[position : position + 4] == b"PK\x01\x02":
        n_name, n_extra, n_comment = struct.unpack_from("<3H", content, position + 28)
        offset = struct.unpack_from("<I", content, position + 42)[0] + 4
        struct.pack_into("<H", content, position + 34, offset // size)
        struct.pack_into("<I", content, position + 42, offset % size)
        position += 46 + n_name + n_extra + n_comment
    n_members = len(members)
    struct.pack_into("<4H", content, position + 4, last, last, n_members, n_members)
    struct.pack_into("<I", content, position + 16, directory - starts[last])
    return [bytes(content[start:end]) for start, end in zip(starts, [*starts[1:], len(content)], strict=True)]


@pytest.mark.parametrize("size", [100, 217, 400, 900, 5000])
def test_a_zip_split_by_zip(tmp_path: Path, size: int) -> None:
    parts = split_zip(TRAIN | {"a.csv": TABLE}, size)
    names = [*(f"x.z{i:02}" for i in range(1, len(parts))), "x.zip"]
    save(tmp_path / "raw", **{name.replace(".", "__"): part for name, part in zip(names, parts, strict=True)})
    assert archives_in(tmp_path / "raw") == ([tmp_path / "raw/x.zip"], [])
    unpack(to_unpack(tmp_path / "raw"), tmp_path / "to")
    assert tree(tmp_path / "to") == TRAIN | {"a.csv": TABLE}
    unpack([tmp_path / "raw" / names[0]], tmp_path / "other")
    assert tree(tmp_path / "other") == TRAIN | {"a.csv": TABLE}


@pytest.mark.parametrize(("suffix", "content"), [("zip", packed(TRAIN)), ("tar.gz", tar(TRAIN))])
def test_parts_byte_by_byte(tmp_path: Path, suffix: str, content: bytes) -> None:
    third = len(content) // 3 + 1
    raw = tmp_path / "raw"
    save(raw, **{f"train.{suffix}.{i + 1:03}": content[i * third : (i + 1) * third] for i in range(3)})
    assert archives_in(raw) == ([raw / f"train.{suffix}.001"], [])
    unpack(to_unpack(raw), tmp_path / "to")
    assert tree(tmp_path / "to") == TRAIN
    (raw / f"train.{suffix}.002").unlink()
    line = refusal(to_unpack(raw), tmp_path / "other")
    assert line.startswith(f"{raw / f'train.{suffix}.002'}: this part is missing")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("train.7z", "7z x {file} -o{to}"),
        ("train.7z.001", "7z x {file} -o{to}"),
        ("train.rar", "7z x {file} -o{to}"),
        ("train.tar.zst", "tar -xf {file} -C {to}"),
        ("my train.7z", "7z x {file} -o{to}"),
        ("labels.csv.gz", "gunzip -k {file}"),
    ],
)
def test_what_needs_a_program_is_named_with_its_command(tmp_path: Path, name: str, command: str) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / name).write_bytes(b"7z\xbc\xaf\x27\x1c\x00\x04")
    (raw / "train.7z.002").write_bytes(b"")
    for to, line in ((tmp_path / "to", refusal([raw / name], tmp_path / "to")), (raw, archive_hint(raw))):
        expected = command.format(file=shlex.quote(str(raw / name)), to=shlex.quote(str(to)))
        assert command_for(raw / name, to) == expected
        assert f"`{expected}`" in line
        assert "download" not in line
    with pytest.raises(UserError, match="needs a program"):
        to_unpack(raw)


def test_what_is_called_zip_and_is_none(tmp_path: Path) -> None:
    line = refusal(save(tmp_path, train__zip=b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(99)), tmp_path / "to")
    assert "a .7z archive" in line
    assert "7z x" in line


def test_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert archive_hint(tmp_path) == ""
    save(tmp_path, test__zip=packed(TRAIN), train__tar__gz=tar(TRAIN), more__7z=b"7z")
    hint = archive_hint(tmp_path)
    assert f"test.zip, train.tar.gz are not unpacked: run `python -m tools.raw unpack --to {tmp_path}`" in hint
    assert f"more.7z is not unpacked: run `7z x {tmp_path / 'more.7z'} -o{tmp_path}`" in hint
    assert [path.name for path in to_unpack(tmp_path)] == ["test.zip", "train.tar.gz"]
    assert "7z x" in capsys.readouterr().out
