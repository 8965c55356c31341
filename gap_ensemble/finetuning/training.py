"""Training a network epoch by epoch, from what it knows, so that a killed run goes on after its last whole epoch."""

import contextlib
import hashlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gap_ensemble.extraction import jax_engine, openvino_engine, picture_features
from gap_ensemble.extraction.devices import Device
from gap_ensemble.extraction.picture_features import ExtractJob, extract_features
from gap_ensemble.extraction.reading import Picture
from gap_ensemble.finetuning import checkpoints as checkpoints_module
from gap_ensemble.finetuning import held_out, layers, pictures
from gap_ensemble.finetuning import model as model_module
from gap_ensemble.finetuning.checkpoints import Checkpoints, reseed
from gap_ensemble.finetuning.layers import first_trained_layer, is_trainable
from gap_ensemble.finetuning.model import training_model
from gap_ensemble.finetuning.pictures import Pictures
from gap_ensemble.heads import dense
from gap_ensemble.heads import head as head_module
from gap_ensemble.heads import rows as rows_module
from gap_ensemble.heads.dense import DenseHead
from gap_ensemble.heads.head import Head, Outputs, TrainingData
from gap_ensemble.heads.losses import row_scores
from gap_ensemble.heads.rows import Rows
from gap_ensemble.images import decoding
from gap_ensemble.messages.errors import UserError
from gap_ensemble.messages.progress import Progress
from gap_ensemble.networks.keras_setup import dtype_policy, is_out_of_memory
from gap_ensemble.params import Finetune, Train
from gap_ensemble.paths import PARTIAL
from gap_ensemble.storage import features
from gap_ensemble.validation import folds

# Their code decides what training gives: checkpoints of other code are thrown away.
MODULES = (
    checkpoints_module,
    dense,
    features,
    folds,
    head_module,
    held_out,
    jax_engine,
    layers,
    model_module,
    openvino_engine,
    picture_features,
    pictures,
    rows_module,
    *decoding.MODULES,
)


