"""What lies in an archive: its files in the order of their bytes, with where each belongs. Nothing is written."""

import errno
import io
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from gap_ensemble.messages.errors import UserError, one_line
from gap_ensemble.unpacking.archives import OURS, command_for, is_foreign

# train.zip, test1.zip, train_images.zip, stage1_train.zip: never a competition's name, which has no underscores.
SPLIT_NAME = re.compile(
    r"(\w+_)?(train|test|val|valid|validation)(ing|set)?\d*(_\w+|-(images?|imgs?|jpe?g|png))?", re.IGNORECASE
)
# An archive inside an archive inside an archive; some zips hold themselves, for ever.
MAX_DEPTH = 3
ENCRYPTED_FLAG = 0x1
# What zipfile, tarfile and the decompressors raise on damaged bytes or a packing method they do not know.
UNREADABLE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    LZMAError,
    EOFError,
    ValueError,
    struct.error,
    NotImplementedError,
    OSError,
)
# The system errors among them: a damaged directory makes zipfile seek to before the file, or holds impossible names.
DAMAGE_ERRNO = (None, errno.EINVAL, errno.ENAMETOOLONG)
# How compressed tars begin: gzip, bzip2, xz.
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")
TAR_MARK, TAR_MARK_AT, TAR_BLOCK = b"ustar", 257, 512
# How archives begin that the standard library can't read, whatever they are called.
FOREIGN_MARKS = {b"7z\xbc\xaf\x27\x1c": ".7z", b"Rar!\x1a\x07": ".rar", b"\x28\xb5\x2f\xfd": ".tar.zst"}


@dataclass(frozen=True)
class Member:
    """A file in an archive and where it belongs."""

    archive_name: str  # as messages call it: "redux.zip/train.zip" when it lies inside another
    size: int
    checksum: int | None  # CRC-32, which only zips know
    target: PurePosixPath  # relative to the folder that is filled
    open: Callable[[], IO[bytes]]


class Parts(io.RawIOBase):
    """Several files read as one.

    Parameters
    ----------
    files : sequence of binary file
        The parts, in order.
    are_volumes : bool
        Whether the offsets in them count from the beginning of each, as those of x.z01, x.z02 … x.zip do.
    """

    def __init__(self, files: Sequence[IO[bytes]], are_volumes: bool):
        self.files, self.are_volumes = files, are_volumes
        self.starts = [0]
        for file in files:
            self.starts.append(self.starts[-1] + file.seek(0, io.SEEK_END))
        self.position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, as in one file."""
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.starts[-1]}[whence]
        if position < 0:
            raise OSError(errno.EINVAL, "before the beginning")
        self.position = position
        return position

    def tell(self) -> int:
        """Return the position in the whole."""
        return self.position

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Read from the one part in which the position lies."""
        for file, start, end in zip(self.files, self.starts, self.starts[1:], strict=False):
            if start <= self.position < end:
                file.seek(self.position - start)
                content = file.read(min(len(buffer), end - self.position))
                buffer[: len(content)] = content
                self.position += len(content)
                return len(content)
        return 0


def open_file(path: Path, stack: ExitStack) -> IO[bytes]:
    """Open an archive, a split one as a whole: x.zip.001, x.zip.002 … or x.z01, x.z02 … x.zip.

    Raises
    ------
    UserError
        If a part is missing between the others.
    """
    numbered = re.fullmatch(r"(.*\.)(\d{3})", path.name)
    if numbered:
        parts = _numbered(path, lambda number: f"{numbered[1]}{number:03}")
    elif re.fullmatch(r"\.z(ip|\d\d)", path.suffix, re.IGNORECASE):
        letter, path = path.suffix[1], next(iter(path.parent.glob(f"{path.stem}.[zZ][iI][pP]")), path)
        parts = _numbered(path, lambda number: f"{path.stem}.{letter}{number:02}")
        parts = [*parts, path]
    else:
        parts = [path]
    files = [stack.enter_context(open(part, "rb")) for part in parts]  # noqa: SIM115 - the stack closes them
    return files[0] if len(files) == 1 else stack.enter_context(io.BufferedReader(Parts(files, not numbered)))  # type: ignore[type-var]


