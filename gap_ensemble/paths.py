"""Every file that one stage writes and another reads, relative to the repository's root."""

from pathlib import Path

# check
CHECKED = Path("data/checked.txt")

# link
LINKS = Path("data")
MANIFEST = Path("data/manifest.csv")
ROWS = Path("data/rows.csv")
COMPETITION = Path("data/competition.json")
GREY_SCALE = Path("data/grey_scale.json")
SAMPLE = Path("data/sample_submission.csv")

# finetune
WEIGHTS = Path("weights")
TUNED = WEIGHTS / "tuned"
CURVES = Path("results/finetune")

# networks
NETWORKS = Path("data/networks")

# extract
FEATURES = Path("features/gap")
PARTIAL = Path("features/partial")

# ensemble
ENSEMBLE = Path("features/ensemble.h5")
GROUPS = Path("features/groups.csv")

# train
MODELS = Path("models")
RESULTS = Path("results")
OOF = RESULTS / "oof.h5"
TRAINING = RESULTS / "training"
OVERVIEW = TRAINING / "plots/images/overview.png"

# predict
TEST = RESULTS / "test.h5"
METRICS = RESULTS / "metrics.json"
SUBMISSION = Path("submissions/submission.csv")

# report
REPORT = RESULTS / "report.html"


def original_of_copy() -> Path | None:
    """Return the repository, where the current folder is a copy of it, in which DVC runs an experiment of its queue.

    A copy has only what git and DVC know.
    """
    original, copies, _ = f"{Path.cwd().as_posix()}/".partition("/.dvc/tmp/exps/")
    return Path(original) if copies else None


def in_weights(name: str) -> Path:
    """Return the path that an entry of params.yaml names: absolute, or relative to `weights/`.

    What a copy of the repository lacks is looked for in the repository itself.
    """
    path = WEIGHTS / Path(name).expanduser()
    original = original_of_copy()
    return path if original is None or path.exists() else original / path
