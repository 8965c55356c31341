"""Which folders hold the training pictures, and which the test pictures, by their names.

`train`, `train_images`, `train_val2019`, `stage_2_train`, `images_training_rev1`, `train-jpg`, `imgs/train`; `test1`,
`test_stg1` and `test_stg2`; class folders at the top (`Cover`, `UERD`) beside `Test`; or everything in `images`, where
the ids of the sample submission say which are the test pictures.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from gap_ensemble.competition.matching import without_suffix
from gap_ensemble.competition.tree import Tree
from gap_ensemble.messages.errors import UserError, did_you_mean, listed, nearest
from gap_ensemble.params import Data

SPLIT = {
    word: re.compile(rf"{word}(ing|s)?(images?|imgs?|pics?|data|set|val|jpe?gs?|pngs?|photos?|stg|stage)?")
    for word in ("train", "test")
}
# Pictures made from the others: they are read only where there are no others.
DERIVED = re.compile(
    r"thumb(nail)?s?|masks?|segmentations?|seg|annotat(ed|ions?)|dotted|resized|small|mini|previews?|heatmaps?|bbox"
    r"|overlays?|labels?|crops?|cropped|subset"
)
# More pictures of the same kind, often with labels of less care: read where data.train names them.
ADDITIONAL = re.compile(
    r"additional|extra|external|supplement(al|ary)?|unlabell?ed|val|valid|validation|dev|holdout|old"
)
MAX_DEPTH = 3


@dataclass
class Splits:
    """The pictures of a competition, by split.

    Attributes
    ----------
    train, test : list of str
        Pictures, sorted. With `together`, `train` holds all of them and `test` none.
    train_folders : list of str
        The folders that hold the training pictures; empty where they lie in class folders at the top.
    together : bool
        True where no folder is a split: ids say which are the test pictures.
    unread : dict
        A reason for every folder that is left out.
    """

    train: list[str]
    test: list[str]
    train_folders: list[str] = field(default_factory=list)
    test_folders: list[str] = field(default_factory=list)
    together: bool = False
    unread: dict[str, str] = field(default_factory=dict)


def words(name: str) -> list[str]:
    """Return the words of a folder's or column's name in lower case: `trainResized_v2` is train, resized, v."""
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())


def is_split(name: str, word: str) -> bool:
    """Tell whether a name (of a folder, of a table) says `train` or `test`."""
    return any(SPLIT[word].fullmatch(part) for part in words(name))


def find_splits(tree: Tree, data: Data, n_wanted: Callable[[list[str]], int]) -> Splits:
    """Sort the pictures into training and test pictures.

    Parameters
    ----------
    tree : Tree
    data : Data
        `train` and `test` name the folders, or are `auto`.
    n_wanted : callable
        Counts how many ids of the sample submission some pictures have.

    Raises
    ------
    UserError
        For a folder in data.train or data.test that holds no pictures.
    """
    unread: dict[str, str] = {}
    folders = sorted(tree.folders_of_pictures())
    train_folders = _named(tree, data.train, "train") or _candidates(tree, folders, "train", unread)
    test_folders = _named(tree, data.test, "test") or _candidates(tree, folders, "test", unread)
    if data.test == "auto":
        # A folder of which the sample submission wants no picture is another stage's; without ids, all may be.
        wanted = [folder for folder in test_folders if n_wanted(below(tree.pictures, [folder]))]
        if wanted and len(wanted) < len(test_folders):
            unread |= {folder: "no id of the sample submission" for folder in test_folders if folder not in wanted}
            test_folders = wanted
    if data.train == "auto" and data.test != "auto":
        train_folders = [folder for folder in train_folders if folder not in test_folders]
    train, test = below(tree.pictures, train_folders), below(tree.pictures, test_folders)
    used = set(train) | set(test)
    rest = [file for file in tree.pictures if file not in used and not any(_inside(file, name) for name in unread)]
    if train_folders and test_folders:
        left = {file.split("/")[0] if "/" in file else file for file in rest}
        unread |= {name: "" for name in left if not _holds(name, [*train_folders, *test_folders])}
        return Splits(train, test, train_folders, test_folders, unread=unread)
    kept = [file for file in rest if not _is_extra(file, unread)]
    if test_folders:
        return Splits(kept, test, [], test_folders, unread=unread)
    if train_folders:
        if n_wanted(kept):
            return Splits(train, kept, train_folders, [], unread=unread)
        unread |= {file.split("/")[0] if "/" in file else file: "" for file in kept}
        return Splits(train, [], train_folders, [], unread=unread)
    return Splits(kept, [], together=True, unread=unread)


def below(files: list[str], folders: list[str]) -> list[str]:
    """Return the files that lie below one of some folders."""
    starts = tuple(f"{folder}/" for folder in folders)
    return [file for file in files if file.startswith(starts)] if starts else []


def _named(tree: Tree, names: str | list[str], key: str) -> list[str]:
    """Return the folders that the parameters name, checked."""
    if names == "auto":
        return []
    folders = [name.strip("/") for name in ([names] if isinstance(names, str) else names)]
    with_pictures: list[str] = sorted(tree.folders_of_pictures())
    with_pictures.sort(key=lambda folder: folder.count("/"))
    problems = []
    for name in folders:
        if name not in with_pictures:
            what = "holds no pictures" if (tree.raw / name).is_dir() else "is no folder"
            hint = did_you_mean(nearest(name, with_pictures))
            problems.append(
                f"params.yaml: data.{key}: found {name!r}, but {tree.raw / name} {what}{hint}; accepted: auto, or one "
                f"or more of the folders {listed(with_pictures, 10)}"
            )
    if problems:
        raise UserError(problems)
    return folders


def _candidates(tree: Tree, folders: list[str], word: str, unread: dict[str, str]) -> list[str]:
    """Choose folders by their names; of folders that hold the same pictures, one."""
    other = {"train": "test", "test": "train"}[word]
    found: list[str] = []
    for folder in folders:
        path, _, name = folder.rpartition("/")
        parts = path.split("/") if path else []
        # Not below another one: a class may be called `train`.
        if len(parts) < MAX_DEPTH and is_split(name, word) and not any(_is_split(part) for part in parts):
            if is_split(name, other):  # `train_test`: says nothing.
                continue
            found.append(folder)
    plain = [folder for folder in found if not _has(folder, DERIVED)]
    if word == "train":
        plain = [folder for folder in plain if not _has(folder, ADDITIONAL, but="val")] or plain
    unread |= {folder: "" for folder in found if plain and folder not in plain}
    chosen: list[str] = []
    inside: list[set[str]] = []
    for folder in sorted(plain or found, key=lambda folder: _preference(tree, folder)):
        names = {without_suffix(file[len(folder) + 1 :]) for file in below(tree.pictures, [folder])}
        twin = next((i for i, other_names in enumerate(inside) if len(names & other_names) * 2 > len(names)), None)
        # test_stg1/1.jpg and test_stg2/1.jpg are not the same picture: their formats are.
        if twin is not None and not (_staged(folder) and _staged(chosen[twin])):
            unread[folder] = f"the pictures of {chosen[twin]} once more"
        else:
            chosen.append(folder)
            inside.append(names)
    return sorted(chosen)


def _preference(tree: Tree, folder: str) -> tuple[int, int, int, str]:
    """Order folders that may hold the same pictures: plain formats first, then short paths and names."""
    suffix = below(tree.pictures, [folder])[0].rpartition(".")[2].lower()
    rank = {"dcm": 2, "dicom": 2, "npy": 2, "tif": 1, "tiff": 1}.get(suffix, 0)
    return rank, folder.count("/"), len(words(folder)), folder


def _is_split(name: str) -> bool:
    return is_split(name, "train") or is_split(name, "test")


def _has(folder: str, pattern: re.Pattern[str], but: str = "") -> bool:
    return any(pattern.fullmatch(word) and word != but for word in words(folder.rpartition("/")[2]))


def _staged(folder: str) -> bool:
    return bool(re.search(r"(stg|stage)[-_ ]?\d", folder, re.IGNORECASE))


def _is_extra(file: str, unread: dict[str, str]) -> bool:
    """Tell whether a picture lies in a folder of derived or additional pictures, and remember that folder."""
    top, slash, _ = file.partition("/")
    if slash and (_has(top, DERIVED) or _has(top, ADDITIONAL)):
        unread[top] = ""
        return True
    return False


def _inside(file: str, folder: str) -> bool:
    return file.startswith(f"{folder}/")


def _holds(name: str, folders: list[str]) -> bool:
    return any(folder == name or folder.startswith(f"{name}/") for folder in folders)
