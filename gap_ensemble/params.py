"""`params.yaml`, read and checked as a whole at the start of every stage.

    params = load_params()
    params.train.dropout

Every stage checks every section, so that a misspelt key is found by whichever stage runs first, not hours later by
the stage that needs it.
"""

import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gap_ensemble.messages.accepted import accepted, as_yaml
from gap_ensemble.messages.errors import UserError, did_you_mean, nearest, one_line
from gap_ensemble.paths import in_weights

PARAMS_FILE = Path("params.yaml")

# The optimizers of keras.optimizers that train a dense head, by the names that Keras gives them.
Optimizer = Literal["adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "lion", "nadam", "rmsprop", "sgd"]

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# The name of an entry becomes the name of a file and of a DVC stage.
EntryName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100)]


METRICS = [
    "log_loss",
    "accuracy",
    "balanced_accuracy",
    "roc_auc",
    *(f"{score}_{average}" for score in ("f1", "f2") for average in ("micro", "macro", "samples")),
    "quadratic_kappa",
    "rmse",
    "mae",
    "gap",
]


def _known_metric(name: object) -> object:
    if name not in ["auto", *METRICS] and not re.fullmatch(r"map_at_[1-9]\d*|top_[1-9]\d*_error", str(name)):
        hint = did_you_mean(nearest(str(name), METRICS))
        raise ValueError(f"accepted: auto, {', '.join(METRICS)}, map_at_5 or top_5_error with any number{hint}")
    return name


Metric = Annotated[str, BeforeValidator(_known_metric)]


class Section(BaseModel):
    """A part of params.yaml in which every key must be known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(Section):
    """`data`: the competition's files."""

    raw: str = Field(min_length=1)
    # Folders of pictures, relative to raw.
    train: str | list[str] = "auto"
    test: str | list[str] = "auto"
    task: Literal["auto", "classes", "labels", "grades", "numbers"] = "auto"
    labels: str = "auto"
    metric: Metric = "auto"
    # A column of the table of labels, or a pattern on file names whose first group is the group.
    groups: str | None = None
    columns: list[str] | Literal["all"] = []
    pool: Literal["auto", "mean", "max", "side_by_side"] = "auto"
    # Several: their probability is the sum; they become one class, and the others another.
    positive_class: str | list[str] | None = None
    bad_images: Literal["error", "skip"] = "error"
    # What is black and what white in pictures of more than 8 bits: found from all of them, or said.
    grey_scale: Literal["auto"] | tuple[float, float] = "auto"


class Backbone(Section):
    """`backbones.<name>`: one network. Exactly one of `weights`, `preset` and `onnx` says where it comes from."""

    # imagenet, random (untrained), or a path relative to weights/ or absolute: a weights file of Keras, a preset folder
    # of KerasHub, or an ONNX file.
    weights: Annotated[str, Field(min_length=1)] | None = None
    # A preset of KerasHub: a folder, relative to weights/ or absolute, or a name such as dinov2_small.
    preset: Annotated[str, Field(min_length=1)] | None = None
    # An ONNX file, relative to weights/ or absolute.
    onnx: Annotated[str, Field(min_length=1)] | None = None
    # The network's name in keras.applications, where it differs from the entry's own name.
    backbone: str | None = None
    input_size: Annotated[int, Field(ge=1, le=4096)] | None = None
    # null: avg, and for networks of tokens what their authors use for linear classification.
    pooling: Literal["avg", "max", "flatten", "cls", "mean", "cls+mean", "own"] | None = None
    # Of the builder in keras.applications, such as alpha.
    arguments: dict[str, bool | int | float | str] = {}
    # Of presets and ONNX files, in pixels from 0 to 255, one number or one a channel: (pixel - mean) / std goes in.
    mean: float | tuple[float, float, float] | None = None
    std: Positive | tuple[Positive, Positive, Positive] | None = None
    # Of an ONNX file with several outputs: the name of the one that is taken.
    output: str | None = None

    @property
    def source(self) -> Literal["application", "preset", "onnx"]:
        """Where the network comes from."""
        path = self.weights or ""
        if self.onnx or path.endswith(".onnx"):
            return "onnx"
        if self.preset or (in_weights(path) / "config.json").is_file():
            return "preset"
        return "application"

    @model_validator(mode="after")
    def _one_source(self) -> "Backbone":
        named = [key for key in ("weights", "preset", "onnx") if getattr(self, key) is not None]
        if len(named) != 1:
            found = " and ".join(named) or "none of weights, preset, onnx"
            raise ValueError(f"found {found}; give one, such as weights: imagenet")
        accepted = {
            "application": {"weights", "backbone", "input_size", "pooling", "arguments"},
            "preset": {"weights", "preset", "input_size", "pooling", "mean", "std"},
            "onnx": {"weights", "onnx", "input_size", "pooling", "mean", "std", "output"},
        }[self.source]
        ours = (self.model_fields_set & set(Backbone.model_fields)) - accepted
        if ours:
            what = {"application": "a network of Keras", "preset": "a preset", "onnx": "an ONNX file"}[self.source]
            raise ValueError(f"{what} takes no {', '.join(sorted(ours))}; leave it out")
        return self


