"""A raw folder without the competition's files, as a machine has it from which the pictures were removed."""

from pathlib import Path

import pytest

from gap_ensemble.competition.tree import read_tree
from gap_ensemble.messages.errors import UserError


@pytest.mark.parametrize("left", ["", ".gitkeep", "train/Thumbs.db", "README.md"])
def test_a_folder_without_files_is_one_line_that_says_how_to_go_on(left: str, tmp_path: Path) -> None:
    if left:
        (tmp_path / left).parent.mkdir(exist_ok=True)
        (tmp_path / left).touch()
    with pytest.raises(UserError) as caught:
        read_tree(tmp_path)
    (line,) = caught.value.problems
    assert line.startswith(f"{tmp_path}: no competition's files in it; put them there, or run `python -m tools.raw ")
    assert line.endswith("remove the folder, too: dvc checkout, then dvc repro --allow-missing")
