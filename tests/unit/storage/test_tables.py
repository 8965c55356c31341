"""Tables are written so that every reader gets the same values back."""

from pathlib import Path

import pandas as pd
import pytest

from gap_ensemble.storage.tables import read_table, write_table


@pytest.mark.parametrize("name", ["a\r.jpg", "b\n.jpg", 'c,"d".jpg', "é.jpg", "\r"])
def test_names_of_files_are_read_back_as_they_are(tmp_path: Path, name: str) -> None:
    table = pd.DataFrame({"file": [name, "x.jpg"], "pictures": [1, 2]})

    write_table(tmp_path / "t.csv", table)

    read = pd.read_csv(tmp_path / "t.csv", keep_default_na=False)
    assert read.to_dict("list") == table.to_dict("list")
    assert len(read_table(tmp_path / "t.csv")) == 2
