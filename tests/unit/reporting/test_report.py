"""The report of every task: what stands in it, that it opens offline and stays small, and that a click works."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gap_ensemble.competition.found import Competition, Kind, Submission, TaskDescription
from gap_ensemble.params import Predict
from gap_ensemble.paths import GROUPS, METRICS, OVERVIEW
from gap_ensemble.reporting import embedding
from gap_ensemble.reporting.data import Pictures, ReportData
from gap_ensemble.reporting.leaderboard import leaderboard
from gap_ensemble.reporting.page import N_SHOWN, page
from gap_ensemble.storage.hdf5 import text_array
from gap_ensemble.storage.predictions import open_predictions, prediction_writer
from gap_ensemble.tasks.evaluate import Evaluation
from gap_ensemble.tasks.task import task_of

N = 90
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

MakePage = Callable[[Competition, np.ndarray, np.ndarray], str]


def describe(kind: Kind, names: list[str], metric: str, submission: Submission) -> Competition:
    return Competition(TaskDescription(kind, names, "", metric), submission)


@pytest.fixture
def make_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakePage:
    """Return a function that makes the report of out-of-fold predictions, all pictures being links to one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(embedding, "MAX_POINTS", 9)  # So few need no t-SNE, which takes seconds.

    def make(competition: Competition, y: np.ndarray, values: np.ndarray) -> str:
        n = len(y)
        names = [f"{i}.jpg" for i in range(n)]
        Path("raw").mkdir()
        Image.fromarray(np.random.default_rng(0).integers(256, size=(60, 80, 3)).astype(np.uint8)).save("raw/0.jpg")
        for name in names[1 : n - 1]:  # The last picture is gone.
            Path("raw", name).hardlink_to("raw/0.jpg")
        METRICS.parent.mkdir()
        METRICS.write_text(
            json.dumps({"submission_log_loss": 0.05, "submission_log_loss_std": 0.01, "val_n_samples": n})
        )
        OVERVIEW.parent.mkdir(parents=True)
        Image.new("RGB", (30, 30)).save(OVERVIEW)
        GROUPS.parent.mkdir()
        pairs = [("1", "train", "3.jpg"), ("1", "test", "t"), ("2", "train", "10.jpg"), ("2", "train", "11.jpg")]
        pd.DataFrame(pairs, columns=["group", "split", "row"]).to_csv(GROUPS, index=False)
        manifest = pd.DataFrame({"split": "train", "id": names, "file": names})
        with prediction_writer(Path("oof.h5"), names, 1 + np.arange(n) // 3 % 3, values.shape[1]) as writer:
            writer.add(values)
        with (
            open_predictions(Path("oof.h5")) as predictions,
            h5py.File("f", "w", driver="core", backing_store=False) as f,
        ):
            f["train"], f["train_row"] = (
                np.random.default_rng(1).normal(size=(n, 5)).astype(np.float32),
                text_array(names),
            )
            evaluation = Evaluation(task_of(competition), predictions, y)
            decision = evaluation.task.decision(Predict())
            return page(ReportData(Pictures(Path("raw"), None, manifest), evaluation, decision), f)

    return make


def sections(text: str) -> dict[str, str]:
    """Return the parts of a page by their headings."""
    assert not re.search(r"(src|href)=\"(?!data:|#)|url\((?!data:)|https?://(?!www.w3.org)", text), "must open offline"
    return dict(re.findall(r"<h2>(.+?)</h2>\n(.*?)</section>", text, re.DOTALL))


def classes_page(make_page: MakePage) -> str:
    """Return the page of three classes; row 7 is a b that is called c, with a probability of 0.98."""
    y = np.arange(N) % 3
    values = np.full((N, 3), 0.02, np.float32)
    values[np.arange(N), y] = 0.96
    values[10] = values[13] = [0.5, 0.4, 0.1]
    values[7] = [0.01, 0.01, 0.98]
    form = Submission("class", ["id", "label"])
    return make_page(describe("classes", ["a", "b", "c"], "accuracy", form), y, values)


def test_classes(make_page: MakePage) -> None:
    parts = sections(classes_page(make_page))
    assert "<td>submission_log_loss</td>" in parts["Scores"]
    assert "± 0.0100" in parts["Scores"]
    assert re.search(r"<td>b</td><td [^>]*>30</td><td [^>]*>0.9000</td>.*?<td>a \(2\)</td>", parts["Classes"])
    pairs = re.findall(r"<figcaption>(.*?)</figcaption>", parts["Most confused"])
    assert pairs[0].startswith("b → a<br>2 of 30 rows<br>")
    assert pairs[1] == "b → c<br>1 of 30 rows<br>7.jpg<br>b: 0.0100<br>predicted c: 0.9800"
    # A suspected label stands there, and no more among the hardest.
    assert ">7.jpg<" in parts["Suspected wrong labels"]
    assert ">7.jpg<" not in parts["Hardest rows"]
    assert re.search(r"\d rows with suspected labels stand in the next part, not here", parts["Hardest rows"])
    assert "10.jpg<br>b: 0.4000<br>predicted a: 0.5000" in parts["Hardest rows"]
    assert parts["Hardest rows"].count("<figure") > N_SHOWN  # More, for the filter.
    # The pair with different labels comes first.
    assert parts["Near-duplicates"].index("train: 10.jpg") < parts["Near-duplicates"].index("test: t")
    assert "1 training rows reappear in the test set" in parts["Near-duplicates"]
    points = json.loads(re.search(r'id="points">(.*?)</script>', parts["Map of the training rows"])[1])  # type: ignore[index]
    assert len(points) == 9
    assert {tuple(point["groups"]) for point in points} == {("a",), ("b",), ("c",)}


def test_pictures_that_are_gone_are_counted(make_page: MakePage) -> None:
    assert re.search(r'class="note">\d+ pictures are not there or can\'t be read', classes_page(make_page))


def test_guesses(make_page: MakePage) -> None:
    y = np.arange(N) % 3
    values = np.tile(np.array([[0.6, 0.3, 0.1]], np.float32), (N, 1))
    form = Submission("guesses", ["id", "label"], n_guesses=2)
    parts = sections(make_page(describe("classes", ["a", "b", "c"], "map_at_2", form), y, values))
    assert re.search(r"guess 2</td><td [^>]*>30</td>", parts["Guesses"])
    assert re.search(r"not among them</td><td [^>]*>30</td>", parts["Guesses"])


def test_grades_are_shown_as_they_are_submitted(make_page: MakePage) -> None:
    y = np.arange(N) % 3
    # The expected grade is 0.4 + 0.4 y: half-way cuts would give 0, 1, 1; fitted ones tell all grades apart.
    values = np.array([[0.6, 0.4, 0.0], [0.3, 0.6, 0.1], [0.1, 0.6, 0.3]], np.float32)[y]
    form = Submission("grade", ["id", "grade"])
    parts = sections(make_page(describe("grades", ["0", "1", "2"], "quadratic_kappa", form), y, values))
    assert re.search(r"<th>2</th><td [^>]*>0</td><td [^>]*>0</td><td [^>]*>30</td>", parts["Confusion"])


def test_grades_more_than_one_off_are_suspected_and_show_what_they_seem_to_be(make_page: MakePage) -> None:
    y = np.arange(N) % 4
    values = np.full((N, 4), 0.01, np.float32)
    values[np.arange(N), y] = 0.97
    values[8] = [0.01, 0.97, 0.01, 0.01]  # A 0 that looks like its neighbour.
    values[11] = [0.97, 0.01, 0.01, 0.01]  # A 3 that looks like a 0.
    form = Submission("grade", ["id", "grade"])
    parts = sections(make_page(describe("grades", ["0", "1", "2", "3"], "quadratic_kappa", form), y, values))
    assert "11.jpg<br>3: 0.0100<br>most probable 0: 0.9700<br>submitted 0" in parts["Suspected wrong labels"]
    assert ">8.jpg<" not in parts["Suspected wrong labels"]


def test_labels(make_page: MakePage) -> None:
    y = np.stack([np.arange(N) % 2, np.arange(N) % 3 == 0], axis=1).astype(np.uint8)
    values = np.where(y == 1, 0.4, 0.1).astype(np.float32)  # Right at a threshold of 0.15 to 0.4.
    values[5] = [0.9, 0.9]  # Has the first label only.
    form = Submission("labels", ["id", "labels"])
    parts = sections(make_page(describe("labels", ["rust", "scab"], "f1_samples", form), y, values))
    assert re.search(r"<td>rust</td><td [^>]*>45</td><td [^>]*>0\.[1234]\d*</td><td [^>]*>1.0000</td>", parts["Labels"])
    assert "5.jpg<br>rust<br>predicted rust, scab<br>has no scab: 0.9000" in parts["Suspected wrong labels"]


def test_numbers(make_page: MakePage) -> None:
    y = np.linspace(0, 9, N)[:, None]
    values = (0.9 * y + 0.5).astype(np.float32)
    values[4] += 5
    error = np.abs(values - y).mean()
    form = Submission("numbers", ["id", "score"])
    parts = sections(make_page(describe("numbers", ["score"], "rmse", form), y, values))
    assert re.search(rf"<td>score</td><td [^>]*>0\.\d+</td><td [^>]*>{error:.4f}</td>", parts["Targets"])
    assert re.search(rf"<figcaption>4.jpg<br>0.4045<br>predicted {values[4, 0]:.4g}", parts["Hardest rows"])
    assert "Suspected wrong labels" not in parts
    assert "Confusion" not in parts


def test_the_map_keeps_neighbours_together() -> None:
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(-3, 1, (20, 8)), rng.normal(3, 1, (20, 8))])
    places = embedding.coordinates(features, 0)
    assert places.min() == 0
    assert places.max() == 1
    distance = np.linalg.norm(places[:, None] - places[None], axis=2) + 10 * np.eye(40)
    assert ((distance.argmin(axis=1) < 20) == (np.arange(40) < 20)).all()


