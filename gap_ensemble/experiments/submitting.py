"""Send an experiment's submission, wait for its score, and keep it beside the score out of fold."""

import json
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gap_ensemble.experiments import kaggle
from gap_ensemble.experiments.leaderboard import LEADERBOARD, add_submission, read_leaderboard, set_scores
from gap_ensemble.experiments.revisions import WORKSPACE, fetch
from gap_ensemble.messages.errors import UserError
from gap_ensemble.paths import METRICS, SUBMISSION

PREFIX = "submission_"


@dataclass(frozen=True)
class Entry:
    """What is submitted.

    Attributes
    ----------
    experiment : str
        For people.
    file : Path
        The submission.
    metric : str
    out_of_fold : float
        The metric on what is submitted, out of fold.
    n_val : int
        Rows that it is of.
    """

    experiment: str
    file: Path
    metric: str
    out_of_fold: float
    n_val: int


def submit(competition: str, what: str) -> None:
    """Submit, note the submission, wait for its score and note that.

    Parameters
    ----------
    competition : str
        The last part of the competition's address.
    what : str
        An experiment, `workspace`, or a submission that `tools.blend` wrote.

    Raises
    ------
    UserError
        If there is no such submission, or Kaggle's client is missing or refused.
    """
    with tempfile.TemporaryDirectory() as folder:
        entry = find_entry(what, Path(folder))
        message = f"{entry.experiment}: {entry.metric} {entry.out_of_fold:.5f} out of fold"
        ref = kaggle.send(competition, entry.file, message)
    row = {"date": f"{datetime.now(UTC):%Y-%m-%d %H:%M}", "competition": competition, "experiment": entry.experiment}
    row |= {"metric": entry.metric, "out_of_fold": f"{entry.out_of_fold:.6g}", "n_val": str(entry.n_val)}
    add_submission(row | {"public": "", "private": "", "ref": ref})  # Before the wait, which may be interrupted.
    print(f"{entry.file.name} of {entry.experiment} is sent; waiting for its score", flush=True)
    scored = kaggle.wait_for_score(competition, ref)
    set_scores({ref: (scored.public, scored.private)})
    print_table(competition)


def update(competition: str) -> None:
    """Ask for the scores of all submissions in the table: private ones appear after the competition's end."""
    listed = kaggle.submissions(competition)
    n_changed = set_scores({ref: (one.public, one.private) for ref, one in listed.items()})
    print(f"{LEADERBOARD}: {n_changed:,} rows have new scores")
    print_table(competition)


def print_table(competition: str) -> None:
    """Print the competition's rows of the table."""
    table = read_leaderboard()
    shown = table[table["competition"] == competition].drop(columns=["competition", "ref"])
    print(shown.to_string(index=False) if len(shown) else f"{LEADERBOARD}: no submission to {competition}")
    print(f"{LEADERBOARD} belongs to git: git add {LEADERBOARD}; `dvc repro` shows it in the report")


def find_entry(what: str, folder: Path) -> Entry:
    """Return a submission and its score out of fold.

    Parameters
    ----------
    what : str
        An experiment, `workspace`, or a file beside which `tools.blend` has written its scores.
    folder : Path
        Where copies of the files may lie.

    Raises
    ------
    UserError
        If there is none.
    """
    if what.endswith(".csv"):
        file, scores = Path(what), Path(what).with_suffix(".json")
        if Path(what) == SUBMISSION:
            return find_entry(WORKSPACE, folder)
        if not file.is_file() or not scores.is_file():
            missing = scores if file.is_file() else file
            raise UserError(
                f"{missing}: no such file; accepted: an experiment, workspace, or what tools.blend has written"
            )
        values = json.loads(scores.read_text(encoding="utf-8"))
        name = values["experiment"]
    else:
        file = fetch(what, SUBMISSION, folder)
        values = json.loads(fetch(what, METRICS, folder).read_text(encoding="utf-8"))
        name = _name_of_workspace() if what == WORKSPACE else what
    if not file.stat().st_size:
        raise UserError(f"{file}: empty: the competition's files have no sample submission; there is nothing to submit")
    key = next(key for key in values if key.startswith(PREFIX))
    return Entry(name, file, key.removeprefix(PREFIX), values[key], values["val_n_samples"])


def _name_of_workspace() -> str:
    """Return the commit of the workspace, with `-dirty` where files have changed since; without git, `workspace`."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return WORKSPACE
