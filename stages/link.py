"""Check the competition's files, and write down what they say.

    python -m stages.link        # or: dvc repro link

Reads the folder `data.raw` as Kaggle ships it. Writes

    data/manifest.csv              a row a picture: file, split, id, md5, problem
    data/rows.csv                  a row for each thing that is predicted: targets, group
    data/competition.json          the task and the form of the submission
    data/sample_submission.csv     the sample as plain UTF-8 with commas
    data/grey_scale.json           what is black and what white in pictures of more than 8 bits
    data/train/, data/test/        class folders of symbolic links, for people

DVC does not track the links: it would replace them by copies and hash every picture once more for every stage.
"""

from pathlib import Path

from gap_ensemble.competition.check import check_pictures, find_data_set_scale, leave_out_bad_pictures
from gap_ensemble.competition.class_folders import lay_out, refuse_plain_files
from gap_ensemble.competition.find import find_competition
from gap_ensemble.competition.found import write_competition
from gap_ensemble.competition.summary import summary
from gap_ensemble.extraction.cluster import open_pool
from gap_ensemble.images.grey import write_grey_scale
from gap_ensemble.messages.errors import run
from gap_ensemble.params import load_params
from gap_ensemble.storage.manifest import write_manifest


def main() -> None:
    """Run the stage."""
    params = load_params()
    raw = Path(params.data.raw)
    found = find_competition(raw, params.data)
    for warning in found.warnings:
        print(f"WARNING: {warning}")
    refuse_plain_files()
    pictures, grey_ranges = check_pictures(raw, found.pictures, open_pool(params.cluster.address))
    leave_out_bad_pictures(raw, found, pictures, params.data.bad_images)

    train = found.rows[found.rows["split"] == "train"].set_index("row")
    class_of = pictures["id"].map(train["target"]).fillna("") if "target" in train else ""
    lay_out(raw, pictures.assign(**{"class": class_of})[pictures["problem"] == ""])
    write_competition(found)
    write_grey_scale(find_data_set_scale(pictures, grey_ranges, params.data.grey_scale))
    write_manifest(pictures)
    counts = pictures["file"].groupby(pictures["split"]).nunique()
    print(f"{counts.get('train', 0):,} training pictures, {counts.get('test', 0):,} test pictures")
    for line in summary(found.competition, found.rows, params.data.metric):
        print(line)


if __name__ == "__main__":
    run(main)
