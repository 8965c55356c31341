"""What stage networks leaves for DVC to depend on."""

import errno
from pathlib import Path

import pytest

from gap_ensemble.networks.links import link_files
from gap_ensemble.params import Backbone


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("weights/folder").mkdir(parents=True)
    for name in ("imagenet", "mine.h5", "folder/config.json"):
        Path("weights", name).write_text(name)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"weights": "mine.h5"}, {"file": "mine.h5"}),
        ({"weights": "imagenet"}, {"name": "imagenet\n"}),
        ({"preset": "dinov2_small"}, {"name": "dinov2_small\n"}),
        ({"preset": "folder"}, {"config.json": "folder/config.json"}),
    ],
)
def test_files_are_linked_and_names_written_down(entry: dict[str, str], expected: dict[str, str]) -> None:
    link_files(Path("links"), Backbone.model_validate(entry))
    assert {path.name: path.read_text() for path in Path("links").iterdir()} == expected


def test_where_no_links_can_be_made_the_content_is_noticed_by_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    written = []
    for content in ("mine.h5", "other bytes"):
        Path("weights/mine.h5").write_text(content)
        link_files(Path("links"), Backbone(weights="mine.h5"))
        written.append(Path("links/file").read_text())
    assert written[0] != written[1]


@pytest.mark.parametrize("entry", [{"weights": "gone.h5"}, {"onnx": "gone.onnx"}])
def test_nothing_stands_for_a_file_that_is_not_on_this_machine(entry: dict[str, str]) -> None:
    """Anything else would be a changed dependency, and extract would run, without weights."""
    link_files(Path("links"), Backbone.model_validate(entry))
    assert not Path("links").exists()
