"""From archives into a folder: all of their files or none, and nothing that is there is overwritten."""

import os
import shutil
import sys
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from gap_ensemble.messages.errors import UserError, listed
from gap_ensemble.unpacking.archives import archives_in, command_for, is_foreign
from gap_ensemble.unpacking.reading import Member, naming_damage, open_file, survey

PARTIAL = ".unpack-partial"


def unpack(archives: Sequence[Path], to: Path) -> None:
    """Unpack archives into a folder, all of them or none, and print what is there now.

    Files that are already there with the same content stay as they are. A kill while the finished files are moved
    into place can leave some of them there, each whole; the same call then adds the others.

    Parameters
    ----------
    archives : sequence of Path
        Zips and tars as downloaded, of a split one any part. They are left where they are.
    to : Path
        The folder to fill; made when it is missing.

    Raises
    ------
    UserError
        If an archive is missing, broken, encrypted, empty, or of a kind that needs a program, if a member would land
        outside `to` or on a file with other content, or if the disk has no room. Nothing has been added to `to` then.
    """
    partial = to / PARTIAL
    if partial.exists():
        shutil.rmtree(partial)
    absent = [path for path in archives if not path.is_file()]
    if absent:
        raise UserError(
            f"{path}: {'a folder' if path.is_dir() else 'no such file'}; accepted: an archive as downloaded from "
            "Kaggle; check the path"
            for path in absent
        )
    foreign = [path for path in archives if is_foreign(path)]
    if foreign:
        raise UserError(
            f"{path}: needs a program: run `{command_for(path, to)}` (7z is in the package 7zip or p7zip-full), then "
            "dvc repro"
            for path in foreign
        )
    with ExitStack() as stack:
        members = [
            member for path in archives for member in survey(open_file(path, stack), str(path), PurePosixPath(), stack)
        ]
        n_files, new = len({member.target for member in members}), _not_yet_in(to, members)
        if not new:
            print(f"{to}: all {n_files:,} files of {listed(archives)} are in place; nothing to do. Next: dvc repro")
            return
        to.mkdir(parents=True, exist_ok=True)
        _check_room(to, sum(member.size for member in new))
        try:
            _extract(new, partial)
            move_in(partial, to)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    there_before = f" ({n_files - len(new):,} more were there)" if len(new) < n_files else ""
    print(f"{to}: unpacked {len(new):,} files{there_before} of {listed(archives)}. Next: dvc repro")


def to_unpack(to: Path) -> list[Path]:
    """List the archives lying directly in a folder that `unpack` takes, by name, and say what the others need.

    Raises
    ------
    UserError
        If there are none.
    """
    ours, foreign = archives_in(to)
    commands = [f"{path}: needs a program: run `{command_for(path, to)}`, then dvc repro" for path in foreign]
    if not ours and commands:
        raise UserError(commands)
    if not ours:
        raise UserError(
            f"{to}: no archives found; put those from the competition's Data page there, name them "
            "(python -m tools.raw unpack ~/Downloads/train.zip), or use python -m tools.raw download COMPETITION"
        )
    for command in commands:
        print(f"WARNING: {command}")
    return ours


def _not_yet_in(to: Path, members: list[Member]) -> list[Member]:
    """Return the members that `to` lacks, one for each target; refuse those that clash with each other or a file."""
    wanted: dict[PurePosixPath, Member] = {}
    problems, new = [], []
    for member in members:
        twin = wanted.setdefault(member.target, member)
        if _differ(twin, member):
            problems.append(
                f"{to / member.target}: {twin.archive_name} and {member.archive_name} hold different files of this "
                "name; unpack one of them elsewhere"
            )
    for folder in sorted({parent for target in wanted for parent in target.parents}):
        if folder in wanted or (os.path.lexists(to / folder) and not (to / folder).is_dir()):
            problems.append(
                f"{to / folder}: must be a folder for the archives' files, but is a file; rename or delete it"
            )
    for target, member in wanted.items():
        if not os.path.lexists(to / target):
            new.append(member)
        elif not _same(to / target, member):
            problems.append(
                f"{to / target}: there already, and not the same as in {member.archive_name}; it is not overwritten: "
                "move it away or delete it, then run this again"
            )
    if problems:
        raise UserError(problems)
    return new


def _differ(one: Member, other: Member) -> bool:
    """Tell whether two members hold different files."""
    if one.size != other.size or None not in (one.checksum, other.checksum):
        return (one.size, one.checksum) != (other.size, other.checksum)
    return _checksum(one) != _checksum(other)


def _same(path: Path, member: Member) -> bool:
    """Tell whether a file has a member's size and checksum."""
    if not path.is_file() or path.stat().st_size != member.size:
        return False
    with open(path, "rb") as file:
        return _checksum_of(file) == _checksum(member)


def _checksum(member: Member) -> int:
    """Return a member's CRC-32; a zip knows it, a tar is read for it."""
    if member.checksum is not None:
        return member.checksum
    with naming_damage(member.archive_name), member.open() as file:
        return _checksum_of(file)


def _checksum_of(file: IO[bytes]) -> int:
    checksum = 0
    while chunk := file.read(1 << 20):
        checksum = zlib.crc32(chunk, checksum)
    return checksum


def _check_room(to: Path, n_needed: int) -> None:
    """Refuse to start when the unpacked files, `n_needed` bytes, do not fit on the disk."""
    n_free = shutil.disk_usage(to).free
    if n_needed > n_free:
        raise UserError(
            f"{to}: the archives unpack to {n_needed / 1e9:,.2f} GB, but the disk has {n_free / 1e9:,.2f} GB free; "
            "make room or give another folder with --to"
        )


def _extract(members: list[Member], partial: Path) -> None:
    """Unpack members below `partial`. zipfile checks each one's length and checksum."""
    for member in tqdm(members, desc="unpack", unit="file", file=sys.stderr, disable=None):
        path = partial / member.target
        with naming_damage(member.archive_name), member.open() as source:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "xb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)


def move_in(partial: Path, to: Path) -> None:
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
