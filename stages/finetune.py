"""Train a network on the competition's pictures, from the weights that it starts with.

    python -m stages.finetune XceptionTuned        # or: dvc repro finetune@XceptionTuned

Reads the pictures that `data/manifest.csv` lists. Writes `weights/tuned/<name>.weights.h5`, which an entry of
`backbones` names as its weights, and the learning curves, `results/finetune/<name>.csv` and `.png`.

A network that was fine-tuned on a picture scores too well on it. So a part of the training pictures is held out: this
stage never looks at them, and stage train validates on them alone. A group (`data.groups`, equal pictures) is held out
as a whole. The weights file lists the pictures that the network was fine-tuned on, by their content, and the list goes
with the features that are extracted with it.

A killed run goes on after its last whole epoch.
"""

import hashlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from gap_ensemble.competition.found import read_competition, read_rows
from gap_ensemble.extraction import engines, picture_features
from gap_ensemble.extraction.devices import find_device
from gap_ensemble.extraction.picture_features import ExtractJob, Picture, extract_features
from gap_ensemble.extraction.workers import map_ahead
from gap_ensemble.finetuning import held_out, tuning
from gap_ensemble.finetuning.held_out import check_folds, split_pictures
from gap_ensemble.finetuning.tuning import (
    Checkpoints,
    check_backbones,
    first_trained_layer,
    is_trainable,
    reseed,
    training_model,
    tuned_weights,
)
from gap_ensemble.heads import dense
from gap_ensemble.heads import head as head_module
from gap_ensemble.heads import rows as rows_module
from gap_ensemble.heads.dense import DenseHead, row_scores
from gap_ensemble.heads.head import Outputs, TrainingData
from gap_ensemble.heads.rows import Rows
from gap_ensemble.images import decoding as images
from gap_ensemble.images.decoding import read_linked_picture
from gap_ensemble.images.grey import Scale, read_grey_scale
from gap_ensemble.messages.errors import UserError, run
from gap_ensemble.messages.progress import Progress
from gap_ensemble.networks.keras_applications import Application
from gap_ensemble.networks.keras_setup import keras, make_deterministic
from gap_ensemble.networks.network import open_network
from gap_ensemble.params import Finetune, Train, entry_of_command_line, load_params
from gap_ensemble.paths import CURVES, PARTIAL
from gap_ensemble.storage import features
from gap_ensemble.storage.files import atomic_path
from gap_ensemble.storage.manifest import whole_pictures
from gap_ensemble.storage.store import store_folder
from gap_ensemble.storage.tables import write_table
from gap_ensemble.tasks.task import task_of
from gap_ensemble.validation import folds
from gap_ensemble.validation.groups import connected_groups


