"""Real competitions in miniature, from a folder that LAYOUTS names: what is found, and the ids of the sample."""

import os
from pathlib import Path
from typing import Any

import pytest

from gap_ensemble.competition.find import find_competition
from gap_ensemble.messages.errors import UserError
from gap_ensemble.params import Data

LAYOUTS = Path(os.environ.get("LAYOUTS", "/nowhere"))
pytestmark = pytest.mark.skipif(not LAYOUTS.is_dir(), reason="LAYOUTS names no folder of layouts")

# Kind, number of names, form, pictures a row; the lines of params.yaml that are needed.
EXPECTED: dict[str, tuple[tuple[str, int, str, int], dict[str, Any]]] = {
    "UBC-OCEAN-one-slide": (("classes", 5, "class", 1), {}),
    "aerial-cactus-identification": (("classes", 2, "probability", 1), {}),
    "alaska2-image-steganalysis": (
        ("classes", 2, "probability", 1),
        {"positive_class": ["JMiPOD", "JUNIWARD", "UERD"], "metric": "roc_auc", "groups": "([^/]+)$"},
    ),
    "aptos2019-blindness-detection": (("grades", 5, "grade", 1), {}),
    "diabetic-retinopathy-detection": (("grades", 5, "grade", 1), {"groups": r"(\d+)_(left|right)"}),
    "dogs-vs-cats": (("classes", 2, "hard", 1), {"metric": "accuracy"}),
    "happy-whale-and-dolphin": (("classes", 12, "guesses", 1), {}),
    "herbarium-2021-fgvc8": (("classes", 6, "class", 1), {}),
    "histopathologic-cancer-detection": (("classes", 2, "probability", 1), {"metric": "roc_auc"}),
    "human-protein-atlas-image-classification": (("labels", 6, "labels", 4), {"metric": "f1_macro"}),
    "humpback-whale-identification": (("classes", 16, "guesses", 1), {}),
    "inaturalist-2019-fgvc6": (("classes", 7, "guesses", 1), {"metric": "top_5_error"}),
    "iwildcam-2020-fgvc7": (("classes", 8, "class", 1), {"groups": "location"}),
    "landmark-recognition-2020": (("classes", 6, "class_confidence", 1), {}),
    "leaf-classification": (("classes", 99, "probabilities", 1), {"columns": "all"}),
    "petfinder-pawpularity-score": (("numbers", 1, "numbers", 1), {}),
    "planet-understanding-the-amazon-from-space": (("labels", 11, "labels", 1), {"metric": "f2_samples"}),
    "plant-pathology-2021-fgvc8": (("labels", 6, "labels", 1), {}),
    "ranzcr-clip-catheter-line-classification": (("labels", 11, "probabilities", 1), {"groups": "PatientID"}),
    "recursion-cellular-image-classification": (("classes", 4, "class", 12), {}),
    "rsna-breast-cancer-detection": (("classes", 2, "probability", 2), {"groups": "patient_id"}),
    "rsna-intracranial-hemorrhage-detection": (("labels", 6, "long", 1), {}),
    "siim-isic-melanoma-classification": (("classes", 2, "probability", 1), {"groups": "patient_id"}),
    "state-farm-distracted-driver-detection": (("classes", 10, "probabilities", 1), {"groups": "subject"}),
    "the-nature-conservancy-stage2": (("classes", 8, "probabilities", 1), {}),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_layout_is_read(name: str) -> None:
    expected, data = EXPECTED[name]
    raw = LAYOUTS / name

    found = find_competition(raw, Data(raw=str(raw), **data))

    assert found.submission is not None
    assert (found.task.kind, len(found.task.names), found.submission.form) == expected[:3]
    assert set(found.rows["pictures"]) == {expected[3]}
    sample = found.sample[found.submission.id_column]
    test = found.rows.loc[found.rows["split"] == "test", "row"]
    if found.submission.form == "long":
        rendered = [
            found.submission.id_template.format(row=row, label=name) for row in test for name in found.task.names
        ]
        assert sorted(rendered) == sorted(sample)
    else:
        assert list(test) == list(sample)


@pytest.mark.parametrize("name", ["digit-recognizer", "statoil-iceberg-classifier-challenge"])
def test_layout_for_the_converter_is_refused_with_its_command(name: str) -> None:
    with pytest.raises(UserError, match=rf"python -m tools.convert auto {LAYOUTS / name}"):
        find_competition(LAYOUTS / name, Data(raw=str(LAYOUTS / name)))
