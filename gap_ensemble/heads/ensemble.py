"""Several heads as one model: which heads there are, on which columns, and how their predictions are combined.

    fitted = fit_ensemble(params.train, columns, EnsembleData(features, y, outputs, fold, group, seed))
    for k, model in enumerate(fitted.models):
        model.save(MODELS / f"fold_{k + 1}")
        for numbers, predictions in fitted.out_of_fold(k):
            ...                                          # predictions of rows that model k was not trained on

    models = [Ensemble.load(folder) for folder in ...]   # needs neither options nor columns
    predictions = sum(model.predict(features) for model in models) / len(models)

`train.ensemble` says how: `concatenate` trains one head on the features of all backbones side by side. `blend` trains
one head for each backbone, and averages their predictions with weights. `stack` trains both, and a second level on top
of their predictions. Null is one of them, see `ensemble_of`. `train.head: auto` trains every kind of head, and takes
the best for each part.

All that is chosen or fitted on predictions (the kind of head, weights, the second level) is cross-fitted: for the
models that are saved, by the out-of-fold predictions of all rows; for those that scores are taken of, without the fold
that they are scored on.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from gap_ensemble.heads.combine import fit_mean_weights, fit_stack_weights, mean_of, mean_row_loss, stack_of
from gap_ensemble.heads.dense import DenseHead
from gap_ensemble.heads.head import Curves, Head, Outputs, TrainingData
from gap_ensemble.heads.linear import fits_into_memory
from gap_ensemble.heads.logistic import LogisticHead
from gap_ensemble.heads.ridge import RidgeHead
from gap_ensemble.heads.rows import Features, Rows
from gap_ensemble.messages.errors import UserError
from gap_ensemble.messages.progress import Progress
from gap_ensemble.params import Train
from gap_ensemble.storage.files import write_text
from gap_ensemble.storage.hdf5 import block_slices

HEADS: dict[str, type[Head]] = {"dense": DenseHead, "logistic": LogisticHead, "ridge": RidgeHead}
# What each kind of head predicts, and which parameters it uses; all use `normalize`, and for classes `class_weight`.
PREDICTS = {
    "dense": {"classes", "labels", "numbers"},
    "logistic": {"classes", "labels"},
    "ridge": {"classes", "labels", "numbers"},
}
ONLY_DENSE = (
    "hidden",
    "dropout",
    "l2",
    "label_smoothing",
    "optimizer",
    "learning_rate",
    "batch_size",
    "epochs",
    "patience",
    "seeds",
)
# Without a word, larger heads are not trained once more for each network.
MAX_STACKED_WEIGHTS = 2_000_000

# Out-of-fold predictions that are held in memory at a time, as numbers; of more, the first rows stand for all.
MAX_HELD = 2**26

# A loss of predictions, to be minimised: takes y and predictions of some rows.
Loss = Callable[[np.ndarray, np.ndarray], float]


@dataclass
class EnsembleData:
    """What an ensemble is trained on: its model k on the rows outside of fold k.

    Attributes
    ----------
    features : h5py.Dataset or ndarray of shape (n_rows, n_columns), float32
        Features of all backbones side by side, in shuffled order. A dataset is read in blocks.
    y : ndarray
        Targets of every row, as `outputs` says.
    outputs : Outputs
        What is predicted.
    fold : ndarray of shape (n_rows,), integer
        The fold in which each row validates, or -1 for a row that only trains.
    group : ndarray of shape (n_rows,), integer
        Rows of one group stay together in every choice inside a fold. The caller keeps them together in `fold`.
    seed : int
        Of everything random.
    """

    features: Features
    y: np.ndarray
    outputs: Outputs
    fold: np.ndarray
    group: np.ndarray
    seed: int

    @property
    def n_folds(self) -> int:
        """Number of folds that validate."""
        return int(self.fold.max()) + 1

    def blocks(self, chosen: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield numbers (n,) and features (n, n_columns) of the chosen rows, in blocks whose predictions stay small."""
        for block in block_slices(len(chosen), max(self.features.shape[1], self.outputs.n) * 4):
            numbers = np.flatnonzero(chosen[block])
            if len(numbers):
                yield block.start + numbers, self.features[block][numbers]


