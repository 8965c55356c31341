"""Check the competition's files and lay out class folders of symbolic links.

    python -m stages.link        # or: dvc repro link

Reads the folder `data.raw` as Kaggle ships it. Writes `data/train/<class>/<file>` and `data/test/<file>`, relative
links that copy nothing, and the manifest on which every later stage depends (`gap_ensemble/storage/manifest.py`).
"""

from pathlib import Path

import pandas as pd

from gap_ensemble.competition.class_folders import lay_out, refuse_plain_files
from gap_ensemble.competition.competition import Found, find_competition, write_competition
from gap_ensemble.images.decoding import check_picture
from gap_ensemble.messages.errors import UserError, listed, run
from gap_ensemble.messages.progress import N_WORKERS, Progress, map_ahead
from gap_ensemble.params import load_params
from gap_ensemble.paths import MANIFEST
from gap_ensemble.storage.tables import write_table


def main() -> None:
    """Run the stage."""
    params = load_params()
    raw = Path(params.data.raw)
    found = find_competition(raw, params.data)
    refuse_plain_files()
    pictures = check_pictures(raw, found.pictures)
    bad = pictures[pictures["problem"] != ""]
    problems = [f"{raw / row.file}: {row.problem}" for row in bad.itertuples()]
    if problems and params.data.bad_images == "error":
        raise UserError([f"{problem}; mend it, or set data.bad_images: skip" for problem in problems])
    for problem in problems:
        print(f"WARNING: {problem}; left out of training, or given the training prior (data.bad_images: skip)")
    _refuse_lost_classes(found, pictures)

    lay_out(raw, pictures[pictures["problem"] == ""])
    write_competition(found)
    write_table(MANIFEST, pictures)
    _summary(found, pictures)


def check_pictures(raw: Path, pictures: pd.DataFrame) -> pd.DataFrame:
    """Open every picture once, for its hash and for whether it decodes.

    Parameters
    ----------
    raw : Path
        The folder from which `file` is seen.
    pictures : DataFrame with columns file, split, class, id
        One row a picture.

    Returns
    -------
    DataFrame with columns file, split, class, id, md5, problem
        The same rows, training pictures first, each split in the order of the contents' hashes: however the files are
        named and arranged, the same pictures give the same features, folds and predictions.
    """
    results = []
    with Progress(len(pictures), "Checking pictures") as progress:
        paths = (raw / file for file in pictures["file"])
        for result in map_ahead(check_picture, paths, n_ahead=8 * N_WORKERS):
            results.append(result)
            progress.add(1)
    pictures = pictures.assign(md5=[result.md5 for result in results], problem=[result.problem for result in results])
    return pictures.sort_values(["split", "md5", "file"], ascending=[False, True, True], ignore_index=True)


def _refuse_lost_classes(found: Found, pictures: pd.DataFrame) -> None:
    """Refuse to go on when every picture of a class is bad."""
    good = pictures[(pictures["split"] == "train") & (pictures["problem"] == "")]
    lost = sorted(set(found.competition.class_names) - set(good["class"]))
    if lost:
        raise UserError(f"a class without pictures: {listed(lost)}: every one is bad; mend or replace them")


def _summary(found: Found, pictures: pd.DataFrame) -> None:
    """Say in two lines what was found."""
    counts = pictures[pictures["problem"] == ""].groupby("split")["file"].count()
    competition = found.competition
    names = competition.class_names
    print(
        f"{counts['train']:,} training pictures of {len(names):,} classes ({listed(names)}; labels from "
        f"{competition.labels_from}), {counts.get('test', 0):,} test pictures"
    )
    meaning = {
        "probability": f"{competition.submission.columns[-1]} = probability of {competition.submission.positive_class}",
        "probabilities": "one probability a class",
        "class": f"{competition.submission.columns[-1]} = name of the class",
        "class_confidence": f"{competition.submission.columns[-1]} = class and confidence",
    }[competition.submission.kind]
    print(f"Submission: {meaning}")


if __name__ == "__main__":
    run(main)
