"""The report: what stands in it, and that it stays small with many pictures."""

import base64
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gap_ensemble.competition.competition import Competition, Found, Submission, write_competition
from gap_ensemble.paths import GROUPS, JUDGED, METRICS, OOF, OVERVIEW, REPORT, SCORES
from gap_ensemble.storage.tables import write_table
from stages import report

N_PICTURES = 25_000
CLASSES = ["cat", "dog"]


@pytest.fixture
def page(project: Path) -> str:
    """Return the report on 25,000 pictures, all of them links to one; number 7 is a dog called a cat."""
    rng = np.random.default_rng(0)
    files = [f"train/{CLASSES[i % 2]}.{i}.jpg" for i in range(N_PICTURES)]
    (project / "data/raw/train").mkdir()
    picture = rng.integers(256, size=(300, 400, 3)).astype(np.uint8)
    first = project / "data/raw" / files[0]
    Image.fromarray(picture).save(first)
    for file in files[1:]:
        os.link(first, project / "data/raw" / file)
    (project / "data/raw/test").mkdir()
    os.link(first, project / "data/raw/test/4.jpg")
    true_proba = np.clip(rng.normal(0.95, 0.02, N_PICTURES), 0.6, 0.999)
    true_proba[7] = 0.0001
    is_dog = np.arange(N_PICTURES) % 2 == 1
    write_competition(
        Found(
            Competition(CLASSES, "prefix", Submission("probability", ["id", "label"], "dog")),
            pd.DataFrame(),
            pd.DataFrame({"id": ["1"], "label": ["0.5"]}),
        )
    )
    write_table(OOF, pd.DataFrame({"id": files, "label": np.where(is_dog, true_proba, 1 - true_proba)}))
    judged = pd.DataFrame({"file": files, "class": np.where(is_dog, "dog", "cat"), "fold": 1})
    write_table(JUDGED, judged.assign(predicted=judged["class"].where(true_proba > 0.5, "cat"), true_proba=true_proba))
    METRICS.write_text(json.dumps({"val_log_loss": 0.05, "val_log_loss_std": 0.01, "n_val": N_PICTURES}))
    SCORES.write_text(json.dumps({"val_log_loss_clipped": 0.06}))
    OVERVIEW.parent.mkdir(parents=True)
    Image.fromarray(picture).save(OVERVIEW)
    groups = [(1, "train", files[3]), (1, "test", "test/4.jpg"), (2, "train", files[10]), (2, "train", files[11])]
    write_table(GROUPS, pd.DataFrame(groups, columns=["group", "split", "file"]))
    report.main()
    return REPORT.read_text(encoding="utf-8")


def test_the_report_tells_the_mistakes_and_stays_small(page: str) -> None:
    assert len(page.encode()) < 10e6
    assert not re.search(r"(src|href)=\"(?!data:)", page), "the page must open offline"
    for image in re.findall(r"data:image/\w+;base64,([^\"]+)", page):
        Image.open(io.BytesIO(base64.b64decode(image))).load()

    section = dict(re.findall(r"<h2>(.+?)</h2>\n(.*?)(?=<h2>|</body>)", page, re.DOTALL))
    assert "<td>0.0500</td><td>± 0.0100</td>" in section["Scores"]
    assert "<td>0.0600</td>" in section["Scores"]
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", section["Highest loss"])
    assert captions[0] == "train/dog.7.jpg<br>label dog: p = 0.0001<br>predicted cat"
    assert len(captions) == report.N_SHOWN
    assert "train/dog.7.jpg" in section["Suspected wrong labels"]
    assert "1 training pictures reappear in the test set" in section["Near-duplicates"]
    # The pair with different labels comes first.
    assert section["Near-duplicates"].index("train/cat.10.jpg") < section["Near-duplicates"].index("train/dog.3.jpg")
    assert "<td>dog</td><td>12,500</td>" in section["Classes"]
