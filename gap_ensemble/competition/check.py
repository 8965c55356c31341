"""Open every picture once: does it decode, and what is its hash?"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from gap_ensemble.competition.found import Found
from gap_ensemble.extraction.cores import usable_cores
from gap_ensemble.extraction.workers import Pool, Threads, chunks_of
from gap_ensemble.images.decoding import Checked, check_picture
from gap_ensemble.images.grey import GreyRange, Scale, find_grey_scale, grey_scale_summary
from gap_ensemble.messages.errors import UserError, listed
from gap_ensemble.messages.progress import Progress

# Pictures that a worker gets at a time.
CHUNK = 64


@dataclass(frozen=True)
class CheckJob:
    """Check pictures: chunks are sequences of files relative to `raw`, results are lists of `Checked`."""

    raw: Path

    def worker(self) -> "CheckWorker":
        """Return what checks a chunk."""
        return CheckWorker(self)

    def needs(self, chunk: Sequence[str]) -> list[Path]:
        """Return the raw folder, and one of its pictures: the folder may be there and empty."""
        return [self.raw, self.raw / chunk[0]]

    def identity(self) -> str:
        """Nothing beside the pictures and the libraries."""
        return ""


class CheckWorker:
    """Checks pictures with all cores that the process may use."""

    def __init__(self, job: CheckJob):
        self.raw = job.raw
        self.pool = ThreadPoolExecutor(usable_cores())

    def __call__(self, files: Sequence[str]) -> list[Checked]:
        """Return what `check_picture` says of every file."""
        return list(self.pool.map(check_picture, (self.raw / file for file in files)))

    def close(self) -> None:
        """Begin no more pictures."""
        self.pool.shutdown(wait=False, cancel_futures=True)


def check_pictures(
    raw: Path, pictures: pd.DataFrame, pool: Pool | None = None
) -> tuple[pd.DataFrame, dict[str, GreyRange]]:
    """Open every picture once.

    Parameters
    ----------
    raw : Path
        The folder that `file` is relative to.
    pictures : DataFrame with column file
        A picture that belongs to several rows stands once for each, and is opened once.
    pool : Pool, optional
        Who opens them; by default the threads of this process.

    Returns
    -------
    pictures : DataFrame
        With the columns md5 and problem.
    grey_ranges : dict of str to GreyRange
        Of the files that need a grey scale.
    """
    files = pictures["file"].drop_duplicates()
    results: list[Checked] = []
    pool = pool or Threads()
    chunks = pool.map(CheckJob(raw), chunks_of(list(files), CHUNK))  # Workers come before the clock runs.
    with Progress(len(files), "Checking pictures", n_workers=lambda: pool.n_workers) as progress:
        for checked_chunk in chunks:
            results += checked_chunk
            progress.add(len(checked_chunk))
    checked = pd.DataFrame(results, columns=["md5", "problem", "grey_range"], index=files)
    ranges = {file: found for file, found in zip(files, checked["grey_range"], strict=True) if found is not None}
    return pictures.assign(**{name: pictures["file"].map(checked[name]) for name in ("md5", "problem")}), ranges


def find_data_set_scale(
    pictures: pd.DataFrame, ranges: dict[str, GreyRange], chosen: Literal["auto"] | tuple[float, float]
) -> Scale | None:
    """Find the one grey scale of the data set, from its training pictures or as it was chosen, and say it.

    Parameters
    ----------
    pictures : DataFrame with columns file, split
    ranges : dict of str to GreyRange
        As `check_pictures` returns them.
    chosen : "auto" or tuple of float
        `data.grey_scale`: what is black and what is white.

    Raises
    ------
    UserError
        If no scale makes sense.
    """
    train = set(pictures["file"][pictures["split"] == "train"])
    of_train = {file: found for file, found in ranges.items() if file in train} or ranges
    scale = find_grey_scale(of_train) if chosen == "auto" else Scale(*chosen)
    if scale is not None:
        print(grey_scale_summary(of_train, scale))
    return scale


def leave_out_bad_pictures(
    raw: Path, found: Found, pictures: pd.DataFrame, bad_images: Literal["error", "skip"]
) -> None:
    """Refuse pictures that can't be decoded, or say that they are left out.

    Parameters
    ----------
    raw : Path
    found : Found
    pictures : DataFrame with columns file, split, id, problem
    bad_images : "error" or "skip"
        `data.bad_images`.

    Raises
    ------
    UserError
        With a line a picture; or if a class, label or grade is left without any.
    """
    bad = pictures[pictures["problem"] != ""].drop_duplicates("file")
    problems = [f"{raw / str(row.file)}: {row.problem}" for row in bad.itertuples()]
    if problems and bad_images == "error":
        raise UserError([f"{problem}; fix or remove it, or set data.bad_images: skip" for problem in problems])
    for problem in problems:
        print(f"WARNING: {problem}; left out of training, or predicted by the frequencies (data.bad_images: skip)")
    if found.task.kind == "numbers" or not problems:
        return
    train = found.rows[found.rows["split"] == "train"]
    whole = set(pictures["id"][(pictures["split"] == "train") & (pictures["problem"] == "")])
    lost = sorted(set(train["target"]) - set(train["target"][train["row"].isin(whole)]))
    if lost and found.task.kind != "labels":
        raise UserError(f"a class without pictures: {listed(lost)}: every one is bad; fix or replace them")
