"""Link to the files that each network is read from, wherever they are, so that stage extract depends on their content.

    python -m stages.networks        # or: dvc repro networks

Writes a folder `data/networks/<name>/` for every entry of `backbones`. In it is a symbolic link to the weights file or
the ONNX file, or one to each file of a preset folder. DVC follows the links: when the bytes behind one have changed,
this stage and that network's extract run again. DVC can't depend on the path in params.yaml itself, because an entry
names it by one of three keys, and a name such as `imagenet` is no path.

Feature files of entries that are gone are removed: the ensemble depends on the folder. DVC has them in its cache.
"""

import shutil

from gap_ensemble.messages.errors import run
from gap_ensemble.networks.links import link_files
from gap_ensemble.params import load_params
from gap_ensemble.paths import FEATURES, NETWORKS


def main() -> None:
    """Run the stage."""
    params = load_params()
    shutil.rmtree(NETWORKS, ignore_errors=True)
    NETWORKS.mkdir(parents=True)
    for name, entry in params.backbones.items():
        link_files(NETWORKS / name, entry)
    for path in FEATURES.glob("*.h5"):
        if path.stem not in params.backbones:
            path.unlink()


if __name__ == "__main__":
    run(main)
