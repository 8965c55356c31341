"""Fill data/raw with a Kaggle competition's files, from its zips or from Kaggle itself.

Run from the repository's root:

    python -m tools.raw unpack                                   # the zips lying in data/raw
    python -m tools.raw unpack ~/Downloads/train.zip ~/Downloads/test.zip
    python -m tools.raw download dogs-vs-cats-redux-kernels-edition

`unpack` takes what Kaggle hands out: the competition's zip, with or without train.zip and test.zip inside it, or those
alone. The zips stay where they are; a zip inside a zip is read in place and never lands in data/raw. `download` needs
the official client (`pip install kaggle`) and your API key, and deletes the zip it fetched once it is unpacked.

Nothing appears in data/raw until every zip has been checked and read to its end, and nothing there is overwritten.
"""

import argparse
import errno
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from gap_ensemble.messages.errors import UserError, listed, one_line, run

RAW = Path("data/raw")
PARTIAL = ".unpack-partial"
# train.zip, test1.zip, train_images.zip, stage1_train.zip: never a competition's name, which has no underscores.
SPLIT_NAME = re.compile(
    r"(\w+_)?(train|test|val|valid|validation)(ing|set)?\d*(_\w+|-(images?|imgs?|jpe?g|png))?", re.IGNORECASE
)
# A zip inside a zip inside a zip; some zips hold themselves, for ever.
MAX_DEPTH = 3
ENCRYPTED_FLAG = 0x1
# What zipfile and the decompressors raise on damaged bytes or a packing method they do not know.
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    LZMAError,
    EOFError,
    ValueError,
    NotImplementedError,
    OSError,
)
# The system errors among them: a damaged directory makes zipfile seek to before the file, or holds impossible names.
DAMAGE_ERRNO = (None, errno.EINVAL, errno.ENAMETOOLONG)


@dataclass(frozen=True)
class Member:
    """A file in a zip and where it belongs."""

    zip_name: str  # as messages call the zip: "redux.zip/train.zip" when it lies inside another
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    target: PurePosixPath  # relative to the folder that is filled


def unpack(zips: Sequence[Path], to: Path) -> None:
    """Unpack zips into a folder, all of them or none, and print what is there now.

    Files that are already there with the same content stay as they are. A kill while the finished files are moved
    into place can leave some of them there, each whole; the same call then adds the others.

    Parameters
    ----------
    zips : sequence of Path
        The zips as downloaded. They are left where they are.
    to : Path
        The folder to fill; made when it is missing.

    Raises
    ------
    UserError
        If a zip is missing, broken, encrypted or empty, if a member would land outside `to` or on a file with other
        content, or if the disk has no room for them. Nothing has been added to `to` then.
    """
    partial = to / PARTIAL
    if partial.exists():
        shutil.rmtree(partial)
    absent = [path for path in zips if not path.is_file()]
    if absent:
        raise UserError(
            f"{path}: {'a folder' if path.is_dir() else 'no such file'}; accepted: a zip as downloaded from Kaggle; "
            "check the path"
            for path in absent
        )
    with ExitStack() as stack:
        members = [
            member
            for path in zips
            for member in survey(stack.enter_context(open(path, "rb")), str(path), PurePosixPath(), stack)
        ]
        n_files, new = len({member.target for member in members}), _not_yet_in(to, members)
        if not new:
            print(f"{to}: all {n_files:,} files of {listed(zips)} are in place; nothing to do. Next: dvc repro")
            return
        to.mkdir(parents=True, exist_ok=True)
        _check_room(to, sum(member.info.file_size for member in new))
        try:
            _extract(new, partial)
            _move_in(partial, to)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    there_before = f" ({n_files - len(new):,} more were there)" if len(new) < n_files else ""
    print(f"{to}: unpacked {len(new):,} files{there_before} of {listed(zips)}. Next: dvc repro")


