"""Write a page to look at: the scores, the curves, the mistakes, and a map of the training rows.

    python -m stages.report        # or: dvc repro report; then open results/report.html

One HTML file that needs no server and no network.
"""

from pathlib import Path

from gap_ensemble.competition.found import read_competition, read_rows
from gap_ensemble.images.grey import read_grey_scale
from gap_ensemble.messages.errors import run
from gap_ensemble.params import load_params
from gap_ensemble.paths import ENSEMBLE, OOF, REPORT
from gap_ensemble.reporting.data import Pictures, ReportData
from gap_ensemble.reporting.page import page
from gap_ensemble.storage.features import open_features
from gap_ensemble.storage.files import write_text
from gap_ensemble.storage.manifest import read_manifest
from gap_ensemble.storage.predictions import open_predictions
from gap_ensemble.tasks.evaluate import Evaluation
from gap_ensemble.tasks.task import task_of


def main() -> None:
    """Run the stage."""
    params = load_params()
    task, rows = task_of(read_competition()), read_rows()
    train = rows[rows["split"] == "train"].set_index("row", drop=False)
    pictures = Pictures(Path(params.data.raw), read_grey_scale(), read_manifest())
    with open_predictions(OOF) as predictions, open_features(ENSEMBLE, named="row") as features:
        evaluation = Evaluation(task, predictions, task.encode(train.loc[predictions.row]))
        write_text(REPORT, page(ReportData(pictures, evaluation, task.decision(params.predict)), features))
    print(f"{REPORT}: {REPORT.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
