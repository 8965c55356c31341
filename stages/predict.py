"""Write the submission: the sample's ids, in its order, with its columns.

    python -m stages.predict        # or: dvc repro

Reads the test features, the models of all folds and the sample submission. Writes `submissions/submission.csv`. The
probability of a class is the mean over the fold models, clipped to `predict.clip`. Rows are matched by id, never by
position. Test pictures that were left out as bad get the training prior.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from stages.common.backbones import make_deterministic
from stages.common.competition import SAMPLE, Competition, read_competition, read_manifest, read_table, write_table
from stages.common.errors import UserError, listed, run
from stages.common.features import open_features, texts
from stages.common.heads import DenseHead
from stages.common.params import load_params
from stages.common.progress import Progress
from stages.common.scores import clip_proba
from stages.train import ENSEMBLE, MODELS, predicted_blocks

SUBMISSION = Path("submissions/submission.csv")


def main() -> None:
    """Run the stage."""
    params = load_params()
    make_deterministic(params.seed)
    competition, manifest, sample = read_competition(), read_manifest(), read_table(SAMPLE)
    manifest = manifest[manifest["split"] == "test"]
    id_of = dict(zip(manifest["file"], manifest["id"], strict=True))

    blocks = []
    with open_features(ENSEMBLE) as file:
        names = texts(file["class_names"])
        if names != competition.class_names:
            raise UserError(f"{ENSEMBLE}: made for other classes than data/manifest.csv; run `dvc repro`")
        heads = []
        for path in sorted(MODELS.glob("fold_*.weights.h5")):
            heads.append(DenseHead(params.train, file["test"].shape[1], len(names), params.seed))
            heads[-1].load(path)
        test_ids = [id_of[name] for name in texts(file["test_file"])]
        chosen = np.ones(len(test_ids), bool)
        with Progress(len(test_ids), "Predicting test") as progress:
            for parts in zip(
                *(predicted_blocks(head, file["test"], chosen, len(names)) for head in heads), strict=True
            ):
                rows = parts[0][0]
                proba = np.mean([part for _, part in parts], axis=0)
                blocks.append(
                    rows_of_submission(competition, [test_ids[row] for row in rows], proba, params.predict.clip)
                )
                progress.add(len(rows))
        bad = manifest["id"][manifest["problem"] != ""].tolist()
        if bad:
            prior = np.bincount(file["label"][:], minlength=len(names)) / len(file["label"])
            print(f"WARNING: {len(bad):,} bad test pictures get the training prior: {listed(bad)}")
            blocks.append(rows_of_submission(competition, bad, np.tile(prior, (len(bad), 1)), params.predict.clip))

    by_id = pd.concat(blocks).set_index(competition.submission.columns[0])
    write_table(SUBMISSION, by_id.loc[sample[competition.submission.columns[0]]].reset_index())
    print(f"{SUBMISSION}: {len(sample):,} rows")


def rows_of_submission(
    competition: Competition, ids: list[str], proba: np.ndarray, clip: tuple[float, float]
) -> pd.DataFrame:
    """Turn probabilities into rows of the submission's form.

    Parameters
    ----------
    competition : Competition
        Says the form.
    ids : list of str
        Id of every row.
    proba : ndarray of shape (n, n_classes)
        Probabilities in the order of `competition.class_names`.
    clip : tuple of two floats
        Low and high.

    Returns
    -------
    DataFrame
        With the sample's columns.
    """
    form, names = competition.submission, np.array(competition.class_names)
    values: dict[str, object] = {form.columns[0]: ids}
    if form.kind == "probability":
        positive = competition.class_names.index(form.positive_class or "")
        values[form.columns[1]] = clip_proba(proba, clip, positive)[:, positive]
    elif form.kind == "probabilities":
        clipped = clip_proba(proba, clip)
        values |= {name: clipped[:, competition.class_names.index(name)] for name in form.columns[1:]}
    else:
        best = proba.argmax(axis=1)
        values[form.columns[1]] = names[best]
        if form.kind == "class_confidence":
            values[form.columns[1]] = [f"{names[i]} {row[i]:.6f}" for i, row in zip(best, proba, strict=True)]
    return pd.DataFrame(values)


if __name__ == "__main__":
    run(main)