def survey(file: IO[bytes], name: str, folder: PurePosixPath, stack: ExitStack, depth: int = 0) -> list[Member]:
    """List the files that a zip, and the zips inside it, would give. Nothing is written.

    Parameters
    ----------
    file : binary file
        The zip, seekable.
    name : str
        What messages call it; its stem decides whether a train.zip without a folder gets one.
    folder : PurePosixPath
        Where the zip's content goes, relative to the folder that is filled.
    stack : ExitStack
        Keeps the zips open for the members' readers.
    depth : int, default 0
        How many zips this one lies in.

    Returns
    -------
    list of Member
        In the order of their bytes: a zip inside a compressed zip can only be read forwards at a bearable price.

    Raises
    ------
    UserError
        If the zip cannot be read, is encrypted or empty, or has a member that would land outside the folder.
    """
    archive = stack.enter_context(_open(name, file))
    infos = sorted((info for info in archive.infolist() if not _is_junk(info)), key=lambda info: info.header_offset)
    paths = [_safe_path(name, info) for info in infos]
    files = [(info, path) for info, path in zip(infos, paths, strict=True) if not _posix_name(info).endswith("/")]
    if not files:
        raise UserError(f"{name}: holds no files; accepted: a competition's zip as downloaded from Kaggle")
    folder /= _missing_folder(Path(name).stem, [path for _, path in files])
    members: list[Member] = []
    for info, path in files:
        if info.flag_bits & ENCRYPTED_FLAG:
            raise UserError(
                f"{name}: {info.filename!r} is encrypted; accepted: zips without a password; unpack it by hand"
            )
        if path.suffix.lower() != ".zip":
            members.append(Member(name, archive, info, folder / path))
        elif depth == MAX_DEPTH:
            raise UserError(f"{name}: zips inside zips more than {MAX_DEPTH} deep; unpack the outer ones by hand")
        else:
            with _naming_damage(name):
                inner = stack.enter_context(archive.open(info))
            members += survey(inner, f"{name}/{path}", (folder / path).parent, stack, depth + 1)
    return members


def zips_in(to: Path) -> list[Path]:
    """List the zips lying directly in a folder, by name.

    Raises
    ------
    UserError
        If there are none.
    """
    zips = sorted(path for path in to.glob("*") if path.suffix.lower() == ".zip" and path.is_file())
    if not zips:
        raise UserError(
            f"{to}: no .zip files found; put the zips from the competition's Data page there, name them "
            "(python -m tools.raw unpack ~/Downloads/train.zip), or use python -m tools.raw download COMPETITION"
        )
    return zips


def download(competition: str, to: Path) -> None:
    """Download a competition's zip with the official client, unpack it and delete it.

    A download that breaks off, or a zip that cannot be unpacked, stays in a hidden folder in `to`: the client goes on
    from there the next time.

    Parameters
    ----------
    competition : str
        The last part of the competition's address.
    to : Path
        The folder to fill.

    Raises
    ------
    UserError
        If the client is not installed, has no API key or is refused, or for what `unpack` raises.
    """
    if not re.fullmatch(r"\w[\w-]*", competition):
        raise UserError(
            f"COMPETITION: {competition!r} is not a competition's name; accepted: the last part of its address, "
            "such as dogs-vs-cats-redux-kernels-edition"
        )
    # The second look finds the client of a virtual environment that has not been activated.
    client = shutil.which("kaggle") or shutil.which("kaggle", path=str(Path(sys.executable).parent))
    if client is None:
        raise UserError("kaggle: the official client is not installed; pip install kaggle, then run this again")
    folder = to / f".{competition}.download"
    status, said = _call([client, "competitions", "download", "-c", competition, "-p", str(folder)])
    zips = sorted(folder.glob("*.zip"))
    if status != 0 or not zips:
        last_line = (
            said.strip().splitlines()[-1].strip()[:300] if said.strip() else f"no zip and no word, status {status}"
        )
        raise UserError(f"kaggle: could not download {competition}: {last_line}; {_mend(competition, said, last_line)}")
    unpack(zips, to)
    shutil.rmtree(folder)