class Augment(Section):
    """`finetune.<name>.augment`: how far a training picture may be changed, as the Keras layers count it."""

    flip: bool = True
    shear: Annotated[float, Field(ge=0, le=1)] = 0.1
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.2
    shift: Annotated[float, Field(ge=0, lt=1)] = 0.1


class Finetune(Backbone):
    """`finetune.<name>`: a network that is trained on the competition's pictures, from the weights that it names."""

    # What is trained: from this layer on, or so many blocks at the end; null and null: the last block.
    train_from: str | None = None
    last_blocks: Annotated[int, Field(ge=1)] | Literal["all"] | None = None
    held_out: Annotated[float, Field(ge=0.05, le=0.9)] = 0.2
    augment: Augment = Augment()
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    optimizer: Optimizer = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 1e-4
    batch_size: Annotated[int, Field(ge=1)] = 16
    epochs: Annotated[int, Field(ge=1)] = 20
    patience: Annotated[int, Field(ge=1)] = 5
    mixed_precision: bool | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "Finetune":
        if self.train_from is not None and self.last_blocks is not None:
            raise ValueError("give train_from or last_blocks, not both")
        if "momentum" in self.model_fields_set and self.optimizer != "sgd":
            raise ValueError(f"momentum is sgd's; leave it out with {self.optimizer}")
        return self


class Extract(Section):
    """`extract`: how pictures go through every network."""

    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    batch_size: Annotated[int, Field(ge=1)] | None = None
    flip: bool = False
    store: Annotated[str, Field(min_length=1)] | None = None


class Cluster(Section):
    """`cluster`: where pictures are computed. No stage depends on it, because it changes no result."""

    address: str | None = None

    @field_validator("address")
    @classmethod
    def _known_form(cls, address: str | None) -> str | None:
        host = r"(\[[0-9a-fA-F:.]+\]|[^\s/:]+)"
        if address is not None and not re.fullmatch(rf"local|auto|{host}:\d+|ray://{host}(:\d+)?", address):
            raise ValueError("accepted: null, local, auto, HOST:PORT, ray://HOST")
        return address


class Ensemble(Section):
    """`ensemble`: one file of features for the head."""

    duplicates: Annotated[float, Field(gt=0, le=1)] | None = 0.95


class Train(Section):
    """`train`: the head and how it is validated."""

    head: Literal["dense", "logistic", "ridge", "auto"] = "dense"
    ensemble: Literal["concatenate", "blend", "stack"] | None = None
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    folds: Annotated[int, Field(ge=1, le=100)] = 5
    class_weight: Literal["balanced"] | None = None
    # What follows is null where the head finds it.
    normalize: bool | None = None
    hidden: list[Annotated[int, Field(ge=1)]] = []
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    l2: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] | None = None
    optimizer: Optimizer | None = None
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    epochs: Annotated[int, Field(ge=1)] | None = None
    patience: Annotated[int, Field(ge=1)] | None = None


class Predict(Section):
    """`predict`: from predictions to the submission."""

    clip: Literal["auto"] | tuple[Probability, Probability] | None = "auto"

    @field_validator("clip")
    @classmethod
    def _low_below_high(cls, clip: str | tuple[float, float] | None) -> str | tuple[float, float] | None:
        if isinstance(clip, tuple) and not clip[0] < clip[1]:
            raise ValueError("low must be below high")
        return clip


