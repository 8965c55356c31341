"""Kaggle's official client, which downloads a competition's zip."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from gap_ensemble.messages.errors import UserError
from gap_ensemble.unpacking.placing import unpack


def download(competition: str, to: Path) -> None:
    """Download a competition's zip with the official client, unpack it and delete it.

    A download that breaks off, or a zip that cannot be unpacked, stays in a hidden folder in `to`: the client goes on
    from there the next time.

    Parameters
    ----------
    competition : str
        The last part of the competition's address.
    to : Path
        The folder to fill.

    Raises
    ------
    UserError
        If the client is not installed, has no API key or is refused, or for what `unpack` raises.
    """
    if not re.fullmatch(r"\w[\w-]*", competition):
        raise UserError(
            f"COMPETITION: {competition!r} is not a competition's name; accepted: the last part of its address, "
            "such as dogs-vs-cats-redux-kernels-edition"
        )
    client = find_client()
    folder = to / f".{competition}.download"
    status, said = _call([client, "competitions", "download", "-c", competition, "-p", str(folder)])
    zips = sorted(folder.glob("*.zip"))
    if status != 0 or not zips:
        line = telling_line(said) or f"no zip and no word, status {status}"
        raise UserError(
            f"kaggle: could not download {competition}: {line}; "
            + (
                advice(competition, said, line)
                or f"try `kaggle competitions download -c {competition}` by hand, or download the zip from "
                f"https://www.kaggle.com/competitions/{competition}/data"
            )
        )
    unpack(zips, to)
    shutil.rmtree(folder)


def find_client() -> str:
    """Return the path of Kaggle's official client.

    Raises
    ------
    UserError
        If it is not installed.
    """
    # The second look finds the client of a virtual environment that has not been activated.
    client = shutil.which("kaggle") or shutil.which("kaggle", path=str(Path(sys.executable).parent))
    if client is None:
        raise UserError("kaggle: the official client is not installed; pip install kaggle, then run this again")
    return client


def _call(command: list[str]) -> tuple[int, str]:
    """Run the client, pass on its progress bar, and return its exit status and what it said."""
    said = b""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        # A bar's refresh starts with a carriage return. What the client says in words ends up in our own one line.
        while chunk := os.read(process.stdout.fileno(), 1 << 16):
            if chunk.startswith(b"\r"):
                sys.stderr.write(chunk.decode(errors="replace"))
                sys.stderr.flush()
            said = (said + chunk)[-(1 << 16) :]
    return process.returncode, said.decode(errors="replace")


def telling_line(said: str) -> str:
    """Return the line of what the client said that tells the failure: the server's status, or else the last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"\b[45]\d\d\b.*Error", line)] or lines[-1:]
    return telling[-1][:300] if telling else ""


def advice(competition: str, said: str, line: str) -> str:
    """Say what helps against a failure of the client, or nothing.

    Parameters
    ----------
    competition : str
    said : str
        All that the client said.
    line : str
        The line of it that tells the failure.
    """
    page = f"https://www.kaggle.com/competitions/{competition}"
    if re.search(r"\b403\b", line):
        # A closed competition shows its rules without the button to accept them.
        return f"accept the rules on {page}/rules (no button there: press Late Submission first), then run this again"
    if re.search(r"\b404\b", line):
        return f"check the competition's name: does {page} exist?"
    if re.search(r"\b401\b|Unauthorized|Authentication required|kaggle\.json", said):
        return (
            "make an API key on https://www.kaggle.com/settings → API, then save it where that page says "
            "(~/.kaggle/access_token or kaggle.json) or set KAGGLE_API_TOKEN"
        )
    return ""
