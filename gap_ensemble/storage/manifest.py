"""The manifest, `data/manifest.csv`: a row a picture, and no label, so that a corrected label runs no network.

file      relative to data.raw
split     train or test
id        the `row` of `data/rows.csv` that the picture belongs to
slot      its place among the pictures of that row, where places are told apart (left, red)
md5       of the content
problem   why it can't be decoded; empty if it can
"""

import pandas as pd

from gap_ensemble.messages.errors import UserError
from gap_ensemble.paths import MANIFEST
from gap_ensemble.storage.tables import write_table

COLUMNS = ["file", "split", "id", "slot", "md5", "problem"]


def write_manifest(pictures: pd.DataFrame) -> None:
    """Write the manifest, training pictures first, each split in the order of the contents' hashes.

    However the files are named and arranged, the same pictures give the same features, folds and predictions.

    Parameters
    ----------
    pictures : DataFrame with columns file, split, id, slot, md5, problem
    """
    ordered = pictures.sort_values(["split", "md5", "file", "id"], ascending=[False, True, True, True])
    write_table(MANIFEST, ordered[COLUMNS])


def read_manifest() -> pd.DataFrame:
    """Read the manifest, every value as text."""
    if not MANIFEST.is_file():
        raise UserError(f"{MANIFEST}: no such file; run `dvc repro`")
    return pd.read_csv(MANIFEST, dtype=str, keep_default_na=False)


def whole_pictures(split: str) -> pd.DataFrame:
    """Return the manifest's rows of a split, `train` or `test`, without the pictures that can't be decoded."""
    manifest = read_manifest()
    return manifest[(manifest["split"] == split) & (manifest["problem"] == "")]
