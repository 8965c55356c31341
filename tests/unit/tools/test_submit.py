"""Submitting: Kaggle's own client speaks to a server on this machine, which answers as Kaggle's does."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gap_ensemble.experiments import kaggle, submitting
from gap_ensemble.experiments.leaderboard import COLUMNS, add_submission, read_leaderboard, set_scores
from gap_ensemble.messages.errors import UserError
from gap_ensemble.paths import METRICS, SUBMISSION
from tools.workspace import ROOT

needs_client = pytest.mark.skipif(shutil.which("kaggle") is None, reason="needs Kaggle's client: pip install kaggle")


class Kaggle(BaseHTTPRequestHandler):
    """As much of Kaggle as the client needs to submit and to list."""

    uploaded: bytes
    sent: list[dict[str, Any]]
    listed: int
    status: int

    def do_POST(self) -> None:
        request = json.loads(self.body() or b"{}")
        name = self.path.rpartition("/")[2]
        kind = type(self)
        if kind.status != 200:
            self.answer({"code": kind.status, "message": f"{kind.status} Client Error: refused"}, kind.status)
        elif name == "StartSubmissionUpload":
            self.answer({"token": "blob", "createUrl": "http://localhost/upload"})
        elif name == "CreateSubmission":
            kind.sent.append(request)
            self.answer({"message": "Successfully submitted", "ref": 4711})
        elif name == "ListSubmissions":
            kind.listed += 1
            done = kind.listed > 1  # The first time it is still being scored.
            one = {"ref": 4711, "date": "2026-01-01T00:00:00Z", "fileName": "submission.csv", "description": "x"}
            one |= (
                {"status": "COMPLETE", "publicScore": "0.0414", "privateScore": ""} if done else {"status": "PENDING"}
            )
            self.answer({"submissions": [one]})
        else:
            self.answer({"numAllowedNow": 4})

    def do_PUT(self) -> None:
        type(self).uploaded = self.body()
        self.answer({})

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, values: dict[str, Any], status: int = 200) -> None:
        content = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    SUBMISSION.parent.mkdir()
    SUBMISSION.write_text("id,label\n1,0.5\n")
    METRICS.parent.mkdir()
    METRICS.write_text(
        json.dumps({"submission_log_loss": 0.0397, "submission_log_loss_std": 0.01, "val_n_samples": 1602})
    )
    # Nothing leaves this machine: every address goes through a proxy that nobody listens to, but the server below.
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def server(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Kaggle]]:  # noqa: ARG001
    """Give the server; the client calls http://localhost, and the proxy that it uses is the server itself."""
    kind = type("Answers", (Kaggle,), {"uploaded": b"", "sent": [], "listed": 0, "status": 200})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{listening.server_port}")
        monkeypatch.setenv("KAGGLE_USERNAME", "somebody")
        monkeypatch.setenv("KAGGLE_KEY", "key")
        monkeypatch.setattr(kaggle, "SECONDS_BETWEEN", (0, 0))
        yield kind
        listening.shutdown()


@needs_client
def test_a_submission_is_sent_and_its_score_kept(server: type[Kaggle], capsys: pytest.CaptureFixture[str]) -> None:
    submitting.submit("dogs-vs-cats", "workspace")
    assert server.uploaded == SUBMISSION.read_bytes()
    assert server.sent[0]["competitionName"] == "dogs-vs-cats"
    assert server.sent[0]["submissionDescription"] == "workspace: log_loss 0.03970 out of fold"
    assert server.listed == 2  # It waited.
    row = read_leaderboard().iloc[0]
    assert (row["out_of_fold"], row["n_val"], row["public"], row["private"]) == ("0.0397", "1602", "0.0414", "")
    assert "0.0414" in capsys.readouterr().out


@needs_client
def test_a_blend_is_sent_with_its_own_score(server: type[Kaggle]) -> None:
    Path("submissions/blend.csv").write_text("id,label\n1,0.4\n")
    scores = {"experiment": "blend of a b", "submission_log_loss": 0.03, "val_n_samples": 800}
    Path("submissions/blend.json").write_text(json.dumps(scores))
    submitting.submit("dogs-vs-cats", "submissions/blend.csv")
    assert server.uploaded == b"id,label\n1,0.4\n"
    assert read_leaderboard()["experiment"].tolist() == ["blend of a b"]


@needs_client
@pytest.mark.parametrize(("status", "helps"), [(403, "accept the rules"), (404, "check the competition's name")])
def test_a_refusal_is_one_line(server: type[Kaggle], status: int, helps: str) -> None:
    server.status = status
    with pytest.raises(UserError, match=helps) as error:
        submitting.submit("dogs-vs-cats", "workspace")
    assert len(error.value.problems) == 1
    assert "\n" not in error.value.problems[0]
    assert read_leaderboard().empty


@needs_client
@pytest.mark.usefixtures("project")
def test_without_a_key_it_says_where_to_get_one() -> None:
    with pytest.raises(UserError, match=r"^kaggle: submit dogs-vs-cats: it asks for an API key; make an API key on"):
        submitting.submit("dogs-vs-cats", "workspace")


def test_without_the_client(project: Path) -> None:
    (project / "empty").mkdir()
    code = "from tools.submit import main, run; run(main)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.executable = '/nowhere/python'; {code}", "dogs-vs-cats"],
        cwd=project,
        env={"PATH": str(project / "empty"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert (
        done.stderr == "ERROR: kaggle: the official client is not installed; pip install kaggle, then run this again\n"
    )


def test_private_scores_come_later(tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.csv"
    for ref in ("1", "2"):
        add_submission(dict.fromkeys(COLUMNS, "") | {"ref": ref, "public": "0.5"}, path)
    assert set_scores({"2": ("0.5", "0.6")}, path) == 1
    assert read_leaderboard(path)["private"].tolist() == ["", "0.6"]
    assert set_scores({"2": ("", "")}, path) == 0  # What is known stays.
    assert read_leaderboard(path)["private"].tolist() == ["", "0.6"]