@contextmanager
def _naming_damage(name: str) -> Iterator[None]:
    """Turn what zipfile raises on damaged bytes into a UserError that names the zip."""
    try:
        yield
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno not in DAMAGE_ERRNO:
            raise  # a full disk is no fault of the zip
        raise _not_whole(name, f"damaged or not readable here ({one_line(error)})") from error


def _not_whole(name: str, found: str) -> UserError:
    return UserError(
        f"{name}: {found}; accepted: a whole zip as downloaded from Kaggle; delete it and download it again"
    )


def _open(name: str, file: IO[bytes]) -> zipfile.ZipFile:
    """Open a zip, and tell a saved login page from a download that broke off."""
    with _naming_damage(name):
        start = file.read(16)
        if not start:
            raise _not_whole(name, "an empty file")
        if not start.startswith(b"PK"):
            raise _not_whole(name, f"not a zip (it starts with {start!r})")
        # The directory stands at a zip's end.
        if not zipfile.is_zipfile(file):
            raise _not_whole(name, "only the beginning of a zip, its download or copy broke off")
        return zipfile.ZipFile(file)


def _posix_name(info: zipfile.ZipInfo) -> str:
    r"""Return a member's name with slashes: some Windows tools write train\cat.jpg, and so can ..\x get out."""
    return info.filename.replace("\\", "/")


def _is_junk(info: zipfile.ZipInfo) -> bool:
    """Tell whether a member is what macOS adds to every zip."""
    parts = PurePosixPath(_posix_name(info)).parts
    return "__MACOSX" in parts or parts[-1:] == (".DS_Store",)


def _safe_path(zip_name: str, info: zipfile.ZipInfo) -> PurePosixPath:
    """Return a member's path, or refuse it if it leads, or is a link that could lead, out of the folder."""
    name = _posix_name(info)
    path = PurePosixPath(name)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
        found = "would land outside the folder"
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        found = "is a link or a device"
    else:
        return path
    raise UserError(
        f"{zip_name}: {info.filename!r} {found}; accepted: files below the zip's own root; nothing was unpacked, "
        "take the zip from Kaggle's own page"
    )


def _missing_folder(stem: str, paths: list[PurePosixPath]) -> str:
    """Return the folder that a zip should have held: "train" for a train.zip of bare pictures, "" for most zips."""
    top_folders = {path.parts[0] for path in paths if len(path.parts) > 1}
    one_folder = len(top_folders) == 1 and all(len(path.parts) > 1 for path in paths)
    one_table = [path.stem for path in paths] == [stem]  # train.zip with nothing but train.csv
    bare = SPLIT_NAME.fullmatch(stem) and not (one_folder or one_table or stem in top_folders)
    return stem if bare else ""


def _not_yet_in(to: Path, members: list[Member]) -> list[Member]:
    """Return the members that `to` lacks, one for each target; refuse those that clash with each other or a file."""
    wanted: dict[PurePosixPath, Member] = {}
    problems, new = [], []
    for member in members:
        twin = wanted.setdefault(member.target, member)
        if (twin.info.file_size, twin.info.CRC) != (member.info.file_size, member.info.CRC):
            problems.append(
                f"{to / member.target}: {twin.zip_name} and {member.zip_name} hold different files of this name; "
                "unpack one of them elsewhere"
            )
    for folder in sorted({parent for target in wanted for parent in target.parents}):
        if folder in wanted or (os.path.lexists(to / folder) and not (to / folder).is_dir()):
            problems.append(f"{to / folder}: must be a folder for the zips' files, but is a file; rename or delete it")
    for target, member in wanted.items():
        if not os.path.lexists(to / target):
            new.append(member)
        elif not _same(to / target, member.info):
            problems.append(
                f"{to / target}: there already, and not the same as in {member.zip_name}; it is not overwritten: "
                "move it away or delete it, then run this again"
            )
    if problems:
        raise UserError(problems)
    return new