def main() -> None:
    """Run the stage for the entry of `finetune` that the command line names."""
    params = load_params()
    name = entry_of_command_line("finetune", params.finetune)
    make_deterministic(params.seed)
    entry = params.finetune[name]
    mixed = use_mixed_precision(entry)
    if mixed:
        keras.mixed_precision.set_global_policy("mixed_float16")
    network = open_network(name, entry, section="finetune")
    if not isinstance(network, Application):
        raise UserError(
            f"params.yaml: finetune.{name}: {network.title} can't be fine-tuned; accepted: networks of "
            "keras.applications and of this project; use its frozen features in backbones"
        )
    check_backbones(name, params)
    first_layer = first_trained_layer(network.base, name, entry)
    task = task_of(read_competition())
    if task.competition.task.kind not in ("classes", "grades"):
        raise UserError(
            f"params.yaml: finetune.{name}: the task is {task.competition.task.kind}; networks can be fine-tuned on "
            "classes and grades: remove the entry, and use frozen features"
        )
    targets = read_rows()
    pictures = whole_pictures("train")
    targets = targets[targets["split"] == "train"].set_index("row").loc[pictures["id"]]
    class_names, label = task.names, task.encode(targets)
    # A row is one group with its pictures, their copies, and the rows of the same patient or driver (data.groups).
    group = connected_groups([column.tolist() for column in (pictures["id"], pictures["md5"], targets["group"])])
    used, stops = split_pictures(name, entry.held_out, label, group, params.seed)
    check_folds(name, group[~used], params.train.folds)
    rows, label = pictures[used], label[used]
    source = Source(Path(params.data.raw), network.input_size, read_grey_scale())
    train, stopping = (
        Pictures(source, list(rows["file"][part]), label[part], entry.batch_size) for part in (~stops, stops)
    )
    trainable = [is_trainable(step) for step in network.base.operations]
    print(
        f"{name}: training {sum(trainable[first_layer:])} of {sum(trainable)} layers, from "
        f"{network.base.operations[first_layer:][trainable[first_layer:].index(True)].name} on, with "
        f"{len(train.files):,} pictures; {len(stopping.files):,} more for early stopping"
    )
    device = find_device("float32")
    print(f"{name}: trained on {device.name}, {network.base.compute_dtype}, TensorFlow", flush=True)
    if device.warning:
        print(f"WARNING: {device.warning}", flush=True)

    modules = [
        dense,
        engines,
        picture_features,
        features,
        folds,
        head_module,
        rows_module,
        *images.MODULES,
        tuning,
        held_out,
    ]
    code = [*map(inspect.getsource, modules), Path(__file__).read_text(encoding="utf-8")]
    values = [entry.model_dump_json(), mixed, params.seed, rows.to_csv(), label.tolist(), stops.tolist()]
    fingerprint = hashlib.sha256(repr([network.fingerprint(), code, values]).encode()).hexdigest()
    checkpoints = Checkpoints(PARTIAL / f"finetune.{name}", fingerprint)
    try:
        head = None
        if entry.weights != "random":
            job = ExtractJob(name, entry, source.raw, device, source.grey_scale, section="finetune")
            train_pictures = [Picture(*row) for row in zip(train.files, rows["md5"][~stops], strict=True)]
            stored = extract_features(job, train_pictures, store_folder(params.extract.store))
            head = trained_head(stored.read(0, stored.n_rows), train.label, len(class_names), params.seed)
        model = training_model(network, entry, first_layer, head, len(class_names))
        fit(model, train, stopping, checkpoints, name, entry, params.seed)
        checkpoints.load(model, checkpoints.best)
        write_curves(name, checkpoints.curves, checkpoints.best)
        # What it started from may have been fine-tuned before.
        network.save_weights(tuned_weights(name), {*rows["md5"], *network.fine_tuned_on})
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{name} keeps {max(checkpoints.n_epochs, 0)} whole epochs; `dvc repro` goes on from there"
        ) from None
    else:
        checkpoints.remove()


def use_mixed_precision(entry: Finetune) -> bool:
    """Return whether to compute in half precision: what the entry says, and if it says nothing, on a GPU."""
    if entry.mixed_precision is not None:
        return entry.mixed_precision
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def trained_head(features: np.ndarray, label: np.ndarray, n_classes: int, seed: int) -> Any:
    """Return the default dense head, trained on the backbone's frozen features of the training pictures.

    Parameters
    ----------
    features : ndarray of shape (n_rows, n_features), float32
        A row a picture.
    label : ndarray of shape (n_rows,), integer
        Class of every row.
    n_classes, seed : int
    """
    everything = Rows(features, np.ones(len(label), bool), slice(0, features.shape[1]))
    # The rows lie in the order of the manifest, by content: as good as shuffled.
    alone, group = np.full(len(label), -1), np.arange(len(label))
    data = TrainingData(Train(batch_size=32), everything, label, Outputs("classes", n_classes), alone, group, 1, seed)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")  # Half precision is for the network.
    heads, _ = DenseHead.fit_folds(data, lambda _: None)
    keras.config.set_dtype_policy(policy)
    return heads[0]


@dataclass(frozen=True)
class Source:
    """How files become pictures: the folder that they are relative to, pixels a side, the data set's grey scale."""

    raw: Path
    input_size: int
    grey_scale: Scale | None


