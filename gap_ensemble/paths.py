"""Every file that one stage writes and another reads, seen from the repository's root."""

from pathlib import Path

# link
LINKS = Path("data")
MANIFEST = Path("data/manifest.csv")
ROWS = Path("data/rows.csv")
COMPETITION = Path("data/competition.json")
SAMPLE = Path("data/sample_submission.csv")

# finetune
WEIGHTS = Path("weights")
TUNED = WEIGHTS / "tuned"
CURVES = Path("results/finetune")

# extract
FEATURES = Path("features/gap")
PARTIAL = Path("features/partial")

# ensemble
ENSEMBLE = Path("features/ensemble.h5")
GROUPS = Path("features/groups.csv")

# train
MODELS = Path("models")
RESULTS = Path("results")
OOF = RESULTS / "oof.csv"
JUDGED = RESULTS / "judged.csv"
METRICS = RESULTS / "metrics.json"
OVERVIEW = RESULTS / "plots/images/overview.png"

# predict
TEST = RESULTS / "test.csv"
SCORES = RESULTS / "submission.json"
SUBMISSION = Path("submissions/submission.csv")

# report
REPORT = RESULTS / "report.html"
