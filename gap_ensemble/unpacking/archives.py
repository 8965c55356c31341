"""Archives by their names: which we unpack, which parts belong together, and the command for those that we don't."""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from gap_ensemble.messages.errors import listed

# What tools.raw unpacks: zips, tars with any compression of the standard library's, and byte by byte parts of either.
OURS = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))(\.\d{3})?$", re.IGNORECASE)
# What needs a program: the command, with its words for the file and the folder.
FOREIGN = re.compile(r"\.(7z(\.\d{3})?|rar|lzh|lha|cab|tar\.(zst|lz4|lz|7z|z)|tzst)$", re.IGNORECASE)
ONE_FILE = {".gz": "gunzip -k", ".bz2": "bunzip2 -k", ".xz": "unxz -k", ".zst": "unzstd -k"}
# Every part of a split archive but the one that names the whole.
LATER_PART = re.compile(
    r"\.(z\d\d|7z\.\d{3}|(zip|tar|tgz|tbz2?|txz|tar\.\w+)\.\d{3}|r\d\d|part0*([2-9]|1\d+)\.rar)$", re.IGNORECASE
)


def archives_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """List the archives that lie directly in a folder, by name, one path for all parts of a split one.

    Returns
    -------
    ours : list of Path
        What `unpack` takes.
    foreign : list of Path
        What needs a program; `command_for` names it.
    """
    files = sorted(path for path in folder.glob("*") if path.is_file() and not path.name.startswith("."))
    firsts = [path for path in files if not is_later_part(path)]
    ours = [path for path in firsts if OURS.search(path.name)]
    return ours, [path for path in firsts if is_foreign(path)]


def is_later_part(path: Path) -> bool:
    """Tell whether a file is a part of a split archive that another file names: x.z01, x.zip.002, x.7z.002, x.r00."""
    return bool(LATER_PART.search(path.name)) and not path.name.endswith(".001")


def is_foreign(path: Path) -> bool:
    """Tell whether an archive needs a program, by its name; a table such as labels.csv.gz counts, too."""
    return bool(FOREIGN.search(path.name)) or (path.suffix.lower() in ONE_FILE and not OURS.search(path.name))


def command_for(path: Path, to: Path) -> str:
    """Return the command that unpacks an archive which `unpack` does not."""
    file = shlex.quote(str(path))
    if not FOREIGN.search(path.name) and path.suffix.lower() in ONE_FILE:
        return f"{ONE_FILE[path.suffix.lower()]} {file}"
    if re.search(r"\.(tar\.(zst|lz4|lz|z)|tzst)$", path.name, re.IGNORECASE):
        return f"tar -xf {file} -C {shlex.quote(str(to))}"
    return f"7z x {file} -o{shlex.quote(str(to))}"


def archive_hint(folder: Path, files: Iterable[Path] | None = None) -> str:
    """Say how to unpack the archives that lie in a folder; empty if there are none.

    Parameters
    ----------
    folder : Path
        Where they lie, and where their files belong.
    files : iterable of Path, optional
        The archives, of split ones any parts; without them, those that lie directly in the folder.
    """
    firsts = [path for path in folder.glob("*") if path.is_file()] if files is None else list(files)
    firsts = sorted(path for path in firsts if not is_later_part(path))
    ours = [path for path in firsts if OURS.search(path.name)]
    foreign = [path for path in firsts if is_foreign(path)]
    sentences = []
    if ours:
        # Those that lie deeper are named, since `unpack` looks into the folder itself only.
        names = (
            "".join(f" {shlex.quote(str(path))}" for path in ours) if {path.parent for path in ours} != {folder} else ""
        )
        to = shlex.quote(str(folder))
        sentences.append(f"{_not_unpacked(ours)}: run `python -m tools.raw unpack{names} --to {to}`")
    if foreign:
        commands = listed((f"`{command_for(path, folder)}`" for path in foreign), 3)
        sentences.append(f"{_not_unpacked(foreign)}: run {commands}")
    return "; ".join(sentences)


def _not_unpacked(paths: list[Path]) -> str:
    return f"{listed(path.name for path in paths)} {'is' if len(paths) == 1 else 'are'} not unpacked"
