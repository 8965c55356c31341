"""Write the submission: the sample's ids, in its order, with its columns.

    python -m stages.predict        # or: dvc repro

Reads the test features, the models of all folds, their out-of-fold predictions and the sample submission. Writes

    submissions/submission.csv      what Kaggle gets
    results/test.csv                the same rows before the clip, for blending
    results/submission.json         for `dvc metrics`: the log loss as it would be scored, and the clip

The probability of a class is the mean over the fold models, clipped to `predict.clip`. Rows are matched by id, never by
position. Test pictures that were left out as bad get the training prior.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pandas as pd

from gap_ensemble.competition.competition import Competition, read_competition, read_manifest
from gap_ensemble.heads.ensemble import Ensemble
from gap_ensemble.messages.errors import UserError, listed, run
from gap_ensemble.messages.progress import Progress
from gap_ensemble.params import Params, load_params
from gap_ensemble.paths import ENSEMBLE, JUDGED, MANIFEST, MODELS, OOF, SAMPLE, SCORES, SUBMISSION, TEST
from gap_ensemble.scoring.scores import Calibration, cross_fitted_log_loss, fit_calibration
from gap_ensemble.storage.features import open_features
from gap_ensemble.storage.files import atomic_path, write_text
from gap_ensemble.storage.hdf5 import block_slices, texts
from gap_ensemble.storage.tables import read_table
from gap_ensemble.tasks.submission import (
    MAX_NUMBERS,
    PROBABILITY_FORMS,
    positive_index,
    proba_of_rows,
    read_rows,
    rows_of_submission,
)


def main() -> None:
    """Run the stage."""
    params = load_params()
    competition, sample = read_competition(), read_table(SAMPLE)
    calibration = calibrate(params, competition)
    positive = positive_index(competition)
    ids = sample[competition.submission.columns[0]].tolist()
    with ExitStack() as stack:
        test, submission = (
            stack.enter_context(open(stack.enter_context(atomic_path(path)), "w", encoding="utf-8", newline=""))
            for path in (TEST, SUBMISSION)
        )
        progress = stack.enter_context(Progress(len(ids), "Predicting test"))
        for some_ids, proba in predict_ids(competition, ids):
            for file, values in ((test, proba), (submission, calibration.apply(proba, positive))):
                rows = rows_of_submission(competition, some_ids, values)
                rows.to_csv(file, index=False, header=file.tell() == 0, lineterminator="\n")
            progress.add(len(some_ids))
    print(f"{SUBMISSION}: {len(ids):,} rows")


def predict_ids(competition: Competition, ids: list[str]) -> Iterator[tuple[list[str], np.ndarray]]:
    """Predict the test pictures of the given ids with the mean of the fold models, a block at a time.

    Yields
    ------
    some_ids : list of str
        The ids in their order.
    proba : ndarray of shape (len(some_ids), n_classes), float32
        Their probabilities; for a picture that was left out as bad, the training prior.

    Raises
    ------
    UserError
        If the features are of other classes, or an id has neither features nor a bad picture.
    """
    manifest = read_manifest()
    test = manifest[manifest["split"] == "test"]
    id_of = dict(zip(test["file"], test["id"], strict=True))
    bad = set(test["id"][test["problem"] != ""])
    with open_features(ENSEMBLE) as file:
        names = texts(file["class_names"])
        row_of = {id_of.get(name, ""): row for row, name in enumerate(texts(file["test_file"]))}
        missing = [identifier for identifier in ids if identifier not in row_of and identifier not in bad]
        if names != competition.class_names or missing:
            raise UserError(f"{ENSEMBLE}: its pictures or classes are not those of {MANIFEST}; run `dvc repro`")
        if bad:
            print(f"WARNING: {len(bad):,} bad test pictures get the training prior: {listed(sorted(bad))}")
        prior = np.bincount(file["label"][:], minlength=len(names)) / len(file["label"])
        models = [Ensemble.load(folder) for folder in sorted(MODELS.glob("fold_*"))]
        for block in block_slices(len(ids), max(file["test"].shape[1], len(names)) * 4):
            some_ids = ids[block]
            known = np.array([identifier in row_of for identifier in some_ids])
            proba = np.tile(prior.astype(np.float32), (len(some_ids), 1))
            if known.any():
                features = np.stack([file["test"][row_of[i]] for i in some_ids if i in row_of])
                proba[known] = sum(model.predict(features) for model in models) / len(models)
            yield some_ids, proba


def calibrate(params: Params, competition: Competition) -> Calibration:
    """Choose the clip, and write the log loss that it gives out of fold to `results/submission.json`.

    Parameters
    ----------
    params : Params
        `predict.clip` is a pair, or `auto`: the clip and temperature with the least log loss out of fold.
    competition : Competition
        Says the form; one without probabilities has nothing to clip.

    Returns
    -------
    Calibration
        What to do to the probabilities of the submission.
    """
    if competition.submission.kind not in PROBABILITY_FORMS:
        write_text(SCORES, "{}\n")
        return Calibration()
    judged = read_rows(JUDGED, "file")
    oof = read_rows(OOF, competition.submission.columns[0], max_numbers=MAX_NUMBERS)
    judged = judged.set_index("file").loc[oof[competition.submission.columns[0]]]
    proba = proba_of_rows(competition, oof)
    label = pd.Index(competition.class_names).get_indexer(judged["class"])
    positive = positive_index(competition)
    if params.predict.clip == "auto":
        calibration = fit_calibration(label, proba, positive)
        # The score of a calibration that was fitted to the very rows would be too good.
        loss = cross_fitted_log_loss(label, proba, judged["fold"].to_numpy(), positive)
    else:
        calibration = Calibration(*params.predict.clip)
        loss = calibration.log_loss(label, proba, positive)
    scores = {
        "val_log_loss_clipped": loss,
        "clip_low": calibration.low,
        "clip_high": calibration.high,
        "temperature": calibration.temperature,
    }
    write_text(SCORES, json.dumps(scores, indent=4) + "\n")
    print(
        f"Clipped to [{calibration.low:g}, {calibration.high:g}] at temperature {calibration.temperature:g}: "
        f"log loss {loss:.4f} out of fold"
    )
    return calibration


if __name__ == "__main__":
    run(main)
