"""Class folders: the pictures sorted into `data/train/<class>/` and `data/test/`, as symbolic links.

They are for people to look at. No stage reads them, and DVC does not track them: it would replace the links by copies
and hash every picture once more for every stage. So a file system that cannot hold them costs a warning and no more.
"""

import errno
import os
import shutil
from pathlib import Path, PurePosixPath

import pandas as pd

from gap_ensemble.competition.system_files import is_system_file
from gap_ensemble.messages.errors import UserError, listed
from gap_ensemble.paths import LINKS

SPLITS = ("train", "test")
# What a file system says of one name (too long, a character or a spelling that it cannot hold), not of links as such.
NAME_REFUSALS = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EEXIST}


def refuse_plain_files() -> None:
    """Refuse to replace anything but links and folders, before anything is done.

    Raises
    ------
    UserError
        If `data/train` or `data/test` hold, or are, anything else: it would be lost.
    """
    for split in SPLITS:
        folder = LINKS / split
        itself = folder.is_symlink() or folder.is_file()
        plain = [folder] if itself else [path for path in _walk(folder) if not path.is_symlink()]
        if plain:
            raise UserError(
                f"{folder}: found files that are no links: {listed(plain)}; each run replaces this folder: "
                "move them away"
            )


def lay_out(raw: Path, pictures: pd.DataFrame) -> None:
    """Replace `data/train` and `data/test` by folders of relative symbolic links.

    Where the file system holds no links, or refuses some of the names, one line says so, and the run goes on without
    them. Folders that would be out of date are removed.

    Parameters
    ----------
    raw : Path
        The folder that `file` is relative to.
    pictures : DataFrame with columns file, split, class
        What to link. The class of a test picture is ignored.
    """
    for split in SPLITS:
        folder = LINKS / split
        # Laid out beside the old folder, then swapped, so that a kill leaves one of the two whole.
        partial = LINKS / f".{split}.partial"
        links = _links(pictures[pictures["split"] == split], split)
        refused: list[OSError] = []
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            # From where the links will lie, not from where they are made. Real paths: `..` of a link is elsewhere.
            raw_from_split = os.path.relpath(os.path.realpath(raw), os.path.realpath(LINKS) + f"/{split}")
            for link, file in links.items():
                path = partial / link
                up = ".." if path.parent != partial else "."
                try:
                    path.parent.mkdir(exist_ok=True)
                    path.symlink_to(os.path.normpath(os.path.join(up, raw_from_split, file)))
                except OSError as error:
                    if error.errno not in NAME_REFUSALS:
                        raise
                    refused.append(error)
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(partial, folder)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
            print(
                f"WARNING: {folder}: no folders of links to look at: {os.strerror(error.errno or 0)}. Nothing else is "
                "missing: no stage reads them"
            )
        if refused:
            reasons = listed(sorted({os.strerror(error.errno or 0) for error in refused}))
            print(
                f"WARNING: {folder}: {len(refused):,} of {len(links):,} pictures have no link to look at: {reasons}. "
                "Nothing else is missing: no stage reads them"
            )


def _links(pictures: pd.DataFrame, split: str) -> dict[PurePosixPath, PurePosixPath]:
    """Return the picture of each link: paths relative to the split's folder, and to the raw folder."""
    file_of: dict[PurePosixPath, PurePosixPath] = {}
    classes = pictures["class"] if split == "train" else [""] * len(pictures)
    for file, class_name in zip(pictures["file"], classes, strict=True):
        path = PurePosixPath(str(file))
        folder = PurePosixPath(_folder_name(str(class_name)))
        link = folder / path.name
        if link in file_of:  # The same name in two nested folders: their names go in front.
            link = folder / "__".join(path.parts[1:])
        file_of[link] = path
    return file_of


def _folder_name(class_name: str) -> str:
    """Return a class name as the name of one folder: no name may lead out of the split's folder."""
    if class_name in (".", ".."):
        return class_name.replace(".", "%2E")
    return class_name.replace("/", "%2F").replace("\0", "%00")


def _walk(folder: Path) -> list[Path]:
    """Return the files and links below a folder, without what a file manager leaves there."""
    return [Path(root) / name for root, _, names in os.walk(folder) for name in names if not is_system_file(name)]
