"""What lies below the raw folder: pictures, tables and the rest, listed once. No picture is opened."""

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gap_ensemble.competition.system_files import is_system_file, is_system_folder
from gap_ensemble.messages.copies import advice_in_copy
from gap_ensemble.messages.errors import UserError, listed

PICTURE = re.compile(r"\.(jpe?g|jpe|jfif|png|gif|webp|bmp|dib|tiff?|ppm|pgm|pbm|jp2|dcm|dicom|npy)$", re.IGNORECASE)
TABLE = re.compile(r"\.(csv|tsv|json)$", re.IGNORECASE)
# What holds pictures inside of one file: for the converter.
CONTAINER = re.compile(r"\.(bson|tfrec|tfrecords?|h5|hdf5|npz|parquet|feather|idx\d-ubyte|mat|ndjson)$", re.IGNORECASE)
ARCHIVE = re.compile(r"\.(zip|z\d\d|7z|7z\.\d{3}|rar|tar|tgz|gz|bz2|xz|tbz2?|txz|zst)(\.\d{3})?$", re.IGNORECASE)
# Never a picture, whatever lies around it. A name without any of these suffixes may be one.
OTHER = re.compile(
    r"\.(txt|md|rst|pdf|docx?|xlsx?|pptx?|html?|xml|ya?ml|toml|ini|cfg|log|py|ipynb|r|sh|js|pkl|pickle|pt|pth|ckpt|pb"
    r"|onnx|weights|names|mp4|avi|mov|mkv|webm|wav|mp3|ogg|flac|db|sqlite3?|geojson|kml|wkt|nii|svg|exe|dll|so|torrent"
    r"|md5|sha1|sha256|sig|sample|dvc)$",
    re.IGNORECASE,
)
# Folders of more tables than this hold one a picture: annotations, not labels.
MAX_TABLES = 30
# Tables lie near the top: train_val_annotations/train.json, nybg2020/train/metadata.json.
MAX_TABLE_DEPTH = 3


@dataclass
class Tree:
    """The files below a folder, relative to it, sorted.

    Attributes
    ----------
    raw : Path
    pictures : list of str
        Every file that may be a picture.
    tables : list of str
        CSV, TSV and JSON files.
    containers, archives : list of str
        Files that hold pictures which are not files of their own.
    unread : list of str
        Folders of tables and files of other kinds, for a warning.
    unreadable : list of str
        Folders that this user may not read.
    """

    raw: Path
    pictures: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    containers: list[str] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    def folders_of_pictures(self) -> Counter[str]:
        """Count the pictures of every folder that holds some, itself or below."""
        direct = Counter(file.rpartition("/")[0] for file in self.pictures)
        counts: Counter[str] = Counter()
        for folder, n in direct.items():
            while folder:
                counts[folder] += n
                folder = folder.rpartition("/")[0]
        return counts


def read_tree(raw: Path) -> Tree:
    """List what lies below a folder, without what systems leave behind.

    Raises
    ------
    UserError
        For names that are not UTF-8, for a link to a folder that DVC does not watch, and if there is nothing.
    """
    tree = Tree(raw)
    watched: list[str] | None = None
    linked: set[str] = set()

    def unreadable(error: OSError) -> None:
        tree.unreadable.append(os.path.relpath(error.filename, raw).replace(os.sep, "/"))

    problems = []
    for path, folders, names in os.walk(raw, onerror=unreadable, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_system_folder(name))
        # Not a Path a file: there may be a million.
        start = os.path.relpath(path, raw).replace(os.sep, "/") + "/"
        start = "" if start == "./" else start
        for name in list(folders):
            if not os.path.islink(os.path.join(path, name)):
                continue
            watched = _watched_folders() if watched is None else watched
            target = os.path.realpath(os.path.join(path, name))
            inside = os.path.realpath(path) == target or os.path.realpath(path).startswith(target + os.sep)
            if inside or target in linked:  # A loop, or the same pictures once more.
                folders.remove(name)
            elif not any(target == folder or target.startswith(folder + os.sep) for folder in watched):
                problems.append(
                    f"{raw / start / name}: a link to the folder {target}, into which DVC does not look, so that a "
                    f"change there would go unnoticed; set data.raw to a real folder, or add the line `- {target}` to "
                    "the deps of the stage link in dvc.yaml"
                )
            linked.add(target)
        tree.folders += [start + name for name in folders]
        _sort_files(tree, start, [name for name in names if not is_system_file(name)])
    if problems:
        raise UserError(problems)
    odd = [ascii(file) for file in [*tree.pictures, *tree.tables] if re.search("[\ud800-\udfff]", file)]
    if odd:
        raise UserError(f"{raw}: file names that are not UTF-8: {listed(odd)}; rename them")
    if not (tree.pictures or tree.tables or tree.containers or tree.archives):
        if advice := advice_in_copy():
            raise UserError(f"{raw}: no competition's files in it: {advice}")
        raise UserError(
            f"{raw}: no competition's files in it; put them there, or run `python -m tools.raw download COMPETITION`. "
            "To go on without pictures that have been here before, remove the folder, too: dvc checkout, then dvc "
            "repro --allow-missing"
        )
    tree.pictures.sort()
    tree.tables.sort()
    return tree


def _sort_files(tree: Tree, start: str, names: list[str]) -> None:
    tables = [name for name in names if TABLE.search(name)]
    if len(tables) > MAX_TABLES or start.count("/") > MAX_TABLE_DEPTH:
        tree.unread += [start.rstrip("/")] if tables else []
    else:
        tree.tables += [start + name for name in tables]
    for name in names:
        if PICTURE.search(name):
            tree.pictures.append(start + name)
        elif CONTAINER.search(name):
            tree.containers.append(start + name)
        elif ARCHIVE.search(name):
            tree.archives.append(start + name)
        elif start and not TABLE.search(name) and not OTHER.search(name):  # At the top, a picture has a suffix.
            tree.pictures.append(start + name)


def _watched_folders() -> list[str]:
    """Return the dependencies of the stage link in dvc.yaml, as real paths."""
    try:
        stages = YAML(typ="safe").load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
        dependencies = stages["link"]["deps"]
    except (OSError, YAMLError, KeyError, TypeError):
        return []
    return [os.path.realpath(str(path)) for path in dependencies if "${" not in str(path)]


def stem(file: str) -> str:
    """Return a picture's name without folder and suffix: `train/cat.0.jpg` becomes `cat.0`."""
    return PICTURE.sub("", file.rpartition("/")[2])
