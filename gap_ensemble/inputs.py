"""What `params.yaml` names and the disk must have: the competition's files, weights files.

DVC says of a dependency only that it does not exist. This is looked at first, where a user can be told what to do.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from gap_ensemble.messages.copies import advice_in_copy
from gap_ensemble.messages.errors import did_you_mean, listed, nearest
from gap_ensemble.params import PARAMS_FILE, Backbone, Params
from gap_ensemble.paths import TUNED, WEIGHTS, in_weights

LOCK_FILE = Path("dvc.lock")


def missing_inputs(params: Params) -> list[str]:
    """Find files and folders that params.yaml names and that are not there.

    What ran before under the same name, as `dvc.lock` has it, need not be there: a second machine has the features
    from DVC's remote, and neither the pictures nor the weights.

    Returns
    -------
    list of str
        One line for each.
    """
    ran = _parameters_that_ran()
    problems = []
    raw = Path(params.data.raw)
    if not raw.is_dir() and ran.get("data", {}).get("raw") != params.data.raw:
        problems.append(
            f"{PARAMS_FILE}: data.raw: found {params.data.raw!r}, which is no folder"
            f"{did_you_mean(_corrected(raw, is_folder=True))}; "
            + (
                advice_in_copy()
                or "put the competition's files there (python -m tools.raw download COMPETITION), or name the folder "
                "that holds them"
            )
        )
    made = {TUNED / f"{name}.weights.h5" for name in params.finetune}
    sections: dict[str, Mapping[str, Backbone]] = {"backbones": params.backbones, "finetune": params.finetune}
    for section, entries in sections.items():
        for name, entry in entries.items():
            # A preset may be a name that is no path.
            for key, file in (("weights", entry.weights), ("onnx", entry.onnx)):
                path = in_weights(file or "")
                has_run = ran.get(f"{section}.{name}", {}).get(key) == file
                if path not in made and not path.exists() and not has_run:
                    found = f"found {file!r}, but there is no {path}"
                    written = made if section == "backbones" else ()
                    advice = [found, _accepted(key, file or "", written), advice_in_copy(f"{section}.{name}.{key}")]
                    problems.append(f"{PARAMS_FILE}: {section}.{name}.{key}: {'; '.join(filter(None, advice))}")
    return problems


def new_entries(backbones: Mapping[str, Backbone]) -> dict[str, Backbone]:
    """Return the entries of `backbones` that have not run with the values that they have."""
    ran = _parameters_that_ran()
    values = {name: entry.model_dump(mode="json", exclude_unset=True) for name, entry in backbones.items()}
    return {name: entry for name, entry in backbones.items() if ran.get(f"backbones.{name}") != values[name]}


def _accepted(key: str, name: str, made: Iterable[Path]) -> str:
    """Return what may stand in place of a name that leads nowhere, what is most like it, and which files there are.

    Parameters
    ----------
    key : {"weights", "onnx"}
    name : str
    made : iterable of Path
        Weights files that stage finetune writes.
    """
    suffix, words = (".h5", ["imagenet", "random"]) if key == "weights" else (".onnx", [])
    files = sorted(file.name for file in WEIGHTS.glob(f"*{suffix}"))
    below = {file for file in {*WEIGHTS.rglob(f"*{suffix}"), *made} if file.suffix == suffix}
    # As they are to be written: relative to weights/, unless an absolute path was meant.
    names = [*words, *sorted(file.relative_to(WEIGHTS).as_posix() for file in below)]
    near = _corrected(Path(name), is_folder=False) if Path(name).is_absolute() else nearest(name, names)
    accepted = ", ".join([*words, f"or a path relative to {WEIGHTS}/ or absolute"]).removeprefix("or ")
    return f"accepted: {accepted}{did_you_mean(near)}; there: {listed(files) or 'none'}"


def _corrected(path: Path, *, is_folder: bool) -> str:
    """Return a path with the name most like it in place of every part that is not there, or nothing."""
    here = Path(path.anchor)
    for part in path.relative_to(path.anchor).parts:
        name = part
        if not (here / part).exists():
            name = nearest(part, sorted(other.name for other in here.iterdir()) if here.is_dir() else ())
        if not name:
            return ""
        here /= name
    return str(here) if here.is_dir() == is_folder else ""


def _parameters_that_ran() -> dict[str, Any]:
    """Return the parameters of link, extract and finetune in dvc.lock, by their keys."""
    if not LOCK_FILE.exists():
        return {}
    stages = (YAML(typ="safe").load(LOCK_FILE.read_text(encoding="utf-8")) or {}).get("stages", {})
    ran: dict[str, Any] = {}
    for name, stage in stages.items():
        if name.split("@")[0] in ("link", "extract", "finetune"):
            ran |= next(iter(stage.get("params", {}).values()), {})
    return ran
