"""What a killed run leaves of the network that it trained."""

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gap_ensemble.storage.files import write_text
from gap_ensemble.storage.hdf5 import atomic_hdf5


def reseed(model: Any, seed: int, epoch: int) -> None:
    """Make the random numbers of an epoch depend on nothing before it, so that a run taken up draws the same."""
    for number, variable in enumerate(v for v in model.variables if v.path.endswith("seed_generator_state")):
        variable.assign([(seed + number) % 2**32, epoch])


def variables_of(model: Any) -> list[Any]:
    """Return all that training changes: weights, the state of random numbers, and the optimizer's."""
    return [*model.variables, *model.optimizer.variables]


def best_epoch(curves: dict[str, list[float]]) -> int:
    """Return the epoch with the least log loss on the pictures that choose; 0 is before any training."""
    return int(np.argmin(curves["val_loss"]))


class Checkpoints:
    """What a killed run leaves: the model after its last epoch, after its best one, its first head, and the curves.

    The state names the files that count and is replaced only after they are safely on the disk.

    Parameters
    ----------
    folder : Path
        Where they lie, outside of the outputs that DVC deletes before it runs a stage.
    fingerprint : str
        Identifies everything that they depend on; those of another are thrown away.

    Attributes
    ----------
    curves : dict of str to list of float
        `loss`, `accuracy`, `val_loss`, `val_accuracy` after every epoch that is done; the first is before any training.
    best : int
        The epoch with the least `val_loss`.
    head : Path
        The file of the head that training started from. It is whole if there is an epoch.
    """

    def __init__(self, folder: Path, fingerprint: str):
        self.folder, self.fingerprint = folder, fingerprint
        self.curves: dict[str, list[float]] = {}
        self.best = 0
        self.head = folder / "head.h5"
        try:
            state = json.loads((folder / "state.json").read_text())
        except (OSError, ValueError):
            state = {}
        if state.get("fingerprint") == fingerprint:
            self.curves, self.best = state["curves"], state["best"]
        else:
            self.remove()
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def n_epochs(self) -> int:
        """How many epochs are done, the one before any training not counted; -1 if not even that one."""
        return len(self.curves.get("val_loss", [])) - 1

    def add(self, model: Any, scores: dict[str, float]) -> None:
        """Keep the model after one more epoch."""
        curves = {name: [*self.curves.get(name, []), value] for name, value in scores.items()}
        epoch, best = self.n_epochs + 1, best_epoch(curves)
        with atomic_hdf5(self._path(epoch)) as file:
            for number, variable in enumerate(variables_of(model)):
                file[str(number)] = np.asarray(variable)
        state = {"fingerprint": self.fingerprint, "curves": curves, "best": best}
        write_text(self.folder / "state.json", json.dumps(state))
        self.curves, self.best = curves, best
        for path in self.folder.glob("epoch-*.h5"):
            if path not in (self._path(self.n_epochs), self._path(self.best)):
                path.unlink()

    def load(self, model: Any, epoch: int) -> None:
        """Bring the model back to what it was after an epoch, the last or the best."""
        with h5py.File(self._path(epoch), "r") as file:
            for number, variable in enumerate(variables_of(model)):
                variable.assign(file[str(number)][()])

    def remove(self) -> None:
        """Delete all: the state first, so that a kill in between leaves nothing that is taken for whole."""
        (self.folder / "state.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch}.h5"