@dataclass
class Member:
    """Trained heads that read the same columns; their predictions are averaged.

    Attributes
    ----------
    part : str
        The backbone whose columns they are, or `all`.
    kind : str
        Their name in `HEADS`.
    columns : slice
    heads : list of Head
        One a seed.
    """

    part: str
    kind: str
    columns: slice
    heads: list[Head]

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.part}.{self.kind}"

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return predictions of shape (n, outputs.n) for features of all backbones, shape (n, n_columns)."""
        mine = features[:, self.columns]
        return np.asarray(sum(head.predict(mine) for head in self.heads) / len(self.heads))


@dataclass
class Ensemble:
    """The model of one fold.

    Attributes
    ----------
    outputs : Outputs
        What it predicts.
    members : list of Member
        The heads.
    weights : ndarray of shape (n_members,)
        Not negative. For a mean they sum to one.
    rule : 'mean' or 'stack'
        How predictions are combined, see `combine.py`.
    """

    outputs: Outputs
    members: list[Member]
    weights: np.ndarray
    rule: Literal["mean", "stack"] = "mean"

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return predictions of shape (n, outputs.n), float32, for features of shape (n, n_columns)."""
        used = [(member, weight) for member, weight in zip(self.members, self.weights, strict=True) if weight > 0]
        predictions = (member.predict(features) for member, _ in used)
        weights = [weight for _, weight in used]
        if self.rule == "stack":
            return stack_of(predictions, weights, self.outputs)
        return mean_of(predictions, weights)

    def save(self, folder: Path) -> None:
        """Write the heads that count, and how they are combined, into a folder: the same bytes every time."""
        folder.mkdir(parents=True, exist_ok=True)
        listed = []
        for member, weight in zip(self.members, self.weights.tolist(), strict=True):
            if weight <= 0:
                continue
            span, files = [member.columns.start, member.columns.stop], []
            for number, head in enumerate(member.heads):
                files.append(f"{member.name}.{number + 1}.h5" if len(member.heads) > 1 else f"{member.name}.h5")
                head.save(folder / files[-1])
            listed.append({"part": member.part, "kind": member.kind, "columns": span, "weight": weight, "files": files})
        values = {"outputs": asdict(self.outputs), "rule": self.rule, "members": listed}
        write_text(folder / "ensemble.json", json.dumps(values, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Ensemble":
        """Read what `save` wrote."""
        values = json.loads((folder / "ensemble.json").read_text(encoding="utf-8"))
        outputs = Outputs(**values["outputs"])
        members = []
        for listed in values["members"]:
            heads = [HEADS[listed["kind"]].load(folder / name, outputs) for name in listed["files"]]
            members.append(Member(listed["part"], listed["kind"], slice(*listed["columns"]), heads))
        return cls(outputs, members, np.array([listed["weight"] for listed in values["members"]]), values["rule"])


@dataclass
class FittedEnsemble:
    """What `fit_ensemble` returns.

    Attributes
    ----------
    models : list of Ensemble
        One a fold, to be saved: what combines their heads is fitted on the out-of-fold predictions of all rows.
    cross_fitted : list of Ensemble
        The same heads; what combines those of fold k is fitted without the rows of fold k. Scores are taken with these.
    curves : list of dict of str to list of float
        Learning curves of the heads of one member, that with the greatest weight.
    data : EnsembleData
    """

    models: list[Ensemble]
    cross_fitted: list[Ensemble]
    curves: list[Curves]
    data: EnsembleData

    def out_of_fold(self, k: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield row numbers (n,) and predictions (n, outputs.n) of the rows that validate in fold k, in blocks."""
        for numbers, features in self.data.blocks(self.data.fold == k):
            yield numbers, self.cross_fitted[k].predict(features)


def fit_ensemble(
    options: Train, columns: dict[str, slice], data: EnsembleData, loss: Loss | None = None
) -> FittedEnsemble:
    """Train the heads of every fold, and fit how they are combined.

    Parameters
    ----------
    options : Train
        The section `train` of params.yaml.
    columns : dict of str to slice
        Columns of each backbone.
    data : EnsembleData
        Features, targets and folds.
    loss : callable, optional
        What `head: auto` minimises. By default the log loss, the mean log loss of labels, the mean squared error of
        numbers. Weights and the second level always minimise that: it is smooth, and a metric such as kappa is not.

    Returns
    -------
    FittedEnsemble

    Raises
    ------
    UserError
        If a parameter does not go with the data.
    """
    options = options.model_copy(update={"ensemble": ensemble_of(options, columns, data)})
    parts = parts_of(options, columns)
    kinds = kinds_of(options, parts, data)
    warn_of_unused(options, kinds, columns, data.outputs)
    has_choice = len(parts) > 1 or len(kinds) > 1
    if data.n_folds == 1 and (options.ensemble == "stack" or len(kinds) > 1):
        key = "ensemble" if options.ensemble == "stack" else "head"
        raise UserError(
            f"params.yaml: train.{key}: {getattr(options, key)} is fitted on some folds and scored on others; set "
            "train.folds to 2 or more"
        )
    members: list[list[Member]] = [[] for _ in range(data.n_folds)]
    curves: list[list[Curves]] = []
    for part, span in parts.items():
        for kind in kinds:
            heads, of_heads = _fit_member(kind, part, span, options, data)
            for of_fold, of_seeds in zip(members, heads, strict=True):
                of_fold.append(Member(part, kind, span, of_seeds))
            curves.append(of_heads)
    equal = np.full(len(members[0]), 1 / len(members[0]))
    models = [Ensemble(data.outputs, of_fold, equal, "mean") for of_fold in members]
    if not has_choice or data.n_folds == 1:
        # A single split has no rows by which weights could be fitted and others by which they could be scored.
        return FittedEnsemble(models, models, curves[0], data)
    return _combined(options, models, curves, data, loss)


def ensemble_of(options: Train, columns: dict[str, slice], data: EnsembleData) -> str:
    """Return `train.ensemble`; if it is null, `stack`, but `concatenate` where there is nothing to stack, or too much.

    Stacking was the best or level with the best on every set (docs/heads.md). One head has one penalty and one dropout
    for all features; a second level finds how much each network, and columns of a table, should count.
    """
    if options.ensemble is not None:
        return options.ensemble
    n_weights = max(span.stop for span in columns.values()) * data.outputs.n_logits
    is_stacked = len(columns) > 1 and data.n_folds > 1 and n_weights <= MAX_STACKED_WEIGHTS
    return "stack" if is_stacked else "concatenate"


def parts_of(options: Train, columns: dict[str, slice]) -> dict[str, slice]:
    """Return the parts of the columns that get heads: all together, each backbone's, or, to be stacked, both."""
    together = {"all": slice(0, max(span.stop for span in columns.values()))}
    if options.ensemble == "concatenate" or len(columns) == 1:
        return together
    return columns if options.ensemble == "blend" else columns | together


def kinds_of(options: Train, parts: dict[str, slice], data: EnsembleData) -> list[str]:
    """Return the kinds of heads that are trained.

    Raises
    ------
    UserError
        If the kind that is asked for does not predict what the task has.
    """
    suitable = [kind for kind in HEADS if data.outputs.kind in PREDICTS[kind]]
    wanted: list[str] = suitable if options.head == "auto" else [options.head]
    if wanted[0] not in suitable:
        raise UserError(
            f"params.yaml: train.head: {options.head} does not predict {data.outputs.kind}; take auto or one of "
            f"{', '.join(suitable)}"
        )
    widest = max(span.stop - span.start for span in parts.values())
    if wanted != ["dense"] and not fits_into_memory(len(data.y), widest, data.outputs):
        print(
            f"WARNING: {len(data.y):,} rows of {widest:,} features and {data.outputs.n:,} outputs are too many for "
            f"{' and '.join(kind for kind in wanted if kind != 'dense')}; the dense head takes over, which reads rows "
            "in blocks"
        )
        return ["dense"]
    return wanted


def warn_of_unused(options: Train, kinds: list[str], columns: dict[str, slice], outputs: Outputs) -> None:
    """Name the parameters that were changed and that nothing uses."""
    changed = [key for key, field in Train.model_fields.items() if getattr(options, key) != field.get_default()]
    for key in changed if "dense" not in kinds else []:
        if key in ONLY_DENSE:
            print(
                f"WARNING: params.yaml: train.{key}: found {getattr(options, key)}, which changes nothing: only the "
                f"dense head uses it, and train.head is {options.head}"
            )
    if "class_weight" in changed and outputs.kind != "classes":
        print(
            f"WARNING: params.yaml: train.class_weight: is not used for {outputs.kind}, only for classes, and for "
            "combinations of labels where those are tried"
        )
    if options.ensemble != "concatenate" and len(columns) == 1 and not (options.ensemble == "stack" and kinds[1:]):
        print(f"WARNING: params.yaml: train.ensemble: {options.ensemble} changes nothing: there is one backbone")


def _fit_member(
    kind: str, part: str, span: slice, options: Train, data: EnsembleData
) -> tuple[list[list[Head]], list[Curves]]:
    """Train heads of one kind on some columns: a list a fold, of a head a seed. Return also the curves of all."""
    rows = Rows(data.features, np.ones(len(data.y), bool), span)
    heads: list[list[Head]] = [[] for _ in range(data.n_folds)]
    curves: list[Curves] = []
    n_seeds = options.seeds if kind == "dense" else 1
    training = TrainingData(options, rows, data.y, data.outputs, data.fold, data.group, data.n_folds, data.seed)
    with Progress(n_seeds * HEADS[kind].n_steps(training), f"Training {kind} on {part}", HEADS[kind].unit) as progress:
        for number in range(n_seeds):
            of_seed = replace(training, seed=(data.seed + number) % 2**32)
            fitted, of_heads = HEADS[kind].fit_folds(of_seed, progress.add)
            for of_fold, head in zip(heads, fitted, strict=True):
                of_fold.append(head)
            curves += of_heads
    return heads, curves


def _combined(
    options: Train, models: list[Ensemble], curves: list[list[Curves]], data: EnsembleData, loss: Loss | None
) -> FittedEnsemble:
    """Choose among kinds and fit weights, cross-fitted."""
    members, outputs = models[0].members, data.outputs
    numbers = np.flatnonzero(data.fold >= 0)[: max(1, MAX_HELD // (outputs.n * len(members)))]
    predictions = np.empty((len(members), len(numbers), outputs.n), np.float32)
    held = np.zeros(len(data.y), bool)
    held[numbers] = True
    place = np.cumsum(held) - 1
    for k, model in enumerate(models):
        for of_block, features in data.blocks(held & (data.fold == k)):
            for number, member in enumerate(model.members):
                predictions[number, place[of_block]] = member.predict(features)
    y, fold = data.y[numbers], data.fold[numbers]

    def fit(chosen: np.ndarray) -> np.ndarray:
        """Return the weights of all members by some rows."""
        mine, weights = predictions[:, chosen], np.zeros(len(members))
        if options.ensemble == "stack":
            return fit_stack_weights(mine, y[chosen], outputs)
        best = []
        for part in dict.fromkeys(member.part for member in members):
            rivals = [number for number, member in enumerate(members) if member.part == part]
            if len(rivals) > 1:
                losses = [(loss or mean_row_loss(outputs))(y[chosen], mine[number]) for number in rivals]
                rivals = [rivals[int(np.argmin(losses))]]
            best += rivals
        weights[best] = fit_mean_weights(mine[best], y[chosen], outputs) if len(best) > 1 else 1.0
        return weights

    rule: Literal["mean", "stack"] = "stack" if options.ensemble == "stack" else "mean"
    weights = fit(np.ones(len(y), bool))
    how = " (factors of the second level, which need not sum to 1)" if rule == "stack" else ""
    print(f"Heads{how}: " + ", ".join(f"{w:.3f} {m.name}" for w, m in zip(weights, members, strict=True) if w > 0))
    final = [replace(model, weights=weights, rule=rule) for model in models]
    crossed = [replace(model, weights=fit(fold != k), rule=rule) for k, model in enumerate(models)]
    return FittedEnsemble(final, crossed, curves[int(weights.argmax())], data)