class Pictures:
    """Labelled pictures, decoded ahead in threads and given out in batches.

    Parameters
    ----------
    source : Source
        How files become pictures.
    files : list of str
        The pictures.
    label : ndarray of shape (n_pictures,), integer
        Class of every picture.
    batch_size : int
        Pictures at a time.
    """

    def __init__(self, source: Source, files: list[str], label: np.ndarray, batch_size: int):
        self.source, self.files, self.label, self.batch_size = source, files, label, batch_size

    def batches(self, rng: np.random.Generator | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield pictures (n, input_size, input_size, 3), float32, and labels (n,); with `rng`, in random order."""
        order = np.arange(len(self.files)) if rng is None else rng.permutation(len(self.files))

        def read(row: int) -> np.ndarray:
            source = self.source
            return read_linked_picture(source.raw / self.files[row], source.input_size, source.grey_scale)

        pictures = map_ahead(read, order, n_ahead=2 * self.batch_size)
        for start in range(0, len(order), self.batch_size):
            label = self.label[order[start : start + self.batch_size]]
            yield np.stack([next(pictures) for _ in label]).astype(np.float32), label


def fit(
    model: Any, train: Pictures, stopping: Pictures, checkpoints: Checkpoints, name: str, entry: Finetune, seed: int
) -> None:
    """Train epoch by epoch, from where the checkpoints are, until none has been better for `patience` epochs.

    Parameters
    ----------
    model : keras.Model
        As `training_model` returns it.
    train, stopping : Pictures
        What trains, and what is for early stopping.
    checkpoints : Checkpoints
        Gets the model after every epoch.
    name : str
        The entry's name.
    entry : Finetune
        Its values.
    seed : int
        Seed of the order of pictures, of augmentation and of dropout.

    Raises
    ------
    UserError
        If a batch does not fit into memory, or the loss is no number any more.
    """
    if checkpoints.n_epochs >= 0:
        print(f"{name}: going on after epoch {checkpoints.n_epochs} of an interrupted run")
        checkpoints.load(model, checkpoints.n_epochs)
    else:
        start = evaluate(model, stopping)
        checkpoints.add(model, {"loss": float("nan"), "accuracy": float("nan"), **start})
    import tensorflow as tf

    total, done = entry.epochs * len(train.files), checkpoints.n_epochs * len(train.files)
    with Progress(total, name, done=done) as progress:
        while checkpoints.n_epochs < entry.epochs and checkpoints.n_epochs - checkpoints.best < entry.patience:
            epoch = checkpoints.n_epochs + 1
            reseed(model, seed, epoch)
            sums = np.zeros(2)
            try:
                for pictures, label in train.batches(np.random.default_rng([seed, epoch])):
                    targets = label[:, None] if model.output_shape[1] == 1 else label
                    sums += np.array(model.train_on_batch(pictures, targets)) * len(label)
                    progress.add(len(label))
                loss, accuracy = (sums / len(train.files)).tolist()
                scores = {"loss": loss, "accuracy": accuracy} | evaluate(model, stopping)
            except tf.errors.ResourceExhaustedError:
                raise UserError(
                    f"params.yaml: finetune.{name}.batch_size: found {entry.batch_size}, which is out of memory; set a "
                    "smaller one, or a smaller input_size"
                ) from None
            if not np.isfinite(list(scores.values())).all():
                raise UserError(
                    f"params.yaml: finetune.{name}.learning_rate: with {entry.learning_rate:g} the loss is no number "
                    f"after epoch {epoch}; try a tenth of it"
                )
            checkpoints.add(model, scores)
            progress.say(f"epoch {epoch}: " + ", ".join(f"{key} {value:.4f}" for key, value in scores.items()))
        progress.total = progress.done  # No epoch is left, also if it stopped early.


@np.errstate(invalid="ignore", over="ignore")  # `fit` refuses a loss that is no number.
def evaluate(model: Any, pictures: Pictures) -> dict[str, float]:
    """Return `val_loss` (log loss) and `val_accuracy` on pictures as they are, without augmentation."""
    losses, hits = [], []
    for batch, label in pictures.batches():
        logits = np.asarray(model.predict_on_batch(batch))[:, None]
        scores = row_scores(logits, label, Outputs("classes", max(logits.shape[2], 2)))
        losses.append(scores["loss"])
        hits.append(scores["accuracy"])
    return {"val_loss": float(np.mean(np.concatenate(losses))), "val_accuracy": float(np.mean(np.concatenate(hits)))}


def write_curves(name: str, curves: dict[str, list[float]], best: int) -> None:
    """Write the learning curves as a table and as a picture; epoch 0 is before any training."""
    table = pd.DataFrame(curves).rename_axis("epoch").reset_index()
    write_table(CURVES / f"{name}.csv", table)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, metric, label in zip(axes, ("loss", "accuracy"), ("log loss", "accuracy"), strict=True):
        axis.plot(table["epoch"], table[metric], label="training, augmented")
        axis.plot(table["epoch"], table[f"val_{metric}"], label="early stopping")
        axis.axvline(best, color="grey", linestyle=":", label="kept")
        axis.set(xlabel="epoch", ylabel=label, title=name)
    axes[0].legend()
    with atomic_path(CURVES / f"{name}.png") as partial:
        figure.savefig(partial, format="png", metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    run(main)