def _numbered(path: Path, name: Callable[[int], str]) -> list[Path]:
    """Return the parts of a split archive, numbered from 1 on."""
    there = {number for number in range(1, 1000) if path.with_name(name(number)).is_file()}
    missing = sorted(set(range(1, max(there, default=0) + 1)) - there)
    if missing:
        raise UserError(f"{path.with_name(name(missing[0]))}: this part is missing; put all parts into one folder")
    return [path.with_name(name(number)) for number in sorted(there)]


def survey(file: IO[bytes], name: str, folder: PurePosixPath, stack: ExitStack, depth: int = 0) -> list[Member]:
    """List the files that an archive, and the archives inside it, would give. Nothing is written.

    Parameters
    ----------
    file : binary file
        The archive, seekable.
    name : str
        What messages call it; its stem decides whether a train.zip without a folder gets one.
    folder : PurePosixPath
        Where the archive's content goes, relative to the folder that is filled.
    stack : ExitStack
        Keeps the archives open for the members' readers.
    depth : int, default 0
        How many archives this one lies in.

    Returns
    -------
    list of Member
        In the order of their bytes: what lies inside compressed bytes can only be read forwards at a bearable price.

    Raises
    ------
    UserError
        If the archive cannot be read, is encrypted or empty, or has a member that would land outside the folder.
    """
    with naming_damage(name):
        start = file.read(TAR_MARK_AT + len(TAR_MARK))
        file.seek(0)
    is_tar = start.startswith(COMPRESSED) or start[TAR_MARK_AT:] == TAR_MARK
    entries = _tar_entries(name, file, stack) if is_tar else _zip_entries(name, file, start, stack)
    if not entries:
        raise UserError(f"{name}: holds no files; accepted: a competition's archive as downloaded from Kaggle")
    folder /= _missing_folder(OURS.sub("", Path(name).name), [path for path, _, _, _ in entries])
    members: list[Member] = []
    for path, size, checksum, reader in entries:
        if not OURS.search(path.name):
            members.append(Member(name, size, checksum, folder / path, reader))
        elif depth == MAX_DEPTH:
            raise UserError(
                f"{name}: archives inside archives more than {MAX_DEPTH} deep; unpack the outer ones by hand"
            )
        else:
            with naming_damage(name):
                inner = stack.enter_context(reader())
            members += survey(inner, f"{name}/{path}", (folder / path).parent, stack, depth + 1)
    return members


# A path, a size, a checksum if there is one, and what opens it.
Entry = tuple[PurePosixPath, int, int | None, Callable[[], IO[bytes]]]


