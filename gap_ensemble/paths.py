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
