"""`make experiments`: the command of the table, and the columns that it leaves out."""

import re
import shlex
import shutil
import subprocess

import pytest

from tools.workspace import ROOT


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_the_table_of_experiments_has_what_is_read_and_makes_no_environment() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "experiments", "EXTRA=cuda", "VENV=none", "ARGS=-n 3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    words = shlex.split(done.stdout)
    assert words[:5] == ["dvc", "exp", "show", "--only-changed", "--drop"]
    assert words[6:] == ["-n", "3"]
    shown = ["submission_log_loss", "val_accuracy", "n_val", "seed", "train.head", "predict.clip", "data.raw"]
    left_out = ["data/rows.csv", "models", "params.yaml", "n_train", "val_accuracy_std", "clip_low", "cut_1", "Created"]
    # DVC, too, looks from the beginning of a name.
    assert [name for name in shown + left_out if not re.match(words[5], name)] == shown
