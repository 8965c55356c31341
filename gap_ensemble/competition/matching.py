"""Which pictures an id means. No picture is opened.

An id means one picture by the end of its path (`1`, `1.jpg`, `a/1`, `train/a/1.jpg` all mean `train/a/1.JPG`), or
several: all whose names begin with it (`ID_red.png`, `ID_green.png`; `HEPG2-01_1_B02` means
`HEPG2-01/Plate1/B02_s1_w1.png`), or all in the folder of that name.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

from gap_ensemble.competition.tree import PICTURE


def composed(text: str) -> str:
    """Return a text with its accents composed (NFC): macOS takes `é` apart in file names, tables do not."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def without_suffix(name: str) -> str:
    """Return what is compared of an id and of a path."""
    return composed(PICTURE.sub("", name))


@dataclass
class Match:
    """The pictures of some ids.

    Attributes
    ----------
    how : str
        `name`, `start` of the name, or `folder`.
    files_of : dict
        The pictures of every id that means some, each with its place among them (`red`), or an empty text.
    claimed : dict
        The pictures of every id that should mean one and means several.
    """

    how: str = "name"
    files_of: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    claimed: dict[str, list[str]] = field(default_factory=dict)

    @property
    def n_ids(self) -> int:
        """The number of ids that mean something."""
        return len(self.files_of) + len(self.claimed)


class Pictures:
    """Pictures, found by the ids that tables give them. Ids are compared as text, so that `01` is not `1`."""

    def __init__(self, files: list[str]):
        self.files = files
        self.depth = max((file.count("/") for file in files), default=0) + 1
        self._indexes: dict[int, tuple[dict[str, str], dict[str, list[str]]]] = {}

    def match(self, ids: Iterable[str]) -> Match:
        """Find the one picture of every id, by the end of its path."""
        match = Match()
        for identifier in ids:
            n_parts = identifier.count("/") + 1
            if n_parts > self.depth or not identifier:
                continue
            one, several = self._index(n_parts)
            tail = without_suffix(identifier)
            files = several.get(tail) or ([one[tail]] if tail in one else [])
            if len(files) > 1:  # The id `1` means both of `1.jpg` and `1.png`, but `1.png` means one.
                files = [file for file in files if file.endswith(identifier)] or files
            if len(files) == 1:
                match.files_of[identifier] = [(files[0], "")]
            elif files:
                match.claimed[identifier] = files
        return match

    def match_any(self, ids: Iterable[str]) -> Match:
        """Find the pictures of every id, in the way that most ids fit; the plainest way where several fit alike."""
        ids = list(ids)
        wanted = {composed(identifier): identifier for identifier in ids if identifier}
        best = self.match(ids)
        if best.n_ids == len(wanted):
            return best
        for match in (self._by_start(wanted), self._by_folder(wanted)):
            # An id that is a number begins many a name by accident.
            if match.n_ids > 2 * best.n_ids:
                best = match
        return best

    def _by_start(self, wanted: dict[str, str]) -> Match:
        match = Match("start")
        for file in self.files:
            for name in _joined(file):
                ends = [m.start() for m in re.finditer(r"[-_. ]", name)]
                end = next((end for end in reversed(ends) if name[:end] in wanted), None)
                if end:
                    match.files_of.setdefault(wanted[name[:end]], []).append((file, name[end + 1 :]))
                    break
        return match

    def _by_folder(self, wanted: dict[str, str]) -> Match:
        match = Match("folder")
        for file in self.files:
            for folder in reversed(composed(file).split("/")[:-1]):
                if folder in wanted:
                    match.files_of.setdefault(wanted[folder], []).append((file, ""))
                    break
        return match

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


def _joined(file: str) -> list[str]:
    """Return the names that an id may begin: the file's own, and its path's with and without words before numbers.

    `train/HEPG2-01/Plate1/B02_s1_w1.png`: `B02_s1_w1`, `Plate1_B02_s1_w1`, `1_B02_s1_w1`, `HEPG2-01_Plate1_B02_s1_w1`,
    `HEPG2-01_1_B02_s1_w1`, …
    """
    *folders, name = without_suffix(file).split("/")
    names = [name]
    plain = numbered = name
    for folder in reversed(folders[-3:]):
        plain = f"{folder}_{plain}"
        numbered = f"{re.sub(r'^[A-Za-z]+[-_ ]?(?=[0-9]+$)', '', folder)}_{numbered}"
        names += dict.fromkeys([plain, numbered])
    return names
