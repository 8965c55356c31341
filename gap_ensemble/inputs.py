"""What `params.yaml` names and the disk must have: the competition's files, weights files.

DVC says of a dependency only that it does not exist. This is looked at first, where a user can be told what to do.
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from gap_ensemble.messages.copies import advice_in_copy
from gap_ensemble.messages.errors import listed
from gap_ensemble.params import PARAMS_FILE, Backbone, Params
from gap_ensemble.paths import TUNED, WEIGHTS

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
            f"{PARAMS_FILE}: data.raw: found {params.data.raw!r}, which is no folder{_near(raw, folders=True)}; "
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
                path = WEIGHTS / (file or "")
                has_run = ran.get(f"{section}.{name}", {}).get(key) == file
                if path not in made and not path.exists() and not has_run:
                    found = f"found {file!r}, but there is no {path}"
                    problems.append(
                        f"{PARAMS_FILE}: {section}.{name}.{key}: {found}; "
                        + "; ".join(filter(None, [_accepted(key, path), advice_in_copy(f"{section}.{name}.{key}")]))
                    )
    return problems


def new_entries(backbones: Mapping[str, Backbone]) -> dict[str, Backbone]:
    """Return the entries of `backbones` that have not run with the values that they have."""
    ran = _parameters_that_ran()
    values = {name: entry.model_dump(mode="json", exclude_unset=True) for name, entry in backbones.items()}
    return {name: entry for name, entry in backbones.items() if ran.get(f"backbones.{name}") != values[name]}


def _near(path: Path, words: Sequence[str] = (), folders: bool = False) -> str:
    """Return a question after what is most like a path: words, or files or folders beside it."""
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    names = sorted(other.name for other in beside if other.is_dir() == folders)
    near = difflib.get_close_matches(path.name, [*words, *names], n=1)
    if not near:
        return ""
    relative = near[0] in words or path.parent == WEIGHTS
    return f" (did you mean {near[0] if relative else path.parent / near[0]}?)"


def _accepted(key: str, path: Path) -> str:
    suffix, words = (".h5", ["imagenet", "random"]) if key == "weights" else (".onnx", [])
    files = sorted(file.name for file in WEIGHTS.glob(f"*{suffix}"))
    accepted = ", ".join([*words, f"or a path relative to {WEIGHTS}/ or absolute"]).removeprefix("or ")
    return f"accepted: {accepted}{_near(path, words)}; there: {listed(files) or 'none'}"


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
