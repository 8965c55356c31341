"""List the store of features, and empty what no repository needs any more.

    python -m tools.store            # a line a network: rows, size, who uses it
    python -m tools.store prune      # delete what this repository's params.yaml does not name, if nobody else uses it

A network counts as used by another repository as long as that repository's folder is there.
"""

import sys
from pathlib import Path
from typing import Any

import h5py

from gap_ensemble.messages.errors import UserError, run
from gap_ensemble.params import load_params
from gap_ensemble.paths import FEATURES
from gap_ensemble.storage.store import NetworkStore, networks_in, remove, repository, store_folder


def main() -> None:
    """Do what the command line says."""
    arguments = sys.argv[1:]
    if arguments not in ([], ["list"], ["prune"]):
        raise UserError(f"tools.store: found {' '.join(arguments)}; accepted: list, prune")
    params = load_params()
    folder = store_folder(params.extract.store)
    needed = fingerprints_of_features(list(params.backbones))
    n_networks = 0
    for path, about in networks_in(folder):
        n_networks += 1
        store = NetworkStore(path, about)
        size = sum(file.stat().st_size for file in path.iterdir())
        others = [user for user in about.get("used_by", []) if user != str(repository()) and Path(user).is_dir()]
        users = ["this repository"] * (about["fingerprint"] in needed) + others
        line = f"{path.name}: {store.n_rows:,} rows, {size / 1e6:,.1f} MB, used by {', '.join(users) or 'nobody'}"
        if arguments == ["prune"] and not users:
            remove(path)
            line += "; deleted"
        print(line)
    if not n_networks:
        print(f"{folder}: empty")


def fingerprints_of_features(names: list[str]) -> set[Any]:
    """Return the fingerprints of the feature files of this repository's networks."""
    found = set()
    for name in names:
        path = FEATURES / f"{name}.h5"
        if path.is_file():
            with h5py.File(path, "r") as file:
                found.add(file.attrs.get("fingerprint"))
    return found


if __name__ == "__main__":
    run(main)
