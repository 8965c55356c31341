"""The data set's grey scale: found in the training pictures, or as data.grey_scale says."""

import pandas as pd
import pytest

from gap_ensemble.competition.check import find_data_set_scale
from gap_ensemble.images.grey import GreyRange, Scale

PICTURES = pd.DataFrame({"file": ["train/1.png", "test/2.png", "test/3.png"], "split": ["train", "test", "test"]})
RANGES = {"train/1.png": GreyRange(0, 4000, "integer"), "test/2.png": GreyRange(0, 60_000, "integer")}


def test_the_training_pictures_decide(capsys: pytest.CaptureFixture[str]) -> None:
    """Other test pictures, as in code competitions, must not change what was computed."""
    assert find_data_set_scale(PICTURES, RANGES, "auto") == Scale(0, 4095)
    assert capsys.readouterr().out.splitlines() == [
        "Grey scale: 0 to 4,095 (12 bits) become black to white (pictures of more than 8 bits: 1)"
    ]


def test_a_scale_that_was_chosen_is_taken_whatever_the_pictures_hold(capsys: pytest.CaptureFixture[str]) -> None:
    negative = {"train/1.png": GreyRange(-3, 9, "float")}
    assert find_data_set_scale(PICTURES, negative, (-1.5, 2)) == Scale(-1.5, 2)
    assert find_data_set_scale(PICTURES, {}, (0, 1)) == Scale(0, 1)
    assert "no picture needs" in capsys.readouterr().out
    assert find_data_set_scale(PICTURES, {}, "auto") is None
