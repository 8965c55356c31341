"""Push every picture once through one network and keep its pooled features.

    python -m stages.extract Xception        # or: dvc repro extract@Xception

Reads the pictures that `data/manifest.csv` lists. Writes `features/gap/<name>.h5`.

This is where the hours go, so no picture is computed twice: every row is kept in the store, by the content of its
picture (`gap_ensemble/storage/store.py`). A killed run goes on where it was, 20 seconds back at most.
"""

from pathlib import Path

from gap_ensemble.extraction.cluster import open_pool
from gap_ensemble.extraction.devices import find_device
from gap_ensemble.extraction.picture_features import ExtractJob, extract_features
from gap_ensemble.extraction.reading import Picture
from gap_ensemble.images.grey import read_grey_scale
from gap_ensemble.messages.errors import run
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import entry_of_command_line, load_params
from gap_ensemble.paths import FEATURES
from gap_ensemble.storage.features import write_features
from gap_ensemble.storage.hdf5 import text_array
from gap_ensemble.storage.manifest import whole_pictures
from gap_ensemble.storage.store import store_folder


def main() -> None:
    """Run the stage for the entry of `backbones` that the command line names."""
    params = load_params()
    name = entry_of_command_line("extract", params.backbones)
    entry, options = params.backbones[name], params.extract
    network = open_network(name, entry)
    pool = open_pool(params.cluster.address)
    device = pool.call(find_device, options.precision, network.kind)
    raw = Path(params.data.raw)
    job = ExtractJob(name, entry, raw, device, read_grey_scale(), options.batch_size, options.flip)

    train, test = whole_pictures("train"), whole_pictures("test")
    pictures = [Picture(*row) for split in (train, test) for row in zip(split["file"], split["md5"], strict=True)]
    features = extract_features(job, pictures, store_folder(options.store), pool)
    rows = {"train_file": text_array(train["file"]), "test_file": text_array(test["file"])}
    if network.fine_tuned_on:
        rows["fine_tuned_on"] = train["md5"].isin(network.fine_tuned_on).to_numpy()
    attributes = {
        "backbone": network.title.lower(),
        "engine": device.engine,
        "fingerprint": features.store.about["fingerprint"],
        "precision": device.precision,
    }
    write_features(FEATURES / f"{name}.h5", features, rows, attributes)


if __name__ == "__main__":
    run(main)
