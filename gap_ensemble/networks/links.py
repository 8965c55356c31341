"""Links to the files of a network, for DVC to depend on."""

from pathlib import Path

from gap_ensemble.networks.network import digest_of
from gap_ensemble.params import Backbone
from gap_ensemble.paths import in_weights
from gap_ensemble.storage.files import write_text


def link_files(folder: Path, entry: Backbone) -> None:
    """Fill a folder with links to all that an entry's network is read from.

    Parameters
    ----------
    folder : Path
        The names in it do not depend on where the files are. It is not made where the files are not there: a second
        machine may have the features and no weights. DVC then calls it deleted, which `--allow-missing` allows.
    entry : Backbone
        An entry of `backbones`. A name that is no path, such as `imagenet` or `dinov2_small`, is written down instead.
    """
    name = str(entry.onnx or entry.preset or entry.weights)
    path = in_weights(name)
    if path.is_file() and name not in ("imagenet", "random"):
        _link(folder / "file", path)
    elif path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file():
                _link(folder / file.relative_to(path), file)
    elif entry.preset or name in ("imagenet", "random"):
        write_text(folder / "name", f"{name}\n")


def _link(link: Path, file: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        link.symlink_to(file.resolve())
    except OSError as error:  # A file system without links.
        print(
            f"WARNING: {file}: can't be linked ({error.strerror}), so DVC does not notice when its bytes change; then "
            "run `dvc repro -f networks`"
        )
        write_text(link, f"{digest_of(file)}\n")
