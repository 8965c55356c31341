"""In a copy of the repository that DVC made for an experiment, missing files get advice of their own."""

from pathlib import Path

import pytest

from gap_ensemble.competition.find import find_competition
from gap_ensemble.messages.errors import UserError
from gap_ensemble.params import Data


@pytest.mark.parametrize("there", [True, False])
def test_a_copy_without_pictures_says_how_to_name_them(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / ".dvc/tmp/exps/tmp1234"
    (copy / "data").mkdir(parents=True)
    if there:
        (copy / "data/raw").mkdir()  # Only .gitkeep is tracked.
    monkeypatch.chdir(copy)
    with pytest.raises(UserError, match="this is a copy of the repository") as error:
        find_competition(Path("data/raw"), Data(raw="data/raw"))
    assert "set data.raw in params.yaml to an absolute path" in error.value.problems[0]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"COMPETITION|put the competition's files there"):
        find_competition(copy / "data/raw", Data(raw="data/raw"))
