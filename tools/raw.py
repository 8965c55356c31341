"""Fill data/raw with a Kaggle competition's files, from its archives or from Kaggle itself.

Run from the repository's root:

    python -m tools.raw unpack                                   # the archives lying in data/raw
    python -m tools.raw unpack ~/Downloads/train.zip ~/Downloads/test.tar.gz
    python -m tools.raw download dogs-vs-cats-redux-kernels-edition

`unpack` takes what Kaggle hands out: the competition's zip, with or without train.zip and test.zip inside it, or those
alone; tars, also compressed; split zips, of which any part may be named. The archives stay where they are; one inside
another is read in place and never lands in data/raw. For .7z and .rar the command that unpacks them is named.
`download` needs the official client (`pip install kaggle`) and your API key, and deletes the zip it fetched once it is
unpacked.

Nothing appears in data/raw until every archive has been checked and read to its end, and nothing there is overwritten.
"""

import argparse
from pathlib import Path

from gap_ensemble.messages.errors import run
from gap_ensemble.unpacking.kaggle import download
from gap_ensemble.unpacking.placing import to_unpack, unpack

RAW = Path("data/raw")


def main() -> None:
    """Read the command line and fill the folder."""
    parser = argparse.ArgumentParser(prog="python -m tools.raw", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    unpacking = commands.add_parser("unpack", help="unpack archives that you have")
    unpacking.add_argument("archives", nargs="*", type=Path, metavar="ARCHIVE", help="default: those in --to")
    downloading = commands.add_parser("download", help="download the competition's zip and unpack it")
    downloading.add_argument("competition", metavar="COMPETITION", help="the last part of the competition's address")
    for command in (unpacking, downloading):
        command.add_argument("--to", type=Path, default=RAW, metavar="FOLDER", help="default: %(default)s")
    args = parser.parse_args()
    if args.command == "download":
        download(args.competition, args.to)
    else:
        unpack(args.archives or to_unpack(args.to), args.to)


if __name__ == "__main__":
    run(main)