class Params(Section):
    """The whole of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    data: Data
    backbones: dict[EntryName, Backbone] = Field(min_length=1)
    finetune: dict[EntryName, Finetune]
    extract: Extract
    cluster: Cluster
    ensemble: Ensemble
    train: Train
    predict: Predict


def entry_of_command_line(stage: str, entries: dict[str, Any]) -> str:
    """Return the name of the entry for which a stage is run: the command line's only argument.

    Raises
    ------
    UserError
        If it is none of the entries.
    """
    if len(sys.argv) != 2 or sys.argv[1] not in entries:
        raise UserError(f"stages.{stage}: found {sys.argv[1:]}; give one of {', '.join(entries) or '(none)'}")
    return sys.argv[1]


def load_params(path: str | Path = PARAMS_FILE) -> Params:
    """Read and check `params.yaml`.

    Parameters
    ----------
    path : str or Path
        The file to read, by default `params.yaml` in the current folder.

    Returns
    -------
    Params
        One attribute a section, one attribute a key below it.

    Raises
    ------
    UserError
        If the file can't be read, or for every unknown key and every value that is not accepted, a line each.
    """
    try:
        # The same parser as DVC's, so that both read `1e-3` as a number and refuse a key that stands twice.
        values = YAML(typ="safe").load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run this from the repository's root, beside dvc.yaml") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as YAML: {one_line(error)}; fix the line named") from None
    if not isinstance(values, dict):
        found = "nothing" if values is None else f"a {type(values).__name__}"
        raise UserError(f"{path}: found {found}; expected the sections {', '.join(Params.model_fields)}")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        problems = error.errors()
        # A misspelt section is not missing, too.
        unknown = [_keys_of(problem) for problem in problems if _is_unknown(problem)]
        misspelt = {(*keys, nearest(key, _known_keys(keys))) for *keys, key in unknown}
        lines = [_problem(path, p, values) for p in problems if p["type"] != "missing" or p["loc"] not in misspelt]
        raise UserError(dict.fromkeys(lines)) from None


def _problem(path: str | Path, problem: Any, values: dict[str, Any]) -> str:
    """Turn one finding of pydantic into one line: parameter, what was found, what is accepted."""
    keys = _keys_of(problem)
    name = ".".join(keys)
    if _is_unknown(problem):
        near = nearest(keys[-1], _known_keys(keys[:-1]))
        hint = f"did you mean {near}?" if near else f"known here: {', '.join(_known_keys(keys[:-1]))}"
        return f"{path}: {name}: unknown key; {hint}"
    if keys[:2] == ["predict", "clip"] and "clip" in values["predict"]:
        found = as_yaml(values["predict"]["clip"])
        return f"{path}: predict.clip: found {found}; accepted: auto, null, or [low, high] with 0 ≤ low < high ≤ 1"
    found = as_yaml(problem["input"])
    if "[key]" in problem["loc"]:
        allowed = "letters, digits, - and _, a letter or digit first, because it names a file and a stage"
        return f"{path}: {keys[0]}: found the name {found}; accepted: a text of {allowed}"
    if problem["type"] in ("model_type", "dict_type"):
        below = {"backbones": "NAME: {weights: imagenet}", "finetune": "NAME: {weights: imagenet}, or {} for none"}.get(
            name, ", ".join(_known_keys(keys))
        )
        return f"{path}: {name}: found {found}; expected below it: {below}"
    parameter, what = accepted(Params, keys)
    if problem["type"] == "missing" and parameter == keys:
        return f"{path}: {name}: missing; add it (the file in the repository shows a value)"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        of_several_keys = isinstance(problem["input"], dict)
        return f"{path}: {name}: {message}" if of_several_keys else f"{path}: {name}: found {found}; {message}"
    value: Any = values
    for key in parameter:  # What was found may be an item of it.
        value = value[key]
    hint = did_you_mean(nearest(str(value).lower(), what.split(", ")))
    return f"{path}: {'.'.join(parameter)}: found {as_yaml(value)}; accepted: {what}{hint}"


def _keys_of(problem: Any) -> list[str]:
    return [str(key) for key in problem["loc"] if key != "[key]"]


def _is_unknown(problem: Any) -> bool:
    return problem["type"] == "extra_forbidden"


def _known_keys(keys: list[str]) -> list[str]:
    """Return the keys that may stand in the section that `keys` lead to."""
    section: Any = Params
    for key in keys:
        field = getattr(section, "model_fields", {}).get(key)
        section = field.annotation if field else section
        section = {"backbones": Backbone, "finetune": Finetune}.get(key, section)
    return list(section.model_fields)
