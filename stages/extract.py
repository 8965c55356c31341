"""Push every picture once through one network and keep its global-average-pooled (GAP) features.

    python -m stages.extract Xception        # or: dvc repro extract@Xception

Reads the pictures that `data/manifest.csv` lists. Writes `features/gap/<name>.h5`.
This is where the hours go: a killed run is taken up where it was, at most `SECONDS_BETWEEN_SAVES` back.
"""

import sys
import time
from pathlib import Path

import numpy as np

from gap_ensemble.extraction import engines
from gap_ensemble.extraction.engines import default_batch_size, one_thread_a_batch
from gap_ensemble.images import decoding as images
from gap_ensemble.images.decoding import read_linked_picture
from gap_ensemble.messages.errors import run
from gap_ensemble.messages.progress import N_WORKERS, Progress, map_ahead
from gap_ensemble.networks import backbones, small_convnet
from gap_ensemble.networks.backbones import Network, check_entries, make_deterministic
from gap_ensemble.params import Extract, entry_of_command_line, load_params
from gap_ensemble.paths import FEATURES, MANIFEST, PARTIAL
from gap_ensemble.storage import features
from gap_ensemble.storage.features import PartialRows, write_features
from gap_ensemble.storage.hdf5 import text_array
from gap_ensemble.storage.manifest import whole_pictures

SECONDS_BETWEEN_SAVES = 20


def main() -> None:
    """Run the stage for the entry of `backbones` that the command line names."""
    params = load_params()
    name = entry_of_command_line("extract", params.backbones)
    one_thread_a_batch()
    make_deterministic(params.seed)
    check_entries(params)
    network = Network(name, params.backbones[name])

    network.compile(params.extract.engine)

    train, test = whole_pictures("train"), whole_pictures("test")
    rows = {"train_file": text_array(train["file"]), "test_file": text_array(test["file"])}
    if network.seen:
        rows["fine_tuned_on"] = train["md5"].isin(network.seen).to_numpy()
    partial = PartialRows(PARTIAL / f"{name}.rows", network.n_features, _fingerprint(network, params.extract))
    try:
        extract(network, Path(params.data.raw), [*train["file"], *test["file"]], partial, params.extract)
        write_features(FEATURES / f"{name}.h5", partial, rows, {"backbone": network.title.lower()})
    except KeyboardInterrupt:
        partial.save()
        raise KeyboardInterrupt(
            f"{name} keeps {partial.n_rows:,} of {len(train) + len(test):,} pictures; `dvc repro` goes on from there"
        ) from None
    else:
        partial.remove()
    finally:
        partial.close()


def extract(network: Network, raw: Path, files: list[str], partial: PartialRows, options: Extract) -> None:
    """Add the features of all files to `partial`, from the first row that it lacks.

    Parameters
    ----------
    network : Network
        What turns pictures into features; compiled.
    raw : Path
        The folder from which the files are seen.
    files : list of str
        One picture a row.
    partial : PartialRows
        Takes the rows; whole batches are saved every `SECONDS_BETWEEN_SAVES`.
    options : Extract
        The section `extract` of params.yaml.

    Raises
    ------
    UserError
        If a picture can't be read any more.
    """

    size = options.batch_size or default_batch_size()

    def batch_features(start: int) -> np.ndarray:
        n = min(size, len(files) - start)
        # The last batch is filled up: another shape would be compiled anew and could round differently.
        batch = np.zeros((size, network.input_size, network.input_size, 3), np.uint8)
        for i in range(n):
            batch[i] = read_linked_picture(raw / files[start + i], network.input_size)
        rows = network.features(batch)
        if options.flip:  # The mean over the picture and its mirror image.
            rows = (rows + network.features(batch[:, :, ::-1])) / 2
        return rows[:n]

    # A batch always starts at the same picture, so that a run taken up gives the same bytes as one that went through.
    done = partial.n_rows
    if done:
        print(f"{partial.path.stem}: going on after {done:,} of {len(files):,} pictures of an interrupted run")
    last_save = time.monotonic()
    with Progress(len(files), partial.path.stem, done=done) as progress:
        for rows in map_ahead(batch_features, range(done, len(files), size), n_ahead=N_WORKERS):
            partial.append(rows)
            progress.add(len(rows))
            if time.monotonic() - last_save > SECONDS_BETWEEN_SAVES:
                partial.save()
                last_save = time.monotonic()
    partial.save()


def _fingerprint(network: Network, options: Extract) -> str:
    """Identify everything that the features depend on: pictures, network, weights, parameters, code."""
    modules = [backbones, engines, features, *images.MODULES, small_convnet, sys.modules[__name__]]
    size = options.batch_size or default_batch_size()
    return network.fingerprint(modules, MANIFEST.read_bytes(), repr((options, size)).encode())


if __name__ == "__main__":
    run(main)
