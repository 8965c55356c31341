"""Kaggle's official client: sends submissions and tells their scores."""

import csv
import io
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from gap_ensemble.messages.errors import UserError
from gap_ensemble.unpacking.kaggle import advice, find_client, telling_line

MAX_SECONDS = 900
SECONDS_BETWEEN = (2, 30)  # the first wait and the longest


@dataclass(frozen=True)
class Submission:
    """A submission as Kaggle lists it.

    Attributes
    ----------
    ref : str
        Kaggle's number.
    status : str
        `pending`, `complete` or `error`.
    public, private : str
        Scores; empty where there is none yet.
    """

    ref: str
    status: str
    public: str
    private: str


def send(competition: str, file: Path, message: str) -> str:
    """Send a submission and return Kaggle's number of it.

    Parameters
    ----------
    competition : str
        The last part of the competition's address.
    file : Path
    message : str
        What Kaggle shows beside it.

    Raises
    ------
    UserError
        If there is no client, or it is refused.
    """
    said = _call(competition, "submit", "-c", competition, "-f", str(file), "-m", message)
    match = re.search(r"Submission ref: (\d+)", said)
    if match:
        return match[1]
    # Older clients do not tell: the newest is ours.
    newest = next(iter(submissions(competition)), None)
    if newest is None:
        raise UserError(
            f"kaggle: {competition}: no submission is listed after sending; the client said: {telling_line(said)}"
        )
    return newest


def submissions(competition: str) -> dict[str, Submission]:
    """Return the submissions to a competition by number, the newest first.

    Raises
    ------
    UserError
        If there is no client, or it is refused.
    """
    said = _call(competition, "submissions", "-c", competition, "--csv", "--page-size", "100")
    start = said.find("ref,")
    if start < 0:
        return {}
    found = {}
    for row in csv.DictReader(io.StringIO(said[start:])):
        status = row["status"].rpartition(".")[2].lower()  # SubmissionStatus.COMPLETE
        found[row["ref"]] = Submission(row["ref"], status, row["publicScore"] or "", row["privateScore"] or "")
    return found


def wait_for_score(competition: str, ref: str, max_seconds: float = MAX_SECONDS) -> Submission:
    """Ask for a submission until it is scored, in growing intervals.

    Raises
    ------
    UserError
        If Kaggle refuses the submission, or it is not scored in time.
    """
    end, wait = time.monotonic() + max_seconds, float(SECONDS_BETWEEN[0])
    while True:
        found = submissions(competition).get(ref)
        if found is not None and found.status == "error":
            raise UserError(
                f"kaggle: submission {ref} can't be scored; see https://www.kaggle.com/competitions/{competition}/"
                "submissions for the reason"
            )
        if found is not None and found.status == "complete":
            return found
        if time.monotonic() + wait > end:
            raise UserError(
                f"kaggle: submission {ref} is not scored yet; run `python -m tools.submit {competition} --update` later"
            )
        time.sleep(wait)
        wait = min(wait * 1.5, SECONDS_BETWEEN[1])


def _call(competition: str, *arguments: str) -> str:
    """Run the client and return what it said."""
    command = [find_client(), "competitions", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    # Some versions say of a failure that they failed, and end with status 0.
    failed = re.search(r"HTTPError|Client Error|Max retries exceeded|Could not (find|submit)", said)
    if done.returncode or failed:
        line = telling_line(said)
        helps = advice(competition, said, line) or f"try `kaggle competitions {' '.join(arguments[:3])}` by hand"
        shown = "it asks for an API key" if "Authentication required" in said else line
        raise UserError(f"kaggle: {arguments[0]} {competition}: {shown}; {helps}")
    return said
