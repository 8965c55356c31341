"""What lies in a competition's folder, and which picture an id means. No picture is opened."""

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from gap_ensemble.messages.errors import UserError, listed
from gap_ensemble.unpacking import archives

# train, train_images, test1, test_stg1, stage1_train, test-jpg: the names that Kaggle's competitions use.
SPLIT_FOLDER = r"(stage\d[-_])?{}(ing)?[-_ ]?(images?|imgs?|jpe?gs?|pngs?|set|data|stg|stage)?[-_ ]?\d*"
IGNORED = {"thumbs.db", "desktop.ini", "__macosx"}
PICTURE_SUFFIX = re.compile(r"\.(jpe?g|png|gif|webp|bmp|tiff?|jfif|jp2|dcm|dicom|npy)$", re.IGNORECASE)


def picture_stem(file: str) -> str:
    """Return a picture's name without folder and suffix: `train/cat.0.jpg` becomes `cat.0`."""
    return PICTURE_SUFFIX.sub("", file.rpartition("/")[2])


def without_suffix(name: str) -> str:
    """Return what is compared of an id and of a path; composed, since macOS takes `é` apart in file names."""
    return composed(PICTURE_SUFFIX.sub("", name))


def composed(text: str) -> str:
    """Return a text with its accents composed (NFC): macOS takes `é` apart in file names, tables do not."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


class Pictures:
    """Pictures, found by the ids that tables give them.

    An id is the end of the picture's path, with or without its suffix: `1`, `1.jpg`, `a/1`, `train/a/1.jpg` all mean
    `train/a/1.JPG`. It is compared as text, so that `01` is not `1`.
    """

    def __init__(self, files: list[str]):
        self.files = files
        self.depth = max((file.count("/") for file in files), default=0) + 1
        self._indexes: dict[int, tuple[dict[str, str], dict[str, list[str]]]] = {}

    def match(self, ids: Iterable[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
        """Return the picture of each id that means one, and the pictures of each id that means several."""
        file_of, several_of = {}, {}
        for identifier in ids:
            n_parts = identifier.count("/") + 1
            if n_parts > self.depth:
                continue
            one, several = self._index(n_parts)
            tail = without_suffix(identifier)
            files = several.get(tail) or ([one[tail]] if tail in one else [])
            if len(files) > 1:  # The id `1` means both of `1.jpg` and `1.png`, but `1.png` means one.
                files = [file for file in files if file.endswith(identifier)] or files
            if len(files) == 1:
                file_of[identifier] = files[0]
            elif files:
                several_of[identifier] = files
        return file_of, several_of

    def _index(self, n_parts: int) -> tuple[dict[str, str], dict[str, list[str]]]:
        """Index the files by the last parts of their paths, those that share them apart."""
        if n_parts not in self._indexes:
            one: dict[str, str] = {}
            several: dict[str, list[str]] = {}
            for file in self.files:
                tail = without_suffix("/".join(file.rsplit("/", n_parts)[-n_parts:]))
                if one.setdefault(tail, file) != file:
                    several.setdefault(tail, [one[tail]]).append(file)
            self._indexes[n_parts] = one, several
        return self._indexes[n_parts]


def folders_in(path: Path) -> list[str]:
    """List the names of the folders in a folder, sorted; hidden ones are left out."""
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if not hidden(entry.name) and entry.is_dir())


def hidden(name: str) -> bool:
    """Tell whether a file or folder is the system's own rather than the competition's."""
    return name.startswith(".") or name.lower() in IGNORED


def split_folder(raw: Path, word: str) -> PurePosixPath | None:
    """Find the one folder of a split, at the top of the raw folder or one level below it."""
    tops = folders_in(raw)
    # Two levels only, and never into the picture folders themselves.
    below = [f"{top}/{name}" for top in tops if not is_split(top) for name in folders_in(raw / top)]
    for paths in (tops, below):
        found = [path for path in paths if is_split(path.rpartition("/")[2], word)]
        if len(found) > 1:
            raise UserError(
                f"{raw}: found {listed(found)}; only one folder of {word} pictures is expected: move the others away, "
                "or point data.raw at a folder that holds one"
            )
        if found:
            return PurePosixPath(found[0])
    return None


def is_split(name: str, word: str = "(train|test)") -> bool:
    """Tell whether a folder's name is one that competitions give to their training or test pictures."""
    return bool(re.fullmatch(SPLIT_FOLDER.format(word), name, re.IGNORECASE))


def files_below(raw: Path, folder: PurePosixPath | None) -> list[str]:
    """List every file below a folder but tables, seen from `raw`, sorted; hidden ones are left out."""
    if folder is None:
        return []

    def refuse(error: OSError) -> None:
        raise error

    files = []
    for path, folders, names in os.walk(raw / folder, onerror=refuse, followlinks=True):
        folders[:] = [name for name in folders if not hidden(name)]
        # Not a Path a file: there may be a million.
        start = os.path.relpath(path, raw).replace(os.sep, "/") + "/"
        start = "" if start == "./" else start
        files += [start + name for name in names if not hidden(name) and not name.lower().endswith(".csv")]
    odd = [ascii(file) for file in files if re.search("[\ud800-\udfff]", file)]
    if odd:
        raise UserError(f"{raw}: file names that are not UTF-8: {listed(odd)}; rename them")
    return sorted(files)


def tables_in(raw: Path) -> list[Path]:
    """List the CSV files in the raw folder and one level below it."""
    return [
        folder / name
        for folder in [raw, *(raw / name for name in folders_in(raw))]
        for name in sorted(os.listdir(folder))
        if name.lower().endswith(".csv") and not hidden(name)
    ]


def is_sample(path: Path) -> bool:
    """Tell a sample submission by its name: sample_submission.csv, sampleSubmission.csv."""
    return "samplesub" in re.sub("[^a-z]", "", path.stem.lower())


def archive_hint(raw: Path) -> str:
    """Say what to do about pictures that are not there; the end of a message."""
    otherwise = "put the competition's files there, or run `python -m tools.raw download COMPETITION`"
    return f"; {archives.archive_hint(raw) or otherwise}"
