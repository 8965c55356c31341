"""dvc.yaml names every room whose code can change a stage's result: computed from the imports, and compared."""

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tools.workspace import ROOT

# Messages, progress bars and the places of files: nothing here changes a result.
CANNOT_CHANGE_A_RESULT = {"gap_ensemble/messages", "gap_ensemble/paths.py", "gap_ensemble/__init__.py"}


def module_path(name: str) -> Path | None:
    """Return the file of a module of this repository, None for others."""
    path = ROOT / name.replace(".", "/")
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def imported(path: Path) -> set[Path]:
    """Return the files of this repository that a module imports, at its top or inside of a function."""
    files: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        files |= {file for name in names if (file := module_path(name))}
    return files


def closure(path: Path) -> set[Path]:
    """Return all files of this repository that a module imports, also through others."""
    found: set[Path] = set()
    left = [path]
    while left:
        for file in imported(left.pop()) - found:
            found.add(file)
            left.append(file)
    return found


def room_of(path: Path) -> str:
    """Return the room of a file: its folder in the package, or the file itself beside the rooms."""
    relative = path.relative_to(ROOT)
    return "/".join(relative.parts[:2])


def stages() -> dict[str, dict[str, object]]:
    values = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {name: stage.get("do", stage) for name, stage in values.items()}


def listed(stage: dict[str, object]) -> set[str]:
    """Return the code that a stage depends on, relative to the repository's root."""
    deps = [dep for dep in stage["deps"] if isinstance(dep, str)]  # type: ignore[attr-defined]
    inside = [dep.removeprefix("../") for dep in deps]
    return {dep.rstrip("/") for dep in inside if dep.startswith(("gap_ensemble", "stages"))}


@pytest.mark.parametrize("name", sorted(stages()))
def test_a_stage_depends_on_the_rooms_that_it_imports(name: str) -> None:
    module = ROOT / f"stages/{name}.py"
    needed = {room_of(path) for path in closure(module)} - CANNOT_CHANGE_A_RESULT
    assert listed(stages()[name]) == needed | {f"stages/{name}.py"}


def test_a_stage_is_a_module_of_the_same_name() -> None:
    assert {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"} == set(stages())


def test_no_stage_is_imported() -> None:
    modules = {ROOT / f"stages/{name}.py" for name in stages()}
    for folder in ("gap_ensemble", "stages", "tools", "benchmarks", "tests"):
        for path in ROOT.glob(f"{folder}/**/*.py"):
            assert not modules & imported(path), path
