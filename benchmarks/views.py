"""What several views of a picture are worth: its mirror image, and crops.

    python -m benchmarks.views REPOSITORY ...                  # dvc repro ensemble has run in each

Computes the features of views of every training picture with the networks of the repository: the mirror image, and five
crops (the corners and the middle) of 7/8 of its width and height. Prints a line, as `benchmarks.heads` does, for the
dense head on the features of the whole picture by all networks side by side, and on means over it and its views.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.heads import SIDE_BY_SIDE, cases, line
from benchmarks.resize import extract
from gap_ensemble.extraction.devices import find_device
from gap_ensemble.extraction.engines import open_engine
from gap_ensemble.images.decoding import read_linked_picture
from gap_ensemble.messages.errors import UserError, run
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import load_params
from gap_ensemble.paths import ENSEMBLE
from gap_ensemble.storage.features import open_features
from gap_ensemble.storage.hdf5 import texts
from gap_ensemble.storage.manifest import whole_pictures

View = Callable[..., np.ndarray]  # of path and size

# A crop's share of width and height, and where the five of them begin, as a share of what is left.
SHARE = 7 / 8
CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.views")
    parser.add_argument("repositories", nargs="+", type=Path)
    arguments = parser.parse_args()
    crops = [partial(cropped, top=top, left=left) for top, left in CORNERS]
    print("| competition | rows × features | outputs | views | loss ± std | metric ± std | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    home = Path.cwd()
    for repository in arguments.repositories:
        os.chdir(home / repository)
        paths, encodings = pictures_of_rows(), cases()
        columns, whole = encodings[0].columns, encodings[0].data.features
        mirror = features_of(mirrored, paths, columns, whole)
        five = np.mean([features_of(crop, paths, columns, whole) for crop in crops], axis=0)
        views = {
            "whole": whole,
            "mean of whole and mirror image": (whole + mirror) / 2,
            "mean of whole and five crops": (whole + 5 * five) / 6,
            "mean of whole, mirror image and five crops": (whole + mirror + 5 * five) / 7,
        }
        for case in encodings:
            for name, features in views.items():
                of_views = replace(case, data=replace(case.data, features=features))
                print(line(repository.name, name, of_views, SIDE_BY_SIDE), flush=True)


def mirrored(path: Path, size: int) -> np.ndarray:
    """Return the mirror image of a picture."""
    return read_linked_picture(path, size)[:, ::-1]


def cropped(path: Path, size: int, top: float, left: float) -> np.ndarray:
    """Return a crop of a picture."""
    larger = round(size / SHARE)
    picture = read_linked_picture(path, larger)
    first, second = round(top * (larger - size)), round(left * (larger - size))
    return picture[first : first + size, second : second + size]


def pictures_of_rows() -> list[Path]:
    """Return the picture of every training row of `features/ensemble.h5`.

    Raises
    ------
    UserError
        If a row has several.
    """
    raw, pictures = Path(load_params().data.raw), whole_pictures("train")
    if pictures["id"].duplicated().any():
        raise UserError(f"{raw}: some rows have several pictures; this benchmark takes competitions of one a row")
    with open_features(ENSEMBLE, named="row") as file:
        return [raw / name for name in pictures.set_index("id")["file"].loc[texts(file["train_row"])]]


def features_of(view: View, paths: list[Path], columns: dict[str, slice], whole: np.ndarray) -> np.ndarray:
    """Return the features of one view of every picture, with the columns of `whole`."""
    params, features = load_params(), whole.copy()
    for name, entry in params.backbones.items():
        network = open_network(name, entry)
        engine = open_engine(network, find_device(params.extract.precision, network.kind))
        features[:, columns[name]] = extract(engine, paths, partial(view, size=engine.input_size))
    return features


if __name__ == "__main__":
    run(main)
