"""The report's parts for one class of several, for grades, and for several guesses."""

import warnings

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues

from gap_ensemble.reporting.data import ReportData
from gap_ensemble.reporting.markup import Figure, Section, figures, heat_table, table
from gap_ensemble.reporting.thumbnails import SIZE
from gap_ensemble.scoring.metrics import most_probable

# More classes than this make an unreadable confusion matrix; more rows than this an unwieldy table.
MAX_CONFUSION = 25
MAX_TABLE = 2000
N_PAIRS = 12


class ClassesView:
    """How classes are shown.

    Parameters
    ----------
    data : ReportData
    """

    def __init__(self, data: ReportData):
        self.data, self.names = data, data.task.names
        self.said = np.asarray(most_probable(data.submitted), np.intp)

    def caption(self, i: int) -> str:
        """Return what stands below the picture of row i: truth and prediction, with their probabilities."""
        y, said, values = self.data.y[i], self.said[i], self.data.values[i]
        return f"{self.names[y]}: {values[y]:.4f}\npredicted {self.names[said]}: {values[said]:.4f}"

    def groups(self, i: int) -> tuple[str, ...]:
        """Return what the filter finds row i by."""
        return (self.names[self.data.y[i]],)

    def hue(self, i: int) -> float:
        """Return the colour of row i on the map, in degrees."""
        return float(self.data.y[i] * 137.508 % 360)

    def is_right(self, i: int) -> bool:
        """Whether what is submitted for row i is the truth."""
        return bool(self.said[i] == self.data.y[i])

    def suspects(self) -> np.ndarray:
        """Return numbers of rows whose labels confident learning suspects, the most suspicious first.

        See Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 2021.
        """
        classes, y = np.unique(self.data.y, return_inverse=True)
        if len(classes) < 2:
            return np.empty(0, np.intp)
        values = np.maximum(self.data.values[:, classes].astype(np.float64), 1e-12)
        with warnings.catch_warnings():  # It warns of classes that it never finds confident, which is no news here.
            warnings.simplefilter("ignore")
            return np.asarray(
                find_label_issues(
                    y,
                    values / values.sum(axis=1, keepdims=True),
                    return_indices_ranked_by="self_confidence",
                    n_jobs=1,
                )
            )

    def sections(self) -> list[Section]:
        """Return the parts that only classes have."""
        sections = [Section("Classes", self._class_table()), Section("Most confused", self._confused())]
        if len(self.names) <= MAX_CONFUSION:
            sections.insert(1, Section("Confusion", self._confusion()))
        if self.data.submitted.ndim == 2 and np.issubdtype(self.data.submitted.dtype, np.integer):
            sections.insert(0, Section("Guesses", self._guesses()))
        return sections

    def _class_table(self) -> str:
        y, said = self.data.y, self.said
        n = len(self.names)
        rows, called = np.bincount(y, minlength=n), np.bincount(said, minlength=n)
        hits = np.bincount(y[y == said], minlength=n)
        of_truth = np.take_along_axis(self.data.values, y[:, None].astype(np.intp), axis=1)[:, 0]
        mean = np.bincount(y, weights=of_truth, minlength=n) / np.maximum(rows, 1)
        wrong = pd.DataFrame({"y": y, "said": said})[y != said]
        mostly = {}
        for label, of_class in wrong.groupby("y")["said"]:
            counts = of_class.value_counts()
            mostly[label] = f"{self.names[counts.index[0]]} ({counts.iloc[0]:,})"
        present = np.flatnonzero(rows)
        order = present[np.argsort(mean[present], kind="stable")]
        lines = [
            (
                self.names[c],
                int(rows[c]),
                hits[c] / rows[c],
                hits[c] / called[c] if called[c] else float("nan"),
                float(mean[c]),
                mostly.get(c, ""),
            )
            for c in order[:MAX_TABLE]
        ]
        cut = f"<p>The worst {MAX_TABLE:,} of {len(order):,} classes.</p>" if len(order) > MAX_TABLE else ""
        header = ("class", "rows", "recall", "precision", "mean probability of the class", "mostly taken for")
        return cut + table(header, lines)

    def _confusion(self) -> str:
        counts = np.zeros((len(self.names), len(self.names)), np.int64)
        np.add.at(counts, (self.data.y, self.said), 1)
        return heat_table(self.names, counts.tolist())

    def _confused(self) -> str:
        """Show the most confused pairs, each by the row that is most certain of the wrong class."""
        y, said = self.data.y, self.said
        wrong = pd.DataFrame({"y": y, "said": said, "i": np.arange(len(y))})[y != said]
        if wrong.empty:
            return "<p>None: every row is right.</p>"
        wrong["probability"] = self.data.values[wrong["i"], wrong["said"]]
        pairs = wrong.groupby(["y", "said"]).agg(n=("i", "size")).sort_values("n", ascending=False, kind="stable")
        surest = wrong.sort_values("probability", ascending=False, kind="stable").drop_duplicates(["y", "said"])
        example = surest.set_index(["y", "said"])["i"]
        rows = np.bincount(y, minlength=len(self.names))
        shown = []
        for (label, taken_for), n in pairs["n"].head(N_PAIRS).items():
            i = int(example[label, taken_for])
            caption = f"{self.names[label]} → {self.names[taken_for]}\n{n:,} of {rows[label]:,} rows\n"
            jpeg = self.data.pictures.jpeg("train", self.data.row[i], SIZE)
            shown.append(Figure(jpeg, f"{caption}{self.data.row[i]}\n{self.caption(i)}", self.groups(i)))
        return "<p>Truth → submitted, each with the row that is most certain of it.</p>" + figures(shown)

    def _guesses(self) -> str:
        """Return how often the truth stands at each place among the guesses."""
        hit = self.data.submitted == self.data.y[:, None]
        n = len(hit)
        places = [(f"guess {k + 1}", int(hit[:, k].sum()), hit[:, k].sum() / n) for k in range(hit.shape[1])]
        none = int((~hit.any(axis=1)).sum())
        return table(("the truth is", "rows", "share"), [*places, ("not among them", none, none / n)], sortable=False)


class GradesView(ClassesView):
    """How grades are shown: as classes, in colours that follow their order, with the expectation that is cut."""

    def caption(self, i: int) -> str:
        """Return what stands below the picture of row i: truth, the most probable grade, what is submitted."""
        y, values = self.data.y[i], self.data.values[i]
        most = int(values.argmax())
        return (
            f"{self.names[y]}: {values[y]:.4f}\nmost probable {self.names[most]}: {values[most]:.4f}\n"
            f"submitted {self.names[self.said[i]]}"
        )

    def suspects(self) -> np.ndarray:
        """Return numbers of suspected rows that lie more than one grade off: neighbours are confused by nature."""
        expected = self.data.values @ np.arange(len(self.names))
        return np.array([i for i in super().suspects() if abs(expected[i] - self.data.y[i]) > 1.5], np.intp)

    def hue(self, i: int) -> float:
        """Return the colour of row i on the map, in degrees: from blue (low) to red (high)."""
        return float(240 * (1 - self.data.y[i] / (len(self.names) - 1)))