def _zip_entries(name: str, file: IO[bytes], start: bytes, stack: ExitStack) -> list[Entry]:
    """List the files of a zip."""
    archive = stack.enter_context(_open_zip(name, file, start))
    infos = sorted((info for info in archive.infolist() if not _is_junk(info.filename)), key=lambda i: i.header_offset)
    entries: list[Entry] = []
    for info in infos:
        kind = stat.S_IFMT(info.external_attr >> 16)
        path = _safe_path(name, info.filename, is_plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
        if _posix_name(info.filename).endswith("/"):
            continue
        if info.flag_bits & ENCRYPTED_FLAG:
            raise UserError(
                f"{name}: {info.filename!r} is encrypted; accepted: zips without a password; unpack it by hand"
            )

        def reader(info: zipfile.ZipInfo = info) -> IO[bytes]:
            return archive.open(info)

        entries.append((path, info.file_size, info.CRC, reader))
    return entries


def _open_zip(name: str, file: IO[bytes], start: bytes) -> zipfile.ZipFile:
    """Open a zip, and tell a saved login page from a download that broke off."""
    with naming_damage(name):
        if not start:
            raise _not_whole(name, "an empty file")
        for mark, suffix in FOREIGN_MARKS.items():
            if start.startswith(mark):
                path = Path(name)
                command = command_for(path if is_foreign(path) else path.with_suffix(suffix), path.parent)
                raise UserError(f"{name}: a {suffix} archive, which needs a program: run `{command}`, then dvc repro")
        if not start.startswith(b"PK"):
            raise _not_whole(name, f"not a zip (it starts with {start[:16]!r})")
        # The directory stands at a zip's end.
        if not zipfile.is_zipfile(file):
            raise _not_whole(
                name,
                "only the beginning of a zip, its download or copy broke off, or the last of its parts are missing",
            )
        archive = zipfile.ZipFile(file)
        _correct_offsets(archive, file)
        return archive


def _correct_offsets(archive: zipfile.ZipFile, file: IO[bytes]) -> None:
    """Let the members of x.z01 … x.zip be found: their offsets count from the beginning of their part."""
    parts = getattr(file, "raw", None)
    if not isinstance(parts, Parts) or not parts.are_volumes:
        return
    # zipfile took the offset of the directory for one from the beginning, and corrected all others by the difference.
    file.seek(archive.start_dir)
    directory = archive.start_dir - max(start for start in parts.starts[:-1] if start <= archive.start_dir)
    for info in archive.infolist():
        info.header_offset += directory - archive.start_dir + parts.starts[info.volume]


def _tar_entries(name: str, file: IO[bytes], stack: ExitStack) -> list[Entry]:
    """List the files of a tar, compressed or not. It is read to its end."""
    with naming_damage(name):
        archive = stack.enter_context(tarfile.open(fileobj=file, mode="r:*"))  # noqa: SIM115 - the stack closes it
        infos = archive.getmembers()
        # tarfile takes a damaged header, and the end of the file, for the end of the archive, which is an empty block.
        assert archive.fileobj is not None
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(TAR_BLOCK) != bytes(TAR_BLOCK):
            raise _not_whole(name, "only the beginning of a tar, its download or copy broke off, or it is damaged")
    entries: list[Entry] = []
    for info in infos:
        if _is_junk(info.name):
            continue
        path = _safe_path(name, info.name, is_plain=info.isreg() or info.isdir())
        if info.isreg():

            def reader(info: tarfile.TarInfo = info) -> IO[bytes]:
                opened = archive.extractfile(info)
                assert opened is not None
                return opened

            entries.append((path, info.size, None, reader))
    return entries


@contextmanager
def naming_damage(name: str) -> Iterator[None]:
    """Turn what the libraries raise on damaged bytes into a UserError that names the archive."""
    try:
        yield
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno not in DAMAGE_ERRNO:
            raise  # a full disk is no fault of the archive
        raise _not_whole(name, f"damaged or not readable here ({one_line(error)})") from error


def _not_whole(name: str, found: str) -> UserError:
    return UserError(
        f"{name}: {found}; accepted: a whole archive as downloaded from Kaggle; delete it and download it again"
    )


def _posix_name(name: str) -> str:
    r"""Return a member's name with slashes: some Windows tools write train\cat.jpg, and so can ..\x get out."""
    return name.replace("\\", "/")


def _is_junk(name: str) -> bool:
    """Tell whether a member is what macOS adds to every archive."""
    parts = PurePosixPath(_posix_name(name)).parts
    return "__MACOSX" in parts or parts[-1:] == (".DS_Store",) or (bool(parts) and parts[-1].startswith("._"))


def _safe_path(archive_name: str, member: str, is_plain: bool) -> PurePosixPath:
    """Return a member's path, or refuse it if it leads, or is a link that could lead, out of the folder."""
    name = _posix_name(member)
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
        found = "would land outside the folder"
    elif not is_plain:
        found = "is a link or a device"
    else:
        return path
    raise UserError(
        f"{archive_name}: {member!r} {found}; accepted: files below the archive's own root; nothing was unpacked, "
        "take the archive from Kaggle's own page"
    )


def _missing_folder(stem: str, paths: list[PurePosixPath]) -> str:
    """Return the folder that an archive should have held: "train" for a train.zip of bare pictures, "" for most."""
    top_folders = {path.parts[0] for path in paths if len(path.parts) > 1}
    one_folder = len(top_folders) == 1 and all(len(path.parts) > 1 for path in paths)
    one_table = [path.stem for path in paths] == [stem]  # train.zip with nothing but train.csv
    bare = SPLIT_NAME.fullmatch(stem) and not (one_folder or one_table or stem in top_folders)
    return stem if bare else ""
