"""Write pixels in CSV, JSON, BSON, TFRecord or HDF5 as pictures and a table, as the pipeline reads them.

Run from the repository's root:

    python -m tools.convert auto ~/Downloads/digit-recognizer              # writes to data/raw
    python -m tools.convert tfrecord ~/Downloads/flowers --to data/raw

Folders are searched for the format's files; train and test are told apart by the names of files and folders. The sample
submission, and other tables, are copied. Nothing appears in the folder until all is written, and nothing there is
overwritten. docs/pictures.md says what each format may look like.
"""

import argparse
from pathlib import Path

from gap_ensemble.converting.convert import READERS, convert
from gap_ensemble.messages.errors import run

RAW = Path("data/raw")


def main() -> None:
    """Read the command line and convert."""
    parser = argparse.ArgumentParser(prog="python -m tools.convert", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("format", choices=["auto", *READERS], help="auto: found from the files")
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="files, or folders of them")
    parser.add_argument("--to", type=Path, default=RAW, metavar="FOLDER", help="default: %(default)s")
    args = parser.parse_args()
    convert(args.format, args.inputs, args.to)


if __name__ == "__main__":
    run(main)
