"""Which libraries the project needs, looked for before the first import of one of them.

Imports nothing but the standard library: what starts first in a Python without the libraries must be able to say so.
"""

import sys
from importlib.util import find_spec

# The module that each dependency in pyproject.toml brings.
MODULES = (
    "cleanlab",
    "dvc",
    "dvclive",
    "h5py",
    "keras",
    "matplotlib",
    "numpy",
    "openvino",
    "pandas",
    "PIL",
    "pydantic",
    "ruamel.yaml",
    "sklearn",
    "scipy",
    "tensorflow",
    "threadpoolctl",
    "tqdm",
)


def require_libraries() -> None:
    """Stop with one line if this Python lacks libraries of the project: it is not that of the project's environment."""
    missing = [name for name in MODULES if not _is_installed(name)]
    if missing:
        names = missing[0] if len(missing) == 1 else f"{missing[0]} and {len(missing) - 1} more"
        version = ".".join(map(str, sys.version_info[:3]))
        sys.exit(
            f"ERROR: {sys.executable} (Python {version}): lacks {names} of the project's libraries; make the "
            "environment (make setup) and activate it (source .venv/bin/activate), then run it again"
        )


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # The package that holds the module is missing.
        return False
