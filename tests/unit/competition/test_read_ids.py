"""Ids of the sample submission are matched with pictures by name, never by position."""

from pathlib import Path

import pytest
from made_competitions import found, id_of

TWO = ["train/cat.0.jpg", "train/dog.0.jpg"]

# The pictures and the ids of one sample submission, and the picture of each id.
IDS_AND_FILES = {
    "names": (["1", "2"], ["test/1.jpg", "test/2.jpg"]),
    "upper-case suffix": (["1", "2"], ["test/1.JPG", "test/2.Jpeg"]),
    "ids with suffix": (["1.jpg", "2.jpg"], ["test/1.jpg", "test/2.jpg"]),
    "ids with another case of suffix": (["1.jpg", "2.JPG"], ["test/1.JPG", "test/2.jpg"]),
    "ids with another suffix": (["1.tif", "2.tif"], ["test/1.jpg", "test/2.jpg"]),
    "suffixes tell two apart": (["1.jpg", "1.png"], ["test/1.jpg", "test/1.png"]),
    "leading zeros": (["01", "1"], ["test/01.jpg", "test/1.jpg"]),
    "nested": (["1", "2"], ["test/a/1.jpg", "test/b/c/2.jpg"]),
    "nested in the same name": (["1", "2"], ["test/test/1.jpg", "test/test/2.jpg"]),
    "paths": (["a/1.jpg", "b/1.jpg"], ["test/a/1.jpg", "test/b/1.jpg"]),
    "paths without suffix": (["test/a/1", "test/b/1"], ["test/a/1.jpg", "test/b/1.jpg"]),
    "dots in names": (["1.5", "1.6.jpg"], ["test/1.5.jpg", "test/1.6.jpg"]),
    "no suffix": (["1", "2"], ["test/1", "test/2"]),
    "composed and decomposed letters": (["\u00e9", "e\u0301e"], ["test/e\u0301.jpg", "test/\u00e9e.jpg"]),
    "another order": (["10", "9", "1"], ["test/10.jpg", "test/9.jpg", "test/1.jpg"]),
    "spaces": (["a b", "a  b"], ["test/a b.jpg", "test/a  b.jpg"]),
    "a comma": (['"1,5"', "2"], ["test/1,5.jpg", "test/2.jpg"]),
}


@pytest.mark.parametrize(("ids", "files"), IDS_AND_FILES.values(), ids=IDS_AND_FILES)
def test_ids_are_matched_by_name(tmp_path: Path, ids: list[str], files: list[str]) -> None:
    sample = "id,label\n" + "".join(f"{i},0.5\n" for i in ids)

    result = found(tmp_path, [*TWO, *files], {"sample_submission.csv": sample})

    # As the sample writes them: a submission must repeat its ids to the letter.
    assert id_of(result) == dict(zip(files, (i.strip('"') for i in ids), strict=True))
    assert list(result.sample["id"]) == [i.strip('"') for i in ids]