@pytest.mark.browser
@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
def test_clicks(make_page: MakePage, tmp_path: Path) -> None:
    clicks = """<script>
      const first = () => document.querySelector("#classes tbody tr td").textContent, seen = [];
      const heading = document.querySelector("#classes th");
      heading.click(); seen.push(first()); heading.click(); seen.push(first());
      const select = document.getElementById("group");
      select.value = "b"; select.dispatchEvent(new Event("change"));
      const shown = [...document.querySelectorAll("#hardest-rows figure")].filter((figure) => !figure.hidden);
      seen.push(shown.every((figure) => figure.dataset.groups === "b"), shown.length > 8);
      document.querySelector("#map circle").dispatchEvent(new MouseEvent("mouseenter"));
      seen.push(document.getElementById("tip").hidden, document.querySelector("#tip pre").textContent.split("\\n")[0]);
      document.body.dataset.seen = seen.join();
    </script>"""
    path = tmp_path / "report.html"
    path.write_text(classes_page(make_page).replace("</body>", f"{clicks}</body>"), encoding="utf-8")
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, "--dump-dom", path.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    assert re.search(r'data-seen="(.*?)"', done.stdout)[1] == "c,a,true,true,false,0.jpg"  # type: ignore[index]


def test_the_leaderboard_stands_beside_the_scores_out_of_fold() -> None:
    rows = [
        {"experiment": "one", "date": "", "metric": "log_loss", "out_of_fold": "0.03", "public": "0.04", "private": ""},
        {"experiment": "two", "date": "", "metric": "log_loss", "out_of_fold": "0.02", "public": "", "private": ""},
    ]
    shown = leaderboard(pd.DataFrame(rows))
    assert re.search(r"<td>one</td>.*?0.0300</td><td [^>]*>0.0400</td><td></td>", shown)
    assert "<img" in shown
    assert "<img" not in leaderboard(pd.DataFrame(rows[1:]))  # Nothing to draw yet.
    assert leaderboard(pd.DataFrame(rows[:0])) == ""