@dataclass(frozen=True)
class FineTuning:
    """What is trained, and on what.

    Attributes
    ----------
    name : str
        The entry's name in `finetune` of params.yaml.
    entry : Finetune
        Its values.
    network : KerasNetwork
        The backbone, with the weights that it starts with.
    device : Device
        What computes the features for its first head.
    n_classes, seed : int
    train, stopping : Pictures
        What trains, and what is for early stopping.
    """

    name: str
    entry: Finetune
    network: Any
    device: Device
    n_classes: int
    seed: int
    train: Pictures
    stopping: Pictures

    @contextlib.contextmanager
    def checkpoints(self) -> Iterator[Checkpoints]:
        """Yield what an earlier run has left; delete it at the end, when the weights of the best epoch are written.

        Raises
        ------
        KeyboardInterrupt
            Every whole epoch is kept; the text says how many.
        """
        kept = Checkpoints(PARTIAL / f"finetune.{self.name}", self._fingerprint())
        try:
            yield kept
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{self.name} keeps {max(kept.n_epochs, 0)} whole epochs; `dvc repro` goes on from there"
            ) from None
        kept.remove()

    def run(self, checkpoints: Checkpoints, store: Path) -> None:
        """Train from where the checkpoints are, and leave the weights of the best epoch in the network.

        Parameters
        ----------
        checkpoints : Checkpoints
            Get the model after every epoch, and the learning curves.
        store : Path
            The store of features.

        Raises
        ------
        UserError
            If the entry names layers that there are not, a batch does not fit into memory, or the loss is no number.
        """
        steps = self.network.base.operations
        first_layer = first_trained_layer(self.network.base, self.name, self.entry)
        trained = [step for step in steps[first_layer:] if is_trainable(step)]
        print(
            f"{self.name}: training {len(trained)} of {sum(map(is_trainable, steps))} layers, from {trained[0].name} "
            f"on, with {len(self.train.files):,} pictures; {len(self.stopping.files):,} more for early stopping",
            flush=True,
        )
        head = None if self.entry.weights == "random" else self._first_head(checkpoints, store)
        with dtype_policy(self.network.base.dtype_policy.name):
            model = training_model(self.network, self.entry, first_layer, head, self.n_classes)
        self._fit(model, checkpoints)
        checkpoints.load(model, checkpoints.best)

    def _fingerprint(self) -> str:
        """Identify everything that the trained weights depend on."""
        values = [self.entry.model_dump_json(), self.network.base.dtype_policy.name, self.seed, self.n_classes]
        data = [(part.files, part.md5, part.label.tolist()) for part in (self.train, self.stopping)]
        code = [*map(inspect.getsource, MODULES), inspect.getsource(FineTuning)]
        identity = [self.network.fingerprint(), values, data, repr(self.train.source.grey_scale), code]
        return hashlib.sha256(repr(identity).encode()).hexdigest()

    def _first_head(self, checkpoints: Checkpoints, store: Path) -> DenseHead:
        """Return what training starts from: the default dense head, trained on the backbone's frozen features."""
        outputs, path = Outputs("classes", self.n_classes), checkpoints.head
        if checkpoints.n_epochs < 0:
            self._trained_head(outputs, store).save(path)
        return DenseHead.load(path, outputs)

    def _trained_head(self, outputs: Outputs, store: Path) -> Head:
        """Return the default dense head, trained on the features of the training pictures."""
        source, label = self.train.source, self.train.label
        job = ExtractJob(self.name, self.entry, source.raw, self.device, source.grey_scale, section="finetune")
        listed = [Picture(*row) for row in zip(self.train.files, self.train.md5, strict=True)]
        stored = extract_features(job, listed, store)
        features = stored.read(0, stored.n_rows)
        everything = Rows(features, np.ones(len(label), bool), slice(0, features.shape[1]))
        # The rows lie in the order of the manifest, by content: as good as shuffled.
        alone, group = np.full(len(label), -1), np.arange(len(label))
        data = TrainingData(Train(batch_size=32), everything, label, outputs, alone, group, 1, self.seed)
        with dtype_policy("float32"):  # Half precision is for the network.
            heads, _ = DenseHead.fit_folds(data, lambda _: None)
        return heads[0]

    def _fit(self, model: Any, checkpoints: Checkpoints) -> None:
        """Train epoch by epoch, until none has been better for `patience` epochs."""
        name, entry, n_pictures = self.name, self.entry, len(self.train.files)
        if checkpoints.n_epochs >= 0:
            print(f"{name}: going on after epoch {checkpoints.n_epochs} of an interrupted run")
            checkpoints.load(model, checkpoints.n_epochs)
        else:
            start = evaluate(model, self.stopping)
            print(f"{name}: epoch 0, before any training: {_shown(start)}", flush=True)
            checkpoints.add(model, {"loss": float("nan"), "accuracy": float("nan"), **start})
        with Progress(entry.epochs * n_pictures, name, done=checkpoints.n_epochs * n_pictures) as progress:
            while checkpoints.n_epochs < entry.epochs and checkpoints.n_epochs - checkpoints.best < entry.patience:
                scores = self._epoch(model, checkpoints.n_epochs + 1, progress)
                checkpoints.add(model, scores)
                progress.say(f"epoch {checkpoints.n_epochs}: {_shown(scores)}")
            progress.total = progress.done  # No epoch is left, also if it stopped early.
        if checkpoints.best > 0:
            print(f"{name}: epoch {checkpoints.best} is kept, which has the least val_loss")
        else:
            print(
                f"WARNING: {name}: no epoch had less val_loss than the start, which is kept: the network is as it was, "
                "and its features too; try other layers or another learning_rate, or take the entry away"
            )

    def _epoch(self, model: Any, epoch: int, progress: Progress) -> dict[str, float]:
        """Train on every picture once, and return the scores."""
        reseed(model, self.seed, epoch)
        sums = np.zeros(2)
        try:
            for batch, label in self.train.batches(np.random.default_rng([self.seed, epoch])):
                targets = label[:, None] if model.output_shape[1] == 1 else label
                sums += np.array(model.train_on_batch(batch, targets)) * len(label)
                progress.add(len(label))
            loss, accuracy = (sums / len(self.train.files)).tolist()
            scores = {"loss": loss, "accuracy": accuracy} | evaluate(model, self.stopping)
        except Exception as error:  # A device raises types of its own.
            if not is_out_of_memory(error):
                raise
            raise UserError(
                f"params.yaml: finetune.{self.name}.batch_size: found {self.entry.batch_size}, which is out of memory; "
                "set a smaller one, or a smaller input_size"
            ) from None
        if not np.isfinite(list(scores.values())).all():
            raise UserError(
                f"params.yaml: finetune.{self.name}.learning_rate: with {self.entry.learning_rate:g} the loss is no "
                f"number after epoch {epoch}; try a tenth of it"
            )
        return scores


@np.errstate(invalid="ignore", over="ignore")  # A loss that is no number is refused.
def evaluate(model: Any, pictures: Pictures) -> dict[str, float]:
    """Return `val_loss` (log loss) and `val_accuracy` on pictures as they are, without augmentation."""
    losses, hits = [], []
    for batch, label in pictures.batches():
        logits = np.asarray(model.predict_on_batch(batch))[:, None]
        scores = row_scores(logits, label, Outputs("classes", max(logits.shape[2], 2)))
        losses.append(scores["loss"])
        hits.append(scores["accuracy"])
    return {"val_loss": float(np.mean(np.concatenate(losses))), "val_accuracy": float(np.mean(np.concatenate(hits)))}


def _shown(scores: dict[str, float]) -> str:
    return ", ".join(f"{key} {value:.4f}" for key, value in scores.items())