def _same(path: Path, info: zipfile.ZipInfo) -> bool:
    """Tell whether a file has a member's size and checksum, without unpacking the member."""
    if not path.is_file() or path.stat().st_size != info.file_size:
        return False
    checksum = 0
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            checksum = zlib.crc32(chunk, checksum)
    return checksum == info.CRC


def _check_room(to: Path, n_needed: int) -> None:
    """Refuse to start when the unpacked files, `n_needed` bytes, do not fit on the disk."""
    n_free = shutil.disk_usage(to).free
    if n_needed > n_free:
        raise UserError(
            f"{to}: the zips unpack to {n_needed / 1e9:,.2f} GB, but the disk has {n_free / 1e9:,.2f} GB free; "
            "make room or give another folder with --to"
        )


def _extract(members: list[Member], partial: Path) -> None:
    """Unpack members below `partial`. zipfile checks each one's length and checksum."""
    for member in tqdm(members, desc="unpack", unit="file", file=sys.stderr, disable=None):
        path = partial / member.target
        with _naming_damage(member.zip_name), member.archive.open(member.info) as source:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "xb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)


def _move_in(partial: Path, to: Path) -> None:
    """Move what lies in `partial` into `to`, whole folders where `to` has none; on an error take it all out again."""
    placed: list[Path] = []

    def move(source: Path, target: Path) -> None:
        for entry in sorted(source.iterdir()):
            there = target / entry.name
            if there.is_dir():
                move(entry, there)
            else:
                placed.append(there)
                # Unlike a rename this also serves a folder of `to` that is a link to another disk.
                shutil.move(entry, there)

    try:
        move(partial, to)
    except BaseException:
        for path in placed:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        raise


def _call(command: list[str]) -> tuple[int, str]:
    """Run the client, pass on its progress bar, and return its exit status and what it said."""
    said = b""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        # A bar's refresh starts with a carriage return. What the client says in words ends up in our own one line.
        while chunk := os.read(process.stdout.fileno(), 1 << 16):
            if chunk.startswith(b"\r"):
                sys.stderr.write(chunk.decode(errors="replace"))
                sys.stderr.flush()
            said = (said + chunk)[-(1 << 16) :]
    return process.returncode, said.decode(errors="replace")


def _mend(competition: str, said: str, last_line: str) -> str:
    """Say what helps against a failure of the client."""
    page = f"https://www.kaggle.com/competitions/{competition}"
    if re.search(r"\b403\b", last_line):
        # A closed competition shows its rules without the button to accept them.
        return f"accept the rules on {page}/rules (no button there: press Late Submission first), then run this again"
    if re.search(r"\b404\b", last_line):
        return f"check the competition's name: does {page} exist?"
    if re.search(r"\b401\b|Unauthorized|Authentication required|kaggle\.json", said):
        return (
            "make an API key on https://www.kaggle.com/settings → API, then save it where that page says "
            "(~/.kaggle/access_token or kaggle.json) or set KAGGLE_API_TOKEN"
        )
    return f"try `kaggle competitions download -c {competition}` by hand, or download the zip from {page}/data"


def main() -> None:
    """Read the command line and fill the folder."""
    parser = argparse.ArgumentParser(prog="python -m tools.raw", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    unpacking = commands.add_parser("unpack", help="unpack zips that you have")
    unpacking.add_argument("zips", nargs="*", type=Path, metavar="ZIP", help="default: the zips lying in --to")
    downloading = commands.add_parser("download", help="download the competition's zip and unpack it")
    downloading.add_argument("competition", metavar="COMPETITION", help="the last part of the competition's address")
    for command in (unpacking, downloading):
        command.add_argument("--to", type=Path, default=RAW, metavar="FOLDER", help="default: %(default)s")
    args = parser.parse_args()
    if args.command == "download":
        download(args.competition, args.to)
    else:
        unpack(args.zips or zips_in(args.to), args.to)


if __name__ == "__main__":
    run(main)
